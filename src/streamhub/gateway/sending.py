"""What aiohttp is given to send, and by which connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
from aiohttp.connector import Connection

__all__ = ["PIECE", "Connector", "Upload", "in_pieces", "sent"]

#: In bytes: a body of more is sent piece by piece.
PIECE = 64 * 1024


class Connector(aiohttp.TCPConnector):
    """Leaves out what waits with an answer to nothing: it would be taken for the next one's."""

    async def connect(self, *asked: Any, **how: Any) -> Connection:
        while True:
            connection = await super().connect(*asked, **how)
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()


class Upload:
    """A body that is sent as it comes, while the server takes it in."""

    def __init__(
        self, pieces: AsyncIterator[bytes], clock: asyncio.Timeout, patience: float
    ) -> None:
        self._pieces = pieces
        self._patience = patience
        #: What ends the waiting for the answer; None once that is over.
        self.clock: asyncio.Timeout | None = clock
        #: What the body was broken off by.
        self.failure: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        try:
            async for piece in self._pieces:
                self._expect(loop.time() + self._patience)
                yield piece
                self._expect(None)
        except Exception as error:
            self.failure = error
            raise

    def _expect(self, when: float | None) -> None:
        if self.clock is not None:
            self.clock.reschedule(when)


async def in_pieces(content: bytes) -> AsyncIterator[bytes]:
    for begin in range(0, len(content), PIECE):
        yield content[begin : begin + PIECE]


def sent(name: str, value: str) -> tuple[str, str]:
    """As the client sent it: aiohttp encodes headers as UTF-8, and Starlette decodes them as
    Latin-1."""
    if not value.isascii():
        with suppress(UnicodeDecodeError):
            return name, value.encode("latin-1").decode()
    return name, value
