"""``create_app`` as a server of its own: who may reach it, and how it ends."""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from math import ceil
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from ..hub import Hub
from .app import create_app
from .durable_streams.headers import STANDING_HEADERS
from .frames import LONGEST_FRAME, REFUSED
from .inspector import PUBLIC, Findings, inspector_routes
from .problems import Problem

__all__ = ["HubServer", "LocalOnly", "beside", "guarded", "is_loopback", "listen"]

# How long a client that does not read may hold up the end.
_LAST_BYTES = 5
_BACKLOG = 2048
_OPEN = PUBLIC | {"/health"}


def listen(host: str, port: int, *, public: bool) -> socket.socket:
    """A listening socket.

    :param port: 0 for any that is free.
    :param public: whether an address is allowed that others than this machine can reach.
    :raises ValueError: it is not allowed, or nothing that an address could be.
    :raises OSError: there is no such address, or it is taken.
    """
    if not host:
        raise ValueError("host must be an address or a name, not empty")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError:
        raise ValueError(f"host must be an address or a name, not {host!r}") from None
    addresses = [info[4][0] for info in found]
    if not public and not all(is_loopback(str(address)) for address in addresses):
        shown = "" if host in addresses else f" ({', '.join(map(str, addresses))})"
        raise ValueError(
            f"host {host}{shown} can be reached by other machines, and nothing says who may read "
            "and cancel: give a token, or a loopback address such as 127.0.0.1"
        )
    family, _, _, _, address = found[0]
    listening = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    # Event loops do so for sockets that they make themselves, and connections inherit it: without,
    # each event but the first waits until the one before is acknowledged, 40 ms as a rule.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach the address."""
    return ip_address(address.partition("%")[0]).is_loopback


def guarded(
    hub: Hub,
    *,
    token: str | None,
    origins: Sequence[str] = (),
    metrics: ASGIApp | None = None,
    findings: Findings | None = None,
) -> ASGIApp:
    """``create_app`` and the inspector for whoever has the token; without one, for programs of this
    machine and pages of ``origins``. They run the producers, and are told why one has failed.

    :param token: what is not empty.
    :param origins: whose pages may use it from a browser (CORS), as ``https://example.org``.
    :param metrics: what is to answer ``/metrics`` for those who may use the rest.
    :param findings: as for :func:`inspector_routes`.
    """
    if token is not None and not token.strip():
        raise ValueError("token must not be empty")
    # What comes from elsewhere is refused below: either it lacks the token, or by its origin.
    inspector = inspector_routes(hub, authorize=None, origins=["*"], findings=findings)
    sessions = create_app(hub, show_errors=True, origins=["*"])
    app: ASGIApp = Starlette(routes=[*inspector, Mount("/", sessions)])
    if metrics is not None:
        app = beside(app, metrics)
    app = LocalOnly(app, origins) if token is None else _Token(app, token)
    if origins:
        app = CORSMiddleware(
            app,
            allow_origins=list(origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Last-Event-ID"],
            expose_headers=STANDING_HEADERS,
        )
    return app


def beside(app: ASGIApp, metrics: ASGIApp) -> ASGIApp:
    """``app``, where ``metrics`` answers ``/metrics``, whatever guards the rest."""

    async def both(scope: Scope, receive: Receive, send: Send) -> None:
        asked = scope["type"] == "http" and scope["path"] == "/metrics"
        await (metrics if asked else app)(scope, receive, send)

    return both


class HubServer(uvicorn.Server):
    """Closes its hub as soon as it is told to stop: the responses that follow a session end,
    without an end of the session, and their clients ask again elsewhere.

    :param drain: as for ``Hub.aclose``.
    :param largest_frame: of a WebSocket, in bytes. A larger one closes it, with 1009.
    """

    def __init__(
        self,
        app: ASGIApp,
        hub: Hub,
        *,
        drain: float = 0.0,
        largest_frame: int = LONGEST_FRAME,
        on_started: Callable[[], None],
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                lifespan="off",
                log_level="warning",
                access_log=False,
                server_header=False,
                ws_max_size=largest_frame,
                timeout_graceful_shutdown=ceil(drain) + _LAST_BYTES,
            )
        )
        logging.getLogger("uvicorn.error").addFilter(_is_news)
        self._hub = hub
        self._drain = drain
        self._closing: asyncio.Task[None] | None = None
        self._hurried: asyncio.Task[None] | None = None
        self._on_started = on_started

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever calls ``stop``: a first one, taken in here as well, would look
        like a second, after which nothing drains."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started()

    def stop(self) -> None:
        """Stop; called again, without waiting for what drains."""
        if self._closing is not None and self._hurried is None:
            self._hurried = asyncio.create_task(self._hub.aclose())
        elif self.should_exit:
            # It has not begun to drain yet.
            self._drain = 0.0
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._closing = asyncio.create_task(self._hub.aclose(drain=self._drain))
        await super().shutdown(sockets)
        await self._closing


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line of the server is not about a response that was broken off on purpose, or about
    a handshake that was answered with what is wrong with it."""
    said = record.getMessage()
    return not any(f"without completing {one}" in said for one in ("response", "handshake"))


class _Token:
    """Lets through who sends ``Authorization: Bearer <token>``; and anybody to ``/health``, and to
    the inspector's page, which asks for the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in _OPEN:
            kind, _, given = Request(scope).headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(
                given.strip().encode("latin-1"), self._token
            ):
                detail = "a token is needed: Authorization: Bearer …"
                problem = Problem(401, "unauthorized", detail, {"www-authenticate": "Bearer"})
                await problem(scope, receive, send)
                return
        await self._app(scope, receive, send)


class LocalOnly:
    """Keeps out pages of other sites: a browser on this machine sends their requests, too.

    :param refusal: what those are answered.
    """

    def __init__(
        self, app: ASGIApp, origins: Sequence[str], *, refusal: ASGIApp | None = None
    ) -> None:
        self._app = app
        self._origins = frozenset(origins)
        detail = "without a token only programs and pages of this machine are served"
        self._refusal = refusal or Problem(403, "forbidden", detail)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            request = HTTPConnection(scope)
            host, origin = request.headers.get("host", ""), request.headers.get("origin")
            # As a page's own origin is written: ws is http there, and wss is https.
            own = f"{scope['scheme'].replace('ws', 'http')}://{host}"
            if not _names_this_machine(host) or (
                origin is not None and origin != own and origin not in self._origins
            ):
                if scope["type"] == "websocket":
                    # Before it is accepted: servers answer 403.
                    await send({"type": "websocket.close", "code": REFUSED})
                else:
                    await self._refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _names_this_machine(host: str) -> bool:
    # A name that somebody else has made point at this machine is not ours.
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or is_loopback(name)
    except ValueError:
        return False
