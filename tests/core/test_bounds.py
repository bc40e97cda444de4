"""What a hub costs: connections, commands, memory and tasks (G10, G12, G13)."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis.asyncio

from streamhub import Chunk, Hub, HubConfig, LiveStream, Subscription
from streamhub.stores.memory import MemoryStore
from streamhub.testing.waiting import bounded, patience

from ..support.listening import no_longer_listening
from ..support.redis_server import RedisServer

pytestmark = pytest.mark.slow

BOUND = 30.0


class Counter:
    """Counts what a server has done for hubs."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def connections(self, name: str) -> int:
        return len([one for one in await self._client.client_list() if one["name"] == name])

    async def commands(self) -> int:
        """Commands of readers since the last time; what scripts do inside is not counted."""
        stats = await self._client.info("commandstats")
        await self._client.config_resetstat()
        calls: dict[str, int] = {name: one["calls"] for name, one in stats.items()}
        # Every script here reads a record once.
        looks: int = calls.get("cmdstat_hmget", 0) - calls.get("cmdstat_evalsha", 0)
        return looks + calls.get("cmdstat_xrange", 0) + calls.get("cmdstat_xrevrange", 0)


def held_chunks() -> int:
    """How many chunks anybody holds in this process."""
    gc.collect()
    # Chunks hold no references and are not tracked: those who hold them are.
    held = {
        id(one)
        for holder in gc.get_objects()
        if isinstance(holder, list)
        for one in holder
        if isinstance(one, Chunk)
    }
    return len(held)


@pytest.fixture
async def counter(redis_client: redis.asyncio.Redis) -> Counter:
    return Counter(redis_client)


@pytest.fixture
async def open_hub(redis_url: str) -> AsyncIterator[Callable[..., Hub]]:
    hubs: list[Hub] = []

    def make(name: str = "", **config: float) -> Hub:
        url = f"{redis_url}?client_name={name}" if name else redis_url
        hubs.append(Hub.from_url(url, config=HubConfig(**config)))  # type: ignore[arg-type]
        return hubs[-1]

    async with bounded(2 * BOUND):
        yield make
        for hub in hubs:
            await hub.aclose()


async def claimed(hub: Hub, session_id: str) -> LiveStream:
    stream, created = await hub.register(session_id)
    assert created
    return stream


async def everything(subscription: Subscription) -> list[str]:
    return [chunk.data async for chunk in subscription]


async def test_g12_a_thousand_subscribers_and_fifty_producers_share_four_connections(
    open_hub: Callable[..., Hub], counter: Counter
) -> None:
    """On a thousand sessions; every subscriber gets its text."""
    hub, elsewhere = open_hub("here"), open_hub()
    streams = [await claimed(elsewhere, f"chat:{n}") for n in range(950)]
    streams += [await claimed(hub, f"chat:{n}") for n in range(950, 1_000)]
    reading = []
    for stream in streams:
        found = await hub.get(stream.session_id)
        assert found is not None
        reading.append(asyncio.create_task(everything(found.subscribe())))
    for n, stream in enumerate(streams):
        await stream.publish(f"text {n}")
    await asyncio.gather(*(stream.flush() for stream in streams))
    assert 4 == await counter.connections("here")
    await asyncio.gather(*(stream.close() for stream in streams))
    assert [[f"text {n}"] for n in range(1_000)] == await asyncio.gather(*reading)
    assert 4 == await counter.connections("here")


async def test_g3_a_thousand_subscribers_of_one_stream_get_every_chunk(
    open_hub: Callable[..., Hub], session_id: str
) -> None:
    """At full speed, in one process."""
    hub, elsewhere = open_hub(), open_hub()
    stream = await claimed(elsewhere, session_id)
    found = await hub.get(session_id)
    assert found is not None
    reading = [asyncio.create_task(everything(found.subscribe())) for _ in range(1_000)]
    data = [f"{n} " for n in range(200)]
    async with stream:
        for text in data:
            await stream.publish(text)
    received = await asyncio.gather(*reading)
    assert [data] * 1_000 == received


