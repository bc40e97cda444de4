"""Clients that go away, at any moment: all that was held for them is let go at once."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streamhub import Hub, HubConfig, LiveStream, Status
from streamhub.http import SSEResponse, chat_routes, create_app
from streamhub.serving.disconnects import ClientGone, unless_gone
from streamhub.serving.encode_once import Encoding
from streamhub.testing.waiting import patience, until, within

from ..conftest import MakeHub
from .conftest import Open
from .serving import nothing_is_held, path_of, raw_request, stored, tasks_of_clients


@pytest.fixture
async def url(hub: Hub, open_client: Open) -> str:
    client = await open_client(create_app(hub))
    # One of each: what a first request starts stays.
    await client.get("/health")
    await client.aclose()
    return str(client.base_url).rstrip("/")


@pytest.fixture
async def stream(hub: Hub, session_id: str) -> LiveStream:
    stream, _ = await hub.register(session_id)
    await stored(stream, "a")
    return stream


async def gone(writer: asyncio.StreamWriter, *, rudely: bool = False) -> None:
    if rudely:
        writer.transport.abort()
    else:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("rudely", [False, True])
@pytest.mark.parametrize("format_", ["sse", "ndjson", "text"])
async def test_while_nothing_is_sent(
    hub: Hub, url: str, stream: LiveStream, rudely: bool, format_: str
) -> None:
    """An idle response ends at once, not at its next heartbeat; the session goes on."""
    path = path_of(stream.session_id) + f"?format={format_}"
    reader, writer = await raw_request(url, path)
    await within(reader.readuntil(b"a"))
    await gone(writer, rudely=rudely)
    await nothing_is_held(hub)

    assert Status.ACTIVE is (await stream.info()).status
    assert not (await stream.info()).cancelling


async def test_before_anything_was_sent(hub: Hub, url: str, stream: LiveStream) -> None:
    """Without having read a byte, and in the middle of its request."""
    for _ in range(20):
        _, writer = await raw_request(url, path_of(stream.session_id))
        await gone(writer, rudely=True)
    _, writer = await raw_request(
        url, path_of(stream.session_id), "content-length: 100", method="POST"
    )
    await gone(writer)

    await nothing_is_held(hub)


@pytest.mark.parametrize(
    "target", [path_of("unknown") + "?wait=30", path_of("unknown") + "?wait=30&format=text"]
)
async def test_while_it_waits_for_a_session(hub: Hub, url: str, target: str) -> None:
    """That nobody has begun yet."""
    _, writer = await raw_request(url, target)

    async def waiting() -> bool:
        return hub.statistics().sessions_followed == 1

    await until(waiting)
    await gone(writer)
    await nothing_is_held(hub)


async def test_while_a_route_of_ones_own_waits_for_a_session(hub: Hub, open_client: Open) -> None:
    """Without any code for it."""

    async def events(request: Request) -> Response:
        return SSEResponse(hub.get("unknown", wait=30))

    client = await open_client(Starlette(routes=[Route("/events", events)]))
    _, writer = await raw_request(str(client.base_url).rstrip("/"), "/events")

    async def waiting() -> bool:
        return hub.statistics().sessions_followed == 1

    await until(waiting)
    await gone(writer)
    await nothing_is_held(hub)


async def test_while_it_waits_for_the_end_of_a_cancel(hub: Hub, url: str, session_id: str) -> None:
    """The cancel stands; the wait is over."""
    may_stop = asyncio.Event()

    async def stubborn(stream: LiveStream) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await may_stop.wait()

    stream = await hub.run(session_id, stubborn)
    _, writer = await raw_request(url, path_of(session_id, "/cancel?wait=30"), method="POST")

    async def cancelled() -> bool:
        return (await stream.info()).cancelling

    await until(cancelled)
    await gone(writer)
    await nothing_is_held(hub)

    assert (await stream.info()).cancelling
    may_stop.set()
    assert Status.CANCELLED is await stream.wait(patience())


async def test_while_it_does_not_read(hub: Hub, url: str, session_id: str) -> None:
    """More is stored than any buffer on the way takes, so that sending stands still."""
    stream, _ = await hub.register(session_id)
    for _ in range(12):
        await stored(stream, "x" * 1_000_000)
    reader, writer = await raw_request(url, path_of(session_id))
    await within(reader.readuntil(b"xxxx"))
    await gone(writer, rudely=True)

    await nothing_is_held(hub)
    assert Status.ACTIVE is (await stream.info()).status


@pytest.mark.parametrize("implementation", ["h11", "httptools"])
async def test_many_at_any_moment(
    hub: Hub, open_client: Open, session_id: str, implementation: str
) -> None:
    """While chunks flow, after so and so many bytes; those who stay get every chunk."""
    client = await open_client(create_app(hub), http=implementation)
    url = str(client.base_url).rstrip("/")
    stream, _ = await hub.register(session_id)
    staying = asyncio.create_task(
        client.get(path_of(session_id) + "?format=text", timeout=patience(30))
    )

    async def visit(size: int) -> None:
        reader, writer = await raw_request(url, path_of(session_id))
        await reader.readexactly(size)
        await gone(writer, rudely=bool(size % 2))

    visits = [asyncio.create_task(visit(11 * n)) for n in range(60)]
    for n in range(300):
        await stream.publish(f"<{n}>")
        await asyncio.sleep(0)
    await within(asyncio.gather(*visits))
    await stream.close()
    answer = await within(staying)

    assert "".join(f"<{n}>" for n in range(300)) == answer.text
    await client.aclose()
    await nothing_is_held(hub)


async def test_in_the_middle_of_its_message(
    hub: Hub, open_client: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """What a page posts to a chat; it is no error of the server's, and begins nothing."""
    from starlette.applications import Starlette

    client = await open_client(Starlette(routes=chat_routes(hub, lambda body: iter(["a"]))))
    url = str(client.base_url).rstrip("/")
    await client.get("/api/chat/x/stream")
    await client.aclose()
    for path in ("/api/chat", "/api/chat/x/stop"):
        _, writer = await raw_request(url, path, "content-length: 100", method="POST")
        writer.write(b'{"id": "x", ')
        await writer.drain()

        async def begun() -> bool:
            return bool(tasks_of_clients())

        await until(begun)
        await gone(writer)
        await nothing_is_held(hub)

    assert [] == [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert await hub.get("chat:x") is None


async def test_servers_that_tell_by_an_error(hub: Hub, stream: LiveStream) -> None:
    """ASGI 2.4: ``send`` raises OSError once the client has gone. The response just ends."""
    response = SSEResponse(stream)
    never = asyncio.Event()
    sent: list[str] = []

    async def receive() -> dict[str, Any]:
        await never.wait()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message["type"])
        if len(sent) == 2:
            raise BrokenPipeError("gone")

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "method": "GET",
        "headers": [],
        "query_string": b"",
    }
    await within(response(scope, receive, send))

    assert ["http.response.start", "http.response.body"] == sent
    await nothing_is_held(hub)


