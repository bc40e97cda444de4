"""What is measured, each as the seconds that one round takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from uuid import uuid4

from redis.asyncio import Redis

from streamhub import Hub, LiveStream

TOKEN = " token"

#: One call per chunk, as it is done by hand: fence, append, keep alive, tell the readers.
SCRIPT = """
if redis.call('HGET', KEYS[1], 'gen') ~= ARGV[1] then return 0 end
redis.call('XADD', KEYS[2], '*', 'd', ARGV[2])
redis.call('PEXPIRE', KEYS[1], 15000)
redis.call('PEXPIRE', KEYS[2], 15000)
redis.call('PUBLISH', KEYS[3], ARGV[2])
return 1
"""


async def publish(hub: Hub, chunks: int) -> float:
    """Publish and flush on one stream."""
    stream, _ = await hub.register(_name())
    async with stream:
        seconds = await _seconds(lambda: _publish(stream, chunks))
    stored = (await stream.info()).last.offset
    if stored != chunks:
        raise AssertionError(f"{stored} chunks were stored of {chunks}")
    await hub.remove(stream.session_id)
    return seconds


async def call_per_chunk(client: Redis, chunks: int) -> float:
    """Await one script call per chunk, with a plain client."""
    name = _name()
    meta, log, live = f"{{{name}}}:meta", f"{{{name}}}:chunks", f"{{{name}}}:live"
    generation = uuid4().hex
    script = client.register_script(SCRIPT)

    async def call() -> None:
        for _ in range(chunks):
            await script(keys=[meta, log, live], args=[generation, TOKEN])

    await client.hset(meta, "gen", generation)
    seconds = await _seconds(call)
    if await client.xlen(log) != chunks:
        raise AssertionError("the plain client did not store every chunk")
    await client.delete(meta, log)
    return seconds


async def replay(hub: Hub, other: Hub, chunks: int) -> float:
    """Read a finished stream from start to end, on a hub that has seen nothing of it."""
    stream, _ = await hub.register(_name())
    async with stream:
        await _publish(stream, chunks)
    received = 0
    reader = await other.get(stream.session_id)
    assert reader is not None

    async def read() -> None:
        nonlocal received
        async for _ in reader.subscribe():
            received += 1

    seconds = await _seconds(read)
    if received != chunks:
        raise AssertionError(f"{received} chunks were replayed of {chunks}")
    await hub.remove(stream.session_id)
    return seconds


async def _publish(stream: LiveStream, chunks: int) -> None:
    for _ in range(chunks):
        await stream.publish(TOKEN)
    await stream.flush()


async def _seconds(work: Callable[[], Awaitable[None]]) -> float:
    start = perf_counter()
    await work()
    return perf_counter() - start


def _name() -> str:
    return f"bench:{uuid4().hex}"
