"""HTTP: a server in a process of its own, and a thousand clients on bare sockets in another."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from importlib.util import find_spec
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streamhub import Hub
from streamhub.http import SSEResponse
from streamhub.http.server import listen

from .measure import Cost, Received, announced, complete, delays, hear, ready, tell
from .workers import Figures

__all__ = ["PEER_INSTALLED", "Client", "load", "serve"]

PEER_INSTALLED = find_spec("sse_starlette") is not None

_PORT, _BEGIN, _STOP = "bench:port", "bench:begin", "bench:stop"
_DATA = re.compile(rb"data: (\d+:\d+)\r?\n")
_CONNECTS = 100


async def serve(url: str, *, peer: bool = False) -> Figures:
    """Serve sessions as SSE until ``load`` is through: by streamhub's response, or by one
    generator per client through that of sse-starlette."""
    async with Hub.from_url(url) as hub:

        async def events(request: Request) -> Response:
            stream = await hub.get(request.path_params["session"])
            assert stream is not None
            if not peer:
                return SSEResponse(stream)
            from sse_starlette import EventSourceResponse

            async def generate() -> AsyncIterator[dict[str, str]]:
                async for chunk in stream.subscribe():
                    yield {"id": str(chunk.cursor), "data": chunk.data}

            made: Response = EventSourceResponse(generate())
            return made

        app = Starlette(routes=[Route("/{session}", events)])
        with listen("127.0.0.1", 0, public=False) as listening:
            server = uvicorn.Server(
                uvicorn.Config(app, log_level="critical", lifespan="off", access_log=False)
            )
            serving = asyncio.create_task(server.serve([listening]))
            await tell(url, _PORT, str(listening.getsockname()[1]))
            await hear(url, _BEGIN)
            async with Cost(url) as cost:
                await hear(url, _STOP)
            server.should_exit = True
            await serving
    return {"server_cpu": cost.cpu}


async def load(url: str, *, clients: int, chunks: int) -> Figures:
    """Read the streams of ``hub.produce`` over HTTP, ``clients`` of each."""
    session_ids = (await announced(url)).split()
    port = int(await hear(url, _PORT))
    reading = [Client(chunks) for _ in range(len(session_ids) * clients)]
    loop = asyncio.get_running_loop()
    for start in range(0, len(reading), _CONNECTS):
        batch = reading[start : start + _CONNECTS]
        for at, client in enumerate(batch, start):
            await loop.create_connection(lambda one=client: one, "127.0.0.1", port)  # type: ignore[misc]
            client.ask(_request(session_ids[at % len(session_ids)]))
        await asyncio.gather(*(client.answered for client in batch))
    await tell(url, _BEGIN, "")
    await ready(url)
    await asyncio.gather(*(client.complete for client in reading))
    for client in reading:
        client.close()
    await tell(url, _STOP, "")
    figures = delays([client.received for client in reading], chunks)
    complete(figures["deliveries"], len(reading) * chunks, "events")
    return figures


def _request(session_id: str) -> bytes:
    head = b"GET /%b HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n"
    return head % session_id.encode()


class Client(asyncio.Protocol):
    """One request, and the events that it is answered with.

    :param said: finds in them what was ``stamped``.
    """

    def __init__(self, chunks: int, said: re.Pattern[bytes] = _DATA) -> None:
        loop = asyncio.get_running_loop()
        self.received = Received()
        self.answered = loop.create_future()
        self.complete = loop.create_future()
        self._said = said
        self._left = chunks
        self._rest = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def ask(self, request: bytes) -> None:
        self._transport.write(request)

    def close(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if not self.answered.done():
            if not data.startswith(b"HTTP/1.1 200 "):
                self._fail(f"the server answered {data[:200]!r}")
                return
            self.answered.set_result(None)
        data = self._rest + data
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        for item in self._said.findall(data, 0, end):
            self.received.take(item.decode())
            self._left -= 1
        if self._left <= 0 and not self.complete.done():
            self.complete.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.complete.done():
            self._fail(f"the connection was lost with {self._left} events to come: {error}")

    def _fail(self, reason: str) -> None:
        for future in (self.answered, self.complete):
            if not future.done():
                future.set_exception(AssertionError(reason))
