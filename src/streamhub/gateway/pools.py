"""Connections to the upstream, in several small pools."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import httpx

__all__ = ["Pools"]

# httpcore goes through all connections of a pool whenever a request begins or ends there, and once
# more for each that is idle: of a thousand answers at once, that was most of what they took.
_MOST = 32


class _Pool:
    def __init__(self, transport: httpx.AsyncHTTPTransport) -> None:
        self.transport = transport
        self.busy = 0


class Pools(httpx.AsyncBaseTransport):
    """As many connections as there are requests at once; a few are kept for the next ones.

    The first pool that is not full is used, so that few requests use the same few connections; one
    that has nothing left to do is closed, but for the first.
    """

    def __init__(self) -> None:
        # It takes a moment to read the certificates of all authorities: once is enough.
        self._trusted = httpx.create_ssl_context()
        self._pools = [self._new()]

    def __len__(self) -> int:
        return len(self._pools)

    @property
    def busy(self) -> int:
        """How many requests are under way."""
        return sum(pool.busy for pool in self._pools)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        pool = next((pool for pool in self._pools if pool.busy < _MOST), None)
        if pool is None:
            pool = self._new()
            self._pools.append(pool)
        pool.busy += 1

        async def give_back() -> None:
            pool.busy -= 1
            if not pool.busy and pool is not self._pools[0] and pool in self._pools:
                self._pools.remove(pool)
                await pool.transport.aclose()

        try:
            response = await pool.transport.handle_async_request(request)
        except BaseException:
            await give_back()
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Body(response.stream, give_back)
        return response

    async def aclose(self) -> None:
        """Close all connections. Idempotent."""
        for pool in self._pools:
            await pool.transport.aclose()

    def _new(self) -> _Pool:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=_MOST)
        return _Pool(httpx.AsyncHTTPTransport(verify=self._trusted, limits=limits))


class _Body(httpx.AsyncByteStream):
    """The body of an answer, which has its place in a pool until it is closed."""

    def __init__(
        self, body: httpx.AsyncByteStream, give_back: Callable[[], Awaitable[None]]
    ) -> None:
        self._body = body
        self._give_back: Callable[[], Awaitable[None]] | None = give_back

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._body.__aiter__()

    async def aclose(self) -> None:
        give_back, self._give_back = self._give_back, None
        try:
            await self._body.aclose()
        finally:
            if give_back is not None:
                await give_back()
