"""What people use now: streams of DBOS, written by a step, as its own example for models does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from threading import Event
from typing import Any

from .hub import TOKEN
from .measure import (
    Cost,
    Received,
    announce,
    announced,
    delays,
    name,
    readers,
    ready,
    replayed,
    stamped as stamp,
)
from .workers import Figures

__all__ = ["INSTALLED", "append", "follow", "prepare", "produce", "replay"]

INSTALLED = find_spec("dbos") is not None

_KEY = "tokens"
#: What the step of a workflow waits for before its first chunk, as it is in this process.
_MAY_BEGIN = Event()
_LONGEST = 100


async def append(url: str, database: str, *, chunks: int) -> Figures:
    with _launched(database):
        async with Cost(url) as cost:
            session_id = await _write(chunks)
        stored = await asyncio.to_thread(_all, database, session_id)
        assert [TOKEN] * chunks == stored
    return {"chunks_per_s": chunks / cost.seconds}


async def produce(url: str, database: str, *, chunks: int, rate: float) -> Figures:
    with _launched(database):
        _MAY_BEGIN.clear()
        writing = asyncio.create_task(_write(chunks, rate, session_id := name()))
        await announce(url, session_id)
        await readers(url)
        _MAY_BEGIN.set()
        await writing
    return {}


async def follow(url: str, database: str, *, chunks: int) -> Figures:
    """Read with its client, which is made for other processes, and is told of what is written."""
    session_id = await announced(url)
    received = Received()

    def read(client: Any) -> None:
        for value in client.read_stream(session_id, _KEY):
            received.take(value)

    with _client(database, listens=True) as client:
        await asyncio.to_thread(_exists, client, session_id)
        reading = asyncio.create_task(asyncio.to_thread(read, client))
        # Until it listens; if it does not yet, that shows in its own delay.
        await asyncio.sleep(0.3)
        await ready(url)
        await reading
    return delays([received], chunks)


async def replay(url: str, database: str, *, chunks: int, times: int) -> Figures:
    """Read one stream again and again: nothing of it is kept in this process."""
    session_id = await prepare(database, chunks=chunks)

    async def read(client: Any) -> list[str]:
        return await asyncio.to_thread(lambda: list(client.read_stream(session_id, _KEY)))

    with _client(database) as client:
        return await replayed(url, times * [client], read, [TOKEN] * chunks, chunks=chunks)


async def prepare(database: str, *, chunks: int) -> str:
    """Store a stream that is complete, once for all who read it; its workflow's id.

    It is written with one chunk. The others are copies of its row: written one by one, they would
    take longer than all that is measured.
    """
    session_id = f"bench:stored:{chunks}"
    with _launched(database):
        await _write(1, session_id=session_id)
    await asyncio.to_thread(_lengthen, database, session_id, chunks)
    return session_id


def _lengthen(database: str, session_id: str, chunks: int) -> None:
    import sqlalchemy as sa

    engine = sa.create_engine(database.replace("postgresql:", "postgresql+psycopg:"))
    schema = "dbos" if database.startswith("postgresql:") else None
    with engine.begin() as connection:
        table = sa.Table("streams", sa.MetaData(schema=schema), autoload_with=connection)
        mine = table.c.workflow_uuid == session_id
        rows = connection.execute(sa.select(table).where(mine).order_by(table.c.offset)).mappings()
        first, *others = [dict(row) for row in rows]
        if len(others) == 1:
            end = sa.update(table).where(mine, table.c.offset == 1).values(offset=chunks)
            connection.execute(end)
            copies = [{**first, "offset": number} for number in range(1, chunks)]
            connection.execute(sa.insert(table), copies)
    engine.dispose()


async def _write(chunks: int, rate: float = 0.0, session_id: str | None = None) -> str:
    """Run the workflow, unless it has run already, to its end; its id."""
    from dbos import DBOS, SetWorkflowID

    def run() -> str:
        with SetWorkflowID(session_id or name()):
            handle = DBOS.start_workflow(_workflow(), chunks, rate)
        handle.get_result()
        return str(handle.get_workflow_id())

    if not rate:
        _MAY_BEGIN.set()
    return await asyncio.to_thread(run)


@cache
def _workflow() -> Callable[[int, float], None]:
    from dbos import DBOS

    @DBOS.step()
    def speak(chunks: int, rate: float) -> None:
        _MAY_BEGIN.wait(_LONGEST)
        start = time.perf_counter()
        for number in range(chunks):
            if rate:
                time.sleep(max(0.0, start + number / rate - time.perf_counter()))
            DBOS.write_stream(_KEY, stamp(number) if rate else TOKEN)

    @DBOS.workflow()
    def answer(chunks: int, rate: float) -> None:
        speak(chunks, rate)
        DBOS.close_stream(_KEY)

    return answer


@contextmanager
def _launched(database: str) -> Iterator[None]:
    from dbos import DBOS

    DBOS(config={"name": "bench", "system_database_url": database, "log_level": "ERROR"})
    _workflow()
    DBOS.launch()
    try:
        yield
    finally:
        DBOS.destroy()


@contextmanager
def _client(database: str, *, listens: bool = False) -> Iterator[Any]:
    from dbos import DBOSClient

    # Where it cannot be told, it polls.
    listens = listens and database.startswith("postgresql:")
    client = DBOSClient(system_database_url=database, use_listen_notify=listens)
    try:
        yield client
    finally:
        client.destroy()


def _exists(client: Any, session_id: str) -> None:
    """Wait until the workflow has begun."""
    until = time.monotonic() + _LONGEST
    while not client.list_workflows(workflow_ids=[session_id]):
        if time.monotonic() > until:
            raise TimeoutError(f"no workflow {session_id} within {_LONGEST} s")
        time.sleep(0.01)  # its client can be asked, and tells nothing of its own accord


def _all(database: str, session_id: str) -> list[str]:
    with _client(database) as client:
        return list(client.read_stream(session_id, _KEY))
