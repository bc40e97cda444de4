"""Chromium's own EventSource on a page of the server: follows, resumes by itself, and stops."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Page, Response

from streamhub import Hub, LiveStream
from streamhub.formats.endings import told_of
from streamhub.testing.waiting import bounded, unhurried, until

from ..conftest import RunPython, Serve
from ..support.chromium import Pages
from ..support.faulty_proxy import FaultyProxy
from ..support.http_server import Port
from ..support.programs import PRODUCE

pytestmark = pytest.mark.slow

#: Of a producer that is killed, in seconds: a test waits until it lapses.
LEASE = unhurried(2.0)
BOUND = 40.0
#: What the browser logs when a connection breaks in an answer, or before it.
CUT = "net::ERR_(INCOMPLETE_CHUNKED_ENCODING|EMPTY_RESPONSE|CONNECTION_RESET|CONNECTION_CLOSED)"

APP = """
import sys
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route
from streamhub import Hub
from streamhub.http import SSEResponse

hub = Hub.from_url(sys.argv[1])

@asynccontextmanager
async def lifespan(app):
    async with hub:
        yield

async def page(request):
    return HTMLResponse("<title>events</title>")

async def events(request):
    return SSEResponse(await hub.get(request.path_params["session"], wait=10), retry=0.1)

async def answers(request):
    stream = hub.get(request.path_params["session"])
    return SSEResponse(stream, follow_next=True, retry=0.1)

