"""Streams under load in a cluster whose nodes fail over, and whose slots move (G3, G6, G7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from streamhub import Hub, HubConfig, Status
from streamhub.stores.redis.topology.url import of_url
from streamhub.testing.waiting import bounded, patience

from ..support.load import Load
from ..support.redis_cluster import RedisCluster, has_sharded_channels, slot_of, until
from ..support.redis_server import RedisServer
from ..support.redis_stage import BOUND, chunks, claimed, meta, opened, taken

pytestmark = pytest.mark.slow

#: On all nodes, three of them in one slot.
SESSIONS = [*(f"chat:{n}" for n in range(24)), "a}1", "a}2", "a}3"]


@pytest.fixture(autouse=True)
async def bound() -> AsyncIterator[None]:
    async with bounded(6 * BOUND):
        yield


@pytest.fixture
def replicated() -> Iterator[RedisCluster]:
    with RedisCluster(3, replicas=1) as cluster:
        yield cluster


@pytest.fixture
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster(3) as cluster:
        yield cluster


def load_on(cluster: RedisCluster, options: str = "") -> Load:
    def open_hub(config: HubConfig) -> Hub:
        return Hub.from_url(f"{cluster.url}{options}", config=config)

    return Load(open_hub, SESSIONS)


async def test_g7_a_failover_under_load_loses_nothing(replicated: RedisCluster) -> None:
    """A primary is killed, and its replica takes over: its sessions are found there."""
    async with load_on(replicated) as load:
        await load.strike(lambda: replicated.fail_over(replicated.primaries[0]))
        await load.flow()
        figures = await load.finish()
    assert figures.is_whole, figures


async def test_g7_what_a_failover_lost_is_put_back(replicated: RedisCluster) -> None:
    """The replica that takes over has not seen the newest chunks: their producers live."""
    primary = replicated.primaries[1]
    async with load_on(replicated) as load:
        await load.strike(lambda: replicated.cut_off(primary))
        await load.flow(20)
        await load.strike(lambda: replicated.fail_over(primary))
        await load.flow()
        figures = await load.finish()
    assert figures.is_whole, figures


@pytest.mark.skipif(
    not has_sharded_channels(), reason="nobody leaves a plain channel before Redis 7.0"
)
async def test_a_primary_that_is_demoted_is_left(replicated: RedisCluster) -> None:
    """It lives, and hands its slots to its replica; the hub keeps nothing open to it."""
    old, new = replicated.primaries[2], replicated.replicas[2]
    async with load_on(replicated, "?client_name=mine") as load:
        await load.strike(lambda: replicated.hand_over(old, new))
        await load.flow()
        await asyncio.to_thread(
            until, lambda: " name=mine " not in replicated.ask(old, "CLIENT", "LIST")
        )
        figures = await load.finish()
    assert figures.is_whole, figures


async def test_a_primary_that_was_frozen_is_left(replicated: RedisCluster) -> None:
    """When it wakes up, its replica has its slots; what it was asked meanwhile has no effect."""

    def fail_over() -> None:
        old = replicated.primaries[0]
        old.pause()
        until(lambda: replicated.ask(replicated.replicas[0], "ROLE")[0] == "master")
        old.resume()
        until(lambda: replicated.ask(old, "ROLE")[0] == "slave")

    async with load_on(replicated) as load:
        await load.strike(fail_over)
        await load.flow()
        figures = await load.finish()
    assert figures.is_whole, figures


async def test_slots_that_move_under_load_lose_nothing(cluster: RedisCluster) -> None:
    """Key by key, from node to node, all sessions of the load, and back again."""

    def move_all() -> None:
        for turn in (1, 2):
            for slot in {slot_of(session) for session in SESSIONS}:
                at = cluster.primaries.index(cluster.owner(slot))
                cluster.move(slot, cluster.primaries[(at + turn) % 3])

    async with load_on(cluster) as load:
        await load.strike(move_all)
        await load.flow()
        figures = await load.finish()
    assert figures.is_whole, figures


async def test_g3_what_follows_a_refused_request_is_not_ahead_of_it(cluster: RedisCluster) -> None:
    """One round trip after the other, while the slot is on the move and after: each is carried
    out, and in the order that they were given in."""
    slot, key = slot_of("chat"), chunks("chat")
    target = next(node for node in cluster.primaries if node is not cluster.owner(slot))
    pipelines = of_url(cluster.url).commands(retries=False)
    expected: list[str] = []

    async def push() -> None:
        numbers = [str(len(expected) + n) for n in range(5)]
        expected.extend(numbers)
        answers = await pipelines.ask([("RPUSH", key, number) for number in numbers])
        assert list(range(len(expected) - 4, len(expected) + 1)) == answers

    await push()
    source = await asyncio.to_thread(cluster.begin_move, slot, target)
    await push()
    await asyncio.to_thread(cluster.move_key, source, target, key)
    await push()
    await asyncio.to_thread(cluster.end_move, slot, source, target)
    await push()
    (stored,) = await pipelines.ask([("LRANGE", key, 0, -1)])
    assert expected == [one.decode() for one in stored]
    await pipelines.aclose()


@pytest.mark.parametrize("first", ["meta", "chunks"])
async def test_a_session_whose_keys_are_on_two_nodes_waits(
    cluster: RedisCluster, first: str
) -> None:
    """While its slot is on the move, nothing is decided on half of it: writes wait, reads find
    each key where it is, and everything goes on when the slot has arrived."""
    session = "a}1"
    slot = slot_of(session)
    source = cluster.owner(slot)
    target = next(node for node in cluster.primaries if node is not source)
    async with Hub.from_url(cluster.url) as hub, Hub.from_url(cluster.url) as reader:
        stream = await claimed(hub, session)
        await stream.publish("1")
        await stream.flush()
        subscription = await opened(reader, session)
        received = await taken(subscription, 1)
        await asyncio.to_thread(cluster.begin_move, slot, target)

        # The source has both keys: it goes on as before.
        await stream.publish("2")
        received += await taken(subscription, 1)

        one, other = (meta, chunks) if first == "meta" else (chunks, meta)
        await asyncio.to_thread(cluster.move_key, source, target, one(session))
        await stream.publish("3")
        flushing = asyncio.create_task(stream.flush())
        assert "12" == await stream.text()
        assert Status.ACTIVE == (await stream.info()).status
        assert not flushing.done()

        # The target has both keys, though not the slot: it takes them all the same.
        await asyncio.to_thread(cluster.move_key, source, target, other(session))
        await flushing
        assert "123" == await stream.text()
        assert session in await hub.active([session, "elsewhere"])
        await asyncio.to_thread(cluster.end_move, slot, source, target)

        await stream.publish("4")
        received += await taken(subscription, 2)
        reading = await reader.get(session)
        assert reading is not None
        assert Status.CANCELLED == await reading.cancel(wait=patience(BOUND))
        assert [] == [chunk async for chunk in subscription]
        assert ["1", "2", "3", "4"] == [chunk.data for chunk in received]


async def test_a_claim_waits_for_a_slot_that_is_on_the_move(cluster: RedisCluster) -> None:
    """A session without keys is on neither node until the slot has arrived."""
    slot = slot_of("chat")
    target = next(node for node in cluster.primaries if node is not cluster.owner(slot))
    source = await asyncio.to_thread(cluster.begin_move, slot, target)
    async with Hub.from_url(cluster.url) as hub:
        assert await hub.get("chat") is None
        claiming = asyncio.create_task(claimed(hub, "chat"))
        await asked(target, cluster)
        assert not claiming.done()
        await asyncio.to_thread(cluster.end_move, slot, source, target)
        async with await claiming as stream:
            await stream.publish("text")
        assert "text" == await stream.text()


async def asked(node: RedisServer, cluster: RedisCluster) -> None:
    """Wait until somebody has asked the node for something out of turn."""
    stats = "cmdstat_asking:calls"

    def is_asked() -> bool:
        counts = [
            line
            for line in cluster.ask(node, "INFO", "commandstats").splitlines()
            if line.startswith(stats)
        ]
        return bool(counts) and int(counts[0].partition("=")[2].partition(",")[0]) > 1

    await asyncio.to_thread(until, is_asked)
