"""The server that a name means now, which may be another one than a moment ago."""

from __future__ import annotations

import asyncio
import logging
import re
from math import inf
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError, ResponseError

from ..connections.dialer import MOVED_AWAY, Dialer, Server, disconnect

__all__ = ["NamedServer"]

logger: logging.Logger = logging.getLogger("streamhub")

_RUN_ID = re.compile(rb"^run_id:(\w+)", re.MULTILINE)


class NamedServer(Server):
    """A host, a socket or a proxy, behind which the server may be exchanged.

    Every new connection asks the server who it is. As soon as one finds another server than those
    before it, all others are left, also where the old server lives on and answers.
    """

    def __init__(self, name: str, dialer: Dialer, **address: Any) -> None:
        super().__init__(name, dialer, **address)
        #: How often it was found to be another server.
        self.moves: int = 0
        #: When the newest connection that was made was begun, by the loop's clock.
        self.met_at: float = -inf
        self._run_id: bytes | None = None
        self._connects = 0
        #: Which connect was the last to find that server.
        self._met_by = 0
        self._tells = True

    async def connect(self) -> Any:
        self._connects += 1
        number, began = self._connects, asyncio.get_running_loop().time()
        connection = await self._open()
        try:
            run_id = await self._ask_who(connection)
            if run_id is not None:
                self._meet(run_id, number)
        except BaseException:
            await disconnect(connection)
            raise
        self.met_at = max(self.met_at, began)
        return connection

    async def _open(self) -> Any:
        return await self._dialer.dial(**self.address)

    async def _ask_who(self, connection: Any) -> bytes | None:
        """The id that the server has given itself for this run; None if it does not tell."""
        if not self._tells:
            return None
        try:
            await connection.send_command("INFO", "server")
            found = _RUN_ID.search(await connection.read_response())
        except ResponseError:
            # This user may not ask; it would be noted down by the server each time.
            self._tells = False
            return None
        return None if found is None else found[1]

    def _meet(self, run_id: bytes, number: int) -> None:
        if run_id == self._run_id or self._run_id is None:
            self._run_id, self._met_by = run_id, max(number, self._met_by)
            return
        if number < self._met_by:
            raise RedisConnectionError(MOVED_AWAY)
        self._run_id, self._met_by = run_id, number
        self.moves += 1
        logger.info("%s is another server now: all connections are made anew", self.name)
        self.leave()
