"""A name that leads to another server than before, while the old one lives on (G3, G7, G8)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from streamhub import Hub, HubConfig, LiveStream, Status, StoreReadOnly
from streamhub.testing.waiting import bounded, unhurried, until

from ..support.faulty_proxy import FaultyProxy
from ..support.redis_cluster import RedisCluster, slot_of
from ..support.redis_server import HOST, RedisServer, free_port
from ..support.redis_stage import BOUND, assert_whole, claimed, opened, taken

CONFIG = HubConfig(lease=unhurried(1.0), give_up_after=BOUND)
#: Nothing here happens because a lease has lapsed, or a renewal was due.
QUIET = HubConfig(lease=120.0)


class Moving:
    """Two servers, of which a name means the first until ``move``; hubs that know the name."""

    def __init__(self, old: RedisServer, new: RedisServer) -> None:
        self.old, self.new = old, new
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Moving:
        self.name = await self._stack.enter_async_context(FaultyProxy(self.old.port))
        self.before, self.after = [await self._client(one) for one in (self.old, self.new)]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _client(self, server: RedisServer) -> Any:
        return await self._stack.enter_async_context(redis.asyncio.Redis.from_url(server.url))

    def hub(self, name: str, config: HubConfig = CONFIG) -> Hub:
        hub = Hub.from_url(f"{self.name.url}?client_name={name}", config=config)
        self._stack.push_async_callback(hub.aclose)
        return hub

    async def promote(self) -> None:
        """Make the new one, a replica so far, the primary of the old one; the name follows."""
        await until(self._is_level)
        await self.after.replicaof("NO", "ONE")
        self.name.lead_to(self.new.port)
        await self.before.replicaof(HOST, self.new.port)

    async def _is_level(self) -> bool:
        role, state = (await self.after.role())[::3][:2]
        offsets = [
            (await one.info("replication"))["master_repl_offset"]
            for one in (self.before, self.after)
        ]
        return bool(role == b"slave" and state == b"connected" and offsets[0] == offsets[1])

    async def left_by(self, name: str) -> None:
        """Return once no connection of that hub is to the old server."""

        async def is_left() -> bool:
            return name not in [one["name"] for one in await self.before.client_list()]

        await until(is_left)


@pytest.fixture
async def two(make_redis: Callable[..., RedisServer]) -> AsyncIterator[Moving]:
    """Two primaries that know nothing of each other."""
    async with bounded(3 * BOUND), Moving(make_redis(), make_redis()) as moving:
        yield moving


@pytest.fixture
async def pair(make_redis: Callable[..., RedisServer]) -> AsyncIterator[Moving]:
    """A primary and its replica."""
    old = make_redis()
    async with (
        bounded(3 * BOUND),
        Moving(old, make_redis(replica_of=old)) as moving,
    ):
        yield moving


async def begun(hub: Hub) -> LiveStream:
    stream = await claimed(hub, "chat")
    await stream.publish("0 ")
    await stream.flush()
    return stream


async def test_g7_an_old_primary_that_lives_on_is_left_by_writers_and_readers(two: Moving) -> None:
    """All that each of them has open still works, and nothing tells: they look where the name
    leads. The producer puts its stream back there, and the reader gets every chunk."""
    stream = await begun(two.hub("writer"))
    subscription = await opened(two.hub("reader"), "chat")
    received = await taken(subscription, 1)

    two.name.lead_to(two.new.port)
    await two.left_by("writer")
    await two.left_by("reader")

    async with stream:
        for n in range(1, 50):
            await stream.publish(f"{n} ")
    received += [chunk async for chunk in subscription]
    assert_whole(received, [f"{n} " for n in range(50)])


async def test_g8_a_reader_takes_no_verdict_of_a_server_that_the_name_means_no_more(
    two: Moving,
) -> None:
    """The producer's connections broke, and it went on at the new server. Where the reader looks,
    the lease lapses; it is not told that the producer is lost."""
    stream = await begun(two.hub("writer"))
    subscription = await opened(two.hub("reader"), "chat")
    received = await taken(subscription, 1)

    two.name.lead_to(two.new.port)
    assert 0 < two.name.cut("writer")
    await two.left_by("writer")
    async with stream:
        for n in range(1, 50):
            await stream.publish(f"{n} ")
        received += await taken(subscription, 49)

    assert_whole(received, [f"{n} " for n in range(50)])


async def test_one_connection_that_is_made_anew_takes_the_others_with_it(two: Moving) -> None:
    """Long before anything is due to be looked at: whichever of the hub's four it is."""
    stream = await begun(two.hub("writer", QUIET))
    subscription = await opened(two.hub("reader", QUIET), "chat")
    received = await taken(subscription, 1)

    two.name.lead_to(two.new.port)
    assert 0 < two.name.cut("pubsub")
    await two.left_by("writer")
    await two.left_by("reader")

    async with stream:
        await stream.publish("1 ")
    received += [chunk async for chunk in subscription]
    assert_whole(received, ["0 ", "1 "])


async def test_g8_a_demoted_server_is_left_by_readers_without_a_false_loss(pair: Moving) -> None:
    """It lives on as the replica of its successor. The producer's next write is refused there, and
    none of its hub's connections stays; readers elsewhere follow at their next look."""
    stream = await begun(pair.hub("writer"))
    subscription = await opened(pair.hub("reader"), "chat")
    received = await taken(subscription, 1)

    await pair.promote()
    async with stream:
        for n in range(1, 50):
            await stream.publish(f"{n} ")
        received += await taken(subscription, 49)
        await pair.left_by("writer")
        await pair.left_by("reader")

    assert_whole(received, [f"{n} " for n in range(50)])


