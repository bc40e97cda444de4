"""The bytes of a connection: commands out, replies in, with nothing in between.

redis-py opens the connection, with all that its options ask for. Its stream reader and its parser,
which cost a switch of tasks per read and much time per reply, are left out from there on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import hiredis
from redis._parsers import BaseParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

__all__ = ["Wire"]

_INCOMPLETE = object()


class Wire(asyncio.Protocol):
    """Takes over a connection that redis-py has opened and logged in.

    Its replies either answer commands (``exchange``, one at a time) or come by themselves
    (``listen``). Once it is lost, both raise.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=BaseParser.parse_error,
            notEnoughData=_INCOMPLETE,
        )
        self._on_reply: Callable[[Any], None] | None = None
        self._answers: list[Any] = []
        self._expected = 0
        self._answered: asyncio.Future[list[Any]] | None = None
        self._ended: Exception | None = None
        self._transport: asyncio.Transport = connection._writer.transport
        self._transport.set_protocol(self)

    async def exchange(self, commands: Sequence[bytes]) -> list[Any]:
        """Send the packed commands, and wait for as many replies; an error reply is one of them.

        :raises RedisError, OSError: the connection is lost, or not usable.
        """
        if not commands:
            return []
        self.send(commands)
        self._answers, self._expected = [], len(commands)
        self._answered = self._loop.create_future()
        return await self._answered

    async def listen(self, on_reply: Callable[[Any], None]) -> None:
        """Call ``on_reply`` with each reply, until the connection is lost or it raises."""
        self._on_reply = on_reply
        if self._ended is not None:
            raise self._ended
        self._answered = self._loop.create_future()
        await self._answered

    def send(self, commands: Sequence[bytes]) -> None:
        """Send the packed commands; what cannot be sent at once is kept and sent later.

        :raises RedisError, OSError: the connection is lost.
        """
        if self._ended is not None:
            raise self._ended
        self._transport.write(b"".join(commands))

    async def disconnect(self, *, nowait: bool = True) -> None:
        await self._connection.disconnect(nowait=nowait)

    # -- what the transport calls ------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _INCOMPLETE:
                if self._on_reply is not None:
                    self._on_reply(reply)
                elif isinstance(reply, RedisConnectionError):
                    raise reply
                elif self._expected:
                    self._answer(reply)
        except Exception as error:
            self._end(error)
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        lost = RedisConnectionError(f"the connection was lost: {error or 'closed by the server'}")
        lost.__cause__ = error
        self._end(lost)

    # -- parts -------------------------------------------------------------------------------

    def _answer(self, reply: Any) -> None:
        self._answers.append(reply)
        if len(self._answers) == self._expected:
            self._expected = 0
            if self._answered is not None and not self._answered.done():
                self._answered.set_result(self._answers)

    def _end(self, error: Exception) -> None:
        if self._ended is None:
            self._ended = error
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(self._ended)
