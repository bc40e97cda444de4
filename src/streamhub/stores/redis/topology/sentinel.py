"""The server that is the master now, by the word of Sentinel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from ..connections.dialer import Dialer, Server, disconnect, shown
from .first_answer import first_answer
from .named_server import NamedServer

__all__ = ["Master"]


class Master(NamedServer):
    """Every connection is made to the server that a Sentinel names and that agrees to be master.

    :param sentinels: one for each Sentinel.
    :param service: what the Sentinels call the master.
    """

    def __init__(
        self, name: str, dialer: Dialer, *, sentinels: Sequence[Server], service: str
    ) -> None:
        super().__init__(name, dialer)
        self._sentinels = sentinels
        self._service = service

    async def _open(self) -> Any:
        return await first_answer(
            self._sentinels, self._connect_by, timeout=self.timeout / 2, discard=disconnect
        )

    async def _connect_by(self, sentinel: Server) -> Any:
        host, port = await self._master(sentinel)
        connection = await self._dialer.dial(host=host, port=port)
        try:
            await connection.send_command("ROLE")
            role = (await connection.read_response())[0]
            if role != b"master":
                # It was; Sentinel has not noticed yet, or is about to say who is instead.
                raise RedisConnectionError(f"{shown(host, port)} is {role.decode()}, not master")
        except BaseException:
            await disconnect(connection)
            raise
        return connection

    async def _master(self, sentinel: Server) -> tuple[str, int]:
        connection = await sentinel.connect()
        try:
            await connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
            address = await connection.read_response()
        finally:
            await disconnect(connection)
        if address is None:
            raise RedisConnectionError(f"{sentinel} knows no master {self._service!r}")
        host, port = address
        return host.decode(), int(port)
