"""Sessions as streams of the Durable Streams protocol: pages, waiting, ends, places, caches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from httpx import AsyncClient, Response
from starlette.applications import Starlette
from starlette.requests import Request

from streamhub import Hub, HubConfig, LiveStream, LostSession, parts
from streamhub.chunks import Chunk, Cursor
from streamhub.formats.durable_messages import SHAPES
from streamhub.formats.durable_streams import Offset, next_cursor
from streamhub.http import MESSAGE_EVENT, durable_stream_url, durable_streams_routes
from streamhub.http.durable_streams.rendered import Rendered, Row
from streamhub.http.server import guarded
from streamhub.stores.base import Append
from streamhub.stores.redis import RedisStore
from streamhub.testing.hub.stage import crash
from streamhub.testing.waiting import unhurried, until, within

from ..conftest import MakeHub
from ..model.worlds import RedisWorld
from ..support.backends import BACKENDS, NewHub
from ..support.go_session import GENERATIONS, GoSession
from .conftest import Open
from .serving import events, follow, nothing_is_held
from .test_agui import EVERY

LONG_POLL = 0.05
START = "-1"


#: Most of what is tested here knows nothing of the store.
on_redis_too = pytest.mark.parametrize("new_hub", ["memory", "redis"], indirect=True)


@pytest.fixture(params=["memory"])
def new_hub(request: pytest.FixtureRequest) -> NewHub:
    name: str = request.param
    return BACKENDS[name](request)


def app(hub: Hub, **options: Any) -> Starlette:
    return Starlette(routes=durable_streams_routes(hub, **options))


@pytest.fixture
async def client(hub: Hub, open_client: Open) -> AsyncClient:
    return await open_client(app(hub))


async def begun(hub: Hub, *chunks: Any, session_id: str = "chat") -> LiveStream:
    """A session that is being produced, with these chunks stored."""
    stream, created = await hub.register(session_id)
    assert created
    for chunk in chunks:
        await stream.publish(chunk)
    await stream.flush()
    return stream


def told(*answers: Response) -> list[Any]:
    """The messages of answers, or of their events."""
    messages: list[Any] = []
    for answer in answers:
        assert 200 == answer.status_code, answer.text
        if answer.headers["content-type"] != "text/event-stream":
            messages += answer.json()
            continue
        said = [json.loads(one.data) for one in events(answer.content) if one.event == "data"]
        messages += [message for messages in said for message in messages]
    return messages


async def pages(client: AsyncClient, address: str) -> list[Response]:
    """All that is stored, with the end if it has one."""
    found = [await client.get(address)]
    while "stream-up-to-date" not in found[-1].headers:
        assert "stream-closed" not in found[-1].headers
        next_one = httpx.URL(address).copy_set_param("offset", after(found[-1]))
        found.append(await client.get(next_one))
    return found


def controls(answer: Response) -> list[dict[str, Any]]:
    return [json.loads(one.data) for one in events(answer.content) if one.event == "control"]


def with_query(address: str, **query: str) -> str:
    """`address` with more in its query; `params=` would be all of it."""
    return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}" if query else address


def after(answer: Response) -> str:
    return answer.headers["stream-next-offset"]


async def test_every_place_is_one_to_go_on_from(hub: Hub, open_client: Open) -> None:
    """Whatever a stream holds, and however it is read: what comes before an offset and what comes
    after it is the whole, in a process that knows nothing of what was read before as well."""
    stream = await begun(hub, *EVERY)
    await stream.close()
    offsets = [str(Offset(chunk.cursor)) async for chunk in stream.subscribe()]
    assert sorted(offsets) == offsets
    for shape in SHAPES:
        address = durable_stream_url(stream, shape=shape)
        client = await open_client(app(hub))
        whole = await pages(client, address)
        # The later ones first, so that no place is known before it is asked for.
        for offset in reversed(offsets if shape == "agui" else offsets[::5]):
            rest = await pages(client, with_query(address, offset=offset))
            live = await client.get(with_query(address, offset=offset, live="sse"))
            assert "true" == rest[-1].headers["stream-closed"]
            assert after(whole[-1]) == after(rest[-1]) == controls(live)[-1]["streamNextOffset"]
            if shape == "text":
                assert whole[0].text.endswith(rest[0].text)
                assert rest[0].text == "".join(
                    one.data for one in events(live.content) if one.event == "data"
                )
            else:
                messages = told(*rest)
                assert messages == told(*whole)[len(told(*whole)) - len(messages) :]
                assert messages == told(live)
        at_end = await client.get(with_query(address, offset=after(whole[-1])))
        assert (b"" if shape == "text" else b"[]") == at_end.content
        assert "true" == at_end.headers["stream-closed"]


async def test_readers_of_one_place_do_not_disturb_each_other(
    hub: Hub, client: AsyncClient
) -> None:
    """Each gets the beginning of what begins there, however much of it there is by then."""
    stream = await begun(hub, "a")
    place = after(await client.get("/streams/chat"))
    for count in (1, 2, 3):
        await stream.publish(parts.ReasoningDelta("r", "hm"))
        await stream.flush()
        answer = await client.get(with_query("/streams/chat", offset=place))
        assert ["text-end", "reasoning-start", *["reasoning-delta"] * count] == [
            part["type"] for part in told(answer)
        ]


async def test_plain_text_is_told_as_parts(hub: Hub, client: AsyncClient) -> None:
    """As a transport of `useChat` reads them; and by `?format=` as events of AG-UI, as the values
    that were published, or as text."""
    stream = await begun(hub, "Hällo ", "12")
    await stream.close()

    made = [part["type"] for part in told(await client.get("/streams/chat"))]
    assert ["start", "start-step", "text-start", *["text-delta"] * 2] == made[:5]
    assert ["text-end", "finish-step", "finish"] == made[5:]
    run = told(await client.get("/streams/chat?format=agui"))
    assert ("RUN_STARTED", "RUN_FINISHED") == (run[0]["type"], run[-1]["type"])
    assert ["Hällo ", 12] == told(await client.get("/streams/chat?format=json"))
    text = await client.get("/streams/chat?format=text")
    assert ("Hällo 12", "text/plain; charset=utf-8") == (text.text, text.headers["content-type"])


@on_redis_too
async def test_a_long_poll_waits_for_what_comes(hub: Hub, client: AsyncClient) -> None:
    """It is answered as soon as there is something, or the end, and then at once."""
    stream = await begun(hub, "a")
    address = f"{durable_stream_url(stream, shape='json')}&live=long-poll&offset="
    first = await client.get(f"{address}{START}")
    waiting = asyncio.create_task(client.get(address + after(first)))
    await _until_followed(hub)
    await stream.publish("b")
    second = await within(waiting)
    waiting = asyncio.create_task(client.get(address + after(second)))
    await _until_followed(hub)
    await stream.close()
    last = await within(waiting)

    assert [["a"], ["b"]] == [told(first), told(second)]
    assert (204, "true", after(second)) == (
        last.status_code,
        last.headers["stream-closed"],
        after(last),
    )
    assert 204 == (await client.get(address + after(last))).status_code
    await nothing_is_held(hub)


async def test_a_long_poll_says_when_nothing_comes(hub: Hub, open_client: Open) -> None:
    """Where the stream ends, and a cursor for caches that grows with every answer."""
    stream = await begun(hub, "a")
    client = await open_client(app(hub, long_poll=LONG_POLL))
    address = f"{durable_stream_url(stream)}&live=long-poll&offset=now"
    none = await client.get(address)
    again = await client.get(with_query(address, cursor=none.headers["stream-cursor"]))

    assert (204, "true") == (none.status_code, none.headers["stream-up-to-date"])
    assert after(none) == after(await client.head(durable_stream_url(stream)))
    assert int(again.headers["stream-cursor"]) > int(none.headers["stream-cursor"])


async def test_who_asks_on_after_the_end_has_to_wait(hub: Hub, open_client: Open) -> None:
    """Who was told that a stream is closed and asks again, as a client does that knows of no closed
    streams, would ask without a pause otherwise; all others are told at once."""
    stream = await begun(hub, "a")
    await stream.close()
    client = await open_client(app(hub, long_poll=3600))
    address = f"{durable_stream_url(stream, shape='text')}&live=long-poll&offset=now"
    told_at_once = await client.get(address)
    again = with_query(address, cursor=told_at_once.headers["stream-cursor"])
    asking = asyncio.create_task(client.get(again))
    for cursor in ("1", "x", "9" * 14):
        answer = await client.get(with_query(address, cursor=cursor))
        assert (204, "true") == (answer.status_code, answer.headers["stream-closed"])
    assert not asking.done()
    asking.cancel()
    await nothing_is_held(hub)

    soon = await open_client(app(hub, long_poll=LONG_POLL))
    assert "true" == (await soon.get(again)).headers["stream-closed"]


@on_redis_too
async def test_events_come_with_the_offset_after_them(hub: Hub, client: AsyncClient) -> None:
    """What is stored, then what comes, then the end."""
    stream = await begun(hub, "a\n  b", " c")
    address = f"{durable_stream_url(stream, shape='text')}&live=sse&offset={START}"
    async with follow(client, address) as response:
        seen = await response.take(2)
        await stream.publish("d\r\n")
        seen += await response.take(2)
        await stream.close()
        seen += await response.rest()

    assert ["data", "control", "data", "control", "control"] == [one.event for one in seen]
    assert ["a\n  b c", "d\n"] == [one.data for one in seen if one.event == "data"]
    said = [json.loads(one.data) for one in seen if one.event == "control"]
    offsets = [str(Offset(Cursor(int(stream.stream_id), count))) for count in (2, 3, 3)]
    assert offsets == [one["streamNextOffset"] for one in said]
    assert [True, True, None] == [
        one.get("upToDate") if "streamCursor" in one else None for one in said
    ]
    assert (True, "finished") == (said[-1]["streamClosed"], said[-1]["streamhubStatus"])


async def test_an_idle_reader_is_kept_and_noticed_when_it_goes(hub: Hub, open_client: Open) -> None:
    """By comments; and a client that waits, in whichever way, holds nothing once it is gone."""
    stream = await begun(hub, "a")
    client = await open_client(app(hub, heartbeat=0.01))
    address = durable_stream_url(stream)
    async with follow(client, f"{address}&live=sse&offset=now") as response:
        await response.until_raw(b"\n\n:\n:\n")
    waiting = asyncio.create_task(client.get(f"{address}&live=long-poll&offset=now"))
    await _until_followed(hub)
    waiting.cancel()

    await nothing_is_held(hub)


#: How a session ends, whether its stream is closed then, and the last message if that tells it.
ENDS: dict[str, tuple[Callable[[LiveStream], Awaitable[object]], dict[str, str | None]]] = {
    "finished": (
        LiveStream.close,
        {"ui": "finish", "agui": "RUN_FINISHED", "json": "", "text": ""},
    ),
    "cancelled": (
        lambda stream: stream.cancel(wait=10),
        {"ui": "abort", "agui": "RUN_FINISHED", "json": "", "text": ""},
    ),
    "failed": (
        lambda stream: stream.fail("secret"),
        {"ui": "error", "agui": "RUN_ERROR", "json": None, "text": None},
    ),
    "lost": (LiveStream.release, dict.fromkeys(SHAPES)),
}


@pytest.mark.parametrize("status", ENDS)
@pytest.mark.parametrize("shape", SHAPES)
async def test_every_end_is_told(hub: Hub, client: AsyncClient, status: str, shape: str) -> None:
    """A stream is closed if its session is finished or cancelled, and where its last message tells
    that it has failed. Else it is never closed: whoever has all of it is answered with an error, as
    all are while the producer is lost. So nobody waits for ever, and none of the three ways to read
    takes a crash for an end."""
    end, lasts = ENDS[status]
    last = lasts[shape]
    stream = await begun(hub, '"a"')
    address = durable_stream_url(stream, shape=shape)
    before = await client.get(address)
    async with follow(client, f"{address}&live=sse&offset={after(before)}") as following:
        await following.next()
        waiting = asyncio.create_task(
            client.get(f"{address}&live=long-poll&offset={after(before)}")
        )
        await _until_followed(hub, 2)
        await end(stream)
        followed = await following.rest()
        waited = await within(waiting)
    *_, whole = shown = await pages(client, address)
    beyond = await client.get(with_query(address, offset=after(before)))
    head = await client.head(address)

    assert status == whole.headers["streamhub-status"] == head.headers["streamhub-status"]
    assert after(whole) == after(head)
    if last is None:
        code = f"producer_{status}"
        assert "stream-closed" not in whole.headers
        assert "stream-closed" not in head.headers
        assert [(424, code)] * 2 == [
            (one.status_code, one.json()["code"]) for one in (beyond, waited)
        ]
        assert [] == followed
        live = await client.get(f"{address}&live=sse&offset={after(whole)}")
        assert 424 == live.status_code
        assert "secret" not in live.text
        return
    at_once = (beyond, waited) if shape != "agui" else ()
    if shape == "agui":
        assert [] == told(whole)
    assert {"true"} == {one.headers["stream-closed"] for one in (whole, head, *at_once)}
    assert json.loads(followed[-1].data)["streamClosed"]
    assert (204 if last == "" else 200) == waited.status_code
    if last:
        assert [last] * 2 == [told(one)[-1]["type"] for one in (shown[0], waited)]
        assert last == json.loads(followed[0].data)[-1]["type"]
        assert "secret" not in shown[0].text


async def test_the_reason_is_told_to_who_may_hear_it(hub: Hub, open_client: Open) -> None:
    """By `error_text`."""
    client = await open_client(app(hub, error_text=lambda status, reason: f"{status}: {reason}"))
    stream = await begun(hub)
    await stream.fail("no money")

    assert "failed: no money" == told(await client.get("/streams/chat"))[-1]["errorText"]
    refused = await client.get("/streams/chat?format=text")
    assert (424, "failed: no money") == (refused.status_code, refused.json()["detail"])


@on_redis_too
async def test_who_has_read_no_further_reads_on_where_somebody_continues(
    hub: Hub, client: AsyncClient
) -> None:
    """Under the same address. What an end has said is void then: an offset after it is gone."""
    stream = await begun(hub, "a")
    address = durable_stream_url(stream)
    before = await client.get(address)
    await stream.cancel(wait=10)
    closed = await client.get(address)
    assert "abort" == told(closed)[-1]["type"]
    assert "no-cache" in closed.headers["cache-control"]
    stream, created = await hub.register("chat", takeover="continue")
    assert created
    await stream.publish("b")
    await stream.close()

    rest = await client.get(with_query(address, offset=after(before)))
    assert ["b"] == [part["delta"] for part in told(rest) if part["type"] == "text-delta"]
    assert 410 == (await client.get(with_query(address, offset=after(closed)))).status_code


async def test_readers_wait_for_a_supervisor(make_hub: MakeHub, open_client: Open) -> None:
    """Where one is there, a producer that is lost is told to nobody who follows: they read on."""
    other, producing = make_hub(), make_hub()
    resumed = asyncio.Event()

    async def resume(lost: LostSession) -> Any:
        async def go_on(stream: LiveStream) -> None:
            await resumed.wait()
            await stream.publish("b")

        return go_on

    async with other.supervise(resume):
        stream = await begun(producing, "a")
        client = await open_client(app(make_hub()))
        address = durable_stream_url(stream, shape="json")
        async with follow(client, f"{address}&live=sse&offset={START}") as following:
            await following.take(2)
            await stream.release()
            waiting = asyncio.create_task(client.get(f"{address}&live=long-poll&offset=now"))
            resumed.set()
            assert ["b"] == json.loads((await following.next()).data)
            await following.rest()
        assert (await within(waiting)).status_code in (200, 204)
        assert ["a", "b"] == told(await client.get(address))


@on_redis_too
async def test_a_stream_that_was_replaced_is_gone(hub: Hub, client: AsyncClient) -> None:
    """Its address says so, with the new one; and so do its offsets at the address of the session,
    whose start is the new stream's. Whoever follows it is not led to the other."""
    old = await begun(hub, "old")
    address = durable_stream_url(old)
    before = await client.get(address)
    async with follow(client, f"{address}&live=sse&offset={after(before)}") as following:
        await following.next()
        await old.close()
        await following.rest()
    closed = await client.get(address)
    new = await begun(hub, "new")

    assert ["new"] == told(await client.get("/streams/chat?format=json"))
    for offset in (after(before), after(closed)):
        at_session = await client.get("/streams/chat", params={"offset": offset})
        assert (410, "stream_replaced") == (at_session.status_code, at_session.json()["code"])
    for gone in (
        await client.get(address),
        await client.get(f"{address}&live=sse&offset={after(before)}"),
        await client.get(f"{address}&live=long-poll&offset=now"),
        await client.head(address),
    ):
        assert 410 == gone.status_code
        latest = durable_stream_url(new).partition("?")[2]
        assert f'<?{latest}>; rel="latest-version"' == gone.headers["link"]


