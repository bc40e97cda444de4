"""Server-Sent Events to one client, who is noticed to leave at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Protocol

from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..errors import HubClosed
from ..formats.sse import HEARTBEAT
from ..serving.disconnects import ClientGone, unless_gone
from ..serving.heartbeat import Heartbeat

__all__ = ["EventsResponse", "Pieces", "send_pieces"]

# Seconds of silence after which a comment is sent, so that nothing between takes it for an end.
_KEEP_ALIVE = 15.0


class Pieces(Protocol):
    """What is sent of an answer: whole events, one or more at a time."""

    async def next(self) -> bytes | None:
        """The next piece, maybe an empty one; None after the last. Safe to cancel: nothing is lost
        by it.

        :raises HubClosed: the hub closes, and this is no end.
        """
        ...

    async def aclose(self) -> None:
        """Let go of everything."""
        ...


class EventsResponse(Response):
    """Sends all pieces, and a comment wherever they are silent.

    Where the hub closes, the connection is broken off: its client sees that this was no end.

    :param pieces: to be closed by this response.
    :param on_left: called where the client went away before the last piece.
    """

    def __init__(
        self,
        pieces: Pieces,
        *,
        on_left: Callable[[], Awaitable[object]] | None = None,
        headers: Mapping[str, str] | None = None,
        keep_alive: float = _KEEP_ALIVE,
    ) -> None:
        self.status_code = 200
        self.background: BackgroundTask | None = None
        self._pieces = pieces
        self._on_left = on_left
        self._keep_alive = keep_alive
        self.init_headers(
            {
                "content-type": "text/event-stream; charset=utf-8",
                "cache-control": "no-cache",
                "x-accel-buffering": "no",
                **(headers or {}),
            }
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"status": self.status_code, "headers": self.raw_headers}
        try:
            await send({"type": "http.response.start", **start})
            sending = send_pieces(send, self._pieces, keep_alive=self._keep_alive)
            await unless_gone(receive, sending)
        except HubClosed:
            # Without its last piece, the server breaks the connection off.
            return
        except (ClientGone, OSError):
            # A server may say by an OSError, too, that the client has gone.
            if self._on_left is not None:
                with suppress(HubClosed):
                    await self._on_left()


async def send_pieces(send: Send, pieces: Pieces, *, keep_alive: float = _KEEP_ALIVE) -> None:
    """Send all pieces as the body of a response that has begun, and close them."""
    heartbeat = Heartbeat(keep_alive)
    try:
        while (piece := await _next(pieces, heartbeat)) is not None:
            if piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
    finally:
        heartbeat.close()
        await pieces.aclose()
    await send({"type": "http.response.body", "body": b""})


async def _next(pieces: Pieces, heartbeat: Heartbeat) -> bytes | None:
    heartbeat.begin()
    try:
        piece = await pieces.next()
    except asyncio.CancelledError:
        if not heartbeat.end():
            raise
        return HEARTBEAT
    heartbeat.end()
    return piece
