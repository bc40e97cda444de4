"""How a response ends, in every format: what is no end of the producer's never looks like one."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
import redis.asyncio
from httpx import AsyncClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from streamhub import Hub, HubConfig, LiveStream
from streamhub.formats.endings import told_of
from streamhub.http import StreamResponse, create_app
from streamhub.testing.waiting import unhurried

from ..conftest import MakeHub
from ..support.redis_stage import chunks
from .conftest import Open
from .serving import events, follow, lines, nothing_is_held, path_of, stored


async def text_breaks_off(
    client: AsyncClient, path: str, *, after: str | None = None, sent: bytes = b"a"
) -> None:
    """What was sent is there, and the connection breaks in the middle of the response."""
    got = b""
    query = {"format": "text"} if after is None else {"format": "text", "after": after}
    with pytest.raises(httpx.RemoteProtocolError):
        async with client.stream("GET", path, params=query) as response:
            async for piece in response.aiter_raw():
                got += piece
    assert sent == got


@pytest.fixture
async def breaking(hub: Hub, open_client: Open, caplog: pytest.LogCaptureFixture) -> AsyncClient:
    """A client of responses that break off, of which servers complain."""
    caplog.set_level("CRITICAL", "uvicorn.error")
    return await open_client(create_app(hub))


async def test_a_failure(hub: Hub, breaking: AsyncClient, session_id: str) -> None:
    """``event: error``; a last line; text breaks off. Nothing of the exception reaches a client:
    neither by the stream, nor by a look at the session; the program sees it."""
    stream, _ = await hub.register(session_id)
    (one,) = await stored(stream, "a")
    await stream.fail(ValueError("bad\nluck"))
    seen = events((await breaking.get(path_of(session_id))).content)
    read = lines((await breaking.get(path_of(session_id) + "?format=ndjson")).content)
    look = (await breaking.get(path_of(session_id, ""))).json()
    listed = (await breaking.get("/sessions?status=failed")).json()["sessions"]
    facts = {"status": "failed", "error": told_of("failed"), "cursor": one}

    assert [("a", "message"), ("error", one)] == [
        (seen[0].data, seen[0].event),
        (seen[1].event, seen[1].id),
    ]
    assert facts == json.loads(seen[1].data) == read[-1]
    assert [facts["error"]] * 2 == [look["error"], *(one["error"] for one in listed)]
    assert "ValueError: bad\nluck" == (await stream.info()).error
    await text_breaks_off(breaking, path_of(session_id))


async def test_errors_are_shown_to_clients_that_may_see_them(
    hub: Hub, open_client: Open, session_id: str
) -> None:
    """The text of the exception, in events, lines and looks, where the application says so."""
    client = await open_client(create_app(hub, show_errors=True))
    stream, _ = await hub.register(session_id)
    await stream.fail(ValueError("bad\nluck"))
    (seen,) = events((await client.get(path_of(session_id))).content)
    (read,) = lines((await client.get(path_of(session_id) + "?format=ndjson")).content)
    look = (await client.get(path_of(session_id, ""))).json()

    assert ["ValueError: bad\nluck"] * 3 == [
        told["error"] for told in (json.loads(seen.data), read, look)
    ]


async def test_a_failure_while_it_is_followed(
    hub: Hub, breaking: AsyncClient, session_id: str
) -> None:
    """The same as for who comes later."""
    stream, _ = await hub.register(session_id)
    await stored(stream, "a")
    reading = asyncio.create_task(text_breaks_off(breaking, path_of(session_id)))
    async with follow(breaking, path_of(session_id)) as response:
        await response.next()
        await stream.fail("why")
        error = await response.next()
    await reading

    assert ("error", "failed") == (error.event, json.loads(error.data)["status"])


async def test_a_lost_producer(
    make_hub: MakeHub, open_client: Open, session_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that says so, to who follows and to who asks again from the end: it is no 204, for
    somebody may continue."""
    caplog.set_level("CRITICAL", "uvicorn.error")
    hub, producing = (make_hub(HubConfig(lease=unhurried(0.5))) for _ in range(2))
    stream, _ = await producing.register(session_id)
    (one,) = await stored(stream, "a")
    client = await open_client(create_app(hub))
    async with follow(client, path_of(session_id)) as response:
        await response.next()
        await producing.aclose()
        error = await response.next()
    again = events((await client.get(path_of(session_id), headers={"last-event-id": one})).content)

    assert [("error", "lost")] * 2 == [
        (event.event, json.loads(event.data)["status"]) for event in (error, *again)
    ]
    await text_breaks_off(client, path_of(session_id))


