"""The baselines: the same work by hand, with the same client library, as little of it as can be."""

from __future__ import annotations

import asyncio
from random import Random
from time import perf_counter
from typing import Any

import msgspec

from .hub import TOKEN, prepare
from .measure import (
    Cost,
    Pace,
    Received,
    announce,
    announced,
    complete,
    connected,
    delays,
    name,
    own_connection,
    readers,
    ready,
    replayed,
    stamped,
    whole,
)
from .workers import Figures

#: The duties of one append: fence, store, keep alive, tell the readers.
ROUND_TRIP = """
if redis.call('HGET', KEYS[1], 'gen') ~= ARGV[1] then return 0 end
redis.call('XADD', KEYS[2], '*', 'd', ARGV[2])
redis.call('PEXPIRE', KEYS[1], 15000)
redis.call('PEXPIRE', KEYS[2], 15000)
redis.call('PUBLISH', KEYS[3], ARGV[2])
return 1
"""
#: The same for as many chunks as one call brings, in one msgpack array.
BATCH = """
if redis.call('HGET', KEYS[1], 'gen') ~= ARGV[1] then return 0 end
local chunks = cmsgpack.unpack(ARGV[2])
for i = 1, #chunks do redis.call('XADD', KEYS[2], '*', 'd', chunks[i]) end
redis.call('PEXPIRE', KEYS[1], 15000)
redis.call('PEXPIRE', KEYS[2], 15000)
redis.call('PUBLISH', KEYS[3], ARGV[2])
return #chunks
"""
_BATCH = 512
_CALLS_PER_ROUND = 8
_BLOCK_MS = 500


class Keys:
    def __init__(self, session_id: str) -> None:
        self.meta = f"{{{session_id}}}:meta"
        self.log = f"{{{session_id}}}:chunks"
        self.live = f"{{{session_id}}}:live"


async def round_trip(url: str, *, streams: int, chunks: int) -> Figures:
    logs = [Keys(name(number)) for number in range(streams)]
    async with connected(url) as client:
        sha = await client.script_load(ROUND_TRIP)
        clients = await _clients(url, logs)

        async def publish(own: Any, keys: Keys) -> None:
            for _ in range(chunks):
                await own.evalsha(sha, 3, keys.meta, keys.log, keys.live, "mine", TOKEN)

        async with Cost(url) as cost:
            await asyncio.gather(*map(publish, clients, logs))
        for keys in logs:
            complete(await client.xlen(keys.log), chunks, "chunks stored")
        await asyncio.gather(*(own.aclose() for own in clients))
    total = streams * chunks
    return {
        "chunks_per_s": total / cost.seconds,
        "cpu_us": 1e6 * (cost.cpu + cost.server_cpu) / total,
    }


async def produce(url: str, *, streams: int, chunks: int, rate: float) -> Figures:
    """The same at a pace, the streams spread over time."""
    names = [name(number) for number in range(streams)]
    logs = [Keys(one) for one in names]
    async with connected(url) as client:
        sha = await client.script_load(ROUND_TRIP)
        clients = await _clients(url, logs)
        await announce(url, " ".join(names))
        await readers(url)
        start = asyncio.get_running_loop().time() + 0.1
        pace, phase = Pace(rate), Random(7)

        async def produce(own: Any, keys: Keys) -> None:
            first = start + phase.random() / rate
            for number in range(chunks):
                await pace.until(number, first)
                await own.evalsha(sha, 3, keys.meta, keys.log, keys.live, "mine", stamped(number))

        async with Cost(url) as cost:
            await asyncio.gather(*map(produce, clients, logs))
        await asyncio.gather(*(own.aclose() for own in clients))
    return {
        "producer_cpu": cost.cpu,
        "redis_cpu": cost.server_cpu,
        "chunks": streams * chunks,
        "seconds": cost.seconds,
    }


