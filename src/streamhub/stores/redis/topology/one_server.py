"""One server, which has all slots: the one that a name means now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from math import inf

from redis.exceptions import RedisError

from ....instruments.events import Tell
from ..connections.dialer import disconnect
from ..connections.pipeline import Pipeline
from ..layout.scripts import Script
from .confirming import Confirming
from .named_server import NamedServer

__all__ = ["OneServer"]

logger: logging.Logger = logging.getLogger("streamhub")


class OneServer:
    """All slots are on one server, or on the one that is its master now."""

    single = True

    def __init__(self, server: NamedServer) -> None:
        self.name: str = server.name
        self.timeout: float = server.timeout
        self._server = server
        self._confirming = Confirming(self._confirm)

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

    async def confirm(self, age: float, patience: float | None = None) -> None:
        confirming = self._start_confirming(age)
        if confirming is not None:
            await asyncio.wait([confirming], timeout=patience)

    def instrument(self, tell: Tell) -> None:
        self._server.instrument(tell)

    async def aclose(self) -> None:
        await self._confirming.aclose()

    def _start_confirming(self, age: float) -> asyncio.Task[None] | None:
        # Whatever was connected since has shown it, too.
        self._confirming.seen(self._server.met_at)
        return self._confirming.start(age)

    async def _confirm(self) -> None:
        """Connect anew, which tells where the name leads."""
        try:
            async with asyncio.timeout(self.timeout):
                await disconnect(await self._server.connect())
        except (RedisError, OSError) as error:
            # It leads nowhere else, then; the connections that there are go on as they can.
            logger.debug("%s: cannot be connected to anew: %s", self.name, error)