@pytest.mark.parametrize("new_hub", ["redis"], indirect=True)
async def test_what_the_store_has_lost_is_never_glued(
    make_hub: MakeHub, redis_url: str, open_client: Open
) -> None:
    """Where another term writes in the place of chunks that were read, the offset after these is
    gone, and so is the one after the first of them; the one before them goes on."""
    world = RedisWorld(redis_url)
    store = RedisStore.from_url(redis_url)
    claim = await crash(store, "chat", ["1", "2"], lease=30)
    go_back = world.snapshot()
    lost = Append(claim, base=2, items=["3", "4"], total_bytes=4, term=claim.terms.current)
    await store.write([lost])
    hub = make_hub()
    client = await open_client(app(hub, shape="json"))
    offsets = [str(Offset(Cursor(claim.terms.epoch, count))) for count in range(5)]
    read = await client.get("/streams/chat")
    assert ([1, 2, 3, 4], offsets[4]) == (told(read), after(read))
    go_back()
    world.lapse()
    stream, created = await hub.register("chat", takeover="continue")
    assert created
    for text in ("5", "6", "7"):
        await stream.publish(text)
    await stream.close()

    rest = [await client.get("/streams/chat", params={"offset": one}) for one in offsets]
    assert [[1, 2, 5, 6, 7], [2, 5, 6, 7], [5, 6, 7]] == [told(one) for one in rest[:3]]
    assert [410, 410] == [one.status_code for one in rest[3:]]
    assert after(rest[0]) > offsets[4]
    world.close()
    await store.aclose()


