"""One connection on which commands travel together, and do not wait for each other's answers."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from redis.exceptions import ConnectionError as RedisConnectionError, NoScriptError

from ....errors import HubClosed
from ....signals import is_cancelled
from ..layout.scripts import Call, Command, Script
from .dialer import MOVED_AWAY, Server, disconnect
from .errors import is_last, is_read_only
from .protocol import RawConnection

__all__ = ["Pipeline", "Request", "Sent"]

_PAUSES = (0.05, 0.2)
# At the end of its turn Redis writes to the clients that it has something for, the newest on its
# list first. A PING in front puts the writer on that list before the subscribers of its chunk, so
# that these hear of the chunk before the writer does.
_FIRST: Command = (b"PING",)


Request = Command | Call


class Sent(NamedTuple):
    """Requests that are under way already."""

    connection: RawConnection
    answers: asyncio.Future[list[Any]]


class Pipeline:
    """Carries requests out in order. An error reply is an answer; a broken connection fails all
    that was under way, or, where ``retries`` is set, has it repeated: all requests may be.

    Nobody waits for the answers of others. What is asked for in one turn of the event loop is sent
    together; listings are sent as ``RawConnection`` does it.

    :param prompt: for the writer, for whose chunks subscribers wait: its requests are sent right
        away, not at the end of the event loop's turn, and a single one behind a PING.
    """

    def __init__(
        self,
        server: Server,
        *,
        retries: bool,
        scripts: Collection[Script] = (),
        prompt: bool = False,
    ) -> None:
        self._server = server
        self._scripts = scripts
        self._pauses = _PAUSES if retries else ()
        self._prompt = prompt
        self._connecting: asyncio.Task[RawConnection] | None = None
        self._connection: RawConnection | None = None
        #: The next one, while the scripts are loaded on it.
        self._opening: RawConnection | None = None
        #: Since when each of those who ask has been waiting, the oldest first.
        self._asking: dict[object, float] = {}
        self._closed = False
        self._purpose = "writes" if not retries else "claims" if scripts else "reads"
        server.on_move(self._leave_server)

    @property
    def connections(self) -> int:
        """How many are open."""
        return 0 if self._connection is None or self._connection.lost else 1

    @property
    def idle(self) -> bool:
        return not self._asking

    @property
    def waiting_for(self) -> float:
        """For how many seconds the oldest request has been under way; 0 if none is."""
        for since in self._asking.values():
            return asyncio.get_running_loop().time() - since
        return 0.0

    def send(self, requests: Sequence[Request]) -> Sent | None:
        """Send what ``ask`` is going to ask for, if there is a connection.

        :raises StoreUnavailable: it broke off.
        """
        connection = self._connection
        if connection is None or connection.lost or self._closed:
            return None
        try:
            return self._send(connection, requests)
        except Exception as error:
            raise self._server.error(error) from error

    async def ask(
        self, requests: Sequence[Request], *, patient: bool = False, sent: Sent | None = None
    ) -> list[Any]:
        """The answers in the same order; an error reply stands where its answer would.

        :param sent: what ``send`` made of the same requests.
        :raises StoreUnavailable: the server cannot be reached, or broke off.
        """
        if self._closed:
            raise HubClosed
        asking = object()
        self._asking[asking] = asyncio.get_running_loop().time()
        try:
            if self._pauses:
                return await self._persist(requests, sent)
            answers, _ = await self._exchange(requests, sent)
            return answers
        except Exception as error:
            if self._closed:
                raise HubClosed from None
            raise self._server.error(error) from error
        finally:
            del self._asking[asking]

    def expect(self, key: str) -> None:
        if self._connection is None and not self._closed:
            self._start_connecting()

    async def each(self) -> Sequence[Pipeline]:
        return (self,)

    async def aclose(self) -> None:
        self._closed = True
        self._server.discard_on_move(self._leave_server)
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._connection is not None:
            await self._leave(self._connection)

    async def _persist(self, requests: Sequence[Request], sent: Sent | None) -> list[Any]:
        for pause in self._pauses:
            try:
                answers, last = await self._exchange(requests, sent)
            except RedisConnectionError as error:
                if type(error) is not RedisConnectionError or self._closed:
                    raise
            else:
                if not last:
                    return answers
            sent = None
            await asyncio.sleep(pause)
        answers, _ = await self._exchange(requests)
        return answers

    def _send(self, connection: RawConnection, requests: Sequence[Request]) -> Sent:
        commands = [one.by_sha if isinstance(one, Call) else one for one in requests]
        if self._prompt and len(commands) == 1:
            commands.insert(0, _FIRST)
        return Sent(connection, connection.exchange(commands, at_once=self._prompt))

    async def _exchange(
        self, requests: Sequence[Request], sent: Sent | None = None
    ) -> tuple[list[Any], bool]:
        """The answers, and whether the connection that they came by is good for no more."""
        if sent is None:
            connection = self._connection
            if connection is None or connection.lost:
                connection = await self._connected()
            sent = self._send(connection, requests)
        connection, answering = sent
        answers = await answering
        del answers[: -len(requests)]
        errors = [answer for answer in answers if isinstance(answer, Exception)]
        for error in errors:
            if isinstance(error, NoScriptError):
                # All that follows is repeated, too, so that the order is kept.
                at = answers.index(error)
                answers[at:] = await connection.exchange(_loading(requests[at:]))
                errors = [answer for answer in answers if isinstance(answer, Exception)]
                break
        if connection.unfit:
            await self._leave(connection)
        return answers, any(is_read_only(error) or is_last(error) for error in errors)

    async def _connected(self) -> RawConnection:
        """A new connection, or the reason why there is none, for all who wait for it."""
        if self._closed:
            raise HubClosed
        connecting = self._start_connecting()
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            if not connecting.cancelled() or is_cancelled():
                raise
            if self._closed:
                raise HubClosed from None
        # Cancelled with all tasks of a loop that shuts down, in which the last things are stored.
        return await self._connected()

    def _start_connecting(self) -> asyncio.Task[RawConnection]:
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect(), name="streamhub connects")
            self._connecting.add_done_callback(self._on_connected)
        return self._connecting

    def _on_connected(self, connecting: asyncio.Task[RawConnection]) -> None:
        self._connecting = None
        if not connecting.cancelled() and connecting.exception() is None:
            self._connection = connecting.result()

    async def _connect(self) -> RawConnection:
        if self._connection is not None:
            await self._leave(self._connection)
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.timeout(self._server.timeout):
            connection = RawConnection(await self._server.connect(), timeout=self._server.timeout)
        self._opening = connection
        try:
            await connection.exchange([(b"SCRIPT", b"LOAD", one.text) for one in self._scripts])
        except BaseException:
            await disconnect(connection)
            raise
        finally:
            self._opening = None
        self._server.connected(self._purpose, loop.time() - began)
        connection.on_lost = self._on_lost
        return connection

    def _on_lost(self, error: Exception) -> None:
        if not self._closed:
            self._server.disconnected(self._purpose, error)

    def _leave_server(self) -> None:
        for connection in (self._connection, self._opening):
            if connection is not None:
                connection.break_off(RedisConnectionError(MOVED_AWAY))

    async def _leave(self, connection: RawConnection) -> None:
        if self._connection is connection:
            self._connection = None
        await disconnect(connection)


def _loading(requests: Sequence[Request]) -> list[Command]:
    """The requests, with each script in full where it comes first: the server keeps it."""
    known: set[Script] = set()
    commands: list[Command] = []
    for one in requests:
        if isinstance(one, Call):
            commands.append(one.by_sha if one.script in known else one.in_full)
            known.add(one.script)
        else:
            commands.append(one)
    return commands
