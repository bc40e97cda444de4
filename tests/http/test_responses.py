"""A session as a response: where it begins, what it begins with, how it is written."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from httpx import AsyncClient
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streamhub import Hub, LiveStream
from streamhub.http import SSEResponse, StreamResponse, create_app
from streamhub.testing.waiting import within

from ..conftest import MakeHub
from .conftest import Open
from .serving import events, follow, lines, path_of, raw_request, stored


def app_of(hub: Hub, kind: type[Any] = SSEResponse, **options: Any) -> Starlette:
    """One's own route, with ``options`` of the response."""

    async def events(request: Request) -> Response:
        stream = await hub.get(request.query_params["session"])
        assert stream is not None
        response: Response = kind(stream, **options)
        return response

    return Starlette(routes=[Route("/events", events)])


async def finished(hub: Hub, session_id: str, *chunks: str) -> tuple[LiveStream, list[str]]:
    stream, _ = await hub.register(session_id)
    cursors = await stored(stream, *chunks)
    await stream.close()
    return stream, cursors


async def test_a_stream_is_replayed_and_followed_to_its_end(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """Every chunk with its cursor and type, once, in order; then the end, with the last cursor."""
    stream, _ = await hub.register(session_id)
    await stored(stream, "a")
    async with follow(client, path_of(session_id)) as response:
        first = await response.next()
        last = str(await stream.publish("b", event="tool"))
        await stream.close()
        rest = await response.rest()

    epoch = last.partition("-")[0]
    assert ("a", "message", f"{epoch}-1") == (first.data, first.event, first.id)
    assert [("b", "tool", last)] == [(e.data, e.event, e.id) for e in rest[:-1]]
    assert ("end", last) == (rest[-1].event, rest[-1].id)
    assert {"status": "finished", "cursor": last} == json.loads(rest[-1].data)


@pytest.mark.parametrize("start", [None, 0, 1, 2])
@pytest.mark.parametrize("by", ["header", "query"])
async def test_a_client_goes_on_after_its_cursor(
    hub: Hub, client: AsyncClient, session_id: str, start: int | None, by: str
) -> None:
    """By ``Last-Event-ID`` or by ``?after=``; offset 0 is before the first chunk."""
    _, cursors = await finished(hub, session_id, "a", "b", "c")
    epoch = cursors[0].partition("-")[0]
    after = None if start is None else f"{epoch}-{start}"
    options: dict[str, Any] = {}
    if after is not None:
        options = (
            {"headers": {"last-event-id": after}}
            if by == "header"
            else {"params": {"after": after}}
        )
    answer = await client.get(path_of(session_id), **options)

    assert ["a", "b", "c"][start or 0 :] == [e.data for e in events(answer.content)[:-1]]


async def test_the_header_is_newer_than_the_address(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """A browser connects again to the address that it began with, and sends where it stands; an
    empty header is none."""
    _, (one, two, _) = await finished(hub, session_id, "a", "b", "c")
    path = path_of(session_id) + f"?after={one}"
    newer = await client.get(path, headers={"last-event-id": two})
    empty = await client.get(path, headers={"last-event-id": ""})

    assert ["c"] == [e.data for e in events(newer.content)[:-1]]
    assert ["b", "c"] == [e.data for e in events(empty.content)[:-1]]


async def test_the_request_is_newer_than_the_route(
    hub: Hub, open_client: Open, session_id: str
) -> None:
    """``after=`` of the response is where those begin who say nothing themselves."""
    _, (one, two, _) = await finished(hub, session_id, "a", "b", "c")
    client = await open_client(app_of(hub, after=one))
    silent = await client.get("/events", params={"session": session_id})
    speaking = await client.get("/events", params={"session": session_id, "after": two})

    assert ["b", "c"] == [e.data for e in events(silent.content)[:-1]]
    assert ["c"] == [e.data for e in events(speaking.content)[:-1]]


async def test_now_begins_with_what_comes(hub: Hub, client: AsyncClient, session_id: str) -> None:
    """Nothing of the replay; on an ended session, its end."""
    stream, _ = await hub.register(session_id)
    await stored(stream, "a")
    async with follow(client, path_of(session_id), params={"after": "now"}) as response:
        await stored(stream, "b")
        first = await response.next()
        await stream.close()
        end = await response.next()
    again = await client.get(path_of(session_id), params={"after": "now"})

    assert ("b", "end") == (first.data, end.event)
    assert ["end"] == [e.event for e in events(again.content)]


@pytest.mark.parametrize(
    "cursor",
    ["x", "1", "1-", "-1-1", "1-1-1", "01-1", "1-+1", "1-1 x", f"{2**64}-1", "٣-٣", "a" * 3000],
)
@pytest.mark.parametrize("by", ["header", "query"])
@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_a_malformed_cursor_is_refused(
    hub: Hub, client: AsyncClient, session_id: str, cursor: str, by: str
) -> None:
    """400, with what a cursor looks like; whichever format is asked for."""
    await hub.register(session_id)
    headers = {b"last-event-id": cursor.encode()} if by == "header" else {}
    query = {"after": cursor} if by == "query" else {}
    for format_ in ("sse", "ndjson", "text"):
        answer = await client.get(
            path_of(session_id), params={**query, "format": format_}, headers=headers
        )
        assert (400, "invalid_cursor") == (answer.status_code, answer.json()["code"])
        assert "<term>-<offset>" in answer.json()["detail"]


async def test_a_cursor_beyond_the_end_of_an_ended_session_is_reset(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """The store has lost what the client has got: it is sent all that there is, after ``reset``."""
    _, (one,) = await finished(hub, session_id, "a")
    answer = await client.get(path_of(session_id), params={"after": one[:-1] + "7"})

    assert 200 == answer.status_code
    told = [(event.event, event.data) for event in events(answer.content)]
    assert ["reset", "message", "end"] == [event for event, _ in told]
    assert "a" == told[1][1]


@pytest.mark.parametrize("end", ["finished", "failed", "cancelled"])
async def test_who_has_all_of_an_ended_session_gets_204(
    hub: Hub, client: AsyncClient, session_id: str, end: str
) -> None:
    """Which makes an EventSource stop; other formats say the end once more."""
    stream, _ = await hub.register(session_id)
    (one,) = await stored(stream, "a")
    if end == "failed":
        await stream.fail("why")
    elif end == "cancelled":
        await stream.cancel()
        await stream.close()
    else:
        await stream.close()
    answer = await client.get(path_of(session_id), params={"after": one})
    other = await client.get(path_of(session_id), params={"after": one, "format": "ndjson"})

    assert (204, b"") == (answer.status_code, answer.content)
    assert "no-store" == answer.headers["cache-control"]
    assert [end] == [line["status"] for line in lines(other.content)]


async def test_an_empty_ended_session_is_not_all_for_who_comes_first(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """Without a cursor the end is said; with the cursor that it carried, 204."""
    await finished(hub, session_id)
    (end,) = events((await client.get(path_of(session_id))).content)
    again = await client.get(path_of(session_id), headers={"last-event-id": end.id})

    assert ("end", 204) == (end.event, again.status_code)


async def test_at_the_end_of_a_live_session_the_client_is_kept(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """It has all so far; what comes is sent."""
    stream, _ = await hub.register(session_id)
    (one,) = await stored(stream, "a")
    async with follow(client, path_of(session_id), after=one) as response:
        await stream.publish("b")
        await stream.close()

        assert ["b", "end"] == [
            event.data if event.event == "message" else event.event
            for event in await response.rest()
        ]


async def test_batch_replay_joins_what_is_stored(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """Into one chunk with the last cursor; what has an event type stays single."""
    stream, _ = await hub.register(session_id)
    await stored(stream, "a", "b")
    await stream.publish("{}", event="tool")
    await stored(stream, "c", "d")
    last = str((await stream.info()).last)
    async with follow(client, path_of(session_id) + "?batch=true") as response:
        replay = await response.take(3)
        await stored(stream, "e", "f")
        await stream.close()
        rest = await response.rest()

    assert ["ab", "{}", "cd"] == [event.data for event in replay]
    assert last == replay[-1].id
    assert ["e", "f"] == [event.data for event in rest[:-1]]


async def test_a_silent_stream_sends_heartbeats(
    make_hub: MakeHub, open_client: Open, session_id: str
) -> None:
    """Comments in Server-Sent Events, blank lines in NDJSON, also before the first chunk; none of
    them is an event."""
    hub = make_hub()
    stream, _ = await hub.register(session_id)
    client = await open_client(create_app(hub, heartbeat=0.02))
    for format_, beat in (("sse", b":\n:\n"), ("ndjson", b"\n\n")):
        async with follow(client, path_of(session_id), params={"format": format_}) as response:
            await response.until_raw(beat)
    async with follow(client, path_of(session_id)) as response:
        await response.until_raw(b":\n:\n:\n")
        await stream.publish("a")
        first = await response.next()
    assert "a" == first.data


async def test_headers_come_before_the_first_chunk(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """A page knows that it is connected while the model thinks."""
    await hub.register(session_id)
    async with follow(client, path_of(session_id)) as response:
        assert 200 == response.response.status_code
        assert b"" == response.raw


async def test_options_of_the_response(hub: Hub, open_client: Open, session_id: str) -> None:
    """``retry`` goes before all, headers are added, a background task runs at the end."""
    await finished(hub, session_id, "a")
    ran = asyncio.Event()

    async def note() -> None:
        ran.set()

    client = await open_client(
        app_of(
            hub,
            retry=0.25,
            headers={"x-mine": "1", "cache-control": "private"},
            background=BackgroundTask(note),
        )
    )
    answer = await client.get("/events", params={"session": session_id})

    assert answer.content.startswith(b"retry: 250\n")
    assert ("1", "private") == (answer.headers["x-mine"], answer.headers["cache-control"])
    assert ["a"] == [e.data for e in events(answer.content)[:-1]]
    await within(ran.wait())


async def test_head_has_the_headers_alone(hub: Hub, client: AsyncClient, session_id: str) -> None:
    """Of a stream that goes on, too."""
    await hub.register(session_id)
    answer = await client.head(path_of(session_id))
    unknown = await client.head(path_of("unknown"))

    assert (200, b"") == (answer.status_code, answer.content)
    assert "text/event-stream; charset=utf-8" == answer.headers["content-type"]
    assert "content-length" not in answer.headers
    assert 404 == unknown.status_code


@pytest.mark.parametrize("implementation", ["h11", "httptools"])
async def test_clients_of_http_1_0_are_served(
    hub: Hub, open_client: Open, session_id: str, implementation: str
) -> None:
    """Without chunked encoding: the connection ends with the response."""
    await finished(hub, session_id, "a")
    client = await open_client(create_app(hub), http=implementation)
    reader, writer = await raw_request(
        str(client.base_url).rstrip("/"), path_of(session_id), version="1.0"
    )
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()

    assert b" 200 " in head.splitlines()[0]
    if b"chunked" not in head.lower():
        assert ["a"] == [event.data for event in events(body)[:-1]]
    else:
        assert b"data: a\n" in body


async def test_a_chunk_of_every_line_break_and_nul_arrives(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """And never becomes a field or an event of its own."""
    chunk = "a\nb\rc\r\nd\n\nevent: end\ndata: x\n\n\0\x0b\x0c\x1c\x85\u2028\u2029: \ufeffid: 9"
    await finished(hub, session_id, chunk)
    seen = events((await client.get(path_of(session_id))).content)
    exact = lines((await client.get(path_of(session_id) + "?format=ndjson")).content)
    text = await client.get(path_of(session_id) + "?format=text")

    assert [chunk.replace("\r\n", "\n").replace("\r", "\n")] == [e.data for e in seen[:-1]]
    assert [chunk] == [line["data"] for line in exact[:-1]]
    assert chunk.encode() == text.content


@pytest.mark.parametrize(
    "options",
    [
        {"heartbeat": 0},
        {"heartbeat": float("nan")},
        {"face": "xml"},
        {"retry": -1},
        {"buffer": 0},
    ],
)
async def test_bad_options_are_refused_when_the_response_is_made(
    hub: Hub, session_id: str, options: dict[str, Any]
) -> None:
    """Not when it is sent, where the error would reach the client."""
    stream, _ = await hub.register(session_id)
    with pytest.raises(ValueError, match=next(iter(options))):
        StreamResponse(stream, **options)


def test_what_is_no_stream_is_refused_by_name() -> None:
    """As an id is, where a session was meant."""
    with pytest.raises(TypeError, match=r"stream must be a LiveStream.*, not str"):
        SSEResponse("chat:1")  # type: ignore[arg-type]


async def test_a_response_may_find_its_session_itself(
    hub: Hub, open_client: Open, session_id: str
) -> None:
    """It waits for what it is given, and is followed as usual; a session that there is none of is
    answered with 404."""

    async def awaited(request: Request) -> Response:
        return SSEResponse(hub.get(request.query_params["session"], wait=0.05))

    async def at_hand(request: Request) -> Response:
        return SSEResponse(await hub.get(request.query_params["session"]))

    client = await open_client(
        Starlette(routes=[Route("/awaited", awaited), Route("/at-hand", at_hand)])
    )
    await finished(hub, session_id, "a")
    for path in ("/awaited", "/at-hand"):
        found = await client.get(path, params={"session": session_id})
        unknown = await client.get(path, params={"session": "unknown"})
        impossible = await client.get("/awaited", params={"session": "\n"})

        assert ["a"] == [e.data for e in events(found.content)[:-1]]
        assert (404, "session_not_found") == (unknown.status_code, unknown.json()["code"])
        assert (400, "invalid_session_id") == (impossible.status_code, impossible.json()["code"])


@pytest.mark.parametrize("error", [ConnectionError, LookupError])
async def test_what_fails_before_the_response_is_no_client_that_is_gone(
    error: type[Exception],
) -> None:
    """An error of the application's own function reaches the server, whatever its kind."""

    async def find() -> LiveStream | None:
        raise error("of the application")

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        raise AssertionError

    scope = {"type": "http", "method": "GET", "headers": [], "query_string": b""}
    with pytest.raises(error, match="of the application"):
        await within(SSEResponse(find())(scope, receive, send))