@pytest.mark.parametrize("new_hub", ["redis"], indirect=True)
async def test_what_the_store_has_lost_is_waited_for(
    make_hub: MakeHub, redis_client: Any, open_client: Open
) -> None:
    """While its producer may put it back, in a process as well that has not noticed the loss."""
    config = HubConfig(lease=unhurried(2))
    stream = await begun(make_hub(config), "a", "b")
    client = await open_client(app(make_hub(config), shape="json"))
    place = str(Offset(Cursor(int(stream.stream_id), 1)))
    async with follow(client, f"/streams/chat?live=sse&offset={place}") as following:
        await following.take(2)
        await redis_client.flushall()
        assert ["b"] == told(await client.get(with_query("/streams/chat", offset=place)))


@pytest.mark.parametrize("new_hub", ["redis"], indirect=True)
async def test_what_is_being_put_back_is_waited_for(
    make_hub: MakeHub, redis_url: str, open_client: Open
) -> None:
    """While the store has the claim again, and not yet what was read of the stream: that is no
    stream with nothing more."""
    world = RedisWorld(redis_url)
    config = HubConfig(lease=unhurried(2))
    stream = await begun(make_hub(config))
    go_back = world.snapshot()
    await stream.publish("a")
    await stream.publish("b")
    await stream.flush()
    client = await open_client(app(make_hub(config), shape="json"))
    start, place = (str(Offset(Cursor(int(stream.stream_id), count))) for count in (0, 1))
    async with follow(client, f"/streams/chat?live=sse&offset={start}") as following:
        await following.take(2)
        go_back()
        assert ["b"] == told(await client.get(with_query("/streams/chat", offset=place)))
    world.close()


