"""A server in the test's own event loop, and what its clients send and read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import uvicorn
from starlette.types import ASGIApp

from streamhub import Hub, LiveStream
from streamhub.formats.sse import Event, EventParser
from streamhub.testing.waiting import bounded, until

__all__ = [
    "HOST",
    "Followed",
    "events",
    "follow",
    "lines",
    "nothing_is_held",
    "path_of",
    "raw_request",
    "served",
    "stored",
    "tasks_of_clients",
]

HOST = "127.0.0.1"


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # They are the test run's own.
        yield

    async def main_loop(self) -> None:
        # Without the ticks of a tenth of a second that every test would wait for.
        self.stop = asyncio.Event()
        await self.stop.wait()


@contextlib.asynccontextmanager
async def served(app: ASGIApp, **options: Any) -> AsyncIterator[str]:
    """Serve ``app`` on a free port; its URL. ``options`` are those of ``uvicorn.Config``."""
    with socket.create_server((HOST, 0), backlog=512) as listening:
        # Or each piece but the first waits until the one before is acknowledged: 40 ms.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = uvicorn.Config(
            app,
            **{
                "log_config": None,
                "lifespan": "off",
                "timeout_graceful_shutdown": 1,
                # On a slow machine clients come back on a connection that has been idle for long.
                "timeout_keep_alive": 300,
                **options,
            },
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve([listening]))
        try:
            yield f"http://{HOST}:{listening.getsockname()[1]}"
        finally:
            server.stop.set()
            await serving


class Followed:
    """A response that is being read, event by event."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._parser = EventParser()
        self._pieces = response.aiter_raw()
        self._events: list[Event] = []
        self.raw = b""

    async def next(self) -> Event:
        """The next event.

        :raises EOFError: the response ended.
        """
        async with bounded():
            while not self._events:
                self._events += self._parser.feed(await self._piece())
        return self._events.pop(0)

    async def take(self, count: int) -> list[Event]:
        return [await self.next() for _ in range(count)]

    async def rest(self) -> list[Event]:
        """All events up to the end of the response."""
        found = []
        with contextlib.suppress(EOFError):
            while True:
                found.append(await self.next())
        return found

    async def until_raw(self, wanted: bytes) -> None:
        """Read until ``wanted`` has come."""
        async with bounded():
            while wanted not in self.raw:
                await self._piece()

    async def until_closed(self) -> None:
        """Read to the end of the response."""
        with contextlib.suppress(EOFError):
            async with bounded():
                while True:
                    await self._piece()

    async def _piece(self) -> bytes:
        piece = await anext(self._pieces, None)
        if piece is None:
            raise EOFError("the response has ended")
        self.raw += piece
        return piece


@contextlib.asynccontextmanager
async def follow(
    client: httpx.AsyncClient, path: str, *, after: object = None, **options: Any
) -> AsyncIterator[Followed]:
    """Follow as an EventSource would, which connects again with ``after``."""
    headers = {"accept": "text/event-stream", **options.pop("headers", {})}
    if after is not None:
        headers["last-event-id"] = str(after)
    async with client.stream("GET", path, headers=headers, **options) as response:
        yield Followed(response)


def events(body: bytes) -> list[Event]:
    """All events of a whole response."""
    return EventParser().feed(body)


def lines(body: bytes) -> list[Any]:
    """All lines of JSON of a whole response, without heartbeats."""
    return [json.loads(line) for line in body.split(b"\n") if line]


def path_of(session_id: str, more: str = "/stream") -> str:
    encoded = "".join(
        chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02X}"
        for byte in session_id.encode()
    )
    return f"/sessions/{encoded}{more}"


async def stored(stream: LiveStream, *chunks: str) -> list[str]:
    """Publish, and wait until it is stored; the cursors."""
    cursors = [str(await stream.publish(chunk)) for chunk in chunks]
    await stream.flush()
    return cursors


async def nothing_is_held(hub: Hub) -> None:
    """Wait until nobody follows a session any more, and no task works for a client."""

    async def all_gone() -> bool:
        return hub.statistics().sessions_followed == 0 and not tasks_of_clients()

    await until(all_gone)


def tasks_of_clients() -> list[str]:
    """The server's, and those that do the work of a response."""
    tasks = asyncio.all_tasks()
    names = [getattr(task.get_coro(), "__qualname__", "") for task in tasks]
    names += [task.get_name() for task in tasks]
    return [one for one in names if one.endswith((".run_asgi", ".disconnects._finish"))]


async def raw_request(
    url: str, target: str, *headers: str, method: str = "GET", version: str = "1.1"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a request as it is written here; the connection, on which the answer comes."""
    port = int(url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection(HOST, port)
    head = [f"{method} {target} HTTP/{version}", "Host: 127.0.0.1", *headers]
    writer.write("".join(f"{line}\r\n" for line in [*head, ""]).encode("latin-1"))
    await writer.drain()
    return reader, writer
