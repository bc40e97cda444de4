"""What survives a failover that lost the newest writes, and what must not (G3, G7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from streamhub import HubConfig, Status, StreamReplaced
from streamhub.testing.waiting import bounded

from ..support.faulty_proxy import FaultyProxy
from ..support.redis_server import RedisServer
from ..support.redis_stage import BOUND, Stage, assert_whole, chunks, claimed, meta, opened, taken


@pytest.fixture
async def stage(redis_server: RedisServer, redis_url: str) -> AsyncIterator[Stage]:
    """On the shared server: nothing here harms more than the keys of its own sessions."""
    async with bounded(2 * BOUND), Stage(redis_server) as stage:
        yield stage


class Failover:
    """Puts a session back to what it was, as a failover that lost the newest writes does."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def remember(self) -> None:
        self._dumps = [
            (key, await self._client.dump(key)) for key in (meta("chat"), chunks("chat"))
        ]

    async def happen(self, *commands: tuple[object, ...]) -> None:
        """``commands`` are carried out before any producer can notice."""
        async with self._client.pipeline(transaction=True) as pipeline:
            for key, dump in self._dumps:
                pipeline.delete(key)
                if dump is not None:
                    pipeline.restore(key, 60_000, dump)
            for command in commands:
                pipeline.execute_command(*command)
            await pipeline.execute()


@pytest.mark.parametrize("takeover", ["restart", "continue"])
@pytest.mark.parametrize("ended", ["failed", "cancelled"])
async def test_g7_a_failover_that_lost_the_claim_does_not_fence(
    stage: Stage, takeover: str, ended: str
) -> None:
    """The producer that finds the generation it replaced puts its claim back, and goes on as if
    nothing had happened: not fenced, not cancelled by its predecessor's flag."""
    before, hub, failover = stage.hub(), stage.hub(), Failover(stage.client)
    old = await claimed(before, "chat")
    await old.publish("old")
    await old.flush()
    await (old.fail("crashed") if ended == "failed" else old.cancel(wait=5.0))
    await failover.remember()
    stream = await claimed(hub, "chat", takeover=takeover)
    await stream.publish("1")
    await stream.flush()

    await failover.happen()

    async with bounded(BOUND), stream:
        await stream.publish("2")
    data = ["1", "2"] if takeover == "restart" else ["old", "1", "2"]
    assert Status.FINISHED == await stream.wait()
    assert_whole([chunk async for chunk in await opened(before, "chat")], data)


@pytest.mark.parametrize("takeover", ["restart", "continue"])
async def test_g7_a_subscriber_reads_on_across_a_failover_that_lost_the_claim(
    stage: Stage, takeover: str
) -> None:
    """What it has read is put back under the same cursors, so that it gets no error."""
    before, hub, failover = stage.hub(), stage.hub(), Failover(stage.client)
    old = await claimed(before, "chat")
    await old.publish("old")
    await old.fail("crashed")
    await failover.remember()
    stream = await claimed(hub, "chat", takeover=takeover)
    await stream.publish("1")
    await stream.flush()
    data = ["1", "2"] if takeover == "restart" else ["old", "1", "2"]
    subscription = await opened(before, "chat")
    received = await taken(subscription, len(data) - 1)

    await failover.happen()
    # Connections break in a failover, so that everybody looks.
    await stage.client.client_kill_filter(_type="pubsub")
    waiting = asyncio.create_task(anext(subscription))
    async with bounded(BOUND):
        async with stream:
            await stream.flush()
            await stream.publish("2")
        received += [await waiting, *[chunk async for chunk in subscription]]
    assert_whole(received, data)


async def test_g7_chunks_of_a_predecessor_that_came_back_are_not_taken_for_ours(
    stage: Stage,
) -> None:
    """After a failover lost the claim, the stalled predecessor wrote under offsets that ours had
    used: putting the claim back puts our chunks back."""
    before, hub, failover = stage.hub(), stage.hub(), Failover(stage.client)
    old = await claimed(before, "chat")
    await old.publish("old")
    await old.flush()
    await before.aclose()
    await failover.remember()
    stream = await claimed(hub, "chat", takeover="continue")
    cursor = await stream.publish("ours")
    await stream.flush()

    await failover.happen(
        ("XADD", chunks("chat"), str(cursor), "d", "theirs"), ("HSET", meta("chat"), "last", 2)
    )

    async with bounded(BOUND), stream:
        await stream.publish("more")
    assert "oldoursmore" == await stream.text()


async def test_g3_what_a_failover_replaced_is_not_glued_to_what_was_read(stage: Stage) -> None:
    """The newest chunks were lost together with their producer, and another one wrote others
    under their cursors: who had read the lost ones raises, who comes new reads the new ones."""
    quiet = HubConfig(lease=60.0)
    before, reading, after = stage.hub(quiet), stage.hub(quiet), stage.hub(quiet)
    failover = Failover(stage.client)
    old = await claimed(before, "chat")
    for n in range(3):
        await old.publish(f"{n} ")
    await old.flush()
    await failover.remember()
    for n in range(3, 5):
        await old.publish(f"{n} ")
    await old.flush()
    ahead, behind = await opened(reading, "chat"), await opened(reading, "chat")
    await taken(ahead, 5)
    await taken(behind, 1)
    await before.aclose()

    await failover.happen()
    await stage.client.hset(meta("chat"), "lease", 0)
    new = await claimed(after, "chat", takeover="continue")
    async with new:
        await new.publish("new ")
        await new.publish("new ")
        await new.publish("new ")

    with pytest.raises(StreamReplaced):
        await anext(ahead)
    late = await opened(reading, "chat")
    assert_whole([chunk async for chunk in late], ["0 ", "1 ", "2 ", "new ", "new ", "new "])


async def test_a_server_that_was_demoted_behind_an_address_that_moved_is_left(
    stage: Stage, make_redis: Callable[..., RedisServer]
) -> None:
    """It keeps its connections open and takes no writes: the next ones lead to its successor."""
    old = make_redis()
    new = make_redis(replica_of=old)
    async with FaultyProxy(old.port) as proxy, Redis.from_url(old.url) as before:
        hub = stage.hub(HubConfig(lease=30.0), url=proxy.url)
        stream = await claimed(hub, "chat")
        await stream.publish("1")
        await stream.flush()
        async with Redis.from_url(new.url) as after:
            while (await after.role())[3] != b"connected":
                await after.ping()
            await after.replicaof("NO", "ONE")
            proxy.lead_to(new.port)
            await before.replicaof("127.0.0.1", new.port)
            async with stream:
                await stream.publish("2")
        assert "12" == await stream.text()


async def test_a_claim_right_after_a_removal_begins_another_epoch(stage: Stage) -> None:
    """Even where the clock went back since the removed one began."""
    hub = stage.hub()
    await claimed(hub, "chat")
    epoch = int(await stage.client.hget(meta("chat"), "term")) + 3_600_000
    await stage.client.hset(meta("chat"), "term", epoch)
    assert await hub.remove("chat")
    new = await claimed(hub, "chat")
    assert epoch + 1 == (await new.publish("new")).term