async def test_a_loss_is_told_once(make_hub: MakeHub, open_client: Open, session_id: str) -> None:
    """In words for users. An EventSource comes back with that event's id, slowly, and hears nothing
    more of it until somebody goes on; of the next loss it hears again."""
    hub, producing, continuing = (make_hub(HubConfig(lease=unhurried(0.5))) for _ in range(3))
    client = await open_client(create_app(hub))
    stream, _ = await producing.register(session_id)
    await stored(stream, "a")
    await producing.aclose()
    path = path_of(session_id)
    first = await client.get(path)
    told = events(first.content)[-1]
    quiet = [await client.get(path, headers={"last-event-id": told.id}) for _ in range(2)]
    stream, _ = await continuing.register(session_id, takeover="continue")
    async with follow(client, path, after=told.id) as response:
        await stream.publish("b")
        seen = await response.next()
        await continuing.aclose()
        again = await response.next()
        raw = response.raw

    assert told_of("lost") == json.loads(told.data)["error"]
    assert b"retry: 10000\n" in first.content
    assert [(200, b"retry: 10000\n:\n")] * 2 == [(one.status_code, one.content) for one in quiet]
    assert "b" == seen.data
    assert raw.startswith(b"retry: 3000\n")
    assert ("error", "lost") == (again.event, json.loads(again.data)["status"])


async def test_a_reader_follows_one_stream_after_the_other(
    hub: Hub, open_client: Open, session_id: str
) -> None:
    """With ``follow_next``: the next answer begins in the same response, and for who comes back
    after the end; who comes before any is told to come again."""

    async def respond(request: Request) -> StreamResponse:
        return StreamResponse(hub.get(session_id), face="sse", follow_next=True, heartbeat=0.05)

    client = await open_client(Starlette(routes=[Route("/", respond)]))
    early = await client.get("/")
    stream, _ = await hub.register(session_id)
    await stored(stream, "a")
    async with follow(client, "/") as response:
        await stream.close()
        seen = await response.take(2)
        async with follow(client, "/", after=seen[-1].id) as late:
            await late.until_raw(b":\n")
            stream, _ = await hub.register(session_id)
            await stored(stream, "b")
            await stream.fail("x")
            seen += await response.take(3)
            others = await late.take(3)

    assert (200, b"retry: 5000\n:\n") == (early.status_code, early.content)
    assert ["message", "end", "reset", "message", "error"] == [event.event for event in seen]
    assert seen[2:] == others
    await nothing_is_held(hub)


async def test_a_continued_session_reads_on(
    make_hub: MakeHub, open_client: Open, session_id: str
) -> None:
    """Whose producer was lost and another went on: no reset, the next offset."""
    hub, first, second = make_hub(), make_hub(), make_hub()
    stream, _ = await first.register(session_id)
    (one,) = await stored(stream, "a")
    await first.aclose()
    stream, _ = await second.register(session_id, takeover="continue")
    client = await open_client(create_app(hub))
    async with follow(client, path_of(session_id), after=one) as response:
        await stream.publish("b")
        await stream.close()
        seen = await response.rest()

    assert [("b", "message"), (seen[1].data, "end")] == [(e.data, e.event) for e in seen]


