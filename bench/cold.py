"""A first replay in a process that has just begun: from opening the client to the last chunk.

    python -m bench.cold NAME URL SESSION CHUNKS

Prints the milliseconds. What it imports is imported before.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from statistics import median
from time import perf_counter
from typing import Any

from .measure import whole
from .workers import Figures

__all__ = ["cold"]

Read = Callable[[str, str], Awaitable[Sequence[object]]]


async def cold(
    prepare: Callable[..., Awaitable[str]], reader: str, url: str, *, chunks: int, times: int
) -> Figures:
    """The median of so many processes, which read one stream."""
    session_id = await prepare(url, chunks=chunks)
    taken = []
    for _ in range(times):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.cold", reader, url, session_id, str(chunks)),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0, f"bench.cold {reader} failed"
        taken.append(json.loads(out))
    return {"ms": median(taken)}


def _hub() -> Read:
    import streamhub.stores.redis  # noqa: F401 - opening a hub would import it
    from streamhub import Hub

    async def read(url: str, session_id: str) -> list[str]:
        async with Hub.from_url(url) as hub:
            stream = await hub.get(session_id)
            assert stream is not None
            return [chunk.data async for chunk in stream.subscribe()]

    return read


def _xrange() -> Read:
    from redis.asyncio import Redis

    async def read(url: str, session_id: str) -> list[str]:
        client: Any = Redis.from_url(url, single_connection_client=True)
        async with client:
            entries = await client.xrange(f"streamhub:{{{session_id}}}:chunks")
            return [fields[b"d"].decode() for _, fields in entries]

    return read


def _assistant_stream() -> Read:
    from assistant_stream.resumable.stores.redis import create_redis_resumable_stream_store
    from redis.asyncio import Redis

    async def read(url: str, session_id: str) -> list[str]:
        async with Redis.from_url(url) as client:
            store = create_redis_resumable_stream_store(client)
            entries = store.read(session_id, "", asyncio.Event())
            return [entry.chunk.decode() async for entry in entries]

    return read


def _fastapi_resumable_stream() -> Read:
    from fastapi_resumable_stream import ResumableStream
    from redis.asyncio import Redis

    async def read(url: str, session_id: str) -> list[str]:
        async with Redis.from_url(url) as client:
            chunks = await ResumableStream(client).resume(session_id)
            assert chunks is not None
            return [chunk async for chunk in chunks]

    return read


def _dbos() -> Read:
    import psycopg  # noqa: F401 - connecting would import it
    from dbos import DBOSClient

    def read_all(url: str, session_id: str) -> list[str]:
        client = DBOSClient(system_database_url=url)
        try:
            return list(client.read_stream(session_id, "tokens"))
        finally:
            client.destroy()

    async def read(url: str, session_id: str) -> list[str]:
        return await asyncio.to_thread(read_all, url, session_id)

    return read


_READERS = {
    "hub": _hub,
    "xrange": _xrange,
    "assistant-stream": _assistant_stream,
    "fastapi-resumable-stream": _fastapi_resumable_stream,
    "dbos": _dbos,
}


async def _main(reader: str, url: str, session_id: str, chunks: str) -> None:
    from .hub import TOKEN

    read = _READERS[reader]()
    gc.collect()
    start = perf_counter()
    received = await read(url, session_id)
    taken = perf_counter() - start
    whole(received, [TOKEN] * int(chunks))
    print(1000 * taken)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
