"""What streamhub does in each case, by its public API only."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Iterator, Sequence
from random import Random
from time import perf_counter

from streamhub import Hub, HubConfig, LiveStream

from .instruments import all_three
from .measure import (
    Cost,
    Pace,
    Received,
    allocated,
    announce,
    announced,
    complete,
    connected,
    delays,
    name,
    readers,
    ready,
    replayed,
    stamped,
    whole,
)
from .workers import Figures

TOKEN = " token"


async def publish(
    url: str,
    *,
    streams: int,
    chunks: int,
    each: int = 0,
    linger: float = 0.0,
    instrumented: bool = False,
) -> Figures:
    """Publish ``chunks`` on each stream, all streams at once, and flush at the end (or after
    ``each`` chunks)."""
    async with _hub(url, linger, instrumented=instrumented) as hub:
        producers = await _register(hub, streams)
        async with Cost(url) as cost:
            await asyncio.gather(*(_publish(one, chunks, each or chunks) for one in producers))
        connections = await _connections(url)
        for one in producers:
            complete((await one.info()).last.offset, chunks, "chunks stored")
        await _end(producers)
    total = streams * chunks
    return {
        "chunks_per_s": total / cost.seconds,
        "cpu_us": 1e6 * (cost.cpu + cost.server_cpu) / total,
        "process_us": 1e6 * cost.cpu / total,
        "redis_us": 1e6 * cost.server_cpu / total,
        "connections": connections,
    }


async def produce(
    url: str,
    *,
    streams: int,
    chunks: int,
    rate: float,
    linger: float = 0.0,
    instrumented: bool = False,
) -> Figures:
    """Publish at a pace: each stream ``rate`` chunks a second, the streams spread over time."""
    async with _hub(url, linger, instrumented=instrumented) as hub:
        producers = await _register(hub, streams)
        await announce(url, " ".join(one.session_id for one in producers))
        await readers(url)
        start = asyncio.get_running_loop().time() + 0.1
        pace, phase = Pace(rate), Random(7)

        async def produce(stream: LiveStream) -> None:
            first = start + phase.random() / rate
            for number in range(chunks):
                await pace.until(number, first)
                await stream.publish(stamped(number))

        async with Cost(url) as cost:
            await asyncio.gather(*(produce(one) for one in producers))
            await asyncio.gather(*(one.flush() for one in producers))
        await _end(producers)
    return {
        "producer_cpu": cost.cpu,
        "redis_cpu": cost.server_cpu,
        "redis_in": cost.bytes_in,
        "redis_out": cost.bytes_out,
        "chunks": streams * chunks,
        "seconds": cost.seconds,
    }


async def subscribe(
    url: str, *, subscribers: int, chunks: int, instrumented: bool = False
) -> Figures:
    """Follow the streams of ``produce`` live, ``subscribers`` of each."""
    session_ids = (await announced(url)).split()
    async with _hub(url, 0.0, instrumented=instrumented) as hub:
        received = [Received() for _ in range(len(session_ids) * subscribers)]
        listening = asyncio.Semaphore(0)

        async def follow(session_id: str, into: Received) -> None:
            stream = await _stored(hub, session_id)
            listening.release()
            async for chunk in stream.subscribe():
                into.take(chunk.data)

        async with asyncio.TaskGroup() as group:
            for at, into in enumerate(received):
                group.create_task(follow(session_ids[at % len(session_ids)], into))
            for _ in received:
                await listening.acquire()
            # The live channel answers within this time, or the case fails by its own p99.
            await asyncio.sleep(0.3)
            await ready(url)
            cost = Cost(url)
            await cost.__aenter__()
        await cost.__aexit__(None, None, None)
    return delays(received, chunks) | {"subscriber_cpu": cost.cpu}


async def prepare(url: str, *, chunks: int) -> str:
    """Store a stream that is complete; its session id."""
    async with Hub.from_url(url) as hub:
        (stream,) = await _register(hub, 1)
        async with stream:
            await _publish(stream, chunks, chunks)
    return stream.session_id


async def replay(url: str, *, chunks: int, streams: int = 1, batch: bool = False) -> Figures:
    """Read stored streams from start to end, on a hub at work that has seen nothing of them."""

    async def read(stream: LiveStream) -> list[str]:
        return [chunk.data async for chunk in stream.subscribe(batch_replay=batch)]

    async with Hub.from_url(url) as hub:
        at_work = await _stored(hub, await prepare(url, chunks=1))
        complete(await _read(at_work), 1, "chunks")
        stored = [await _stored(hub, await prepare(url, chunks=chunks)) for _ in range(streams)]
        expected = [TOKEN * chunks] if batch else [TOKEN] * chunks
        return await replayed(url, stored, read, expected, chunks=chunks)


async def cold_replay(url: str, *, chunks: int, streams: int) -> Figures:
    """Read stored streams from start to end, each on a hub of its own that is opened for it."""

    async def read(session_id: str) -> list[str]:
        async with Hub.from_url(url) as hub:
            stream = await _stored(hub, session_id)
            return [chunk.data async for chunk in stream.subscribe()]

    # What a process does once is none of theirs.
    await read(await prepare(url, chunks=1))
    stored = [await prepare(url, chunks=chunks) for _ in range(streams)]
    return await replayed(url, stored, read, [TOKEN] * chunks, chunks=chunks)


async def storm(url: str, *, subscribers: int, chunks: int) -> Figures:
    """Subscribers come all at once, and all read the stream from its start."""
    session_id = await prepare(url, chunks=chunks)
    async with Hub.from_url(url) as hub, connected(url) as client:
        stream = await _stored(hub, session_id)
        expected = [TOKEN] * chunks

        async def read() -> None:
            whole([chunk.data async for chunk in stream.subscribe()], expected)

        before = (await client.info("stats"))["total_net_output_bytes"]
        start = perf_counter()
        await asyncio.gather(*(read() for _ in range(subscribers)))
        seconds = perf_counter() - start
        after = (await client.info("stats"))["total_net_output_bytes"]
        await client.xrange(f"streamhub:{{{session_id}}}:chunks")
        once = (await client.info("stats"))["total_net_output_bytes"] - after
    return {
        "redis_bytes": after - before,
        "stream_bytes": once,
        "us_per_chunk": 1e6 * seconds / subscribers / chunks,
    }


async def own(url: str, *, sessions: int, settle: float, seconds: float) -> Figures:
    """Hold idle sessions; count what Redis is asked for without and with subscribers."""
    async with Hub.from_url(url) as hub:
        producers = await _register(hub, sessions)
        # Of the producers come script calls alone: what each is in commands is counted first.
        alone, calls_alone = await _commands(url, settle)
        await announce(url, " ".join(one.session_id for one in producers))
        await readers(url)
        watched, calls = await _commands(url, seconds)
        await announce(url)
        await readers(url)
        await _end(producers)
    return {
        "commands_per_s": watched - calls * alone / max(calls_alone, 1e-9),
        "producer_commands_per_s": alone,
    }


async def idle(url: str) -> Figures:
    """Subscribe to the idle sessions of ``own``, one subscriber each."""
    session_ids = (await announced(url)).split()
    tracemalloc.start()
    async with Hub.from_url(url) as hub:
        before, connections = allocated(), await _connections(url)
        tasks = [asyncio.create_task(_read(await _stored(hub, one))) for one in session_ids]
        # Past the beginning, which is not idle.
        await asyncio.sleep(1.0)
        connections = await _connections(url) - connections
        taken = (allocated() - before) / len(session_ids)
        await ready(url)
        await announced(url)
        await ready(url)
        complete(sum(await asyncio.gather(*tasks)), 0, "chunks")
    tracemalloc.stop()
    return {"connections": connections, "bytes_per_subscriber": taken}


async def memory(*, chunks: int, subscribers: int) -> Figures:
    """Publish and deliver within the process, without Redis."""
    async with Hub() as hub:
        (stream,) = await _register(hub, 1)
        start = perf_counter()
        await _publish(stream, chunks, chunks)
        published = perf_counter() - start
        await stream.close()
        start = perf_counter()
        counts = await asyncio.gather(*(_read(stream) for _ in range(subscribers)))
        delivered = perf_counter() - start
        complete(sum(counts), subscribers * chunks, "chunks delivered")
    return {
        "chunks_per_s": chunks / published,
        "delivered_per_s": subscribers * chunks / delivered,
    }


async def size(url: str, *, chunks: int) -> Figures:
    """What Redis takes for a stream of 4-byte chunks."""
    async with Hub.from_url(url) as hub, connected(url) as client:
        (stream,) = await _register(hub, 1)
        for _ in range(chunks):
            await stream.publish("abcd")
            await stream.flush()
        key = f"streamhub:{{{stream.session_id}}}:chunks"
        complete(await client.xlen(key), chunks, "entries")
        taken = await client.memory_usage(key, samples=0)
        await _end([stream])
    return {"bytes_per_chunk": taken / chunks}


async def appended(url: str, *, length: int, rounds: int, each: int) -> Figures:
    """Flush ``each`` chunks at a time onto a stream that has ``length`` already."""
    config = HubConfig(max_stream_bytes=64 * 1024 * 1024)
    async with Hub.from_url(url, config=config) as hub:
        (stream,) = await _register(hub, 1)
        await _publish(stream, length, length or 1)
        async with Cost(url) as cost:
            await _publish(stream, rounds * each, each)
        complete((await stream.info()).last.offset, length + rounds * each, "chunks stored")
        await _end([stream])
    return {"cpu_us": 1e6 * (cost.cpu + cost.server_cpu) / (rounds * each)}


def _hub(url: str, linger: float, *, instrumented: bool = False) -> Hub:
    config = HubConfig(linger=linger) if linger else HubConfig()
    return Hub.from_url(url, config=config, instruments=all_three() if instrumented else ())


async def _stored(hub: Hub, session_id: str) -> LiveStream:
    stream = await hub.get(session_id)
    assert stream is not None
    return stream


async def _register(hub: Hub, streams: int) -> list[LiveStream]:
    claimed: list[LiveStream] = []
    for names in _batches([name(number) for number in range(streams)]):
        answers = await asyncio.gather(*(hub.register(one) for one in names))
        complete(sum(created for _, created in answers), len(names), "sessions claimed")
        claimed += [stream for stream, _ in answers]
    return claimed


async def _publish(stream: LiveStream, chunks: int, each: int) -> None:
    for start in range(0, chunks, each):
        for _ in range(min(each, chunks - start)):
            await stream.publish(TOKEN)
        await stream.flush()


async def _read(stream: LiveStream) -> int:
    count = 0
    async for _ in stream.subscribe():
        count += 1
    return count


async def _end(streams: Sequence[LiveStream]) -> None:
    await asyncio.gather(*(one.close() for one in streams))


async def _commands(url: str, seconds: float) -> tuple[float, float]:
    """Commands that Redis carries out in a second, those within scripts included; and scripts."""
    async with connected(url) as client:

        async def counted() -> tuple[int, int]:
            found = await client.info("stats", "commandstats")
            scripts = found.get("cmdstat_evalsha", {"calls": 0})["calls"]
            return found["total_commands_processed"], scripts

        before, start = await counted(), perf_counter()
        await asyncio.sleep(seconds)
        after, took = await counted(), perf_counter() - start
        return (after[0] - before[0]) / took, (after[1] - before[1]) / took


async def _connections(url: str) -> int:
    """Connections that Redis holds, without the one that asks."""
    async with connected(url) as client:
        return int((await client.info("clients"))["connected_clients"]) - 1


def _batches(names: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), 500):
        yield names[start : start + 500]