@pytest.mark.parametrize("new_hub", ["redis"], indirect=True)
async def test_what_the_go_library_writes_is_read_the_same(
    make_hub: MakeHub, redis_client: Any, open_client: Open
) -> None:
    """It has no epochs: a stream is what one generation writes."""
    first, second = (GoSession(redis_client, "chat", one) for one in GENERATIONS)
    await first.register()
    await first.publish("a", "b")
    client = await open_client(app(make_hub(), long_poll=LONG_POLL))
    address = "/streams/chat?format=json"
    read = await client.get(address)
    exact = f"/streams/chat{read.headers['content-location']}"
    await first.publish("c")
    waited = await client.get(with_query(exact, offset=after(read), live="long-poll"))
    parts_of_all = told(await client.get("/streams/chat"))
    await second.register()
    await second.publish("d")

    assert [["a", "b"], ["c"]] == [told(read), told(waited)]
    assert ["a", "b", "c"] == [part["delta"] for part in parts_of_all if "delta" in part]
    assert ["d"] == told(await client.get(address))
    for query in ({"offset": after(read)}, {"offset": "now", "live": "sse"}, {}):
        assert 410 == (await client.get(with_query(exact, **query))).status_code
    assert 410 == (await client.get(with_query(address, offset=after(read)))).status_code


