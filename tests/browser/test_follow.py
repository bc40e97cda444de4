"""The function of docs/browser.md that follows with ``fetch``, in Chromium, as it stands there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, Request

from streamhub import Hub, LiveStream
from streamhub.testing.waiting import bounded, unhurried

from ..conftest import Serve
from ..support.chromium import Pages
from ..support.faulty_proxy import FaultyProxy
from ..support.http_server import Port

pytestmark = pytest.mark.slow

BOUND = 40.0
PAGE = Path(__file__).parents[2] / "docs" / "browser.md"
#: What the browser logs when a connection breaks in an answer, or before it, or is refused.
CUT = "net::ERR_(INCOMPLETE_CHUNKED_ENCODING|EMPTY_RESPONSE|CONNECTION_RESET|CONNECTION_CLOSED)"

#: Arguments: the store, the code of follow.js, and whose pages may ask from elsewhere.
APP = """
import sys
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from streamhub import Hub
from streamhub.http import SSEResponse

hub = Hub.from_url(sys.argv[1])

@asynccontextmanager
async def lifespan(app):
    async with hub:
        yield

async def page(request):
    return HTMLResponse("<title>follow</title>")

async def code(request):
    return Response(sys.argv[2], media_type="text/javascript")

async def events(request):
    return SSEResponse(hub.get(request.path_params["session"], wait=0.1), retry=0.1)