app = Starlette(
    routes=[
        Route("/", page),
        Route("/events/{session:path}", events),
        Route("/answers/{session:path}", answers),
    ],
    lifespan=lifespan,
)
"""

FOLLOW = """
([url, types]) => {
  window.seen = [];
  window.source = new EventSource(url);
  for (const type of ["message", "end", "error", "reset", ...types])
    source.addEventListener(type, event => {
      if (event.data !== undefined) seen.push([type, event.data, event.lastEventId]);
    });
}
"""


class Follower:
    """An EventSource in a tab, and what has reached the page."""

    def __init__(self, page: Page, path: str) -> None:
        self.page = page
        self._path = path
        self._answers: list[Response] = []
        page.on("response", self._answered)

    async def follow(self, *types: str) -> None:
        await self.page.evaluate(FOLLOW, [self._path, types])

    async def seen(self, count: int) -> list[tuple[str, str, str]]:
        """The first events, of any type, as soon as there are so many."""
        await self.page.wait_for_function("count => seen.length >= count", arg=count)
        return [tuple(event) for event in await self.page.evaluate("() => seen")]

    async def closed(self) -> None:
        """Wait until it has given up for good."""
        await self.page.wait_for_function("() => source.readyState === EventSource.CLOSED")

    @property
    def statuses(self) -> list[int]:
        """What each of its requests was answered with."""
        return [answer.status for answer in self._answers]

    async def cursors(self) -> list[str | None]:
        """What each of its requests has sent as ``Last-Event-ID``."""
        requests = [await answer.request.all_headers() for answer in self._answers]
        return [headers.get("last-event-id") for headers in requests]

    def _answered(self, answer: Response) -> None:
        if self._path in answer.url:
            self._answers.append(answer)


@pytest.fixture
async def hub(redis_url: str) -> AsyncIterator[Hub]:
    async with bounded(BOUND), Hub.from_url(redis_url) as hub:
        yield hub


@pytest.fixture
async def stream(hub: Hub, session_id: str) -> LiveStream:
    stream, _ = await hub.register(session_id)
    return stream


async def publish(stream: LiveStream, *numbers: int) -> None:
    for number in numbers:
        await stream.publish(f"<{number}>")
    await stream.flush()


async def following(page: Page, url: str, session_id: str, *types: str) -> Follower:
    await page.goto(url)
    follower = Follower(page, f"/events/{session_id}")
    await follower.follow(*types)
    return follower


def numbered(epoch: int, *numbers: int) -> list[tuple[str, str, str]]:
    return [("message", f"<{number}>", f"{epoch}-{number}") for number in numbers]


def epoch_of(events: list[tuple[str, str, str]]) -> int:
    return int(events[0][2].partition("-")[0])


async def test_g3_g4_it_follows_to_an_explicit_end_and_stops(
    serve: Serve, page: Page, stream: LiveStream, session_id: str, redis_url: str
) -> None:
    """Replay, then live, then ``end``; it asks once more, gets 204, and never again."""
    server = await serve(APP, redis_url)
    await publish(stream, 1, 2)
    follower = await following(page, server.url, session_id)
    await follower.seen(2)
    await publish(stream, 3)
    await follower.seen(3)
    await stream.close()
    events = await follower.seen(4)
    await follower.closed()

    epoch = epoch_of(events)
    end = ("end", json.dumps({"status": "finished", "cursor": f"{epoch}-3"}, separators=(",", ":")))
    assert [*numbered(epoch, 1, 2, 3), (*end, f"{epoch}-3")] == events
    assert [200, 204] == follower.statuses
    assert [None, f"{epoch}-3"] == await follower.cursors()


async def test_event_types_and_every_line_break_arrive(
    serve: Serve, page: Page, stream: LiveStream, session_id: str, redis_url: str
) -> None:
    """A chunk's type is the event's name; text comes as it was published, but for the line breaks,
    which are all ``\\n`` to a browser."""
    server = await serve(APP, redis_url)
    await stream.publish("plain")
    await stream.publish('{"tool":1}', event="tool")
    await stream.publish("a\nb\r\nc\rd\n\n e\u2028f\x00g\ud7ffé🙂: data: x\nid: 7\n")
    await stream.publish("")
    await stream.publish("mine", event="end")
    await stream.close()
    follower = await following(page, server.url, session_id, "tool", "chunk:end")
    events = await follower.seen(6)

    assert [
        ("message", "plain"),
        ("tool", '{"tool":1}'),
        ("message", "a\nb\nc\nd\n\n e\u2028f\x00g\ud7ffé🙂: data: x\nid: 7\n"),
        ("message", ""),
        ("chunk:end", "mine"),
        ("end", f'{{"status":"finished","cursor":"{epoch_of(events)}-5"}}'),
    ] == [event[:2] for event in events]


async def test_a_reload_in_the_middle_sees_the_whole_answer(
    serve: Serve, page: Page, stream: LiveStream, session_id: str, redis_url: str
) -> None:
    """The page forgets all, and its new EventSource replays from the start."""
    server = await serve(APP, redis_url)
    await publish(stream, 1, 2)
    follower = await following(page, server.url, session_id)
    await follower.seen(2)
    await page.reload()
    await publish(stream, 3)
    await follower.follow()
    await publish(stream, 4)
    await stream.close()
    events = await follower.seen(5)

    assert numbered(epoch_of(events), 1, 2, 3, 4) == events[:-1]


async def test_a_page_that_keeps_its_cursor_goes_on_after_it(
    serve: Serve, pages: Pages, stream: LiveStream, session_id: str, redis_url: str
) -> None:
    """``?after=`` is for the first request; the cursor of a later one is newer, and wins."""
    server = await serve(APP, redis_url)
    pages.expect_errors(CUT)
    page = await pages.open()
    await publish(stream, 1, 2, 3)
    epoch = (await stream.info()).epoch or 0
    async with FaultyProxy(server.port) as proxy:
        await page.goto(f"http://127.0.0.1:{proxy.port}")
        follower = Follower(page, f"/events/{session_id}?after={epoch}-2")
        await follower.follow()
        await follower.seen(1)
        await publish(stream, 4)
        await follower.seen(2)
        proxy.cut()
        await publish(stream, 5)
        await stream.close()
        events = await follower.seen(4)
        await follower.closed()

    assert numbered(epoch, 3, 4, 5) == events[:-1]
    assert [None, f"{epoch}-4", f"{epoch}-5"] == await follower.cursors()


async def test_g3_cut_connections_lose_and_double_nothing(
    serve: Serve, pages: Pages, stream: LiveStream, session_id: str, redis_url: str
) -> None:
    """Its connection breaks again and again while chunks flow; it resumes by ``Last-Event-ID``."""
    pages.expect_errors(CUT)
    server = await serve(APP, redis_url)
    cuts = 5
    async with FaultyProxy(server.port) as proxy:
        follower = await following(await pages.open(), f"http://127.0.0.1:{proxy.port}", session_id)
        for cut in range(cuts):
            await publish(stream, 4 * cut + 1, 4 * cut + 2)
            await follower.seen(4 * cut + 2)
            await publish(stream, 4 * cut + 3)
            proxy.cut()
            await publish(stream, 4 * cut + 4)
        await stream.close()
        events = await follower.seen(4 * cuts + 1)
        await follower.closed()

    assert numbered(epoch_of(events), *range(1, 4 * cuts + 1)) == events[:-1]
    assert "end" == events[-1][0]
    assert [200] * (len(follower.statuses) - 1) + [204] == follower.statuses
    assert len(follower.statuses) >= cuts + 2


async def test_g3_a_killed_server_loses_and_doubles_nothing(
    serve: Serve,
    pages: Pages,
    port: Port,
    stream: LiveStream,
    session_id: str,
    redis_url: str,
) -> None:
    """The web server dies with its connections; the next one goes on from the browser's cursor."""
    pages.expect_errors(CUT)
    server = await serve(APP, redis_url, port=port)
    await publish(stream, 1, 2)
    follower = await following(await pages.open(), port.url, session_id)
    await follower.seen(2)
    await server.kill()
    await publish(stream, 3)
    await serve(APP, redis_url, port=port)
    await publish(stream, 4)
    await stream.close()
    events = await follower.seen(5)

    assert numbered(epoch_of(events), 1, 2, 3, 4) == events[:-1]
    assert f"{epoch_of(events)}-2" == (await follower.cursors())[1]