async def test_g13_idle_subscribers_cost_about_a_command_a_lease(
    open_hub: Callable[..., Hub], counter: Counter
) -> None:
    """Over three leases of a hundred idle sessions, each with two subscribers."""
    lease, sessions = 1.0, 100
    hub, elsewhere = open_hub(lease=lease), open_hub(lease=lease)
    waiting = []
    for n in range(sessions):
        stream = await claimed(elsewhere, f"chat:{n}")
        await stream.publish("1")
        await stream.flush()
        for _ in range(2):
            found = await hub.get(stream.session_id)
            assert found is not None
            subscription = found.subscribe()
            await anext(subscription)
            waiting.append(asyncio.create_task(anext(subscription)))
    await counter.commands()
    await asyncio.wait(waiting, timeout=3 * lease)
    assert await counter.commands() <= 2 * 3 * sessions
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_g13_subscribers_cost_nothing_while_chunks_flow(
    open_hub: Callable[..., Hub], counter: Counter, session_id: str
) -> None:
    """Over three leases in each of which some chunks come: they say that the producer lives."""
    lease = 0.6
    hub, elsewhere = open_hub(lease=lease), open_hub(lease=lease)
    stream = await claimed(elsewhere, session_id)
    await stream.publish("0")
    found = await hub.get(session_id)
    assert found is not None
    subscription = found.subscribe()
    assert "0" == (await anext(subscription)).data
    await counter.commands()
    waiting = asyncio.create_task(anext(subscription))
    for n in range(1, 16):
        await asyncio.wait([waiting], timeout=lease / 5)
        await stream.publish(f"{n}")
        assert f"{n}" == (await waiting).data
        waiting = asyncio.create_task(anext(subscription))
    assert await counter.commands() <= 1
    await stream.publish("16")
    await waiting


async def test_g13_get_with_wait_is_woken_and_does_not_poll(
    open_hub: Callable[..., Hub], counter: Counter, session_id: str
) -> None:
    """Fifty that wait cost a few commands, and are there with the claim."""
    hub, elsewhere = open_hub(), open_hub()
    await counter.commands()
    waiting = [
        asyncio.create_task(hub.get(f"{session_id}{n}", wait=patience(BOUND))) for n in range(50)
    ]
    await asyncio.wait(waiting, timeout=1.0)
    assert await counter.commands() <= 5 * 50
    for n in range(50):
        await claimed(elsewhere, f"{session_id}{n}")
    assert [f"{session_id}{n}" for n in range(50)] == [
        found.session_id for found in await asyncio.gather(*waiting) if found is not None
    ]


async def test_g10_a_subscriber_that_does_not_read_keeps_a_bounded_number_of_chunks(
    open_hub: Callable[..., Hub], session_id: str
) -> None:
    """While 20,000 chunks pass it holds hundreds, and then gets all of them."""
    hub, elsewhere = open_hub(), open_hub()
    stream = await claimed(elsewhere, session_id)
    found = await hub.get(session_id)
    assert found is not None
    slow, quick = found.subscribe(), found.subscribe()
    data = [f"{n} " for n in range(20_000)]
    await stream.publish(data[0])
    assert data[0] == (await anext(slow)).data
    reading = asyncio.create_task(everything(quick))
    async with stream:
        for text in data[1:]:
            await stream.publish(text)
    assert data == await reading
    del reading
    assert held_chunks() <= 10_000
    assert data[1:] == await everything(slow)


async def test_what_was_read_goes_with_its_last_reader(
    open_hub: Callable[..., Hub], session_id: str
) -> None:
    """A hub that nobody reads with holds no chunks, whatever it does next."""
    before = held_chunks()
    hub, elsewhere = open_hub(), open_hub()
    async with await claimed(elsewhere, session_id) as stream:
        for n in range(3_000):
            await stream.publish(f"{n} ")
    found = await hub.get(session_id)
    assert found is not None
    assert 3_000 == len(await everything(found.subscribe()))
    # What woke this task up is held until its turn is over.
    await asyncio.sleep(0)

    assert held_chunks() <= before


