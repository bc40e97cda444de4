"""A list of sessions as one JSON document, written as they are found."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..errors import StreamHubError
from ..serving.disconnects import ClientGone, unless_gone
from .problems import NOT_STORED

__all__ = ["ListingResponse"]

logger: logging.Logger = logging.getLogger("streamhub")

# Small ones are sent together.
_SENT_AT_ONCE = 64 * 1024


class ListingResponse(Response):
    """``{"sessions": […]}``. Holds no more of them than are on their way to the client.

    Where they cannot be read to the end, the document stops in the middle: it is no JSON then, and
    cannot be taken for the whole list.
    """

    media_type = "application/json"

    def __init__(self, found: AsyncGenerator[bytes], first: bytes | None) -> None:
        """
        :param found: the sessions, each as JSON.
        :param first: what was taken from it already, None if it had none: an error before the first
            one is the caller's to answer.
        """
        self.status_code = 200
        self.background: BackgroundTask | None = None
        self.body = b""
        self._found = found
        self._first = first
        self.init_headers(NOT_STORED)
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._found):
            with suppress(ClientGone):
                await unless_gone(receive, self._send(send))

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        gathered = b'{"sessions":[' + (self._first or b"")
        try:
            async for one in self._found:
                if len(gathered) >= _SENT_AT_ONCE:
                    await _send_body(send, gathered)
                    gathered = b""
                gathered += b"," + one
            gathered += b"]}"
        except StreamHubError as error:
            logger.warning("a list of sessions was cut off: %s", error)
        await _send_body(send, gathered)
        await _send_body(send, b"", more=False)


async def _send_body(send: Send, body: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})
