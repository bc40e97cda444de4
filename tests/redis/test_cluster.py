"""Sessions in a cluster: their slots, connections and channels, and nodes that are gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis.asyncio

from streamhub import Hub, HubConfig, LiveStream, Status, StoreUnavailable, StoreUnsupported
from streamhub.stores.redis import RedisStore
from streamhub.testing.hub.stage import crash
from streamhub.testing.waiting import bounded, patience

from ..support.go_session import GENERATIONS, GoSession
from ..support.load import Load
from ..support.redis_cluster import RedisCluster, has_sharded_channels, slot_of, until
from ..support.redis_server import HOST, RedisServer
from ..support.redis_stage import BOUND, assert_whole, channel, claimed, opened, taken

pytestmark = pytest.mark.slow

sharded = pytest.mark.skipif(
    not has_sharded_channels(), reason="sharded channels came with Redis 7.0"
)


@pytest.fixture(autouse=True)
async def bound() -> AsyncIterator[None]:
    async with bounded(3 * BOUND):
        yield


def sessions_on(cluster: RedisCluster, node: RedisServer, count: int) -> list[str]:
    """Ids of sessions that this node has."""
    shares = [
        (first, last)
        for first, last, (_, port, *_), *_ in cluster.ask(node, "CLUSTER", "SLOTS")
        if port == node.port
    ]
    found: list[str] = []
    for n in range(10_000):
        slot = slot_of(f"chat:{n}")
        if any(first <= slot <= last for first, last in shares):
            found.append(f"chat:{n}")
        if len(found) == count:
            return found
    raise LookupError(f"{node} has no slots")


async def test_workers_get_each_end_once_from_all_nodes(
    redis_cluster: RedisCluster, cluster_url: str
) -> None:
    """Sessions end wherever their slots are; those whose producers died are among them."""
    sessions = [
        one for node in redis_cluster.primaries for one in sessions_on(redis_cluster, node, 8)
    ]
    seen: list[tuple[str, Status, str]] = []
    all_seen = asyncio.Event()

    async def work(hub: Hub) -> None:
        async with hub.ends("save", lost_after=0.2) as ends:
            async for end in ends:
                await end.done()
                seen.append((end.session_id, end.status, end.text))
                if len(seen) == len(sessions):
                    all_seen.set()

    async with Hub.from_url(cluster_url) as hub, Hub.from_url(cluster_url) as other:
        workers = [asyncio.create_task(work(one)) for one in (hub, other, other)]
        for number, session in enumerate(sessions):
            if number % 4:
                await (await hub.run(session, ["a", "b"])).wait()
            else:
                await crash(hub._store, session, ["a"], lease=0.2)
        await all_seen.wait()
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)

    assert sorted(seen) == sorted(
        (session, Status.FINISHED, "ab") if number % 4 else (session, Status.LOST, "a")
        for number, session in enumerate(sessions)
    )


@sharded
async def test_messages_stay_with_the_node_that_has_the_session(
    redis_cluster: RedisCluster, cluster_url: str
) -> None:
    """Live and cancel channels are sharded, and listened to where they are told."""
    async with Hub.from_url(cluster_url) as hub, Hub.from_url(cluster_url) as other:
        stream = await claimed(hub, "chat")
        await stream.publish("1")
        subscription = await opened(other, "chat")
        received = await taken(subscription, 1)
        waiting = asyncio.create_task(anext(subscription))
        await listening(redis_cluster, "chat", {channel("chat", "live"), channel("chat", "cancel")})
        await stream.publish("2")
        received.append(await waiting)
        assert_whole(received, ["1", "2"])
        await subscription.aclose()
        await listening(redis_cluster, "chat", {channel("chat", "cancel")})


async def listening(cluster: RedisCluster, session_id: str, channels: set[str]) -> None:
    """Wait until these are the channels that somebody listens to, and no others."""
    owner = await asyncio.to_thread(cluster.owner_of, session_id)

    def listened_to() -> list[Any]:
        return [
            set(cluster.ask(owner, "PUBSUB", "SHARDCHANNELS")),
            *(
                name
                for node in cluster.nodes
                for name in cluster.ask(node, "PUBSUB", "CHANNELS")
                + (cluster.ask(node, "PUBSUB", "SHARDCHANNELS") if node is not owner else [])
            ),
        ]

    await asyncio.to_thread(until, lambda: [channels] == listened_to())


async def test_a_cancel_reaches_a_producer_of_the_go_library(
    redis_cluster: RedisCluster, cluster_url: str
) -> None:
    """It listens to a channel that is not sharded, at any node."""
    url = cluster_url.replace("redis+cluster", "redis").partition(",")[0]
    async with (
        redis.asyncio.RedisCluster.from_url(url) as client,
        redis.asyncio.Redis.from_url(redis_cluster.primaries[-1].url) as node,
        node.pubsub() as listener,
        Hub.from_url(cluster_url) as hub,
    ):
        for session_id in ("one", "two", "three"):
            go = GoSession(client, session_id, GENERATIONS[0])
            await go.register()
            await listener.subscribe(go.cancel_channel)
            await listener.get_message(timeout=patience(BOUND))
            reader = await hub.get(session_id)
            assert reader is not None
            assert Status.ACTIVE == await reader.cancel()
            message = await listener.get_message(
                ignore_subscribe_messages=True, timeout=patience(BOUND)
            )
            assert message is not None
            assert GENERATIONS[0].encode() == message["data"]


@pytest.fixture(scope="module")
def old_cluster() -> Iterator[RedisCluster]:
    """Like those of Redis 6.2: it lacks the commands of sharded channels."""
    lacking = ("SPUBLISH", "SSUBSCRIBE", "SUNSUBSCRIBE")
    options = [part for name in lacking for part in ("--rename-command", name, "")]
    with RedisCluster(3, arguments=options) as cluster:
        yield cluster


async def test_g3_an_old_cluster_tells_on_plain_channels(old_cluster: RedisCluster) -> None:
    """Redis learned sharded Pub/Sub with 7.0: chunks and cancels come all the same."""
    quiet = HubConfig(lease=120.0)
    async with (
        Hub.from_url(old_cluster.url, config=quiet) as hub,
        Hub.from_url(old_cluster.url, config=quiet) as other,
    ):
        for session_id in ("one", "two", "three"):
            stream = await claimed(hub, session_id)
            subscription = await opened(other, session_id)
            waiting = asyncio.create_task(anext(subscription))
            await asyncio.sleep(0)
            await stream.publish("1")
            received = [await waiting]
            for n in range(2, 10):
                await stream.publish(str(n))
                received += await taken(subscription, 1)
            assert_whole(received, [str(n) for n in range(1, 10)])
            reader = await other.get(session_id)
            assert reader is not None
            assert Status.CANCELLED == await reader.cancel(wait=patience(BOUND))


async def test_a_client_of_the_cluster_can_be_handed_in(
    redis_cluster: RedisCluster, cluster_url: str
) -> None:
    """Its nodes are found, and it is left open."""
    port = redis_cluster.primaries[1].port
    async with redis.asyncio.RedisCluster(host=HOST, port=port) as client:
        async with Load(
            lambda config: Hub(RedisStore(client), config=config), [f"chat:{n}" for n in range(9)]
        ) as load:
            figures = await load.finish()
        assert figures.is_whole, figures
        assert await client.ping()


async def test_addresses_are_mapped_as_the_client_does(
    redis_cluster: RedisCluster, cluster_url: str
) -> None:
    """Nodes behind a NAT tell addresses that nobody can reach."""
    mapped = []

    def remap(address: tuple[str, int]) -> tuple[str, int]:
        mapped.append(address)
        return ("localhost", address[1])

    client = redis.asyncio.RedisCluster(
        host=HOST, port=redis_cluster.primaries[0].port, address_remap=remap
    )
    async with Hub(RedisStore(client)) as hub:
        for n in range(9):
            await claimed(hub, f"chat:{n}")
    assert {(HOST, node.port) for node in redis_cluster.primaries} == set(mapped)
    await client.aclose()


async def test_a_cluster_and_a_server_are_not_taken_for_one_another(
    redis_cluster: RedisCluster, cluster_url: str, redis_server: RedisServer
) -> None:
    """The error names the URL that is right."""
    async with Hub.from_url(redis_server.url.replace("redis://", "redis+cluster://")) as hub:
        with pytest.raises(StoreUnsupported, match="redis://host:port"):
            await hub.register("chat")
    async with Hub.from_url(redis_cluster.primaries[0].url) as hub:
        with pytest.raises(StoreUnsupported, match=r"redis\+cluster://host:port"):
            for session in sessions_on(redis_cluster, redis_cluster.primaries[1], 1):
                await hub.register(session)


async def test_a_cluster_may_stand_behind_one_address() -> None:
    """Of one node, or behind a proxy: sessions of several slots are written all the same."""
    with RedisServer(arguments=["--cluster-enabled", "yes"]) as node:
        with redis.Redis.from_url(node.url) as client:
            client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
            until(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        async with Hub.from_url(node.url) as hub:
            streams = [await claimed(hub, f"chat{n}") for n in range(5)]
            for stream in streams:
                await stream.publish("1")
            await asyncio.gather(*(stream.flush() for stream in streams))
            assert ["1"] * 5 == [await stream.text() for stream in streams]


async def test_a_node_that_is_in_no_cluster_is_unavailable() -> None:
    """It has no slots, and says so."""
    with RedisServer(arguments=["--cluster-enabled", "yes"]) as node:
        url = node.url.replace("redis://", "redis+cluster://")
        async with Hub.from_url(url) as hub:
            with pytest.raises(StoreUnavailable, match="no cluster that has slots"):
                await hub.get("chat")


def commands(cluster: RedisCluster) -> dict[str, int]:
    """How often all nodes have carried out each command since the last time."""
    calls: dict[str, int] = {}
    for node in cluster.primaries:
        for line in cluster.ask(node, "INFO", "commandstats").splitlines()[1:]:
            name, _, facts = line.removeprefix("cmdstat_").partition(":")
            calls[name] = calls.get(name, 0) + int(facts.partition(",")[0].partition("=")[2])
        cluster.ask(node, "CONFIG", "RESETSTAT")
    return calls


def connections(cluster: RedisCluster, name: str) -> list[int]:
    return [
        sum(f" name={name} " in one for one in cluster.ask(node, "CLIENT", "LIST").splitlines())
        for node in cluster.primaries
    ]


async def test_g12_a_hub_keeps_four_connections_to_each_node(
    redis_cluster: RedisCluster, cluster_url: str
) -> None:
    """However many producers and subscribers it has."""
    async with Hub.from_url(f"{cluster_url}?client_name=mine") as hub:
        streams = [await claimed(hub, f"chat:{n}") for n in range(100)]
        subscriptions = [stream.subscribe() for stream in streams for _ in range(3)]
        for stream in streams:
            await stream.publish("text")
        for subscription in subscriptions:
            await anext(subscription)
        reading = [asyncio.create_task(anext(one, None)) for one in subscriptions]
        assert 100 == len([info async for info in hub.sessions()])
        assert [4, 4, 4] == await asyncio.to_thread(connections, redis_cluster, "mine")
        for stream in streams:
            await stream.close()
        assert {None} == set(await asyncio.gather(*reading))


async def test_g13_an_idle_subscriber_costs_about_a_look_a_lease(
    redis_cluster: RedisCluster, cluster_url: str
) -> None:
    """In a cluster a look is two commands, of which one asks for the node's time; and a hub asks a
    seed once a lease whether it is still of the same cluster."""
    lease, leases, count = 1.0, 4, 60
    config = HubConfig(lease=lease)
    async with (
        Hub.from_url(cluster_url, config=config) as hub,
        Hub.from_url(cluster_url, config=config) as other,
    ):
        for n in range(count):
            await claimed(hub, f"chat:{n}")
        subscriptions = [await opened(other, f"chat:{n}") for n in range(count)]
        reading = [asyncio.create_task(anext(one, None)) for one in subscriptions]
        await asyncio.sleep(lease)
        await asyncio.to_thread(commands, redis_cluster)
        await asyncio.sleep(leases * lease)
        calls = await asyncio.to_thread(commands, redis_cluster)
        # Every script reads a record once, and the time, if it renews.
        looks = calls.get("hmget", 0) - calls.get("evalsha", 0)
        assert looks <= count * (leases + 1)
        assert 0 == calls.get("xrange", 0)
        assert calls.get("cluster|slots", 0) <= 2 * (leases + 1)
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)


@pytest.fixture
def tolerant() -> Iterator[RedisCluster]:
    """A cluster whose nodes go on when another is gone."""
    with RedisCluster(3, arguments=["--cluster-require-full-coverage", "no"]) as cluster:
        yield cluster


async def flows(stream: LiveStream, reader: Hub) -> None:
    subscription = (await opened(reader, stream.session_id)).__aiter__()
    await stream.publish("more")
    await stream.flush()
    await taken(subscription, 1)
    await subscription.aclose()


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_the_others_go_on_while_a_node_is_gone(tolerant: RedisCluster, how: str) -> None:
    """Its sessions are unavailable, and their producers wait; when it is back, empty or not, they
    have lost nothing."""
    node, other = tolerant.primaries[:2]
    here, there = (sessions_on(tolerant, one, 1)[0] for one in (node, other))
    url = f"{tolerant.url}?socket_timeout=1"
    async with Hub.from_url(url) as hub, Hub.from_url(url) as reader:
        mine, theirs = [await claimed(hub, session) for session in (here, there)]
        for stream in (mine, theirs):
            await stream.publish("first")
            await stream.flush()
        (node.kill if how == "killed" else node.pause)()
        await mine.publish("second")
        with pytest.raises(StoreUnavailable, match=f"{node.port}|slot"):
            await reader.get(here)
        for _ in range(3):
            await flows(theirs, reader)
        (node.start if how == "killed" else node.resume)()
        await mine.close()
        assert ["first", "second"] == [chunk.data async for chunk in await opened(reader, here)]
        await theirs.close()


async def test_a_silent_node_does_not_hold_up_the_others(tolerant: RedisCluster) -> None:
    """However long it is waited for: chunks, claims and looks of other nodes go on."""
    node, other = tolerant.primaries[:2]
    here, *there = sessions_on(tolerant, node, 1) + sessions_on(tolerant, other, 4)
    url = f"{tolerant.url}?socket_timeout={4 * BOUND}"
    async with Hub.from_url(url) as hub, Hub.from_url(url) as reader:
        mine, theirs = [await claimed(hub, session) for session in (here, there[0])]
        waiting = asyncio.create_task(anext(await opened(reader, here)))
        await flows(theirs, reader)
        node.pause()
        await mine.publish("first")
        for session in there[1:]:
            await flows(theirs, reader)
            await flows(await claimed(hub, session), reader)
        node.resume()
        assert "first" == (await waiting).data
        await mine.close()


async def test_a_cluster_that_is_down_comes_back() -> None:
    """With one node gone none serves: the error says so, and everything goes on afterwards."""
    with RedisCluster(3) as cluster:
        url = f"{cluster.url}?socket_timeout=1"

        def open_hub(config: HubConfig) -> Hub:
            return Hub.from_url(url, config=config)

        async with Load(open_hub, [f"chat:{n}" for n in range(12)]) as load:
            await load.strike(cluster.primaries[0].kill)
            other = sessions_on(cluster, cluster.primaries[1], 2)[-1]
            with pytest.raises(StoreUnavailable, match="down"):
                while True:
                    await load.reading.get(other)
            await load.strike(cluster.primaries[0].start)
            await load.flow()
            figures = await load.finish()
    assert figures.is_whole, figures
