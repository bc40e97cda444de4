"""Events that are sent as they come, until the client goes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import msgspec
from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ...errors import HubClosed
from ...serving.disconnects import ClientGone, unless_gone
from ..problems import NOT_STORED

__all__ = ["EventStream", "event"]


def event(name: str, value: object) -> bytes:
    """An event whose data is ``value`` as JSON, which has no line breaks."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(value))


class EventStream(Response):
    """Server-Sent Events. Ends with the hub."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes]) -> None:
        self.status_code = 200
        self.background: BackgroundTask | None = None
        self.body = b""
        self._events = events
        # A proxy that gathers before it passes on would hold events back.
        self.init_headers({**NOT_STORED, "x-accel-buffering": "no"})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._events):
            with suppress(ClientGone):
                await unless_gone(receive, self._send(send))

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        with suppress(HubClosed):
            async for piece in self._events:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
