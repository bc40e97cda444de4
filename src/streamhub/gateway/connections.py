"""Connections to the upstream, over HTTP/1.1: one for each request that is under way, and a few
that wait for the next one."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpx

from ..signals import is_cancelled
from .http1 import Http1Connection, Origin

__all__ = ["Connections"]

# How many wait for the next request, and for how many seconds: servers close theirs, too.
_MOST_IDLE = 32
_IDLE = 5.0
# In seconds: for so long one address of a server is tried before the next one is, too.
_NEXT_ADDRESS = 0.25


class Connections(httpx.AsyncBaseTransport):
    """As ``httpx.AsyncHTTPTransport``, whose errors it raises, at a third of what that takes of a
    request and its answer, in which a gateway is asked for little else.

    A request whose answer is not read to its end has its connection closed at once.
    """

    def __init__(self) -> None:
        self._tls: ssl.SSLContext | None = None
        #: The one that was used last at the end.
        self._idle: list[Http1Connection] = []
        self._busy: set[Http1Connection] = set()
        self._connecting: set[asyncio.Task[Http1Connection]] = set()

    @property
    def idle(self) -> int:
        """How many wait for a request."""
        return len(self._idle)

    @property
    def busy(self) -> int:
        """How many have one under way."""
        return len(self._busy)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        times = request.extensions.get("timeout", {})
        origin = _origin(request.url)
        connection = self._waiting(origin)
        if connection is None:
            connection = await self._connected(origin, times.get("connect"))
        self._busy.add(connection)
        try:
            await connection.ask(request, read=times.get("read"), write=times.get("write"))
        except BaseException:
            self._give_back(connection)
            raise
        body = _Body(connection, self._give_back)
        return httpx.Response(connection.status, headers=connection.headers, stream=body)

    async def aclose(self) -> None:
        """Close all connections. Idempotent."""
        for connection in (*self._idle, *self._busy):
            connection.abort()
        self._idle.clear()
        for connecting in self._connecting:
            connecting.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        # In its next turn the event loop closes what was aborted.
        await asyncio.sleep(0)

    def _waiting(self, origin: Origin) -> Http1Connection | None:
        """One that can be used again."""
        now = asyncio.get_running_loop().time()
        while self._idle and now - self._idle[0].since > _IDLE:
            self._idle.pop(0).abort()
        for connection in self._idle[::-1]:
            if connection.origin == origin:
                self._idle.remove(connection)
                if connection.is_quiet:
                    return connection
                connection.abort()
        return None

    async def _connected(self, origin: Origin, timeout: float | None) -> Http1Connection:
        # In a task of its own: asyncio may leave a connection open where who waits is cancelled.
        connecting = asyncio.create_task(self._connect(origin, timeout))
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            if connecting.cancelled() and not is_cancelled():
                raise httpx.ConnectError("the gateway has ended") from None
            connecting.add_done_callback(_abort)
            raise

    async def _connect(self, origin: Origin, timeout: float | None) -> Http1Connection:
        scheme, host, port = origin
        if scheme == "https" and self._tls is None:
            # It takes a moment to read the certificates of all authorities: once is enough.
            self._tls = httpx.create_ssl_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        loop = asyncio.get_running_loop()
        # Other loops do not know of it.
        more: dict[str, Any] = {}
        if isinstance(loop, asyncio.BaseEventLoop):
            more["happy_eyeballs_delay"] = _NEXT_ADDRESS
        try:
            async with asyncio.timeout(timeout):
                _, connection = await loop.create_connection(
                    lambda: Http1Connection(origin, loop),
                    host,
                    port,
                    ssl=self._tls if scheme == "https" else None,
                    **more,
                )
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"no connection to {host} within {timeout} s") from error
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(str(error)) from error
        return connection

    def _give_back(self, connection: Http1Connection) -> None:
        if connection not in self._busy:
            return
        self._busy.remove(connection)
        if connection.end() and len(self._idle) < _MOST_IDLE:
            self._idle.append(connection)
        else:
            connection.abort()


class _Body(httpx.AsyncByteStream):
    def __init__(self, connection: Http1Connection, give_back: Any) -> None:
        self._connection = connection
        self._give_back = give_back

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self._connection.take():
            yield piece

    async def aclose(self) -> None:
        self._give_back(self._connection)


def _abort(connecting: asyncio.Task[Http1Connection]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().abort()


def _origin(url: httpx.URL) -> Origin:
    port = url.port or (443 if url.scheme == "https" else 80)
    return url.scheme, url.raw_host.decode("ascii"), port