NO_OFFSETS = ["", "0", "-2", "1-1", "NOW", "a,b", "é"]
#: Nearly one.
NO_OFFSETS += [f"{1:016x}_{1:016x}{end}" for end in ("", "_2", "_00")] + [f"{1:016x}_{10:016X}_0"]


async def test_what_was_never_an_offset_is_refused(hub: Hub, client: AsyncClient) -> None:
    """400 and what is allowed, whether or not there is such a stream; and so is what else no client
    sends."""
    await begun(hub)
    for session in ("chat", "unknown"):
        for offset in NO_OFFSETS:
            refused = await client.get(with_query(f"/streams/{session}", offset=offset))
            assert (400, "invalid_offset") == (refused.status_code, refused.json()["code"])
            assert repr(offset) in refused.json()["detail"]
    for query in (
        "live=sse",
        "live=long-poll",
        "live=x&offset=-1",
        "format=xml",
        "offset=-1&offset=now",
        "stream=1&stream=2",
    ):
        assert 400 == (await client.get(f"/streams/chat?{query}")).status_code


async def test_an_offset_beyond_the_end_is_gone(hub: Hub, client: AsyncClient) -> None:
    """Where nobody will write as far as that; it is never taken for a client's mistake."""
    stream = await begun(hub, "a")
    await stream.close()
    beyond = Offset(Cursor(int(stream.stream_id), 9))
    for live in ({}, {"live": "sse"}, {"live": "long-poll"}):
        gone = await client.get("/streams/chat", params={"offset": str(beyond), **live})
        assert 410 == gone.status_code