app = Starlette(
    routes=[Route("/", page), Route("/follow.js", code), Route("/events/{session:path}", events)],
    middleware=[Middleware(CORSMiddleware, allow_origins=[sys.argv[3]])],
    lifespan=lifespan,
)
"""

FOLLOW = """
async ([url, options]) => {
  const { follow } = await import("/follow.js")
  window.seen = []
  window.leaving = new AbortController()
  follow(url, {
    chunk: ({ type, data, cursor }) => seen.push([type, data, cursor]),
    reset: () => seen.push(["reset"]),
    waiting: (reason) => seen.push(["waiting", reason]),
  }, { signal: leaving.signal, ...options }).then(
    (status) => seen.push(["over", status]),
    (error) => seen.push(["threw", error.constructor.name, error.message]),
  )
}
"""

LISTEN = """
(url) => {
  window.seen = []
  window.source = new EventSource(url)
  source.onmessage = (event) => seen.push([event.data])
  source.addEventListener("end", () => { seen.push(["end"]); source.close() })
}
"""


def code() -> str:
    (block,) = re.findall(r"```js\n(/\*\*.*?)```", PAGE.read_text(), re.DOTALL)
    assert isinstance(block, str)
    return block


@pytest.fixture
async def hub(redis_url: str) -> AsyncIterator[Hub]:
    async with bounded(BOUND), Hub.from_url(redis_url) as hub:
        yield hub


async def publish(stream: LiveStream, *chunks: str) -> None:
    for chunk in chunks:
        await stream.publish(chunk)
    await stream.flush()


async def seen(page: Page, count: int, *, waits: bool = False) -> list[list[str]]:
    """What has reached the page, as soon as so many of it are there; how it waited is left out."""
    told = "seen" if waits else "seen.filter(([kind]) => kind !== 'waiting')"
    await page.wait_for_function(f"count => {told}.length >= count", arg=count)
    found: list[list[str]] = await page.evaluate(f"() => {told}")
    return found


async def test_it_follows_over_cuts_and_silence_to_the_end(
    serve: Serve, pages: Pages, hub: Hub, session_id: str, redis_url: str
) -> None:
    """Each chunk once and in order, with every line break, whoever breaks the connection; then how
    it ended."""
    pages.expect_errors(CUT)
    server = await serve(APP, redis_url, code(), "")
    stream, _ = await hub.register(session_id)
    cursors: list[Any] = []
    async with FaultyProxy(server.port) as proxy:
        page = await pages.open(f"http://127.0.0.1:{proxy.port}")
        page.on("request", lambda request: cursors.append(request.headers.get("last-event-id")))
        await publish(stream, "one\n\ntwo", "é🙂: data: x")
        await page.evaluate(FOLLOW, [f"/events/{session_id}", {"silence": 1000 * unhurried(0.8)}])
        await seen(page, 2)
        proxy.cut()
        await publish(stream, "3")
        await seen(page, 3)
        # Nothing comes for longer than it waits: no heartbeat within so short a time.
        await page.wait_for_function("() => seen.some((one) => one[1] === 'silence')")
        await stream.publish("{}", event="note")
        await stream.close()
        events = await seen(page, 5)

    epoch = (await stream.info()).epoch
    assert [
        ["message", "one\n\ntwo", f"{epoch}-1"],
        ["message", "é🙂: data: x", f"{epoch}-2"],
        ["message", "3", f"{epoch}-3"],
        ["note", "{}", f"{epoch}-4"],
        ["over", "finished"],
    ] == events
    assert {f"{epoch}-2", f"{epoch}-3"} <= {*cursors}


async def test_it_tells_what_is_over_and_what_begins_anew(
    serve: Serve, pages: Pages, hub: Hub, session_id: str, redis_url: str
) -> None:
    """A lost producer is waited for; a new epoch is a reset; a failure, and what is not there, end
    it; so does whoever leaves."""
    pages.expect_errors("404")
    server = await serve(APP, redis_url, code(), "")
    page = await pages.open(server.url)
    async with Hub.from_url(redis_url) as gone:
        first, _ = await gone.register(session_id)
        await publish(first, "old")
        await page.evaluate(FOLLOW, [f"/events/{session_id}", {}])
        await seen(page, 1)
    await page.wait_for_function("() => seen.some((one) => one[1] === 'lost')")
    second, _ = await hub.register(session_id, takeover="restart")
    await publish(second, "new")
    await second.fail("the model is overloaded")
    failed = await seen(page, 4)
    await page.evaluate(FOLLOW, ["/events/nobody", {}])
    unknown = await seen(page, 1)
    third, _ = await hub.register(session_id)
    await publish(third, "again")
    await page.evaluate(FOLLOW, [f"/events/{session_id}", {}])
    await seen(page, 1)
    await page.evaluate("() => leaving.abort()")
    left = await seen(page, 2)

    assert [["message", "old"], ["reset"], ["message", "new"], ["threw", "Ended"]] == [
        one[:2] for one in failed
    ]
    assert [["threw", "Ended"]] == [one[:2] for one in unknown]
    assert ["threw", "DOMException"] == left[1][:2]


async def test_a_page_of_another_origin_resumes_without_asking_first(
    serve: Serve, pages: Pages, port: Port, hub: Hub, session_id: str, redis_url: str
) -> None:
    """An EventSource sends its cursor by itself: the application allows the origin, and no header
    of its own."""
    pages.expect_errors(CUT)
    await serve(APP, redis_url, code(), "", port=port)
    other = await serve(APP, redis_url, code(), port.url)
    stream, _ = await hub.register(session_id)
    asked: list[Request] = []
    async with FaultyProxy(other.port) as proxy:
        page = await pages.open(port.url)
        # A method of a list takes no attribute, which is set on what is called.
        page.on("request", lambda request: asked.append(request))  # noqa: PLW0108
        await publish(stream, "1")
        await page.evaluate(LISTEN, f"http://127.0.0.1:{proxy.port}/events/{session_id}")
        await seen(page, 1)
        proxy.cut()
        await publish(stream, "2")
        await stream.close()
        events = await seen(page, 3)

    epoch = (await stream.info()).epoch
    assert [["1"], ["2"], ["end"]] == events
    cursors = [(await request.all_headers()).get("last-event-id") for request in asked]
    assert [None, f"{epoch}-1"] == cursors[:2]
    assert {"GET"} == {request.method for request in asked}
