"""A TCP proxy that cuts connections, and loses answers to requests that have reached the server."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
_PIECE = 64 * 1024


class FaultyProxy:
    """Stands between clients and the server at ``port`` while it is entered."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._marker: bytes | None = None
        self._lost = asyncio.Event()
        self._links: set[asyncio.Task[None]] = set()
        self._silent: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where it stands for a Redis."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def port(self) -> int:
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def cut(self) -> None:
        """Break the connections that are open now; new ones pass."""
        for link in self._links:
            link.cancel()

    def lose_answer_to(self, marker: bytes) -> asyncio.Event:
        """Cut the connection instead of answering the next request that holds ``marker``.

        The event is set once the server has carried that request out and its answer is lost. A
        server that asks for a script in full is answered, for it has done nothing yet.
        """
        self._marker, self._lost = marker, asyncio.Event()
        return self._lost

    def fall_silent(self) -> None:
        """Answer nothing any more on the connections that are open now, and keep them open."""
        self._silent |= self._links

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
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link is not None
        self._links.add(link)
        upstream: asyncio.StreamWriter | None = None
        try:
            upstream_reader, upstream = await asyncio.open_connection(HOST, self._target)
            await self._serve(link, reader, writer, upstream_reader, upstream)
        except (asyncio.CancelledError, OSError):
            pass
        finally:
            writer.close()
            if upstream is not None:
                upstream.close()
            self._links.discard(link)

    async def _serve(
        self,
        link: asyncio.Task[None],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream_reader: asyncio.StreamReader,
        upstream_writer: asyncio.StreamWriter,
    ) -> None:
        asked: list[bytes] = []
        pumps = [
            asyncio.create_task(self._pass_requests(reader, upstream_writer, asked)),
            asyncio.create_task(self._pass_answers(link, upstream_reader, writer, asked)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pass_requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: list[bytes]
    ) -> None:
        recent = b""
        while piece := await reader.read(_PIECE):
            recent = (recent + piece)[-2 * _PIECE :]
            if self._marker is not None and self._marker in recent:
                asked.append(self._marker)
                recent = b""
            writer.write(piece)
            await writer.drain()

    async def _pass_answers(
        self,
        link: asyncio.Task[None],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        asked: list[bytes],
    ) -> None:
        while piece := await reader.read(_PIECE):
            if link in self._silent:
                continue
            if asked:
                if b"NOSCRIPT" not in piece:
                    self._marker = None
                    self._lost.set()
                    return
                asked.clear()
            writer.write(piece)
            await writer.drain()