async def test_g8_a_primary_that_became_a_replica_gives_no_verdict(
    make_redis: Callable[..., RedisServer],
) -> None:
    """The name leads there as before, writes are refused, and the lease lapses: until somebody is
    the primary again nobody is told that the producer is lost, or the session gone."""
    server = make_redis()
    async with bounded(3 * BOUND), Moving(server, server) as moving:
        stream = await begun(moving.hub("writer"))
        reading = moving.hub("reader")
        subscription = await opened(reading, "chat")
        assert ["0 "] == [chunk.data for chunk in await taken(subscription, 1)]
        waiting = asyncio.create_task(anext(subscription))

        # To a primary that is not there, so that it keeps its data.
        await moving.before.replicaof(HOST, free_port())
        for session_id in ("chat", "unknown"):

            async def is_refused(session_id: str = session_id) -> bool:
                try:
                    await reading.get(session_id)
                except StoreReadOnly:
                    return True
                return False

            await until(is_refused)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await moving.before.replicaof("NO", "ONE")

        async with stream:
            await stream.publish("1 ")
        assert Status.FINISHED == await stream.wait()
        assert_whole([chunk async for chunk in await opened(reading, "chat")], ["0 ", "1 "])


async def test_a_socket_whose_path_leads_elsewhere_is_left(
    make_redis: Callable[..., RedisServer], tmp_path: Path
) -> None:
    """A path is a name, too."""
    old, new = make_redis(), make_redis()
    path = old.directory / "name.sock"
    path.symlink_to(old.socket_path)
    async with (
        bounded(BOUND),
        redis.asyncio.Redis.from_url(new.url) as client,
        Hub.from_url(f"unix://{path}", config=CONFIG) as hub,
    ):
        stream = await begun(hub)
        path.unlink()
        path.symlink_to(new.socket_path)

        async def is_there() -> bool:
            return bool(await client.exists("streamhub:{chat}:meta"))

        await until(is_there)
        async with stream:
            await stream.publish("1 ")
        assert "0 1 " == await stream.text()


async def _claim(hub: Hub, _: LiveStream) -> None:
    await claimed(hub, "another")


async def _cancel(_: Hub, found: LiveStream) -> None:
    assert Status.ACTIVE is await found.cancel()


async def _remove(hub: Hub, _: LiveStream) -> None:
    assert await hub.remove("chat")


#: What is done, the key that tells of it, and what that holds then.
CHANGES: dict[str, tuple[Callable[[Hub, LiveStream], Awaitable[None]], str, bool]] = {
    "claim": (_claim, "streamhub:{another}:meta", True),
    "cancel": (_cancel, "streamhub:{chat}:meta", True),
    "remove": (_remove, "streamhub:{chat}:meta", False),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_g1_an_old_primary_is_not_asked_for_a_change(pair: Moving, change: str) -> None:
    """It lives on and takes writes, as one that was cut off from those who chose another does:
    what is claimed, cancelled or removed is so where the name leads, as soon as that returns."""
    act, key, there = CHANGES[change]
    await begun(pair.hub("writer", QUIET))
    hub = pair.hub("reader", QUIET)
    found = await hub.get("chat")
    assert found is not None
    await claimed(hub, "its connections are open")
    await until(pair._is_level)
    await pair.after.replicaof("NO", "ONE")
    pair.name.lead_to(pair.new.port)
    # What is younger than a second was made where the name leads.
    await asyncio.sleep(1.0)

    await act(hub, found)

    assert there is bool(await pair.after.exists(key))
    if change == "cancel":
        assert b"1" == await pair.after.hget(key, "cancel")


async def test_g7_a_cluster_that_lives_on_is_left_where_its_seeds_mean_another(
    cluster_url: str, redis_cluster: RedisCluster
) -> None:
    """As a server is: the producer puts its stream back in the other one."""
    other = redis_cluster.owner(slot_of("chat"))
    with RedisCluster(1) as old:
        async with (
            bounded(3 * BOUND),
            FaultyProxy(old.primaries[0].port) as seed,
            Hub.from_url(f"redis+cluster://{HOST}:{seed.port}", config=CONFIG) as hub,
            Hub.from_url(f"redis+cluster://{HOST}:{seed.port}", config=CONFIG) as reading,
            redis.asyncio.Redis.from_url(other.url) as client,
        ):
            stream = await begun(hub)
            subscription = await opened(reading, "chat")
            received = await taken(subscription, 1)
            seed.lead_to(other.port)

            async def is_there() -> bool:
                return bool(await client.exists("streamhub:{chat}:meta"))

            await until(is_there)
            async with stream:
                for n in range(1, 50):
                    await stream.publish(f"{n} ")
            received += [chunk async for chunk in subscription]
            assert_whole(received, [f"{n} " for n in range(50)])


async def test_g13_it_costs_a_connection_a_lease_to_see_where_the_name_leads(
    redis_client: Any, redis_url: str
) -> None:
    """For the hub, however many sessions it follows; one of them at a time (G12)."""
    lease = 0.5
    async with Hub.from_url(redis_url, config=HubConfig(lease=lease)) as hub:
        waiting = []
        for n in range(50):
            await claimed(hub, f"chat:{n}")
            subscription = await opened(hub, f"chat:{n}")
            waiting.append(asyncio.create_task(anext(subscription)))
        before = (await redis_client.info("stats"))["total_connections_received"]
        began = asyncio.get_running_loop().time()
        await asyncio.wait(waiting, timeout=4 * lease)
        leases = (asyncio.get_running_loop().time() - began) / lease
        after = (await redis_client.info("stats"))["total_connections_received"]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert 1 <= after - before <= leases + 1
