"""Sessions in other frameworks: the applications of docs/web-frameworks.md on real servers."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from streamhub import Hub, LiveStream
from streamhub.testing.waiting import patience, until, within

from ..http.serving import events, follow, lines, raw_request
from ..support.http_server import Port
from .doors import DOORS, Door, Served

pytestmark = pytest.mark.integrations

Start = Callable[[], Awaitable[Served]]


class Stage:
    """A server on a store, and a producer and a client beside it."""

    def __init__(self, door: Door, hub: Hub, start: Start, client: httpx.AsyncClient) -> None:
        self.door = door
        self.hub = hub
        self._start = start
        self.client = client

    async def restart(self) -> None:
        """Start a process on the port of the one before."""
        self.process = await self._start()

    async def produce(self, name: str, *tokens: str) -> LiveStream:
        """An answer that goes on after these tokens until somebody stops it."""

        async def answer(stream: LiveStream) -> None:
            await asyncio.Event().wait()

        stream = await self.hub.run(f"answer:{name}", answer)
        for token in tokens:
            await stream.publish(token)
        return stream

    async def nothing_is_held(self) -> None:
        async def gone() -> bool:
            return 0 == await self.process.followed()

        await until(gone)


@pytest.fixture
async def stage(
    request: pytest.FixtureRequest, redis_url: str, tmp_path: Path
) -> AsyncIterator[Stage]:
    door = DOORS[request.param]
    errors = tmp_path / "stderr"
    async with AsyncExitStack() as stack:
        port = stack.enter_context(Port())
        hub = await stack.enter_async_context(Hub.from_url(redis_url))

        async def start() -> Served:
            process = await door.start(redis_url, port.fileno, errors)
            return await stack.enter_async_context(process)

        # Each request on a connection of its own: servers close one that has been idle for seconds.
        alone = httpx.Limits(max_keepalive_connections=0)
        client = httpx.AsyncClient(
            base_url=port.url, timeout=patience(), verify=False, limits=alone
        )
        await stack.enter_async_context(client)
        stage = Stage(door, hub, start, client)
        await stage.restart()
        yield stage
    told = errors.read_text()
    # Some servers log the error by which a response breaks off.
    assert told.count("Traceback") == told.count("BrokenOff: "), told


@pytest.mark.parametrize("stage", DOORS, indirect=True)
async def test_a_reader_is_cut_off_and_comes_again(stage: Stage) -> None:
    """What it has and what it gets when it comes back is all, once; who leaves is forgotten; a
    stop is an end, after which an EventSource is told to stop asking; the next answer resets.
    Where the framework leaves it to us, a client chooses the format, and problems are JSON."""
    client = stage.client
    missing = await client.get("/answers/1/events")
    unstoppable = await client.post("/answers/1/stop")
    elsewhere = {"origin": "https://example.org", "cookie": "a=b"}
    kept_out = await client.post("/answers/1/stop", headers=elsewhere)
    stream = await stage.produce("1", "a", "b\nc")
    malformed = await client.get("/answers/1/events", params={"after": "x"})
    async with follow(client, "/answers/1/events") as first:
        one, two = await first.take(2)
    await stage.nothing_is_held()
    await stream.publish("d", event="tool")
    async with follow(client, "/answers/1/events", after=two.id) as again:
        three = await again.next()
        stopped = await client.post("/answers/1/stop")
        (end,) = await again.rest()
    complete = await client.get("/answers/1/events", headers={"last-event-id": three.id})
    await (await stage.produce("1", "e")).close()
    anew = await client.get("/answers/1/events", headers={"last-event-id": three.id})

    assert [404, 404, 400] == [one.status_code for one in (missing, unstoppable, malformed)]
    assert (403 if stage.door.guarded else 404) == kept_out.status_code
    assert "text/event-stream; charset=utf-8" == first.response.headers["content-type"]
    assert "no-cache" in first.response.headers["cache-control"]
    assert [("a", "message"), ("b\nc", "message"), ("d", "tool")] == [
        (one.data, one.event) for one in (one, two, three)
    ]
    assert stopped.status_code in (200, 202)
    assert ("end", "cancelled") == (end.event, json.loads(end.data)["status"])
    assert 204 == complete.status_code
    assert ["reset", "message", "end"] == [event.event for event in events(anew.content)]
    if stage.door.chooses:
        await _a_client_chooses_what_it_is_sent(stage)
    await _a_client_that_does_not_read_leaves(stage)
    await stage.nothing_is_held()


async def _a_client_chooses_what_it_is_sent(stage: Stage) -> None:
    """NDJSON and text, which breaks off where the answer has failed; problems are JSON."""
    stream = await stage.produce("2", "a", "b")
    await stream.publish("{}", event="tool")
    await stream.fail("why")
    client = stage.client
    ndjson = await client.get("/answers/2/events", params={"format": "ndjson"})
    text = b""
    with pytest.raises(httpx.RemoteProtocolError):
        async with client.stream(
            "GET", "/answers/2/events", headers={"accept": "text/plain"}
        ) as response:
            async for piece in response.aiter_raw():
                text += piece
    problem = await client.get("/answers/2/events", params={"format": "xml"})
    head = await client.head("/answers/2/events")

    assert ["a", "b", "{}"] == [line["data"] for line in lines(ndjson.content)[:-1]]
    assert "failed" == lines(ndjson.content)[-1]["status"]
    assert "why" not in ndjson.text
    assert b"ab" == text
    assert (400, "unsupported_format") == (problem.status_code, problem.json()["code"])
    assert head.status_code in (200, 405)
    assert b"" == head.content


async def _a_client_that_does_not_read_leaves(stage: Stage) -> None:
    """More is stored than any buffer on the way takes, so that sending stands still."""
    stream = await stage.produce("3")
    for _ in range(12):
        await stream.publish("x" * 1_000_000)
    reader, writer = await raw_request(str(stage.client.base_url), "/answers/3/events")
    await within(reader.readuntil(b"xxxx"))
    writer.transport.abort()


@pytest.mark.parametrize("stage", ["flask-werkzeug"], indirect=True)
async def test_a_chat_in_another_framework(stage: Stage) -> None:
    """The page's routes for useChat stream an answer, which is over when it is resumed."""
    messages = [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "q"}]}]
    posted = await stage.client.post("/api/chat", json={"id": "1", "messages": messages})
    resumed = await stage.client.get("/api/chat/1/stream")
    unknown = await stage.client.get("/api/chat/2/stream")

    parts = [json.loads(event.data) for event in events(posted.content)[:-1]]
    assert "v1" == posted.headers["x-vercel-ai-ui-message-stream"]
    assert ["The ", "lamp"] == [part["delta"] for part in parts if "delta" in part]
    assert "finish" == parts[-1]["type"]
    assert [204, 204] == [resumed.status_code, unknown.status_code]


@pytest.mark.parametrize(
    "stage",
    [
        "flask-gunicorn",
        "wsgi-gevent",
        "django-uvicorn",
        "django-async-uvicorn",
        "aiohttp",
        "quart",
        "sanic",
    ],
    indirect=True,
)
async def test_a_server_stops_with_an_open_response(stage: Stage) -> None:
    """The response ends, without an end of its session, and the process with it. Its client goes on
    at its cursor with the next process on that port."""
    stream = await stage.produce("1", "a")
    async with follow(stage.client, "/answers/1/events") as response:
        one = await response.next()
        stage.process.stop()
        assert [] == await within(response.rest())
    # uvicorn hands the signal on once it has served.
    assert await within(stage.process.wait()) in (0, -signal.SIGTERM)
    assert not await stream.done()

    await stream.publish("b")
    await stage.restart()
    async with follow(stage.client, "/answers/1/events", after=one.id) as response:
        assert "b" == (await response.next()).data
