"""Everything under ``/v1`` that the gateway does not answer itself: passed on, both ways as it
comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import unquote

from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from ..serving.disconnects import ClientGone, unless_gone
from .context import Gateway
from .errors import GatewayError, UpstreamFailed

__all__ = ["METHODS", "PassedOn", "path_of"]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_ROOT = "/v1"


def path_of(request: Request) -> str:
    """The path below ``/v1`` as it was sent: a name in it may hold encoded slashes.

    :raises GatewayError: it leads out of there.
    """
    scope = request.scope
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    sent, root = raw.decode("latin-1").partition("?")[0], scope.get("root_path", "")
    below = sent.removeprefix(root) if sent.startswith(f"{root}/") else sent
    if {".", ".."} & set(unquote(below).replace("\\", "/").split("/")):
        raise GatewayError(404, "not_found", f"there is no such path: {below!r:.200}")
    return below.removeprefix(_ROOT)


class PassedOn(Response):
    """The upstream's answer to a request: its status, its headers, its bytes.

    A body that the upstream breaks off is broken off here, so that nobody takes it for a whole one.
    """

    def __init__(self, gateway: Gateway, request: Request) -> None:
        """:raises GatewayError: it is not passed on."""
        self.background: BackgroundTask | None = None
        self._gateway = gateway
        self._method = request.method
        self._path, self._query = path_of(request), request.url.query
        self._sent_on = list(gateway.keys.caller(request).headers)
        self._most = gateway.limits.max_upload_bytes
        length = request.headers.get("content-length")
        self._has_body = "transfer-encoding" in request.headers or length not in (None, "0")
        if length is not None and length.isdigit():
            if int(length) > self._most:
                raise self._too_large()
            self._sent_on.append(("content-length", length))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        #: Whether all of the request was read, so that what else is heard is the client's leaving.
        read = asyncio.Event()
        if not self._has_body:
            read.set()

        async def body() -> AsyncIterator[bytes]:
            size = 0
            while not read.is_set():
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                if not message.get("more_body", False):
                    read.set()
                if piece := message.get("body", b""):
                    size += len(piece)
                    if size > self._most:
                        raise self._too_large()
                    yield piece

        async def heard() -> Message:
            await read.wait()
            return await receive()

        await unless_gone(heard, self._pass_on(body() if self._has_body else None, send))

    async def _pass_on(self, body: AsyncIterator[bytes] | None, send: Send) -> None:
        begun = False
        try:
            async with self._gateway.upstream.open(
                self._method,
                self._path,
                self._sent_on,
                content=body,
                query=self._query,
                raw=True,
            ) as answer:
                headers = answer.headers
                if (length := answer.length) is not None:
                    headers["content-length"] = length
                raw = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()]
                begun = True
                start = {"status": answer.status, "headers": raw}
                await send({"type": "http.response.start", **start})
                async for piece in answer.pieces():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except UpstreamFailed:
            if not begun:
                raise
            # Without its last piece, the server breaks the connection off.
        except OSError as error:
            # A server may say by this, too, that the client has gone.
            raise ClientGone from error

    def _too_large(self) -> GatewayError:
        message = f"the body of a request must be at most {self._most:,} bytes long"
        return GatewayError(413, "request_too_large", message)
