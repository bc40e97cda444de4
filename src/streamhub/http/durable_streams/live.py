"""A stream as Server-Sent Events: what is stored, then what comes, with the offset after each."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ...errors import StreamHubError
from ...formats.durable_streams import Control, control_event, data_event
from ...formats.sse import HEARTBEAT
from ...serving.disconnects import ClientGone, unless_gone
from ...serving.heartbeat import Heartbeat
from ...serving.settings import UNBUFFERED
from .asked import Asked
from .headers import SAFE, cursor_of
from .reader import Page, Reader

__all__ = ["LiveResponse"]

# How long a response lasts at most, in seconds: caches let others join one that is young. Not all
# that began together end together.
_LASTS = 60.0
_SPREAD = 10.0


class LiveResponse(Response):
    """Ends with the stream, or after a minute without an end: its client asks again from where it
    stands, and hears then what is wrong, if something is."""

    def __init__(self, reader: Reader, first: Page, asked: Asked, heartbeat: float) -> None:
        """:param first: what is said at once."""
        self.status_code = 200
        self.background: BackgroundTask | None = None
        self.body = b""
        self._reader = reader
        self._first = first
        self._asked = asked
        self._heartbeat = heartbeat
        self.init_headers({**UNBUFFERED, **SAFE, "content-type": "text/event-stream"})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            # A server may say by an OSError, too, that the client has gone.
            with suppress(ClientGone, OSError):
                await unless_gone(receive, self._send(send))
        finally:
            await self._reader.aclose()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        heartbeat = Heartbeat(self._heartbeat)
        try:
            with suppress(StreamHubError):
                await self._follow(send, heartbeat)
        finally:
            heartbeat.close()
        await send({"type": "http.response.body", "body": b""})

    async def _follow(self, send: Send, heartbeat: Heartbeat) -> None:
        """
        :raises StreamHubError: it cannot be read on, which the next answer tells.
        """
        time = asyncio.get_running_loop().time
        until = time() + _LASTS - _SPREAD * random.random()
        page = self._first
        await send(_body(self._said(page)))
        while not page.closed and time() < until:
            heartbeat.begin()
            try:
                await self._reader.wait()
            except asyncio.CancelledError:
                if not heartbeat.end():
                    raise
                await send(_body(HEARTBEAT))
                continue
            heartbeat.end()
            page = await self._reader.ready()
            await send(_body(self._said(page)))

    def _said(self, page: Page) -> bytes:
        control = control_event(
            Control(
                str(page.next),
                None if page.closed else cursor_of(self._asked),
                up_to_date=page.up_to_date,
                stream_closed=page.closed,
                streamhub_status=page.status.value if page.closed else None,
            )
        )
        if not page.messages:
            return control
        # In one piece: what is cut off between the two would be told again.
        return data_event(self._asked.shape.body(page.messages)) + control


def _body(piece: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": piece, "more_body": True}
