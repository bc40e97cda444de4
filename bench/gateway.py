"""The gateway beside a plain reverse proxy: a model's server in one process, what stands before it
in another, and a thousand clients on bare sockets in a third."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from random import Random
from statistics import median
from time import perf_counter

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from streamhub import Hub
from streamhub.gateway import create_gateway
from streamhub.http.server import listen

from .measure import Cost, Pace, complete, delays, hear, stamped, tell
from .web import Client
from .workers import Figures

__all__ = ["first", "load", "model", "proxy"]

_UPSTREAM, _PORT, _DIRECT = "bench:upstream", "bench:port", "bench:direct"
_BEGIN, _GO, _STOP, _END = "bench:begin", "bench:go", "bench:stop", "bench:end"
_CONNECTS = 50
_SAID = re.compile(rb'"content":"(\d+:\d+)"')
_BODY = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}'
_ASK = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    b"Authorization: Bearer k\r\nContent-Length: %d\r\n\r\n%b"
) % (len(_BODY), _BODY)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_CHUNK = (
    'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":'
    '[{"index":0,"delta":{"content":"%s"},"logprobs":null,"finish_reason":null}]}\n\n'
)


async def model(url: str, *, chunks: int, rate: float = 0.0) -> Figures:
    """A model's server that says ``chunks`` to each who asks: ``rate`` a second from the moment on
    that all have asked, or without it, at once."""
    go = asyncio.Event()
    loop = asyncio.get_running_loop()
    pace, phase = Pace(rate or 1.0), Random(7)
    start = 0.0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(len(_BODY))
                writer.write(_HEAD)
                if rate:
                    await go.wait()
                first = start + phase.random() / (rate or 1.0)
                for number in range(chunks):
                    if rate:
                        await pace.until(number, first)
                    writer.write(_framed(_CHUNK % stamped(number)))
                writer.write(_framed("data: [DONE]\n\n") + b"0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            # Of a server that is closed, asyncio would complain for each connection.
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, backlog=2048) as server:
        port = str(server.sockets[0].getsockname()[1])
        await tell(url, _UPSTREAM, port)
        await tell(url, _DIRECT, port)
        if rate:
            await hear(url, _GO)
            start = loop.time() + 0.1
            go.set()
        await hear(url, _END)
    return {}


async def proxy(url: str, *, plain: bool = False) -> Figures:
    """What stands before it until ``load`` is through: the gateway, or a reverse proxy that passes
    on what comes, by Starlette and httpx."""
    upstream = f"http://127.0.0.1:{await hear(url, _UPSTREAM)}/v1"
    async with Hub.from_url(url) as hub:
        app = _relay(upstream) if plain else create_gateway(hub, upstream=upstream)
        with listen("127.0.0.1", 0, public=False) as listening:
            server = uvicorn.Server(
                uvicorn.Config(app, log_level="critical", lifespan="auto", access_log=False)
            )
            serving = asyncio.create_task(server.serve([listening]))
            await tell(url, _PORT, str(listening.getsockname()[1]))
            await hear(url, _BEGIN)
            async with Cost(url) as cost:
                await hear(url, _STOP)
            server.should_exit = True
            await serving
    await tell(url, _END, "")
    return {"server_cpu": cost.cpu, "redis_cpu": cost.server_cpu}


async def load(url: str, *, clients: int, chunks: int) -> Figures:
    """Ask for that many answers at once, and read them to their ends."""
    port = int(await hear(url, _PORT))
    await hear(url, _DIRECT)
    reading = [Client(chunks, _SAID) for _ in range(clients)]
    loop = asyncio.get_running_loop()
    for begin in range(0, clients, _CONNECTS):
        batch = reading[begin : begin + _CONNECTS]
        for client in batch:
            await loop.create_connection(lambda one=client: one, "127.0.0.1", port)  # type: ignore[misc]
            client.ask(_ASK)
        await asyncio.gather(*(client.answered for client in batch))
    await tell(url, _BEGIN, "")
    await tell(url, _GO, "")
    await asyncio.gather(*(client.complete for client in reading))
    await tell(url, _STOP, "")
    for client in reading:
        client.close()
    figures = delays([client.received for client in reading], chunks)
    complete(figures["deliveries"], clients * chunks, "events")
    return figures


async def first(url: str, *, asks: int) -> Figures:
    """How long an answer's first event takes, one answer after another: in turns through what
    stands between, and straight from the model."""
    ports = [int(await hear(url, key)) for key in (_PORT, _DIRECT)]
    await tell(url, _BEGIN, "")
    took: list[list[float]] = [[], []]
    connections = [await asyncio.open_connection("127.0.0.1", port) for port in ports]
    for number in range(asks):
        for (reader, writer), into in zip(connections, took, strict=True):
            start = perf_counter()
            writer.write(_ASK)
            await reader.readuntil(b'"content"')
            if number:
                into.append(1000 * (perf_counter() - start))
            await reader.readuntil(b"\r\n0\r\n\r\n")
    await tell(url, _STOP, "")
    for _, writer in connections:
        writer.close()
    through, straight = map(median, took)
    return {"added_ms": through - straight, "through_ms": through}


def _framed(text: str) -> bytes:
    data = text.encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


def _relay(upstream: str) -> ASGIApp:
    """Passes requests on, and answers as they come, event or not."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    client = httpx.AsyncClient(timeout=60, limits=limits)

    async def pass_on(request: Request) -> Response:
        asked = client.build_request(
            "POST",
            f"{upstream}/chat/completions",
            headers={"authorization": request.headers["authorization"]},
            content=await request.body(),
        )
        answer = await client.send(asked, stream=True)

        async def pieces() -> AsyncIterator[bytes]:
            try:
                async for piece in answer.aiter_raw():
                    yield piece
            finally:
                await answer.aclose()

        kind = answer.headers["content-type"]
        return StreamingResponse(pieces(), answer.status_code, {"content-type": kind})

    return Starlette(routes=[Route("/v1/chat/completions", pass_on, methods=["POST"])])