async def test_a_new_epoch_is_a_reset_and_its_replay(
    serve: Serve, page: Page, hub: Hub, session_id: str, redis_url: str
) -> None:
    """Its producer stops half-way and another one starts the answer anew: the page is told to
    forget what it has."""
    server = await serve(APP, redis_url)
    async with Hub.from_url(redis_url) as gone:
        first, _ = await gone.register(session_id)
        await publish(first, 1, 2)
        follower = await following(page, server.url, session_id)
        before = epoch_of(await follower.seen(2))
    second, _ = await hub.register(session_id, takeover="restart")
    await publish(second, 1)
    await second.close()
    await page.wait_for_function("() => seen.some(([type]) => type === 'end')")
    events = await follower.seen(5)
    reset = next(number for number, event in enumerate(events) if event[0] == "reset")
    after = epoch_of(events[reset + 1 :])

    assert before != after
    assert numbered(before, 1, 2) == events[:2]
    assert {"error"} >= {event[0] for event in events[2:reset]}
    assert ("reset", f'{{"cursor":"{after}-0"}}', f"{after}-0") == events[reset]
    assert numbered(after, 1) == events[reset + 1 : -1]


async def test_g8_a_killed_producer_is_an_error_and_its_successor_is_read_on(
    serve: Serve,
    page: Page,
    run_python: RunPython,
    hub: Hub,
    session_id: str,
    redis_url: str,
) -> None:
    """The tab hears ``error`` with status ``lost`` once, keeps asking, and gets the rest from the
    producer that continues, once each."""
    server = await serve(APP, redis_url)
    producer = await run_python(PRODUCE, redis_url, session_id, "restart", str(LEASE))
    assert "claimed" == await producer.line()
    await producer.send("publish 2")
    assert "ok" == await producer.line()
    follower = await following(page, server.url, session_id)
    await follower.seen(2)
    await producer.kill()
    lost = (await follower.seen(3))[2]
    asked = len(follower.statuses)

    async def has_come_back() -> bool:
        return len(follower.statuses) >= asked + 3

    await until(has_come_back)
    stream, created = await hub.register(session_id, takeover="continue")
    await publish(stream, 3)
    await stream.close()
    await follower.closed()
    events: list[Any] = await follower.seen(4)

    assert created
    assert ("error", "lost") == (lost[0], json.loads(lost[1])["status"])
    first = epoch_of(events)
    kept = [event for event in events if event[0] != "error"]
    second = epoch_of(kept[2:])
    assert [*numbered(first, 1, 2), *numbered(second, 3)] == kept[:-1]
    assert first < second
    assert ("end", "finished") == (kept[-1][0], json.loads(kept[-1][1])["status"])
    assert ["lost"] == [json.loads(event[1])["status"] for event in events if event[0] == "error"]


async def test_a_page_follows_the_answers_of_a_chat(
    serve: Serve, page: Page, hub: Hub, session_id: str, redis_url: str
) -> None:
    """From before the first on, one after the other, with an EventSource that it never closes; a
    cut connection between two of them changes nothing."""
    server = await serve(APP, redis_url)
    await page.goto(server.url)
    follower = Follower(page, f"/answers/{session_id}")
    await follower.follow()

    async def has_come_back() -> bool:
        return len(follower.statuses) >= 2

    await until(has_come_back)
    for number in range(3):
        stream, _ = await hub.register(session_id)
        await publish(stream, number)
        await stream.close()
        await follower.seen(2 + 3 * number)
        if number == 1:
            # As if the connection had been cut: it goes on from the last event.
            await page.context.set_offline(True)
            await page.context.set_offline(False)
    events = await follower.seen(8)

    assert ["message", "end", *["reset", "message", "end"] * 2] == [event[0] for event in events]
    assert ["<0>", "<1>", "<2>"] == [event[1] for event in events if event[0] == "message"]
    assert {200} == set(follower.statuses)


async def test_a_failure_is_told_once(
    serve: Serve, page: Page, stream: LiveStream, session_id: str, redis_url: str
) -> None:
    """``error``, in words that say nothing of the exception, then no reconnect loop."""
    server = await serve(APP, redis_url)
    await publish(stream, 1)
    follower = await following(page, server.url, session_id)
    await follower.seen(1)
    await stream.fail("the model is overloaded")
    await follower.closed()
    events = await follower.seen(2)

    assert ("error", "failed", told_of("failed")) == (
        events[1][0],
        *(json.loads(events[1][1])[name] for name in ("status", "error")),
    )
    assert [200, 204] == follower.statuses