async def test_a_request_that_is_cancelled_lets_go(hub: Hub, stream: LiveStream) -> None:
    """As a server does when its time to shut down is over, which would log an error that passes."""
    started = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        started.set()

    scope = {"type": "http", "method": "GET", "headers": [], "query_string": b""}
    serving = asyncio.create_task(SSEResponse(stream)(scope, receive, send))
    await within(started.wait())
    serving.cancel()
    await within(serving)

    await nothing_is_held(hub)


async def test_work_for_nobody_is_given_up() -> None:
    """Its result, its error, or its end when the client goes, be it before it has begun; what the
    client still sends is passed over."""
    messages = asyncio.Queue[Any]()

    async def value() -> int:
        return 7

    async def fail() -> int:
        raise LookupError("why")

    assert 7 == await within(unless_gone(messages.get, value()))
    with pytest.raises(LookupError, match="why"):
        await within(unless_gone(messages.get, fail()))
    working = asyncio.create_task(unless_gone(messages.get, asyncio.Event().wait()))
    messages.put_nowait({"type": "http.request"})
    messages.put_nowait({"type": "http.disconnect"})
    with pytest.raises(ClientGone):
        await within(working)
    messages.put_nowait({"type": "http.disconnect"})
    with pytest.raises(ClientGone):
        await within(unless_gone(messages.get, asyncio.Event().wait()))


def _encodings() -> int:
    """How many sessions have something encoded that clients share."""
    gc.collect()
    return sum(isinstance(one, Encoding) for one in gc.get_objects())


async def test_a_client_that_leaves_is_no_reader_that_holds_memory(
    make_hub: MakeHub, open_client: Open, session_id: str
) -> None:
    """What is encoded for all goes with the last of them."""
    hub = make_hub(HubConfig())
    stream, _ = await hub.register(session_id)
    await stored(stream, "a" * 1000)
    client = await open_client(create_app(hub))
    async with client.stream("GET", path_of(session_id)) as response:
        await anext(response.aiter_raw())
        assert 1 == _encodings()
    await client.aclose()

    async def gone() -> bool:
        # Its response may be closed a moment later.
        return hub.statistics().sessions_followed == 0 and _encodings() == 0

    await until(gone)
