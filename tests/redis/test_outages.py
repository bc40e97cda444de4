"""What survives lost answers, broken connections and servers that refuse for a while (G5, G6)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from streamhub import Chunk, HubConfig, Status, StoreUnavailable, Subscription
from streamhub.testing.waiting import bounded, patience, unhurried, until

from ..support.redis_server import RedisServer
from ..support.redis_stage import (
    BOUND,
    CONFIG,
    Stage,
    assert_whole,
    channel,
    claimed,
    meta,
    opened,
    taken,
)


@pytest.fixture
async def stage(make_redis: Callable[[], RedisServer]) -> AsyncIterator[Stage]:
    async with bounded(2 * BOUND), Stage(make_redis()) as stage:
        yield stage


async def test_g6_an_append_whose_answer_is_lost_is_stored_once(stage: Stage) -> None:
    """No duplicate and no hole, for the chunk in question and those after it."""
    proxy = await stage.proxy()
    stream = await claimed(stage.hub(url=proxy.url), "chat")
    await stream.publish("first ")
    await stream.flush()
    subscription = await opened(stage.hub(), "chat")
    lost = proxy.lose_answer_to(b"marked")
    async with bounded(BOUND), stream:
        await stream.publish("marked ")
        await lost.wait()
        await stream.publish("last ")
    assert_whole([chunk async for chunk in subscription], ["first ", "marked ", "last "])


async def test_g6_an_end_whose_answer_is_lost_ends_once(stage: Stage) -> None:
    """close() succeeds, and the stream has the end that was given."""
    proxy = await stage.proxy()
    stream = await claimed(stage.hub(url=proxy.url), "chat")
    await stream.publish("all")
    await stream.flush()
    lost = proxy.lose_answer_to(b"the reason given")
    async with bounded(BOUND):
        await stream.fail("the reason given")
        await lost.wait()
    info = await stream.info()
    assert (Status.FAILED, "the reason given") == (info.status, info.error)


async def test_g6_a_claim_whose_answer_is_lost_is_granted_once(stage: Stage) -> None:
    """register() answers that it was created, and the handle it returns may write."""
    proxy = await stage.proxy()
    hub = stage.hub(url=proxy.url)
    await claimed(hub, "other")
    lost = proxy.lose_answer_to(b"marked owner")
    async with bounded(BOUND):
        stream = await claimed(hub, "chat", owner="marked owner")
        await lost.wait()
        async with stream:
            await stream.publish("only")
    assert ("only", "marked owner") == (await stream.text(), (await stream.info()).owner)


async def test_g6_a_removal_whose_answer_is_lost_says_that_it_removed(stage: Stage) -> None:
    """remove() answers True: the session was there before the call and is not after it."""
    proxy = await stage.proxy()
    hub = stage.hub(url=proxy.url)
    await claimed(hub, "chat")
    await claimed(hub, "other")
    await hub.remove("other")
    lost = proxy.lose_answer_to(b"streamhub:{chat}:removed")
    async with bounded(BOUND):
        assert await hub.remove("chat")
        await lost.wait()


async def _flush_scripts(stage: Stage) -> None:
    await stage.client.script_flush()


async def _kill_connections(stage: Stage) -> None:
    for kind in ("normal", "pubsub"):
        await stage.client.client_kill_filter(_type=kind, skipme=True)


@pytest.mark.parametrize("disturb", [_flush_scripts, _kill_connections])
async def test_a_disturbance_in_mid_stream_is_not_noticed(
    stage: Stage, disturb: Callable[[Stage], Awaitable[None]]
) -> None:
    """SCRIPT FLUSH and CLIENT KILL, several times while chunks flow: every chunk once, in order."""
    stream = await claimed(stage.hub(), "chat")
    subscription = await opened(stage.hub(), "chat")
    data = [f"{n} " for n in range(3_000)]

    async def produce() -> None:
        async with stream:
            for n, text in enumerate(data):
                await stream.publish(text)
                if not n % 500:
                    await stream.flush()
                    await disturb(stage)

    async with bounded(BOUND):
        producing = asyncio.create_task(produce())
        received = [chunk async for chunk in subscription]
        await producing
    assert_whole(received, data)


async def test_a_redis_frozen_for_longer_than_every_timeout_interrupts_nobody(
    stage: Stage,
) -> None:
    """Producers, followers and readers in mid-replay go on once it answers again: give_up_after
    has not passed."""
    url = f"{stage.server.url}?socket_timeout=0.3"
    stream = await claimed(stage.hub(url=url), "chat")
    data = [f"{n} " for n in range(6_000)]
    for text in data[:-1]:
        await stream.publish(text)
    await stream.flush()
    reading = stage.hub(url=url)
    follower, replaying = await opened(reading, "chat"), await opened(reading, "chat")
    received = [await taken(follower, 5_999), await taken(replaying, 3)]

    async def read_on(subscription: Subscription, so_far: list[Chunk]) -> None:
        so_far += [chunk async for chunk in subscription]

    async with bounded(BOUND):
        stage.server.pause()
        asyncio.get_running_loop().call_later(1.5, stage.server.resume)
        ends = asyncio.gather(*map(read_on, (follower, replaying), received))
        async with stream:
            await stream.publish(data[-1])
        await ends
    for so_far in received:
        assert_whole(so_far, data)


async def test_a_redis_that_pauses_for_longer_than_a_lease_loses_nobody(stage: Stage) -> None:
    """A reader's look waits, and is answered when the lease has lapsed; the producer, which gave
    its renewals up meanwhile, comes a moment later."""
    producing = stage.hub(url=f"{stage.server.url}?socket_timeout=0.3")
    stream = await claimed(producing, "chat")
    subscription = await opened(stage.hub(), "chat")
    waiting = asyncio.create_task(anext(subscription))
    async with bounded(BOUND):
        await until(lambda: _is_listened_to(stage, "chat"))
        await stage.client.client_pause(int(3 * CONFIG.lease * 1000))
        await stage.client.ping()
        done, _ = await asyncio.wait([waiting], timeout=2 * CONFIG.lease)
        assert set() == done
        await stream.publish("1")
        assert "1" == (await waiting).data


async def _is_listened_to(stage: Stage, session_id: str) -> bool:
    return channel(session_id, "live").encode() in await stage.client.pubsub_channels()


async def test_g5_chunks_that_are_refused_for_good_are_reported(stage: Stage) -> None:
    """Where appends fail for give_up_after while renewals succeed, flush() raises."""
    hub = stage.hub(HubConfig(lease=unhurried(0.5), give_up_after=1.0))
    stream = await claimed(hub, "chat")
    await stream.publish("stored")
    await stream.flush()
    await stage.client.execute_command("ACL", "SETUSER", "default", "-xadd")
    await stream.publish("refused")
    with pytest.raises(StoreUnavailable):
        async with bounded(5):
            await stream.flush()
    assert "stored" == await stream.text()


async def test_g5_metadata_that_is_set_while_older_is_on_its_way_is_stored(stage: Stage) -> None:
    """The answer to the one write is not taken for that to the other."""
    stream = await claimed(stage.hub(HubConfig(lease=60.0)), "chat")
    stage.server.pause()
    first = asyncio.create_task(stream.set_metadata("first"))
    await asyncio.wait([first], timeout=0.1)
    second = asyncio.create_task(stream.set_metadata("second"))
    await asyncio.wait([second], timeout=0.1)
    stage.server.resume()
    await asyncio.gather(first, second)
    assert "second" == await stream.metadata()


async def test_g5_a_chunk_that_is_larger_than_the_buffer_is_published(stage: Stage) -> None:
    """It waits until nothing else is pending, and no longer."""
    stream = await claimed(stage.hub(HubConfig(max_pending_bytes=10)), "chat")
    data = ["small", "x" * 100, "y" * 100, "small"]
    async with stream:
        for text in data:
            await stream.publish(text)
    assert "".join(data) == await stream.text()


async def _needs_replicas(client: Any) -> None:
    await client.config_set("min-replicas-to-write", 1)


async def _becomes_replica(client: Any) -> None:
    # Of nobody: it keeps its data, and its connections.
    await client.replicaof("127.0.0.1", "1")


async def _takes_writes(client: Any) -> None:
    await client.config_set("min-replicas-to-write", 0)
    await client.config_set("maxmemory", 0)
    await client.replicaof("no", "one")


REFUSALS = [_needs_replicas, _becomes_replica]


@pytest.mark.parametrize("refuse", REFUSALS)
async def test_g4_an_end_that_was_not_stored_is_told_to_nobody(
    stage: Stage, refuse: Callable[[Any], Awaitable[None]]
) -> None:
    """Where Redis refuses to store the end, close() raises and an open subscriber waits on: it
    reads what another producer adds."""
    stream = await claimed(stage.hub(HubConfig(lease=60.0, give_up_after=0.3)), "chat")
    await stream.publish("1 ")
    await stream.flush()
    elsewhere = stage.hub(HubConfig(lease=60.0))
    subscription = await opened(elsewhere, "chat")
    received = await taken(subscription, 1)
    waiting = asyncio.create_task(anext(subscription))

    await refuse(stage.client)
    with pytest.raises(StoreUnavailable):
        await stream.close()
    await _takes_writes(stage.client)

    assert Status.ACTIVE == (await stream.info()).status
    await stage.client.hset(meta("chat"), "lease", 0)
    async with await claimed(elsewhere, "chat", takeover="continue") as more:
        await more.publish("2 ")
    received += [await waiting, *[chunk async for chunk in subscription]]
    assert_whole(received, ["1 ", "2 "])


@pytest.mark.parametrize("refuse", REFUSALS)
async def test_g5_writes_that_are_refused_for_a_while_are_made_up_for(
    stage: Stage, refuse: Callable[[Any], Awaitable[None]]
) -> None:
    """Chunks, metadata and the end wait, are stored in order once it takes writes again, and no
    subscriber notices."""
    stream = await claimed(stage.hub(HubConfig(lease=60.0)), "chat")
    await stream.publish("1 ")
    await stream.flush()
    subscription = await opened(stage.hub(HubConfig(lease=60.0)), "chat")
    received = await taken(subscription, 1)

    await refuse(stage.client)
    await stream.publish("2 ")
    setting = asyncio.create_task(stream.set_metadata({"n": 2}))
    closing = asyncio.create_task(stream.close())
    done, _ = await asyncio.wait([setting, closing], timeout=0.5)
    assert set() == done
    await _takes_writes(stage.client)

    await asyncio.gather(setting, closing)
    received += [chunk async for chunk in subscription]
    assert_whole(received, ["1 ", "2 "])
    assert {"n": 2} == await stream.metadata()


async def test_g5_a_redis_without_memory_holds_chunks_up_and_nothing_else(stage: Stage) -> None:
    """While it takes no more data, publish() fills its buffer, flush() waits, leases are renewed
    and streams that have all their chunks stored end; once memory is free, all goes on."""
    config = HubConfig(lease=unhurried(0.5), max_pending_bytes=1_000)
    hub, reading = stage.hub(config), stage.hub(config)
    full, idle, ending = [await claimed(hub, name) for name in ("full", "idle", "ending")]
    for stream in (full, idle, ending):
        await stream.publish("0" * 100)
        await stream.flush()
    following, quiet, last = [
        await opened(reading, stream.session_id) for stream in (full, idle, ending)
    ]
    received = [await taken(one, 1) for one in (following, quiet, last)]

    await stage.client.config_set("maxmemory", "1mb")

    async def publish() -> None:
        for n in range(1, 30):
            await full.publish(f"{n:0100}")
        await full.flush()

    publishing = asyncio.create_task(publish())
    waiting = [asyncio.create_task(anext(one)) for one in (following, quiet)]
    await ending.close()
    assert [] == [chunk async for chunk in last]
    done, _ = await asyncio.wait([publishing, *waiting], timeout=4 * config.lease)
    assert set() == done
    assert {"full", "idle"} == await reading.active(["full", "idle", "ending"])

    await _takes_writes(stage.client)

    await publishing
    await full.close()
    received[0] += [await waiting[0], *[chunk async for chunk in following]]
    assert_whole(received[0], ["0" * 100, *(f"{n:0100}" for n in range(1, 30))])
    await idle.publish("1")
    assert "1" == (await waiting[1]).data


async def test_a_redis_without_memory_takes_no_chunk_of_streams_that_travel_together(
    stage: Stage,
) -> None:
    """What is refused for the first does not open the door to the others: no write of the same
    script comes before theirs, for one that has written may take more memory."""
    hub = stage.hub(HubConfig(give_up_after=0.3))
    streams = [await claimed(hub, f"chat{n}") for n in range(4)]
    for stream in streams:
        await stream.publish("0")
        await stream.flush()
    await stage.client.config_set("maxmemory", "1mb")

    for stream in streams:
        await stream.publish("1")
    ends = await asyncio.gather(*(one.flush() for one in streams), return_exceptions=True)
    assert [StoreUnavailable] * 4 == [type(end) for end in ends]
    assert ["0"] * 4 == [await one.text() for one in streams]


async def test_g9_a_redis_without_memory_takes_cancels_and_removals(stage: Stage) -> None:
    """Both are what one does to get memory back."""
    hub, elsewhere = stage.hub(), stage.hub()
    for name in ("cancelled", "removed"):
        stream = await claimed(hub, name)
        await stream.publish("1")
        await stream.flush()
    await stage.client.config_set("maxmemory", "1mb")
    reader = await elsewhere.get("cancelled")
    assert reader is not None
    assert Status.CANCELLED == await reader.cancel(wait=patience(BOUND))
    assert await elsewhere.remove("removed")
    assert await elsewhere.get("removed") is None
