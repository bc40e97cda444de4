"""Servers that are told to stop while answers are written: they end, and log no traceback."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress

import httpx
import pytest

from streamhub.testing.waiting import bounded, patience

from ..conftest import Serve
from ..support.http_server import ServerProcess
from .serving import Followed, events, raw_request

#: As the pages have it: a hub in memory, a source that never ends by itself unless it is told to by
#: a line of standard input, and every kind of response. Arguments: the options of ``lifespan``, or
#: nothing for none; those of uvicorn are set in a later line.
APP = """
import asyncio, json, sys
from fastapi import FastAPI
from starlette.requests import Request
from streamhub import Hub
from streamhub.http import SSEResponse, StreamResponse, chat_routes, lifespan

hub = Hub()
app = FastAPI(lifespan=lifespan(hub, **json.loads(sys.argv[1])) if len(sys.argv) > 1 else None)

async def answer(body):
    yield "begun"
    yield await asyncio.to_thread(sys.stdin.readline)

async def endless(body):
    yield "begun"
    while True:
        await asyncio.sleep(0.01)
        yield "more"

@app.get("/huge")
async def get_huge() -> SSEResponse:
    stream, _ = await hub.register("huge")
    for _ in range(15):
        await stream.publish("x" * 1_000_000)
    return SSEResponse(stream)

@app.get("/events/{session}")
async def get_events(session: str) -> StreamResponse:
    return StreamResponse(hub.get(session, wait=60))

app.router.routes.extend(chat_routes(hub, answer))
app.router.routes.extend(chat_routes(hub, endless, path="/endless"))
"""

#: Has uvicorn cancel what is open after so many seconds, as its command line option does.
IMPATIENT = """
import uvicorn
class Config(uvicorn.Config):
    def __init__(self, *args, **options):
        super().__init__(*args, **options, timeout_graceful_shutdown=1)
uvicorn.Config = Config
"""


async def begun(client: httpx.AsyncClient, path: str = "/endless") -> None:
    """Begin an answer in the chat ``1`` and leave it again."""
    async with client.stream("POST", path, json={"id": "1", "messages": []}) as response:
        async for piece in response.aiter_raw():
            if b"begun" in piece:
                return


async def whatever_comes(client: httpx.AsyncClient, path: str) -> bytes:
    """What is sent until the response ends or breaks off."""
    sent = b""
    with suppress(httpx.RemoteProtocolError):
        async with client.stream("GET", path) as response:
            async for piece in response.aiter_raw():
                sent += piece
    return sent


async def ended(process: ServerProcess) -> str:
    """What the server has logged, once it has ended."""
    async with bounded():
        await process.wait()
    return process.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_server_stops_while_an_answer_is_written(
    serve: Serve, number: signal.Signals
) -> None:
    """Open event streams end without an end of their sessions, so that clients ask again; a
    ``useChat`` stream breaks off, or ends as an error; who waits for a session hears of none."""
    process = await serve(APP, "{}")
    async with httpx.AsyncClient(base_url=process.url, timeout=patience()) as client:
        await begun(client)
        ui = asyncio.create_task(whatever_comes(client, "/endless/1/stream"))
        waiting = asyncio.create_task(client.get("/events/nothing"))
        async with client.stream("GET", "/events/chat:1") as response:
            followed = Followed(response)
            await followed.take(3)
            process.signal(number)
            rest = await followed.rest()
        told = await ui
        nothing = await waiting
    log = await ended(process)

    assert "end" not in {event.event for event in rest}
    assert b'"type":"finish"' not in told
    assert (200, b"") == (nothing.status_code, nothing.content)
    assert "Traceback" not in log


async def test_draining_lets_an_answer_end(serve: Serve) -> None:
    """Its reader gets all of it, and its end; nothing else is begun meanwhile."""
    process = await serve(APP, '{"drain": 300}')
    async with httpx.AsyncClient(base_url=process.url, timeout=patience()) as client:
        await begun(client, "/api/chat")
        async with client.stream("GET", "/events/chat:1") as response:
            followed = Followed(response)
            await followed.next()
            process.signal(signal.SIGTERM)
            await process.send("the rest")
            rest = await followed.rest()
    log = await ended(process)

    assert [("the rest\n", "message"), ("end", "finished")] == [
        (rest[0].data, rest[0].event),
        (rest[1].event, "finished" if '"finished"' in rest[1].data else rest[1].data),
    ]
    assert "Traceback" not in log


async def test_draining_ends_after_its_time(serve: Serve) -> None:
    """An answer that does not end in time is left to others."""
    process = await serve(APP, '{"drain": 0.2}')
    async with httpx.AsyncClient(base_url=process.url, timeout=patience()) as client:
        await begun(client)
        process.signal(signal.SIGTERM)

    assert "Traceback" not in await ended(process)


async def test_a_second_signal_cuts_draining_short(serve: Serve) -> None:
    """The answer is left to others at once, and its reader's response ends without an end."""
    process = await serve(APP, '{"drain": 300}')
    async with httpx.AsyncClient(base_url=process.url, timeout=patience()) as client:
        await begun(client)
        async with client.stream("GET", "/events/chat:1") as response:
            followed = Followed(response)
            await followed.take(3)
            process.signal(signal.SIGTERM)
            await followed.take(20)
            process.signal(signal.SIGTERM)
            rest = await followed.rest()

    assert "end" not in {event.event for event in rest}
    assert "Traceback" not in await ended(process)


async def test_a_client_that_does_not_read_is_left(serve: Serve) -> None:
    """When the server's own time is over."""
    process = await serve(APP + IMPATIENT, "{}")
    reader, writer = await raw_request(process.url, "/huge")
    assert b"200" in await reader.readline()
    process.signal(signal.SIGTERM)
    log = await ended(process)
    writer.close()

    assert "Traceback" not in log


async def test_a_server_that_cancels_its_responses_logs_no_error_of_theirs(serve: Serve) -> None:
    """Without ``lifespan`` uvicorn cancels what is open, when its own time is over: event streams
    and NDJSON end, between two events; who waits for a session is to come again."""
    process = await serve(APP + IMPATIENT)
    async with httpx.AsyncClient(base_url=process.url, timeout=patience()) as client:
        await begun(client, "/api/chat")
        waiting = asyncio.create_task(client.get("/events/nothing"))
        lines = asyncio.create_task(
            client.get("/events/chat:1", headers={"accept": "application/x-ndjson"})
        )
        async with client.stream("GET", "/events/chat:1") as response:
            followed = Followed(response)
            await followed.next()
            process.signal(signal.SIGTERM)
            rest = await followed.rest()
        nothing = await waiting
        read = await lines
    log = await ended(process)

    assert [] == rest
    assert [] == events(nothing.content)
    assert 1 == read.content.count(b"\n")
    assert "Cancel 3 running task(s)" in log
    assert "Traceback" not in log