async def test_a_cancel(hub: Hub, client: AsyncClient, session_id: str) -> None:
    """Somebody meant it: an end, with its status."""
    stream, _ = await hub.register(session_id)
    (one,) = await stored(stream, "a")
    await stream.cancel(reason="enough")
    await stream.close()
    seen = events((await client.get(path_of(session_id))).content)
    read = lines((await client.get(path_of(session_id) + "?format=ndjson")).content)
    text = await client.get(path_of(session_id) + "?format=text")

    assert ("end", {"status": "cancelled", "cursor": one}) == (
        seen[1].event,
        json.loads(seen[1].data),
    )
    assert "cancelled" == read[-1]["status"]
    assert b"a" == text.content


@pytest.mark.parametrize("format_", ["sse", "ndjson"])
async def test_a_removed_session(
    hub: Hub, client: AsyncClient, session_id: str, format_: str
) -> None:
    """Is gone for who follows it, and 404 for who asks again."""
    stream, _ = await hub.register(session_id)
    await stored(stream, "a")
    async with follow(client, path_of(session_id), params={"format": format_}) as response:
        await response.until_raw(b"a")
        await hub.remove(session_id)
        await response.until_raw(b'"gone"')
        await response.until_closed()
    again = await client.get(path_of(session_id))

    assert (404, "session_not_found") == (again.status_code, again.json()["code"])


@pytest.mark.parametrize("new_hub", ["redis"], indirect=True)
async def test_expired_chunks(
    hub: Hub, client: AsyncClient, session_id: str, redis_client: redis.asyncio.Redis
) -> None:
    """410 where they are asked for, in every format: no EventSource asks for them for ever."""
    stream, _ = await hub.register(session_id)
    await stored(stream, "a", "b")
    await stream.close()
    await redis_client.delete(chunks(session_id))
    answers = [
        await client.get(path_of(session_id), params={"format": one})
        for one in ("sse", "ndjson", "text")
    ]

    assert [(410, "cursor_expired")] * 3 == [
        (answer.status_code, answer.json()["code"]) for answer in answers
    ]


async def restart(hub: Hub, stream: LiveStream) -> LiveStream:
    await stream.close()
    again, created = await hub.register(stream.session_id)
    assert created
    return again