async def test_a_page_is_bounded(hub: Hub, client: AsyncClient) -> None:
    """It ends somewhere, and says so; the next goes on there, and the last has the end."""
    stream = await begun(hub, *[json.dumps("x" * 100_000)] * 8)
    await stream.close()
    address = durable_stream_url(stream, shape="json")
    assert [3, 3, 2] == [len(told(one)) for one in await pages(client, address)]
    live = await client.get(f"{address}&live=sse&offset={START}")
    assert [1] * 8 == [
        len(json.loads(one.data)) for one in events(live.content) if one.event == "data"
    ]
    assert [*[None] * 7, True] == [one.get("upToDate") for one in controls(live)[:-1]]


async def test_who_has_an_answer_already_is_told_so(hub: Hub, client: AsyncClient) -> None:
    """By its ETag, until there is more of it: a chunk, or the end."""
    stream = await begun(hub, "a")
    for change in (stream.publish, stream.close, None):
        first = await client.get("/streams/chat?format=text")
        named = {"if-none-match": f'"x", W/{first.headers["etag"]}'}
        same = await client.get("/streams/chat?format=text", headers=named)
        assert (304, b"", after(first)) == (same.status_code, same.content, after(same))
        if change is not None:
            await (change("b") if change == stream.publish else change())  # type: ignore[call-arg]
            await asyncio.sleep(0)
            other = await client.get("/streams/chat?format=text", headers=named)
            assert 200 == other.status_code


