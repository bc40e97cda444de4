"""Producers, savers and Redis are killed at random, and the rows of a database are counted.

``python -m tests.faults.torture --saving --seconds 300 --seed N``. Producers stream; savers, in
processes of their own, take ends from a feed and write a row for each into SQLite, by its key. All
of them, and a Redis that keeps an append-only file, get SIGKILL at moments drawn from the seed; so
do savers between their row and their ``done``. Then everybody may end in peace, and:

- each stream that was begun has its row, and no end has two;
- however often an end was delivered, it was the same each time;
- its text has no hole, and all that its producer knew to be stored.

``--wipe`` lets Redis come back empty instead: what had ended and was not saved is lost then, and
counted; all else must hold.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import NamedTuple

import redis.asyncio

from streamhub import EndFenced, Hub, HubConfig, StoreUnavailable, StreamHubError, TakenEnd
from streamhub.testing.waiting import unhurried

from ..support.child_processes import PythonProcess
from ..support.redis_server import RedisServer

__all__ = ["Saved", "producer", "saver", "saving"]

_CONFIG = HubConfig(lease=unhurried(1.0))
_LEASE = unhurried(1.0)
_LOST_AFTER = 1.0
_FEED = "save"
_PRODUCERS, _SAVERS = 4, 3
#: How many streams a producing process has at a time.
_AT_ONCE = 4
#: How many chunks a stream has, on the average.
_CHUNKS = 30
_PERSISTENT = ("--appendonly", "yes", "--appendfsync", "always")
#: How long everything may take to be saved once nobody is killed any more.
_LAST = 60.0
_TABLES = """
CREATE TABLE IF NOT EXISTS saved (key TEXT PRIMARY KEY, session TEXT, status TEXT, text TEXT);
CREATE TABLE IF NOT EXISTS delivered (key TEXT, status TEXT, text TEXT, attempt INTEGER);
"""


class Saved(NamedTuple):
    """What came of it."""

    sessions: int
    rows: int
    missing: int
    doubled: int
    deliveries: int
    #: How many were killed: producers, savers, Redis.
    killed: tuple[int, int, int]
    statuses: dict[str, int]
    #: What is not as it should be, beside what is missing.
    wrong: list[str]
    #: How what is missing stands in the store.
    missed: Sequence[str] = ()

    def __str__(self) -> str:
        killed = "{} producers, {} savers, Redis {} times".format(*self.killed)
        statuses = ", ".join(f"{count} {status}" for status, count in self.statuses.items())
        return (
            f"{self.sessions} sessions; killed: {killed}\n"
            f"rows saved {self.rows} ({statuses}), missing {self.missing}, doubled {self.doubled}; "
            f"{self.deliveries} deliveries"
        )


async def saving(seed: int, seconds: float, *, sessions: int = 200, wipe: bool = False) -> Saved:
    """Kill at random for so long, let everybody end, and count."""
    random = Random(seed)
    arguments = () if wipe else _PERSISTENT
    with (
        RedisServer(arguments=arguments) as server,
        tempfile.TemporaryDirectory(prefix="streamhub-") as name,
    ):
        directory = Path(name)
        with _database(directory) as database:
            database.executescript(_TABLES)
        async with AsyncExitStack() as stack:
            crew = _Crew(stack, server.url, directory, random, sessions, seconds)
            await crew.fill()
            killed = await _kill(crew, server, random, seconds)
            await crew.rest(_LAST)
        saved = _count(directory, killed)
        stands = [await _stands(server.url, session) for session in _unsaved(directory)]
        return saved._replace(missed=stands)


async def _stands(url: str, session: str) -> str:
    async with Hub.from_url(url, config=_CONFIG) as hub:
        stream = await hub.get(session)
        info = None if stream is None else await stream.info()
        dead = [one.error async for one in hub.ends(_FEED).dead() if one.session_id == session]
    index: dict[str, list[tuple[str, float]]] = {}
    async with redis.asyncio.Redis.from_url(url, decode_responses=True) as client:
        async for key in client.scan_iter(match="*{index*", _type="zset"):
            async for member, score in client.zscan_iter(key, match=f"*{session}*"):
                index.setdefault(key, []).append((member, score))
    return f"{session} is missing: {info}, given up: {dead}, scheduled: {index}, now: {time.time()}"


class _Crew:
    """The processes: each that was killed is followed by another."""

    def __init__(
        self,
        stack: AsyncExitStack,
        url: str,
        directory: Path,
        random: Random,
        sessions: int,
        seconds: float,
    ) -> None:
        self._stack, self._url, self._directory = stack, url, directory
        self._random = random
        self._sessions = sessions
        #: Seconds from one stream to the next: some are begun as long as somebody is killed.
        self._every = 0.8 * seconds * _PRODUCERS * _AT_ONCE / sessions
        self._number = 0
        self.producers: list[PythonProcess] = []
        self.savers: list[PythonProcess] = []

    async def fill(self) -> None:
        while len(self.savers) < _SAVERS:
            self.savers.append(await self._start("saver"))
        # As many streams are begun in all, whoever is killed in between.
        while len(self.producers) < _PRODUCERS and len(_begun(self._directory)) < self._sessions:
            self.producers.append(await self._start("producer"))

    async def kill(self, crew: list[PythonProcess]) -> bool:
        if not crew:
            return False
        process = crew.pop(self._random.randrange(len(crew)))
        await process.kill()
        return True

    async def rest(self, seconds: float) -> None:
        """Nobody is killed any more: let all streams end, and all ends be saved."""
        until = time.monotonic() + seconds
        for process in self.producers:
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(max(1.0, until - time.monotonic())):
                    await process.send("stop")
                    await process.wait()
        while time.monotonic() < until and _unsaved(self._directory):
            await self.fill()  # a saver may have killed itself
            self.savers = [one for one in self.savers if one.is_running]
            # The savers are other processes: what they have written tells nobody of itself.
            await asyncio.sleep(0.1)

    async def _start(self, role: str) -> PythonProcess:
        self._number += 1
        name = f"{role}-{self._number}"
        source = f"from tests.faults.saving import {role}; {role}()"
        more = (self._random.getrandbits(32), self._sessions, self._every)
        arguments = (self._url, str(self._directory), name, *map(str, more))
        errors = self._directory / f"{name}.err"
        process = await PythonProcess.start(source, *arguments, errors=errors)
        return await self._stack.enter_async_context(process)


async def _kill(
    crew: _Crew, server: RedisServer, random: Random, seconds: float
) -> tuple[int, int, int]:
    killed = [0, 0, 0]
    until = time.monotonic() + seconds
    while (calm := random.uniform(0.1, 2.0)) < until - time.monotonic():
        await asyncio.sleep(calm)
        which = random.choice((0, 1, 1, 1, 2))
        if which == 2:
            server.kill()
            await asyncio.sleep(random.uniform(0.0, 0.5))
            await asyncio.to_thread(server.start)
            killed[2] += 1
        elif await crew.kill((crew.producers, crew.savers)[which]):
            killed[which] += 1
        crew.producers = [one for one in crew.producers if one.is_running]
        # Some have killed themselves between their row and their ``done``.
        alive = [one for one in crew.savers if one.is_running]
        killed[1] += len(crew.savers) - len(alive)
        crew.savers = alive
        await crew.fill()
    return killed[0], killed[1], killed[2]


def _begun(directory: Path) -> dict[str, int]:
    """The streams that were begun, and how many chunks each was known to have stored."""
    begun: dict[str, int] = {}
    for path in directory.glob("*.log"):
        for line in path.read_text().splitlines():
            session, _, stored = line.partition(" ")
            begun[session] = int(stored)
    return begun


def _unsaved(directory: Path) -> set[str]:
    with _database(directory) as database:
        saved = {session for (session,) in database.execute("SELECT session FROM saved")}
    return {*_begun(directory)} - saved


def _count(directory: Path, killed: tuple[int, int, int]) -> Saved:
    begun = _begun(directory)
    with _database(directory) as database:
        rows = database.execute("SELECT key, session, status, text FROM saved").fetchall()
        told = database.execute("SELECT key, status, text FROM delivered").fetchall()
    wrong = []
    for _, session, status, text in rows:
        numbers = text.split()
        if numbers != [str(n) for n in range(len(numbers))]:
            wrong.append(f"{session} ({status}): its text has a hole: {text[-80:]!r}")
        if len(numbers) < begun.get(session, 0):
            wrong.append(f"{session} ({status}): {len(numbers)} of {begun[session]} stored chunks")
    contents = {key: {(status, text)} for key, status, text in told}
    for key, status, text in told:
        contents[key].add((status, text))
    wrong += [f"{key} was told in {len(n)} ways" for key, n in contents.items() if len(n) > 1]
    by_session = Counter(session for _, session, _, _ in rows)
    stderr = [path.read_text() for path in directory.glob("*.err")]
    wrong += [text[-2000:] for text in stderr if "Traceback" in text]
    return Saved(
        sessions=len(begun),
        rows=len(rows),
        missing=len({*begun} - {*by_session}),
        doubled=sum(count - 1 for count in by_session.values()),
        deliveries=len(told),
        killed=killed,
        statuses=dict(Counter(status for _, _, status, _ in rows)),
        wrong=wrong,
    )


@contextmanager
def _database(directory: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(directory / "saved.db", timeout=60.0)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def producer() -> None:
    """A process that streams, some sessions at a time, until enough are begun, or ``stop``."""
    asyncio.run(_produce(*sys.argv[1:]))


async def _produce(url: str, directory: str, name: str, seed: str, enough: str, every: str) -> None:
    random = Random(int(seed))
    log = os.open(Path(directory) / f"{name}.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, stop.set)
    numbers = iter(range(1_000_000))

    async def stream(hub: Hub) -> None:
        while not stop.is_set() and len(_begun(Path(directory))) < int(enough):
            # A quarter of the time it streams: not every stream is to lose its producer.
            await asyncio.sleep(random.uniform(0.0, 1.5 * float(every)))
            session = f"{name}:{next(numbers)}"
            try:
                claimed, _ = await hub.register(session)
            except StoreUnavailable:
                continue
            os.write(log, f"{session} 0\n".encode())
            fails = random.random() < 0.2
            with suppress(StreamHubError, ValueError):
                async with claimed:
                    for n in range(random.randrange(2 * _CHUNKS)):
                        await claimed.publish(f"{n} ")
                        await asyncio.sleep(random.uniform(0.0, 0.5 * float(every) / _CHUNKS))
                        if n % 5 == 0:
                            await claimed.flush()
                            os.write(log, f"{session} {n + 1}\n".encode())
                    if fails:
                        raise ValueError("it broke")

    async with Hub.from_url(url, config=_CONFIG) as hub, asyncio.TaskGroup() as tasks:
        for _ in range(_AT_ONCE):
            tasks.create_task(stream(hub))


def saver() -> None:
    """A process that saves ends, and now and then dies between a row and its ``done``."""
    asyncio.run(_save(*sys.argv[1:]))


async def _save(url: str, directory: str, name: str, seed: str, *_: str) -> None:
    random = Random(int(seed))
    async with Hub.from_url(url, config=_CONFIG) as hub:
        while True:
            async with hub.ends(_FEED, lease=_LEASE, lost_after=_LOST_AFTER) as ends:
                async for end in ends:
                    _write(Path(directory), end)
                    if random.random() < 0.03:
                        os._exit(9)
                    await asyncio.sleep(random.uniform(0.0, 0.1))
                    with suppress(EndFenced):
                        await end.done()


def _write(directory: Path, end: TakenEnd) -> None:
    with _database(directory) as database:
        row = (end.key, end.session_id, end.status.value, end.text)
        database.execute("INSERT OR REPLACE INTO saved VALUES (?, ?, ?, ?)", row)
        told = (end.key, end.status.value, end.text, end.attempt)
        database.execute("INSERT INTO delivered VALUES (?, ?, ?, ?)", told)
