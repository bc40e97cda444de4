"""What comes over a WebSocket, asked of the application as the request of HTTP that it stands for:
so it passes the middleware and the dependencies of that one."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.types import ASGIApp, Message, Scope
from starlette.websockets import WebSocket

__all__ = ["LONGEST_DETAIL", "Exchange", "ask", "detail_of"]

logger: logging.Logger = logging.getLogger("streamhub")

#: How much is to be read of an answer that is an error, in bytes.
LONGEST_DETAIL = 64 * 1024

# What belongs to the handshake, or to the body that a frame is not.
_NOT_OF_REQUESTS = frozenset(
    {b"connection", b"upgrade", b"accept-encoding", b"content-length", b"content-type", b"range"}
)
# What the routing of the handshake has found out.
_OF_ITS_ROUTE = frozenset(
    {"app_root_path", "endpoint", "path_params", "route", "router", "subprotocols"}
)


class Exchange:
    """A request, and the status that it is answered with.

    :param path: below that of the WebSocket.
    :param headers: in lower case, in the place of the handshake's.
    """

    def __init__(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        self.method: str = method
        self.path: str = path
        self.body: bytes = body
        self.headers: dict[str, str] = headers or {}
        #: In the place of the handshake's, if it is not None.
        self.query: bytes | None = None
        #: Set where nobody waits for the answer any more.
        self.gone: asyncio.Event = asyncio.Event()
        self.status: int = 0
        self._asked = False

    async def receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]


async def ask(websocket: WebSocket, exchange: Exchange) -> Exception | None:
    """Have the application answer; the error that it has raised, if it has."""
    try:
        await _app(websocket)(_scope(websocket, exchange), exchange.receive, exchange.send)
    except Exception as error:
        logger.exception("a request that came over a WebSocket failed")
        return error
    return None


def detail_of(body: bytes) -> str:
    """What an answer that is an error says in words."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return body.decode(errors="replace")
    said = value.get("detail") if isinstance(value, dict) else value
    return said if isinstance(said, str) else body.decode(errors="replace")


def _app(websocket: WebSocket) -> ASGIApp:
    """What answers the requests: the application whose middleware stands before the routes, or
    where that is a part of another one, the router of that."""
    app: Any = websocket.scope.get("app")
    router: ASGIApp = websocket.scope["router"]
    return app if getattr(app, "router", None) is router else router


def _scope(websocket: WebSocket, exchange: Exchange) -> Scope:
    scope = websocket.scope
    path: str = scope["path"].rstrip("/") + exchange.path
    headers = [
        (name, value)
        for name, value in scope["headers"]
        if name not in _NOT_OF_REQUESTS
        and name.decode("latin-1") not in exchange.headers
        and not name.startswith(b"sec-websocket-")
    ]
    headers += [
        (name.encode(), value.encode("latin-1", "replace"))
        for name, value in exchange.headers.items()
    ]
    if exchange.method == "POST":
        headers.append((b"content-type", b"application/json"))
        headers.append((b"content-length", b"%d" % len(exchange.body)))
    query = scope.get("query_string", b"") if exchange.query is None else exchange.query
    return {
        **{name: value for name, value in scope.items() if name not in _OF_ITS_ROUTE},
        "type": "http",
        "method": exchange.method,
        "scheme": "https" if scope.get("scheme") == "wss" else "http",
        "path": path,
        "raw_path": quote(path).encode(),
        "root_path": scope.get("app_root_path", scope.get("root_path", "")),
        "query_string": query,
        "headers": headers,
        "extensions": {},
        "state": {**scope.get("state", {})},
    }
