"""A WebSocket over which frames of JSON are asked: what all that are served have in common."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..serving.origins import refuse_from_elsewhere
from .problems import BadRequest

__all__ = ["ASK_AGAIN", "LONGEST_FRAME", "REFUSED", "FrameSocket"]

#: Closes a handshake that is refused, which is answered with 403 then, or a socket that is of no
#: use; and one whose server shuts down.
REFUSED = 1008
ASK_AGAIN = 1012
#: As the body of a POST, in characters.
LONGEST_FRAME = 16 * 1024 * 1024

# In seconds, how long a socket stays open on which nothing is asked; clients open another one.
_IDLE = 300.0

Spawn = Callable[..., Any]


class FrameSocket(ABC):
    """One connection, until its client leaves, or asks nothing for a while."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._sending = asyncio.Lock()
        self._open = True
        #: Whether it was closed because the server shuts down.
        self._restarts = False

    @classmethod
    async def connect(cls, websocket: WebSocket, origins: frozenset[str]) -> None:
        """Serve a connection, unless it comes from a page of another site."""
        try:
            # Before any frame is: what a page reads of a socket no browser keeps from it.
            refuse_from_elsewhere(websocket, origins)
        except BadRequest:
            await websocket.close(REFUSED)
            return
        await cls(websocket).run()

    async def run(self) -> None:
        """Read and answer frames until the client leaves."""
        await self._websocket.accept()
        async with anyio.create_task_group() as tasks:
            try:
                self._begin(tasks.start_soon)
                await self._read(tasks.start_soon)
            finally:
                self._open = False
                self._left()

    async def send(self, text: str) -> None:
        """Send a frame, unless the client has left."""
        async with self._sending:
            if not self._open:
                return
            try:
                await self._websocket.send_text(text)
            except (WebSocketDisconnect, RuntimeError, OSError):
                # Gone; what reads from it notices, too.
                self._open = False

    async def close(self, code: int, reason: str) -> None:
        async with self._sending:
            self._open = False
            with suppress(WebSocketDisconnect, RuntimeError, OSError):
                await self._websocket.close(code, reason)

    async def _read(self, spawn: Spawn) -> None:
        while self._open:
            try:
                async with asyncio.timeout(self._patience()):
                    message = await self._websocket.receive()
            except TimeoutError:
                if self._is_busy():
                    continue
                await self._tire()
                return
            if message["type"] == "websocket.disconnect":
                self._restarts = message.get("code") == ASK_AGAIN
                return
            text = message.get("text")
            data = message.get("bytes") or b"" if text is None else text
            if (longest := self._longest()) is not None and len(data) > longest:
                detail = f"a frame must be at most {longest:,} characters long, not {len(data):,}"
                await self._refuse(detail)
                continue
            try:
                value = msgspec.json.decode(data)
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                await self._refuse(f"a frame must be JSON: {error}")
                continue
            await self._take(value, data, spawn)

    def _patience(self) -> float:
        """For how many seconds the next frame is waited for, unless the socket is busy."""
        return _IDLE

    def _longest(self) -> int | None:
        """How long a frame may be, in characters; None to leave that to whoever is asked."""
        return LONGEST_FRAME

    async def _tire(self) -> None:
        """Close it: that was too long."""
        await self.close(1000, "nothing was asked for a while")

    @abstractmethod
    def _begin(self, spawn: Spawn) -> None:
        """Begin what is asked by the handshake itself."""

    @abstractmethod
    def _is_busy(self) -> bool:
        """Whether anything is under way for the client."""

    @abstractmethod
    async def _take(self, value: Any, data: str | bytes, spawn: Spawn) -> None:
        """Take a frame in: ``value``, and as it came."""

    @abstractmethod
    async def _refuse(self, detail: str) -> None:
        """Say why a frame is none."""

    @abstractmethod
    def _left(self) -> None:
        """The client has left."""
