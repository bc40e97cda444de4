"""A server with streams running on it, behind proxies and in several processes, to be harmed."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import RedisError

from streamhub import Hub, HubConfig
from streamhub.testing.waiting import bounded, patience, unhurried, until

from ..support.child_processes import PythonProcess
from ..support.faulty_proxy import FaultyProxy
from ..support.redis_server import RedisServer
from . import record
from .actors import Cast
from .checker import READERS
from .child import watch_lag
from .record import Record, read

__all__ = ["BOUND", "LEASE", "RETRY", "Child", "Site"]

LEASE = unhurried(1.0)
#: Within which everything on a site goes on or ends, unless it hangs.
BOUND = 20.0
_PACE = unhurried(0.01)
#: How long a server may be silent before a hub connects anew.
_TIMEOUT = 1.0
_LOOK_EVERY = 0.2
RETRY = Retry(ConstantBackoff(0.05), 5)
_ROOT = Path(__file__).parents[2]
_CHILD = "import sys; sys.path.insert(0, {!r}); from tests.faults.child import main; main()"

_KEYS_WITHOUT_TTL = """
local keys, immortal = redis.call('KEYS', 'streamhub:*'), {}
for _, key in ipairs(keys) do
  if redis.call('PTTL', key) == -1 then immortal[#immortal + 1] = key end
end
return {#keys, immortal}
"""


class Child:
    """A process that produces some of the site's sessions."""

    def __init__(self, name: str, sessions: Sequence[str], process: PythonProcess) -> None:
        self.name = name
        self.sessions = tuple(sessions)
        self.process = process


class Site:
    """``streams`` of them, each produced here, read twice on another hub, and continued by
    whoever of two hubs comes first when it is lost."""

    def __init__(
        self, server: RedisServer, directory: Path, *, streams: int = 4, lease: float = LEASE
    ) -> None:
        self.server = server
        self.directory = directory
        self.record = Record()
        #: What the fault at work concerns; none means all sessions.
        self.concerned: tuple[str, ...] = ()
        #: Within which everything here goes on or ends, unless it hangs.
        self.bound = BOUND
        self._streams = streams
        self._lease = lease
        self._names = 0
        self._leaving = False
        self._sessions: list[str] = []
        self._children: list[Child] = []
        self._cancelled: set[str] = set()
        self._counted = 0
        self._delivered: Counter[tuple[str, str]] = Counter()
        self._over: set[tuple[str, str]] = set()
        self._paused: set[tuple[str, str]] = set()
        self._actors: list[asyncio.Task[None]] = []
        self._watchers: list[asyncio.Task[None]] = []
        self._files: list[Path] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        enter = self._stack.enter_async_context
        client = redis.asyncio.Redis.from_url(
            self.server.url, retry=RETRY, socket_timeout=patience()
        )
        self.client: Any = await enter(client)
        self.writing = await enter(FaultyProxy(self.server.port))
        self.reading = await enter(FaultyProxy(self.server.port))
        self._producers = Cast(self._hub(self.writing), self.record, process=READERS, pace=_PACE)
        self._readers = Cast(self._hub(self.reading), self.record, process=READERS, pace=_PACE)
        self._watchers = [
            asyncio.create_task(watch_lag(self.record, READERS)),
            asyncio.create_task(self._watch_keys()),
        ]
        self.produce(self._streams)
        await self.flow()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leaving = True
        for task in (*self._watchers, *self._actors):
            task.cancel()
        await asyncio.gather(*self._watchers, *self._actors, return_exceptions=True)
        await self._stack.aclose()

    @property
    def sessions(self) -> list[str]:
        return list(self._sessions)

    def produce(self, streams: int) -> list[str]:
        """Begin so many streams in this process."""
        sessions = self._new_sessions(streams)
        for session in sessions:
            self._act(self._producers.produce(session), f"producer of {session}")
        return sessions

    def read(self, session: str) -> None:
        """Add a reader, which begins at the start."""
        self._names += 1
        reader = f"reader {self._names}"
        self._act(self._readers.follow(session, reader), f"{reader} of {session}")

    async def child(self, streams: int = 2) -> Child:
        """Begin so many streams in a process of their own; returns when they flow."""
        sessions = self._new_sessions(streams)
        self._names += 1
        name = f"process {self._names}"
        path = self.directory / f"{name}.jsonl"
        path.touch()
        self._files.append(path)
        process = await PythonProcess.start(
            _CHILD.format(str(_ROOT)),
            *(self._url(self.writing), str(self._lease), str(path), name, str(_PACE), *sessions),
            errors=self.directory / f"{name}.err",
        )
        await self._stack.enter_async_context(process)
        child = Child(name, sessions, process)
        self._children.append(child)
        await self.flow(sessions)
        return child

    @asynccontextmanager
    async def leaving(self, streams: int = 2) -> AsyncIterator[tuple[Hub, list[str]]]:
        """A hub of its own in this process with so many streams, to be closed under them."""
        hub = self._hub(self.writing)
        cast = Cast(hub, self.record, process="leaving hub", pace=_PACE)
        sessions = self._new_sessions(streams)
        for session in sessions:
            self._act(cast.produce(session), f"producer of {session}")
        await self.flow(sessions)
        yield hub, sessions

    def cancel(self, session: str) -> None:
        self._cancelled.add(session)
        self._act(self._readers.cancel(session), f"canceller of {session}")

    def stopped(self, child: Child, number: signal.Signals, *, revives: bool = False) -> None:
        """Send the process a signal that stops its producers."""
        self.record.add(record.Stopped(process=child.name, revives=revives))
        child.process.signal(number)

    async def flow(self, sessions: Sequence[str] = (), chunks: int = 5) -> None:
        """Wait until every open reader of these sessions (none means all) has so many chunks more.

        :raises TimeoutError: one has not.
        """
        wanted = set(sessions or self._sessions) - self._cancelled
        await self._until_read(wanted)
        before = self._count()

        async def flows() -> bool:
            now = self._count()
            return all(
                now[reader] >= count + chunks or reader in self._over | self._paused
                for reader, count in before.items()
                if reader[0] in wanted
            )

        try:
            await until(flows, self.bound)
        except TimeoutError:
            now = self._count()
            stuck = [
                f"{reader}: {now[reader]}"
                for reader, count in before.items()
                if reader[0] in wanted and now[reader] < count + chunks
            ]
            raise TimeoutError(f"no chunks came to {stuck[:8]} within {self.bound:g} s") from None

    async def finish(self) -> list[record.Event]:
        """Close all streams, wait for all readers, look at what is stored; what was recorded.

        :raises TimeoutError: somebody hangs.
        """
        self._producers.stop.set()
        self._readers.stop.set()
        for child in self._children:
            with suppress(ConnectionError):
                await child.process.send("stop")
        ended, hanging = await asyncio.wait(self._actors, timeout=self.bound)
        await self._look_at_keys()
        for session in self._sessions:
            await self._look_at_store(session)
        if hanging:
            raise TimeoutError(f"these never ended: {[task.get_name() for task in hanging]}")
        for task in ended:
            task.result()
        async with bounded(self.bound):
            for child in self._children:
                await child.process.wait()
        return self.recorded()

    def recorded(self) -> list[record.Event]:
        """What has been recorded up to now, by all processes."""
        return read(self.record.events, self._files)

    def _url(self, proxy: FaultyProxy) -> str:
        return f"{proxy.url}?socket_timeout={_TIMEOUT}"

    def _hub(self, proxy: FaultyProxy) -> Hub:
        hub = Hub.from_url(self._url(proxy), config=HubConfig(lease=self._lease))
        self._stack.push_async_callback(hub.aclose)
        return hub

    def _new_sessions(self, count: int) -> list[str]:
        sessions = [f"chat:{len(self._sessions) + n}" for n in range(count)]
        self._sessions += sessions
        for session in sessions:
            self._attend(session)
        return sessions

    def _attend(self, session: str) -> None:
        """Bring in those who read a new session, and who continue it when it is lost."""
        self.read(session)
        self.read(session)
        for cast in (self._producers, self._readers):
            self._act(cast.rescue(session), f"rescuer of {session}")

    def _act(self, actor: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(actor, name=name)
        self._actors.append(task)
        return task

    def _count(self) -> Counter[tuple[str, str]]:
        """How many chunks each reader has been handed."""
        for event in self.record.events[self._counted :]:
            match event:
                case record.Opened(session=session, reader=reader):
                    self._delivered[session, reader] += 0
                case record.Delivered(session=session, reader=reader):
                    self._delivered[session, reader] += 1
                case record.Ended(session=session, reader=reader):
                    self._over.add((session, reader))
                case record.Paused(session=session, reader=reader):
                    self._paused.add((session, reader))
        self._counted = len(self.record.events)
        return self._delivered.copy()

    async def _until_read(self, sessions: set[str]) -> None:
        """Wait until each of the sessions has been found by a reader."""

        async def are_read() -> bool:
            return sessions <= {session for session, _ in self._count()}

        await until(are_read, self.bound)

    async def _watch_keys(self) -> None:
        # The client may turn a cancellation into an error of its connection.
        while not self._leaving:
            await asyncio.sleep(_LOOK_EVERY)
            with suppress(RedisError, OSError):
                await self._look_at_keys()

    async def _look_at_keys(self) -> None:
        asked = asyncio.get_running_loop().time()
        count, immortal = await _soon(self.client.eval(_KEYS_WITHOUT_TTL, 0))
        self.record.lagged(record.SERVER, asyncio.get_running_loop().time() - asked)
        names = tuple(key.decode(errors="replace") for key in immortal)
        self.record.add(record.Keys(count=count, immortal=names))

    async def _look_at_store(self, session: str) -> None:
        meta = await _soon(self.client.hgetall(f"streamhub:{{{session}}}:meta"))
        entries = await _soon(self.client.xrange(f"streamhub:{{{session}}}:chunks"))
        if not meta:
            return
        ids = [tuple(map(int, key.split(b"-"))) for key, _ in entries]
        self.record.add(
            record.Stored(
                session=session,
                status=meta.get(b"outcome", meta[b"status"]).decode(),
                chunks=tuple(
                    (term, offset, fields[b"d"].decode())
                    for (term, offset), (_, fields) in zip(ids, entries, strict=True)
                ),
            )
        )


async def _soon(answer: Awaitable[Any]) -> Any:
    async with bounded(BOUND):
        return await answer
