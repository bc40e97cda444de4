"""A TCP proxy that does to connections what networks do, to all of them or to one kind.

A connection's kind is known by what has been asked on it: see ``Kind``.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterable
from types import TracebackType
from typing import Literal, NamedTuple, Self

from streamhub.stores.redis.layout.scripts import load_scripts

__all__ = ["FaultyProxy", "Kind"]

HOST = "127.0.0.1"
_PIECE = 64 * 1024
_SLICES_PER_SECOND = 50
#: Closing with it sends RST at once, and drops what was still to be sent.
_NO_LINGER = struct.pack("ii", 1, 0)

#: ``pubsub`` has subscribed to a channel, ``writer`` has appended chunks.
Kind = Literal["pubsub", "writer"]
_SIGNS: dict[Kind, bytes] = {"pubsub": b"SUBSCRIBE", "writer": load_scripts()["append"].sha}


class _Pace(NamedTuple):
    kind: Kind | None
    delay: float
    bytes_per_second: float | None


class _Link:
    """One connection of a client, and the one to the server that belongs to it."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.kinds: set[Kind] = set()
        self.task: asyncio.Task[None] | None = None
        #: Whether everything that is sent on it vanishes, or what the server answers alone.
        self.deaf = self.silent = False

    def learn(self, requests: bytes) -> None:
        self.kinds |= {kind for kind, sign in _SIGNS.items() if sign in requests}

    def reset(self) -> None:
        """Break the client's side off with RST."""
        connection = self.client.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.client.transport.abort()


class FaultyProxy:
    """Stands between clients and the server at ``port`` while it is entered."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._marker: bytes | None = None
        self._lost = asyncio.Event()
        self._links: dict[_Link, None] = {}
        self._paces: list[_Pace] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._resets: dict[Kind | None, asyncio.Event] = {}

    @property
    def url(self) -> str:
        """Where it stands for a Redis."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def port(self) -> int:
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def lose_answer_to(self, marker: bytes) -> asyncio.Event:
        """Cut the connection instead of answering the next request that holds ``marker``.

        The event is set once the server has carried that request out and its answer is lost. A
        server that asks for a script in full is answered, for it has done nothing yet.
        """
        self._marker, self._lost = marker, asyncio.Event()
        return self._lost

    def fall_silent(self) -> None:
        """Answer nothing any more on the connections that are open now, and keep them open."""
        for link in self._links:
            link.silent = True

    def cut(self, kind: Kind | None = None) -> int:
        """Close the open connections; how many there were."""
        links = list(self._of(kind))
        for link in links:
            if link.task is not None:
                link.task.cancel()
        return len(links)

    def reset_next_answer(self, kind: Kind | None = None) -> asyncio.Event:
        """Send half of the next answer on such a connection, and then RST; set once that is done.

        What was asked is carried out.
        """
        done = self._resets[kind] = asyncio.Event()
        return done

    def go_half_open(self, kind: Kind | None = None) -> int:
        """Lose whatever either side sends on the open connections, and close none of them.

        New ones work: it is for the client to notice. How many there were.
        """
        links = list(self._of(kind))
        for link in links:
            link.deaf = True
        return len(links)

    def slow_down(
        self,
        kind: Kind | None = None,
        *,
        delay: float = 0.0,
        bytes_per_second: float | None = None,
    ) -> None:
        """Hold back what either side sends, open and new connections alike, until ``heal``."""
        self._paces.append(_Pace(kind, delay, bytes_per_second))

    def heal(self) -> None:
        """End what ``slow_down`` began; answers that are to be lost or reset are not any more."""
        self._paces.clear()
        self._resets.clear()
        self._marker = None

    def lead_to(self, port: int) -> None:
        """Connections that are made from now on are to another server."""
        self._target = port

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _of(self, kind: Kind | None) -> Iterable[_Link]:
        return (link for link in self._links if kind is None or kind in link.kinds)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        link: _Link | None = None
        try:
            upstream_reader, upstream = await asyncio.open_connection(HOST, self._target)
            link = _Link(writer, upstream)
            link.task = task
            self._links[link] = None
            await self._serve(link, reader, upstream_reader)
        except (asyncio.CancelledError, OSError):
            pass
        finally:
            writer.close()
            if link is not None:
                link.server.close()
                self._links.pop(link, None)
            self._tasks.discard(task)

    async def _serve(
        self, link: _Link, client: asyncio.StreamReader, server: asyncio.StreamReader
    ) -> None:
        asked: list[bytes] = []
        pumps = [
            asyncio.create_task(self._pass_requests(link, client, asked)),
            asyncio.create_task(self._pass_answers(link, server, asked)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pass_requests(
        self, link: _Link, reader: asyncio.StreamReader, asked: list[bytes]
    ) -> None:
        recent = b""
        while piece := await reader.read(_PIECE):
            recent = (recent + piece)[-2 * _PIECE :]
            link.learn(recent)
            if self._marker is not None and self._marker in recent:
                asked.append(self._marker)
                recent = b""
            await self._pass(link, link.server, piece)

    async def _pass_answers(
        self, link: _Link, reader: asyncio.StreamReader, asked: list[bytes]
    ) -> None:
        while piece := await reader.read(_PIECE):
            if link.silent:
                continue
            if asked:
                if b"NOSCRIPT" not in piece:
                    self._marker = None
                    self._lost.set()
                    return
                asked.clear()
            for kind in (None, *link.kinds):
                if (done := self._resets.pop(kind, None)) is not None:
                    link.client.write(piece[: len(piece) // 2])
                    await link.client.drain()
                    link.reset()
                    done.set()
                    return
            await self._pass(link, link.client, piece)

    async def _pass(self, link: _Link, writer: asyncio.StreamWriter, piece: bytes) -> None:
        paces = [one for one in self._paces if one.kind is None or one.kind in link.kinds]
        if delay := sum(one.delay for one in paces):
            await asyncio.sleep(delay)
        rates = [one.bytes_per_second for one in paces if one.bytes_per_second is not None]
        size = max(1, int(min(rates) / _SLICES_PER_SECOND)) if rates else len(piece)
        for start in range(0, len(piece), size):
            if link.deaf:
                return
            writer.write(piece[start : start + size])
            await writer.drain()
            if rates and self._paces:
                await asyncio.sleep(1 / _SLICES_PER_SECOND)
