"""What people use now: fastapi-resumable-stream, as its README shows it, below the HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from importlib.util import find_spec
from typing import Any

from redis.asyncio import Redis

from .hub import TOKEN
from .measure import (
    Cost,
    Pace,
    Received,
    announce,
    announced,
    delays,
    name,
    readers,
    ready,
    replayed,
    stamped,
    whole,
)
from .workers import Figures

__all__ = ["INSTALLED", "all_of", "append", "follow", "prepare", "produce", "replay"]

INSTALLED = find_spec("fastapi_resumable_stream") is not None


async def append(url: str, *, chunks: int) -> Figures:
    stream, client = _stream(url)
    session_id = name()
    async with Cost(url) as cost:
        await _write(stream, session_id, chunks)
    await _ended(session_id)
    whole(await all_of(stream, session_id), [TOKEN] * chunks)
    await client.aclose()
    return {
        "chunks_per_s": chunks / cost.seconds,
        "cpu_us": 1e6 * (cost.cpu + cost.server_cpu) / chunks,
    }


async def produce(url: str, *, chunks: int, rate: float) -> Figures:
    stream, client = _stream(url)
    session_id, may_begin = name(), asyncio.Event()

    async def tokens() -> AsyncIterator[str]:
        await may_begin.wait()
        pace, start = Pace(rate), asyncio.get_running_loop().time()
        for number in range(chunks):
            await pace.until(number, start)
            yield stamped(number)
        # A reader looks for chunks, then for the end: it misses those that come between both.
        await asyncio.sleep(0.5)

    await stream.start(session_id, producer=tokens)
    await announce(url, session_id)
    await readers(url)
    may_begin.set()
    await _ended(session_id)
    await client.aclose()
    return {}


async def follow(url: str, *, subscribers: int, chunks: int) -> Figures:
    session_id = await announced(url)
    stream, client = _stream(url, connections=2 * subscribers + 10)
    received = [Received() for _ in range(subscribers)]

    async def read(into: Received) -> None:
        async for chunk in await stream.resume(session_id):
            into.take(chunk)

    async with asyncio.TaskGroup() as group:
        for into in received:
            group.create_task(read(into))
        # Until the readers wait; one that does not shows in its own delay.
        await asyncio.sleep(0.3)
        await ready(url)
    await client.aclose()
    return delays(received, chunks)


async def replay(url: str, *, chunks: int, times: int) -> Figures:
    """Read one stream again and again: nothing of it is kept in this process."""
    stream, client = _stream(url)
    session_id = await prepare(url, chunks=chunks)
    expected = [TOKEN] * chunks

    async def read(session_id: str) -> list[str]:
        return await all_of(stream, session_id)

    figures = await replayed(url, times * [session_id], read, expected, chunks=chunks)
    await client.aclose()
    return figures


async def prepare(url: str, *, chunks: int) -> str:
    """Store a stream that is complete; its id."""
    stream, client = _stream(url)
    session_id = name()
    await _write(stream, session_id, chunks)
    await _ended(session_id)
    await client.aclose()
    return session_id


async def all_of(stream: Any, session_id: str) -> list[str]:
    return [chunk async for chunk in await stream.resume(session_id)]


async def _write(stream: Any, session_id: str, chunks: int) -> None:
    """Returns when the last chunk is stored: the producer is then asked for one more."""
    over = asyncio.Event()

    async def tokens() -> AsyncIterator[str]:
        for _ in range(chunks):
            yield TOKEN
        over.set()

    await stream.start(session_id, producer=tokens)
    await over.wait()


async def _ended(session_id: str) -> None:
    """Wait for its producer's task, which marks the end after the last chunk."""
    producer = f"fastapi-resumable-stream:{session_id}"
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == producer))


def _stream(url: str, connections: int = 100) -> tuple[Any, Any]:
    from fastapi_resumable_stream import ResumableStream

    client: Any = Redis.from_url(url, max_connections=connections, socket_timeout=None)
    return ResumableStream(client), client