@pytest.mark.parametrize("end", ["time-out", "cancelled"])
@pytest.mark.parametrize("call", ["get", "wait", "cancel"])
async def test_waits_that_were_given_up_leave_nothing_behind(
    open_hub: Callable[..., Hub],
    session_id: str,
    redis_client: redis.asyncio.Redis,
    call: str,
    end: str,
) -> None:
    """Tasks and channels are as before 100 calls of get(wait=), wait() and cancel(wait=)."""
    hub = open_hub()
    stream, _ = await hub.register(session_id, on_cancel=lambda: None)
    waiter = await hub.get(session_id)
    assert waiter is not None
    await waiter.wait(0.01)
    tasks = len(asyncio.all_tasks())
    limit = 0.01 if end == "time-out" else None

    async def give_up() -> None:
        match call:
            case "get":
                assert await hub.get("nobody", wait=limit or BOUND) is None
            case "wait":
                await waiter.wait(limit)
            case _:
                await waiter.cancel(wait=limit or BOUND)

    waiting = [asyncio.create_task(give_up()) for _ in range(100)]
    if end == "cancelled":
        await asyncio.wait(waiting, timeout=0.05)
        for task in waiting:
            task.cancel()
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    kinds = {type(end) for end in ends}
    assert ({type(None)} if end == "time-out" else {asyncio.CancelledError}) == kinds
    del waiting, ends
    async with bounded(BOUND):
        for name in (session_id, "nobody"):
            await no_longer_listening(redis_client, f"streamhub:{{{name}}}:live".encode())
        await stream.close()
    assert len(asyncio.all_tasks()) <= tasks


async def test_g10_a_subscriber_that_is_asked_in_vain_keeps_nothing(
    open_hub: Callable[..., Hub], session_id: str
) -> None:
    """1,000 time-outs on an idle stream do not leave even a tenth as many futures and tasks (some
    that were cancelled may lie until they are many), and the next chunk is delivered."""
    hub = open_hub()
    stream = await claimed(hub, session_id)
    await stream.publish("1")
    await stream.flush()
    subscription = stream.subscribe()
    await anext(subscription)

    async def ask_in_vain(times: int) -> int:
        for _ in range(times):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await anext(subscription)
        gc.collect()
        return len([one for one in gc.get_objects() if isinstance(one, asyncio.Future)])

    few = await ask_in_vain(1)
    assert await ask_in_vain(1_000) <= few + 100
    await stream.publish("2")
    assert "2" == (await anext(subscription)).data


@pytest.mark.parametrize("way", ["break", "cancel", "drop", "aclose"])
async def test_subscribers_that_went_leave_nothing_behind(
    open_hub: Callable[..., Hub], session_id: str, redis_client: redis.asyncio.Redis, way: str
) -> None:
    """Tasks and channels are as before 200 subscribers came and went."""
    hub = open_hub()
    stream = await claimed(hub, session_id)
    await stream.publish("1")
    await stream.flush()
    await anext(stream.subscribe())
    channel = f"streamhub:{{{session_id}}}:live".encode()
    tasks = len(asyncio.all_tasks())

    async def come_and_go() -> None:
        match way:
            case "break":
                async for _ in stream.subscribe():
                    break
            case "cancel":
                task = asyncio.create_task(everything(stream.subscribe()))
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            case "drop":
                subscription = stream.subscribe()
                await anext(subscription)
            case _:
                async with stream.subscribe() as subscription:
                    await anext(subscription)

    await asyncio.gather(*(come_and_go() for _ in range(200)))
    gc.collect()
    async with bounded(BOUND):
        await no_longer_listening(redis_client, channel)
    assert len(asyncio.all_tasks()) <= tasks


async def test_g10_publish_waits_while_max_pending_bytes_are_full(
    make_redis: Callable[[], RedisServer], session_id: str
) -> None:
    """With Redis frozen it takes so much and no more, and goes on afterwards without loss."""
    server = make_redis()
    limit = 10_000
    config = HubConfig(lease=5.0, max_pending_bytes=limit)
    accepted: list[str] = []
    async with bounded(BOUND), Hub.from_url(server.url, config=config) as hub:
        stream = await claimed(hub, session_id)
        server.pause()

        async def produce() -> None:
            async with stream:
                for n in range(500):
                    text = f"{n:0100}"
                    await stream.publish(text)
                    accepted.append(text)

        producing = asyncio.create_task(produce())
        await asyncio.wait([producing], timeout=0.5)
        assert limit // 100 == len(accepted)
        server.resume()
        await producing
        assert "".join(accepted) == await stream.text()


async def test_g10_a_feed_that_nobody_reads_keeps_nothing_of_sessions_that_are_gone() -> None:
    """In memory, too: as much for many sessions as for a few."""
    now = 1000.0
    store = MemoryStore(clock=lambda: now)
    await store.feeds.open("save", unsaved=60.0)
    for n in range(3000):
        await store.claim(f"{n}", "g", takeover="restart", lease=1.0, retention=1.0)
        await store.remove(f"{n}")
    now += 2.0
    found, _ = await store.feeds.due("save", 3000, hold=60.0)
    assert len(found) <= 1000
    assert "2999" in [due.session_id for due in found]
