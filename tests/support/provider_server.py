"""A model's provider that says what a test has scripted, and sees when a client hangs up."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from streamhub.testing.waiting import patience

from .certificates import Certificates

__all__ = ["CUT", "STALL", "Asked", "ProviderServer", "event", "provider_server"]


class _Step:
    """What a server may do instead of sending something."""


#: Say nothing more, until the client hangs up.
STALL = _Step()
#: Hang up in the middle of the response.
CUT = _Step()


def event(data: object, name: str | None = None) -> str:
    """A server-sent event; data that is no text is sent as JSON."""
    said = data if isinstance(data, str) else json.dumps(data)
    return (f"event: {name}\n" if name else "") + f"data: {said}\n\n"


@dataclass
class Asked:
    """One request."""

    path: str
    headers: dict[str, str]
    body: Any
    #: Set when the client has hung up before all was said.
    hung_up: threading.Event = field(default_factory=threading.Event)
    #: Set when all steps before a STALL have been sent.
    stalled: threading.Event = field(default_factory=threading.Event)


class ProviderServer:
    """Answers the requests one after another, each by the script that ``answers`` added for it.

    Runs in a thread of its own, so that a client may block all others.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.url = ""
        self._scripts: list[tuple[int, dict[str, str], tuple[str | _Step, ...]]] = []
        self._arrival = threading.Condition()
        self._open: dict[asyncio.StreamWriter, asyncio.Task[Any]] = {}

    def answers(
        self, *steps: str | _Step, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        """Say these ``steps`` to the next request that has no script yet."""
        self._scripts.append((status, headers or {}, steps))

    def wait_asked(self, count: int = 1) -> Asked:
        """Wait for the ``count``-th request. Blocks."""
        with self._arrival:
            if not self._arrival.wait_for(lambda: len(self.asked) >= count, patience()):
                raise TimeoutError(f"{len(self.asked)} requests came, not {count}")
            return self.asked[count - 1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[writer] = task
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._answer(reader, writer):
                pass
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        del self._open[writer]

    async def hang_up(self) -> None:
        """On all that are connected."""
        for writer in self._open:
            writer.transport.abort()
        while self._open:
            await asyncio.wait([*self._open.values()])

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        asked = Asked(head[0].split()[1], headers, json.loads(body) if body else None)
        status, more, steps = self._scripts.pop(0)
        with self._arrival:
            self.asked.append(asked)
            self._arrival.notify_all()
        kind = "text/event-stream" if status == 200 else "application/json"
        told = {"content-type": kind, "transfer-encoding": "chunked", **more}
        lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        if steps[:1] != (STALL,):
            writer.write(f"HTTP/1.1 {status} Scripted\r\n{lines}\r\n".encode())
        # Nobody sends anything while he is answered, so that all that is read is the end.
        hearing = asyncio.ensure_future(reader.read(1))
        try:
            for step in steps:
                if step is CUT:
                    await writer.drain()
                    return False
                if step is STALL:
                    asked.stalled.set()
                    with suppress(ConnectionError):  # where it left something unread
                        await hearing
                    asked.hung_up.set()
                    return False
                data = str(step).encode()
                writer.write(b"%x\r\n%s\r\n" % (len(data), data))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        finally:
            hearing.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await hearing
        return True


@contextmanager
def provider_server(certificates: Certificates | None = None) -> Iterator[ProviderServer]:
    """One that is running, on a free port of this machine; with certificates, over TLS."""
    server, loop = ProviderServer(), asyncio.new_event_loop()

    context = None
    if certificates is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.certificate, certificates.key)

    async def start() -> asyncio.Server:
        started = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
        scheme = "http" if context is None else "https"
        server.url = f"{scheme}://127.0.0.1:{started.sockets[0].getsockname()[1]}"
        return started

    thread = threading.Thread(target=loop.run_forever, name="provider", daemon=True)
    thread.start()
    listening = asyncio.run_coroutine_threadsafe(start(), loop).result(20)

    async def stop() -> None:
        listening.close()
        await server.hang_up()

    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()
