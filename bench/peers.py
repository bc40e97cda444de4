"""What people use now: the Redis store of assistant-stream, driven as its own context does."""

from __future__ import annotations

import asyncio
from functools import partial
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
    complete,
    delays,
    name,
    readers,
    ready,
    replayed,
    stamped,
)
from .workers import Figures

__all__ = ["INSTALLED", "append", "follow", "prepare", "produce", "replay"]

INSTALLED = find_spec("assistant_stream") is not None


async def append(url: str, *, chunks: int) -> Figures:
    store, client = _store(url)
    session_id = name()
    await store.acquire(session_id)
    async with Cost(url) as cost:
        for _ in range(chunks):
            await store.append(session_id, TOKEN.encode())
    await store.finalize(session_id, "done")
    complete(len(await _all(store, session_id)), chunks, "chunks stored")
    await client.aclose()
    return {
        "chunks_per_s": chunks / cost.seconds,
        "cpu_us": 1e6 * (cost.cpu + cost.server_cpu) / chunks,
    }


async def produce(url: str, *, chunks: int, rate: float) -> Figures:
    store, client = _store(url)
    session_id = name()
    await store.acquire(session_id)
    await announce(url, session_id)
    await readers(url)
    pace, start = Pace(rate), asyncio.get_running_loop().time()
    for number in range(chunks):
        await pace.until(number, start)
        await store.append(session_id, stamped(number).encode())
    await store.finalize(session_id, "done")
    await client.aclose()
    return {}


async def follow(url: str, *, subscribers: int, chunks: int) -> Figures:
    session_id = await announced(url)
    store, client = _store(url, connections=subscribers + 10)
    received = [Received() for _ in range(subscribers)]

    async def read(into: Received) -> None:
        async for entry in store.read(session_id, "", asyncio.Event()):
            into.take(entry.chunk.decode())

    async with asyncio.TaskGroup() as group:
        for into in received:
            group.create_task(read(into))
        # Until the readers poll; one that does not shows in its own delay.
        await asyncio.sleep(0.3)
        await ready(url)
    await client.aclose()
    return delays(received, chunks)


async def replay(url: str, *, chunks: int, times: int) -> Figures:
    """Read one stream again and again: its store keeps nothing in this process."""
    store, client = _store(url)
    session_id = await prepare(url, chunks=chunks)
    expected = [TOKEN.encode()] * chunks
    figures = await replayed(
        url, times * [session_id], partial(_all, store), expected, chunks=chunks
    )
    await client.aclose()
    return figures


async def prepare(url: str, *, chunks: int) -> str:
    """Store a stream that is complete; its id."""
    store, client = _store(url)
    session_id = name()
    await store.acquire(session_id)
    for start in range(0, chunks, 50):
        more = min(50, chunks - start)
        await asyncio.gather(*(store.append(session_id, TOKEN.encode()) for _ in range(more)))
    await store.finalize(session_id, "done")
    await client.aclose()
    return session_id


async def _all(store: Any, session_id: str) -> list[bytes]:
    return [entry.chunk async for entry in store.read(session_id, "", asyncio.Event())]


def _store(url: str, connections: int = 100) -> tuple[Any, Any]:
    from assistant_stream.resumable.stores.redis import create_redis_resumable_stream_store

    client: Any = Redis.from_url(url, max_connections=connections, socket_timeout=None)
    return create_redis_resumable_stream_store(client), client