@pytest.mark.parametrize("public", [False, True])
async def test_caches_may_keep_what_stays(hub: Hub, open_client: Open, public: bool) -> None:
    """What an offset names, for a minute, and others may have it only where that is said; never
    what another stream, or another chunk, may stand for a moment later."""
    client = await open_client(app(hub, public=public, long_poll=LONG_POLL))
    stream = await begun(hub, "a", "b")
    exact = durable_stream_url(stream)
    offset = str(Offset(Cursor(int(stream.stream_id), 1)))
    who = "public" if public else "private"
    kept = f"{who}, max-age=60, stale-while-revalidate=300"

    async def caching(address: str, **query: str) -> str:
        answer = await client.get(with_query(address, **query))
        assert answer.status_code in (200, 204)
        return str(answer.headers["cache-control"])

    assert kept == await caching(exact)
    assert kept == await caching("/streams/chat", offset=offset)
    assert kept == await caching("/streams/chat", offset=offset, live="long-poll")
    assert f"{who}, no-cache" == await caching("/streams/chat")
    tail = str(Offset(Cursor(int(stream.stream_id), 2)))
    assert f"{who}, no-cache" == await caching(exact, offset=tail)
    assert "no-store" == await caching(exact, offset=tail, live="long-poll")
    assert "no-store" == await caching(exact, offset="now")
    assert "no-store" == (await client.head(exact)).headers["cache-control"]
    await stream.close()
    assert kept == await caching(exact, offset=tail)
    assert kept == await caching(exact)


async def test_a_stream_is_only_read(hub: Hub, client: AsyncClient) -> None:
    """What would write is answered with 405, and changes nothing."""
    await begun(hub, "a")
    for method in ("PUT", "POST", "PATCH", "DELETE"):
        refused = await client.request(method, "/streams/chat", content=b"x")
        assert 405 == refused.status_code
        assert {"GET", "HEAD"} == {*refused.headers["allow"].split(", ")}
    assert ["a"] == told(await client.get("/streams/chat?format=json"))


async def test_what_may_not_be_read_looks_like_nothing(hub: Hub, open_client: Open) -> None:
    """And so does what is not there."""
    stream = await begun(hub, "a", session_id="mine/1 ü")
    await begun(hub, "a", session_id="other")

    async def authorize(request: Request, session_id: str, action: str) -> bool:
        return (session_id, action) == ("mine/1 ü", "read")

    client = await open_client(app(hub, authorize=authorize))
    assert 200 == (await client.get(durable_stream_url(stream))).status_code
    hidden = [
        await client.get(f"/streams/{name}{query}")
        for name in ("other", "unknown")
        for query in ("", "?offset=now&live=sse", "?offset=-1&live=long-poll")
    ]
    assert {(404, hidden[0].text)} == {(one.status_code, one.text) for one in hidden}


