"""A site on which a second thing happens before the repair of the first is through."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Self

import redis.asyncio

from streamhub import Cursor, Hub
from streamhub.testing.waiting import patience, unhurried, until

from ..support.redis_server import RedisServer
from . import record
from .actors import Cast, Pause
from .checker import READERS
from .site import BOUND, LEASE, RETRY, Child, Site

__all__ = ["SECONDS", "PairSite"]

#: What follows a fault, each on a session whose producer lives and on one whose producer is dead.
SECONDS = ("nothing", "claimed anew", "continued", "ended", "cancelled", "removed")
#: Of a reader, so that it is soon far behind.
_BUFFER = 4
_FAR = 8 * _BUFFER
_PACE = unhurried(0.04)
#: However slow the machine is, in seconds.
_BEGINS_WITHIN = 60.0


class PairSite(Site):
    """For each second thing a session that is produced here, and one in a process that dies.

    Each has a reader that stays open, one that is paused until the fault has struck and is far
    behind by then, one that resumes elsewhere meanwhile (at the end, or beyond it where the store
    has lost what it had read), and a new one.
    """

    def __init__(self, server: RedisServer, directory: Path, random: Random) -> None:
        super().__init__(server, directory, streams=0)
        self.bound = _BEGINS_WITHIN
        self._random = random
        self._second: dict[str, str] = {}
        self._gate = asyncio.Event()
        self._resuming: dict[str, asyncio.Task[None]] = {}
        #: How much longer than the pace of the producers a reference step took: to read what they
        #: publish.
        self.slowness = 1.0
        self._doomed = False
        self._begun: list[asyncio.Event] = []

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._producers = self._cast(self._hub(self.writing))
        self._readers = self._cast(self._hub(self.reading))
        self._elsewhere = self._cast(self._hub(self.reading))
        living = self.produce(len(SECONDS))
        self._victim = await super().child(len(SECONDS))
        for sessions in (living, self._victim.sessions):
            self._second.update(zip(sessions, SECONDS, strict=True))
        begun = time.monotonic()
        await self.flow(chunks=_FAR)
        # What this took says how much longer all else may take.
        self.slowness = max(1.0, (time.monotonic() - begun) / (_FAR * _PACE))
        self.bound = BOUND * self.slowness
        return self

    async def child(self, streams: int = 2) -> Child:
        """The process that the faults of processes strike."""
        return self._victim

    async def doom(self) -> None:
        """Kill the process of those producers that are not to put anything back."""
        if not self._doomed:
            self._doomed = True
            with suppress(ProcessLookupError):
                self.stopped(self._victim, signal.SIGKILL)
            await self._victim.process.wait()

    def keep(self, server: RedisServer) -> None:
        """Close this server, too, when all is over."""
        self._stack.callback(server.close)

    async def move_to(self, server: RedisServer) -> None:
        """All go on at another server."""
        client = redis.asyncio.Redis.from_url(server.url, retry=RETRY, socket_timeout=patience())
        self.server, self.client = server, await self._stack.enter_async_context(client)
        for proxy in (self.writing, self.reading):
            proxy.lead_to(server.port)
            proxy.cut()

    def second_things(self) -> None:
        """Let them begin, each within a lease; and readers resume and come meanwhile."""
        self._gate.set()
        for session, second in self._second.items():
            self._soon(self._take_up, session, f"second thing of {session}: {second}")
            self._soon(self._resume, session, f"resuming of {session}")
            self._soon(self._come, session, f"newcomer of {session}")

    async def heard(self) -> None:
        """Return once every reader has heard something, or has had the time to."""
        for begun in self._begun:
            await begun.wait()
        looked_at = len(self.record.events)
        waiting = {
            (session, reader) for session, reader in self._count() if session in self._second
        }

        async def all_have() -> bool:
            nonlocal looked_at
            for event in self.record.events[looked_at:]:
                if isinstance(event, record.Delivered | record.Raised | record.Ended):
                    waiting.discard((event.session, event.reader))
            looked_at = len(self.record.events)
            return waiting <= self._over

        with suppress(TimeoutError):
            await until(all_have, 3.0)

    async def finish(self) -> list[record.Event]:
        # It may have been frozen by the fault.
        with suppress(ProcessLookupError):
            self._victim.process.signal(signal.SIGCONT)
        self._elsewhere.stop.set()
        for session in self.sessions:
            self._act(self._elsewhere.settle(session), f"settler of {session}")
        return await super().finish()

    def _cast(self, hub: Hub) -> Cast:
        return Cast(hub, self.record, process=READERS, pace=_PACE, buffer=_BUFFER)

    def _attend(self, session: str) -> None:
        self._act(self._readers.follow(session, "open"), f"open reader of {session}")
        behind = self._readers.follow(session, "behind", pause=Pause(3, self._gate))
        self._act(behind, f"reader of {session} that is behind")
        self._resuming[session] = self._act(
            self._readers.follow(session, "resuming"), f"reader of {session} that resumes"
        )

    def _soon(self, act: Callable[[str], Awaitable[None]], session: str, name: str) -> None:
        delay = self._random.uniform(0, LEASE)
        begun = asyncio.Event()

        async def begin() -> None:
            await asyncio.sleep(delay)
            begun.set()
            await act(session)

        self._begun.append(begun)

        self._act(begin(), name)

    async def _take_up(self, session: str) -> None:
        soon = 3 * LEASE
        match self._second[session]:
            case "claimed anew":
                self.record.add(record.RestartAsked(session=session))
                await self._elsewhere.take_over(session, "restart", soon)
            case "continued":
                await self._elsewhere.take_over(session, "continue", soon)
            case "ended":
                self._producers.ending.add(session)
            case "cancelled":
                await self._elsewhere.cancel(session)
            case "removed":
                await self._elsewhere.remove(session)

    async def _resume(self, session: str) -> None:
        """The reader leaves, and goes on at its cursor in what is another process to the store."""
        task = self._resuming[session]
        if task.done():
            return
        self._actors.remove(task)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self._elsewhere.follow(session, "resuming", after=self._cursor(session))

    async def _come(self, session: str) -> None:
        await self._elsewhere.follow(session, "new")

    def _cursor(self, session: str) -> Cursor | None:
        """Where the reader that resumes stands."""
        for event in reversed(self.record.events):
            match event:
                case record.Opened(session=name, reader="resuming", after=None) if name == session:
                    return None
                case record.Delivered(session=name, reader="resuming") if name == session:
                    return Cursor(event.term, event.offset)
                case record.Opened(session=name, reader="resuming", after=after) if (
                    name == session and after is not None
                ):
                    return Cursor(*after)
        return None
