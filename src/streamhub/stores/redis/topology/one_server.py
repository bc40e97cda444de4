"""One server, which has all slots: the one that a name means now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from math import inf

from redis.exceptions import RedisError

from ..connections.dialer import disconnect
from ..connections.pipeline import Pipeline
from ..layout.scripts import Script
from .named_server import NamedServer

__all__ = ["OneServer"]

logger = logging.getLogger("streamhub")


class OneServer:
    """All slots are on one server, or on the one that is its master now."""

    single = True

    def __init__(self, server: NamedServer) -> None:
        self.name = server.name
        self.timeout = server.timeout
        self._server = server
        self._confirmed_at = -inf
        self._confirming: asyncio.Task[None] | None = None

    @property
    def moves(self) -> int:
        return self._server.moves

    def commands(self, *, retries: bool, scripts: Collection[Script] = ()) -> Pipeline:
        # Without retries: the writer's, which does them itself.
        return Pipeline(self._server, retries=retries, scripts=scripts, prompt=not retries)

    def slot(self, name: bytes) -> int:
        return 0

    def server(self, slot: int) -> NamedServer:
        return self._server

    def moved(self, slot: int, host: str, port: int) -> None:
        pass

    def doubt(self) -> None:
        pass

    async def refresh(self) -> None:
        pass

    def confirm_soon(self, age: float) -> None:
        if self._server.met_at > -inf:
            self._start_confirming(age)

    async def confirm(self, age: float) -> None:
        confirming = self._start_confirming(age)
        if confirming is not None:
            await asyncio.wait([confirming])

    async def aclose(self) -> None:
        if self._confirming is not None:
            self._confirming.cancel()
            await asyncio.gather(self._confirming, return_exceptions=True)

    def _start_confirming(self, age: float) -> asyncio.Task[None] | None:
        if self._confirming is None:
            loop = asyncio.get_running_loop()
            # Whatever was connected since has shown it, too.
            if loop.time() - max(self._confirmed_at, self._server.met_at) <= age:
                return None
            self._confirmed_at = loop.time()
            self._confirming = loop.create_task(self._confirm(), name="streamhub confirms a name")
            self._confirming.add_done_callback(self._on_confirmed)
        return self._confirming

    def _on_confirmed(self, confirming: asyncio.Task[None]) -> None:
        self._confirming = None

    async def _confirm(self) -> None:
        """Connect anew, which tells where the name leads."""
        try:
            async with asyncio.timeout(self.timeout):
                await disconnect(await self._server.connect())
        except (RedisError, OSError) as error:
            # It leads nowhere else, then; the connections that there are go on as they can.
            logger.debug("%s: cannot be connected to anew: %s", self.name, error)