async def test_who_has_nothing_gets_the_stream_that_there_is(hub: Hub, open_client: Open) -> None:
    """Even where it begins while the request is looked at."""
    stream = await begun(hub, "old")
    address = durable_stream_url(stream)
    streams = [stream]

    async def authorize(request: Request, session_id: str, action: str) -> bool:
        if len(streams) == 1:
            await stream.close()
            streams.append(await begun(hub, "new"))
        return True

    client = await open_client(app(hub, authorize=authorize, shape="json"))
    assert ["new"] == told(await client.get("/streams/chat"))
    assert 410 == (await client.get(address)).status_code


async def test_a_session_that_is_gone_is_not_found(make_hub: MakeHub, open_client: Open) -> None:
    """Also by who has read of it, once nobody has put it back for a lease; a page of another site
    that may read is shown where it stands."""
    hub = make_hub(HubConfig(lease=0.1))
    stream = await begun(hub, "a")
    address = durable_stream_url(stream)
    site = "https://good.example"
    client = await open_client(guarded(hub, token=None, origins=[site]))
    seen = await client.get(address, headers={"origin": site})
    assert "Stream-Next-Offset" in seen.headers["access-control-expose-headers"]
    await hub.remove("chat")
    for gone in (address, with_query("/streams/chat", offset=after(seen))):
        assert 404 == (await client.get(gone)).status_code


async def test_a_server_that_shuts_down_lets_its_readers_go(
    new_hub: NewHub, make_hub: MakeHub, open_client: Open
) -> None:
    """Without an end: they ask again elsewhere, and are told to where they are refused."""
    serving = make_hub()
    stream = await begun(make_hub(), "a")
    client = await open_client(app(serving))
    address = durable_stream_url(stream)
    async with follow(client, f"{address}&live=sse&offset={START}") as following:
        await following.take(2)
        waiting = asyncio.create_task(client.get(f"{address}&live=long-poll&offset=now"))
        await _until_followed(serving, 2)
        await serving.aclose()
        assert [] == await following.rest()
        waited = await within(waiting)

    assert (503, "1") == (waited.status_code, waited.headers["retry-after"])


async def test_what_readers_share_is_bounded(hub: Hub) -> None:
    """By its bytes, those of what messages depend on included; the newest stays."""
    info = await (await begun(hub)).info()
    rendered, start = Rendered(), Cursor(1, 0)
    text = json.dumps({"id": "m", "role": "assistant", "parts": [], "metadata": "x" * 2**20})
    chunk = Chunk(text, Cursor(1, 1), MESSAGE_EVENT)
    keys = [("chat", str(number), "ui") for number in range(32)]
    made = [SHAPES["ui"].begin(info, None) for _ in keys]
    for key, messages in zip(keys, made, strict=True):
        rendered.keep(key, start, Row([chunk], messages.of(chunk), messages))
        rendered.keep_place(key, chunk.cursor, messages)

    assert rendered.place(keys[0], chunk.cursor) is None
    assert rendered.row(keys[0], start, [chunk]) is None
    assert rendered.place(keys[-1], chunk.cursor) is made[-1]
    assert rendered.row(keys[-1], start, [chunk]) is not None
    # A cursor that has come to name another chunk.
    other = Chunk("other", chunk.cursor)
    assert rendered.row(keys[-1], start, [other]) is None


def test_cursors_of_caches_grow() -> None:
    """With the time; and with each request, also one that is ahead of the time."""
    now = 1_728_432_000.0 + 20 * 1000
    assert ["1000", "1000", "1001"] == [
        next_cursor(None, now, 0.0),
        next_cursor("999", now, 0.0),
        next_cursor("1000", now, 0.0),
    ]
    assert ["1179", "5001", "1000"] == [
        next_cursor("1000", now, 0.999),
        next_cursor("5000", now, 0.0),
        next_cursor("x", now, 0.0),
    ]


async def _until_followed(hub: Hub, times: int = 1) -> None:

    async def followed() -> bool:
        return hub.statistics().subscribers >= times

    await until(followed)
