"""One connection on which commands travel together: what comes while a round trip is under way
goes with the next."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError

from ...errors import HubClosed
from .connection import Server, disconnect
from .failures import is_last, is_read_only
from .scripts import Script
from .wire import Wire

__all__ = ["Call", "Command", "Lane", "Request"]

Argument = bytes | str | int
Command = tuple[Argument, ...]

# What one round trip carries at most; the rest waits for the next.
_COMMANDS_PER_ROUND = 2048
_PAUSES = (0.05, 0.2)


class Call:
    """A script call: by its SHA, or in full where the server has forgotten that."""

    __slots__ = ("_rest", "key", "script")

    def __init__(self, script: Script, keys: Sequence[str], *arguments: Argument) -> None:
        self.script = script
        self.key = keys[0]
        self._rest = (len(keys), *keys, *arguments)

    @property
    def by_sha(self) -> Command:
        return (b"EVALSHA", self.script.sha, *self._rest)

    @property
    def in_full(self) -> Command:
        return (b"EVAL", self.script.text, *self._rest)


Request = Command | Call


class Lane:
    """Carries requests out in order. An error reply is an answer; a broken connection fails all
    that was under way, or, where ``retries`` is set, has it repeated: all requests may be.

    :param undisturbed: there is one who asks most of the time, and is cancelled at its end only.
        Its requests go out at once, in its own task; a task in between would cost each round trip
        two turns of the event loop, in which the server has nothing to do.
    """

    def __init__(
        self,
        server: Server,
        *,
        retries: bool,
        scripts: Collection[Script] = (),
        undisturbed: bool = False,
    ) -> None:
        self._server = server
        self._scripts = scripts
        self._pauses = _PAUSES if retries else ()
        self._undisturbed = undisturbed
        # Whoever else asks waits: two at once would take each other's answers.
        self._turn = asyncio.Lock()
        self._connection: Any = None
        self._waiting: list[tuple[Sequence[Request], asyncio.Future[list[Any]]]] = []
        self._pump: asyncio.Task[None] | None = None
        self._sent_at = 0.0
        self._closed = False

    @property
    def idle(self) -> bool:
        return self._pump is None

    @property
    def waiting_for(self) -> float:
        """Seconds since what is under way was sent; 0 if nothing is."""
        if self._pump is None:
            return 0.0
        return asyncio.get_running_loop().time() - self._sent_at

    async def ask(self, requests: Sequence[Request], *, patient: bool = False) -> list[Any]:
        """The answers in the same order; an error reply stands where its answer would.

        :raises StoreUnavailable: the server cannot be reached, or broke off.
        """
        if self._closed:
            raise HubClosed
        if self._undisturbed:
            return await self._ask_undisturbed(requests)
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((requests, answer))
        if self._pump is None:
            self._sent_at = asyncio.get_running_loop().time()
            self._pump = asyncio.create_task(self._run(), name="streamhub lane")
        return await answer

    async def each(self) -> Sequence[Lane]:
        return (self,)

    async def aclose(self) -> None:
        self._closed = True
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        for _, answer in self._waiting:
            if not answer.done():
                answer.set_exception(HubClosed())
        await self._disconnect()

    async def _ask_undisturbed(self, requests: Sequence[Request]) -> list[Any]:
        async with self._turn:
            if self._closed:
                raise HubClosed
            try:
                return await self._exchange_with_retries(requests)
            except Exception as error:
                if self._closed:
                    raise HubClosed from None
                raise self._server.error(error) from error

    async def _run(self) -> None:
        batch: list[tuple[Sequence[Request], asyncio.Future[list[Any]]]] = []
        try:
            while self._waiting:
                batch = self._next_batch()
                requests = [request for asked, _ in batch for request in asked]
                self._sent_at = asyncio.get_running_loop().time()
                try:
                    answers = await self._exchange_with_retries(requests)
                except Exception as error:
                    for _, answer in batch:
                        if not answer.done():
                            answer.set_exception(self._server.error(error))
                    continue
                start = 0
                for asked, answer in batch:
                    if not answer.done():
                        answer.set_result(answers[start : start + len(asked)])
                    start += len(asked)
        finally:
            self._pump = None
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(HubClosed())

    def _next_batch(self) -> list[tuple[Sequence[Request], asyncio.Future[list[Any]]]]:
        count = taken = 0
        for asked, answer in self._waiting:
            if taken and count + len(asked) > _COMMANDS_PER_ROUND:
                break
            taken += 1
            count += 0 if answer.done() else len(asked)
        batch = self._waiting[:taken]
        del self._waiting[:taken]
        # Nobody waits any more for what was given up meanwhile.
        return [(asked, answer) for asked, answer in batch if not answer.done()]

    async def _exchange_with_retries(self, requests: Sequence[Request]) -> list[Any]:
        for pause in self._pauses:
            try:
                answers = await self._exchange(requests)
            except RedisConnectionError as error:
                if type(error) is not RedisConnectionError:
                    raise
            else:
                if self._connection is not None:
                    return answers
            await asyncio.sleep(pause)
        return await self._exchange(requests)

    async def _exchange(self, requests: Sequence[Request]) -> list[Any]:
        try:
            async with asyncio.timeout(self._server.timeout):
                answers = await self._round_trip(
                    [one.by_sha if isinstance(one, Call) else one for one in requests]
                )
                for at, answer in enumerate(answers):
                    if isinstance(answer, NoScriptError):
                        # All that follows is repeated, too, so that the order is kept.
                        answers[at:] = await self._round_trip(_loading(requests[at:]))
                        break
        except BaseException:
            # Answers may still be on their way: they must not be taken for those of others.
            await self._disconnect()
            raise
        if any(is_read_only(answer) or is_last(answer) for answer in answers):
            # It was demoted: a new connection may lead to the server that took its place. Or it
            # closes this one, which is not for whoever comes next to find out.
            await self._disconnect()
        return answers

    async def _round_trip(self, commands: list[Command]) -> list[Any]:
        if self._connection is None:
            self._connection = Wire(await self._server.connect())
            await self._send([(b"SCRIPT", b"LOAD", script.text) for script in self._scripts])
        return await self._send(commands)

    async def _send(self, commands: list[Command]) -> list[Any]:
        packed = [hiredis.pack_command(command) for command in commands]  # type: ignore[arg-type]
        answers: list[Any] = await self._connection.exchange(packed)
        return answers

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
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