async def test_a_new_epoch_while_it_is_followed(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """``event: reset`` with its cursor, and then its replay from the start; a client that is cut
    off right after the reset goes on in the new epoch."""
    stream, _ = await hub.register(session_id)
    (one,) = await stored(stream, "a")
    async with follow(client, path_of(session_id)) as response:
        await response.next()
        await stream.cancel()
        await stream.close()
        # Both at once, as far as a reader can tell.
        stream, _ = await hub.register(session_id)
        (new, _) = await stored(stream, "x", "y")
        event = await response.next()
        if event.event == "end":
            # It was fast enough to see the end of the old one.
            await _asks_again(client, session_id, one, new)
            return
        begin = new.rpartition("-")[0] + "-0"
        assert ("reset", begin, {"cursor": begin}) == (
            event.event,
            event.id,
            json.loads(event.data),
        )
        assert ["x", "y"] == [e.data for e in await response.take(2)]
    async with follow(client, path_of(session_id), after=begin) as response:
        assert ["x", "y"] == [e.data for e in await response.take(2)]


async def _asks_again(client: AsyncClient, session_id: str, old: str, new: str) -> None:
    async with follow(client, path_of(session_id), after=old) as response:
        reset, *replay = await response.take(3)
    assert ("reset", ["x", "y"]) == (reset.event, [e.data for e in replay])
    assert new == replay[0].id


@pytest.mark.parametrize("format_", ["sse", "ndjson"])
async def test_a_new_epoch_since_the_client_left(
    hub: Hub, client: AsyncClient, session_id: str, format_: str
) -> None:
    """A cursor of an epoch that is over: a reset, at once, and all of the new one."""
    stream, _ = await hub.register(session_id)
    (old,) = await stored(stream, "a")
    stream = await restart(hub, stream)
    (new,) = await stored(stream, "x")
    await stream.close()
    answer = await client.get(path_of(session_id), params={"after": old, "format": format_})
    begin = new.rpartition("-")[0] + "-0"

    if format_ == "sse":
        assert [("reset", begin), ("message", new), ("end", new)] == [
            (event.event, event.id) for event in events(answer.content)
        ]
    else:
        reset, chunk, end = lines(answer.content)
        assert {"status": "reset", "cursor": begin, "error": None} == reset
        assert ("x", "finished") == (chunk["data"], end["status"])


async def test_text_cannot_say_that_all_begins_anew(
    hub: Hub, breaking: AsyncClient, session_id: str
) -> None:
    """It breaks off before anything of the new epoch is glued to the old one."""
    stream, _ = await hub.register(session_id)
    (old,) = await stored(stream, "a")
    stream = await restart(hub, stream)
    await stored(stream, "x")

    await text_breaks_off(breaking, path_of(session_id), after=old, sent=b"")


async def test_a_handle_of_an_older_epoch_follows_the_session(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """A restart between the look-up and the response: the new epoch from its start."""
    stream, _ = await hub.register(session_id)
    await stored(stream, "a")
    stream = await restart(hub, stream)
    await stored(stream, "x")
    await stream.close()

    assert ["x"] == [e.data for e in events((await client.get(path_of(session_id))).content)[:-1]]


@pytest.mark.parametrize("format_", ["sse", "ndjson"])
async def test_a_hub_that_closes_ends_responses_without_an_end(
    make_hub: MakeHub, open_client: Open, session_id: str, format_: str
) -> None:
    """The session goes on: clients ask again, elsewhere."""
    hub, other = make_hub(), make_hub()
    stream, _ = await other.register(session_id)
    await stored(stream, "a")
    client = await open_client(create_app(hub))
    async with follow(client, path_of(session_id), params={"format": format_}) as response:
        await response.until_raw(b"a")
        await hub.aclose()
        await response.until_closed()
        raw = response.raw

    assert 0 == raw.count(b"event: ") + raw.count(b"status")
    elsewhere = await open_client(create_app(other))
    async with follow(elsewhere, path_of(session_id)) as response:
        assert "a" == (await response.next()).data


async def test_a_hub_that_closes_breaks_text_off(
    make_hub: MakeHub, open_client: Open, session_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    """For in text a response that just ends is one that is complete."""
    caplog.set_level("CRITICAL", "uvicorn.error")
    hub, other = make_hub(), make_hub()
    stream, _ = await other.register(session_id)
    await stored(stream, "a")
    client = await open_client(create_app(hub))
    with pytest.raises(httpx.RemoteProtocolError):
        async with client.stream("GET", path_of(session_id), params={"format": "text"}) as response:
            pieces = response.aiter_raw()
            assert b"a" == await anext(pieces)
            await hub.aclose()
            await anext(pieces)


async def test_after_closing_an_event_source_is_told_to_come_again(
    make_hub: MakeHub, open_client: Open, session_id: str
) -> None:
    """A 200 without an end for it, for it would give up upon any other; 503 for everybody else."""
    hub = make_hub()
    client = await open_client(create_app(hub))
    await hub.aclose()
    answer = await client.get(path_of(session_id))
    other = await client.get(path_of(session_id), params={"format": "ndjson"})
    info = await client.get(path_of(session_id, ""))

    assert (200, []) == (answer.status_code, events(answer.content))
    assert "text/event-stream; charset=utf-8" == answer.headers["content-type"]
    assert [(503, "unavailable", "1")] * 2 == [
        (one.status_code, one.json()["code"], one.headers["retry-after"]) for one in (other, info)
    ]