async def _clients(url: str, logs: list[Keys]) -> list[Any]:
    """A client per stream with its own connection, which is open; and the claims."""
    clients: list[Any] = [own_connection(url) for _ in logs]
    for start in range(0, len(logs), 500):
        await asyncio.gather(
            *(
                client.hset(keys.meta, "gen", "mine")
                for client, keys in zip(
                    clients[start : start + 500], logs[start : start + 500], strict=True
                )
            )
        )
    return clients


async def subscribe(url: str, *, subscribers: int, chunks: int) -> Figures:
    """Follow the streams of ``produce``, ``subscribers`` of each."""
    names = (await announced(url)).split()
    received = [Received() for _ in range(len(names) * subscribers)]
    clients: list[Any] = [own_connection(url) for _ in received]
    for start in range(0, len(clients), 500):
        await asyncio.gather(*(client.ping() for client in clients[start : start + 500]))

    async def follow(at: int) -> None:
        log, last, left = Keys(names[at % len(names)]).log, "0-0", chunks
        while left:
            reply = await clients[at].xread({log: last}, block=_BLOCK_MS)
            for entry, fields in _entries(reply, log.encode()):
                received[at].take(fields[b"d"].decode())
                last = entry
                left -= 1

    async with asyncio.TaskGroup() as group:
        for at in range(len(received)):
            group.create_task(follow(at))
        # Until the blocking reads have begun; one that has not shows in its own delay.
        await asyncio.sleep(0.3)
        await ready(url)
        cost = Cost(url)
        await cost.__aenter__()
    await cost.__aexit__(None, None, None)
    await asyncio.gather(*(client.aclose() for client in clients))
    return delays(received, chunks) | {"subscriber_cpu": cost.cpu}


def _entries(reply: Any, log: bytes) -> Any:
    """The entries of an XREAD reply; none if it has waited in vain."""
    if not reply:
        return []
    return reply[log][0] if isinstance(reply, dict) else reply[0][1]


async def idle(url: str, *, sessions: int, seconds: float) -> Figures:
    """Wait for news of idle sessions."""
    clients: list[Any] = [own_connection(url) for _ in range(sessions)]

    async def follow(client: Any) -> None:
        log = Keys(name()).log
        while True:
            await client.xread({log: "0-0"}, block=_BLOCK_MS)

    async with connected(url) as asking:
        tasks = [asyncio.create_task(follow(client)) for client in clients]
        # Past the beginning, which is not idle.
        await asyncio.sleep(2.0)
        before = (await asking.info("stats"))["total_commands_processed"]
        start = perf_counter()
        await asyncio.sleep(seconds)
        after = (await asking.info("stats"))["total_commands_processed"]
        rate = (after - before) / (perf_counter() - start)
        connections = (await asking.info("clients"))["connected_clients"] - 1
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(client.aclose() for client in clients))
    return {"commands_per_s": rate, "connections": connections}


async def batches(url: str, *, streams: int, chunks: int) -> Figures:
    """Pipelined script calls of up to 512 chunks each."""
    logs = [Keys(name(number)) for number in range(streams)]
    encode = msgspec.msgpack.Encoder().encode
    async with connected(url) as client:
        sha = await client.script_load(BATCH)
        for keys in logs:
            await client.hset(keys.meta, "gen", "mine")
        async with Cost(url) as cost:
            pipeline = client.pipeline(transaction=False)
            for start in range(0, chunks, _BATCH):
                items = [TOKEN] * min(_BATCH, chunks - start)
                for keys in logs:
                    pipeline.evalsha(sha, 3, keys.meta, keys.log, keys.live, "mine", encode(items))
                    if len(pipeline) == _CALLS_PER_ROUND:
                        await pipeline.execute()
            await pipeline.execute()
        for keys in logs:
            complete(await client.xlen(keys.log), chunks, "chunks stored")
    total = streams * chunks
    return {
        "chunks_per_s": total / cost.seconds,
        "cpu_us": 1e6 * (cost.cpu + cost.server_cpu) / total,
    }


async def send(url: str, *, chunks: int, rate: float) -> Figures:
    """Messages for ``listen`` and ``wake``: nothing is stored."""
    channel = name()
    async with connected(url) as client:
        await announce(url, channel)
        await readers(url)
        async with Cost(url) as cost:
            pace, start = Pace(rate), asyncio.get_running_loop().time()
            for number in range(chunks):
                await pace.until(number, start)
                await client.publish(channel, stamped(number))
    return {"producer_cpu": cost.cpu, "redis_cpu": cost.server_cpu}


async def listen(url: str, *, chunks: int) -> Figures:
    """A Pub/Sub hop: from ``publish`` to ``listen``."""
    received = Received()
    async with connected(url) as client, client.pubsub() as pubsub:
        await pubsub.subscribe(await announced(url))
        left = chunks
        async for message in pubsub.listen():
            if message["type"] == "subscribe":
                await ready(url)
                continue
            received.take(message["data"].decode())
            left -= 1
            if not left:
                break
    return delays([received], chunks)


async def wake(url: str, *, subscribers: int, chunks: int) -> Figures:
    """One such hop, and then N waiting tasks that a future each wakes."""
    received = [Received() for _ in range(subscribers)]
    waiting: list[asyncio.Future[str]] = []
    loop = asyncio.get_running_loop()

    async def follow(into: Received) -> None:
        for _ in range(chunks):
            future = loop.create_future()
            waiting.append(future)
            into.take(await future)

    async with connected(url) as client, client.pubsub() as pubsub:
        tasks = [asyncio.create_task(follow(into)) for into in received]
        await pubsub.subscribe(await announced(url))
        left = chunks
        async for message in pubsub.listen():
            if message["type"] == "subscribe":
                await ready(url)
                continue
            data = message["data"].decode()
            while len(waiting) < subscribers:  # noqa: ASYNC110 - an event would add a turn
                # The message before has come so late that not all wait again.
                await asyncio.sleep(0)
            woken, waiting = waiting, []
            for future in woken:
                future.set_result(data)
            left -= 1
            if not left:
                break
        await asyncio.gather(*tasks)
    return delays(received, chunks)


async def xrange(url: str, *, chunks: int, streams: int) -> Figures:
    """The client's own XRANGE of the same streams."""

    async def read(session_id: str) -> list[str]:
        entries = await client.xrange(f"streamhub:{{{session_id}}}:chunks")
        return [fields[b"d"].decode() for _, fields in entries]

    stored = [await prepare(url, chunks=chunks) for _ in range(streams)]
    async with connected(url) as client:
        # It is connected, as the hub is.
        await client.ping()
        return await replayed(url, stored, read, [TOKEN] * chunks, chunks=chunks)


async def storm(url: str, *, subscribers: int, chunks: int) -> Figures:
    """Subscribers who come all at once read the stream with an XRANGE each."""
    session_id = await prepare(url, chunks=chunks)
    expected = [TOKEN] * chunks
    clients: list[Any] = [own_connection(url) for _ in range(subscribers)]
    await asyncio.gather(*(client.ping() for client in clients))

    async def read(client: Any) -> None:
        entries = await client.xrange(f"streamhub:{{{session_id}}}:chunks")
        whole([fields[b"d"].decode() for _, fields in entries], expected)

    start = perf_counter()
    await asyncio.gather(*map(read, clients))
    seconds = perf_counter() - start
    await asyncio.gather(*(client.aclose() for client in clients))
    return {"us_per_chunk": 1e6 * seconds / subscribers / chunks}


async def size(url: str, *, chunks: int) -> Figures:
    """What Redis takes for a plain stream of 4-byte chunks."""
    key = name()
    async with connected(url) as client:
        for _ in range(chunks):
            await client.xadd(key, {"d": "abcd"})
        taken = await client.memory_usage(key, samples=0)
    return {"bytes_per_chunk": taken / chunks}
