"""Sessions in the master that Sentinel names: failovers of every kind (G3, G7, G12)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack

import pytest
from redis.asyncio.sentinel import Sentinel

from streamhub import Hub, StoreAuthenticationFailed, StoreUnavailable
from streamhub.stores.feeds import Due
from streamhub.stores.redis import RedisStore
from streamhub.testing.waiting import bounded, patience

from ..support.certificates import Certificates
from ..support.load import CONFIG, Load
from ..support.redis_cluster import until
from ..support.redis_sentinel import SERVICE, Watched
from ..support.redis_server import HOST, RedisServer

pytestmark = pytest.mark.slow

BOUND = 60.0
SESSIONS = [f"chat:{n}" for n in range(20)]


@pytest.fixture
def watched() -> Iterator[Watched]:
    with Watched() as watched:
        yield watched


@pytest.fixture(autouse=True)
async def bound() -> AsyncIterator[None]:
    async with bounded(2 * BOUND):
        yield


async def test_g7_a_failover_under_load_loses_nothing(watched: Watched) -> None:
    """The master is killed: every connection finds its successor, and every reader gets
    every chunk."""
    async with Load(lambda config: Hub.from_url(watched.url, config=config), SESSIONS) as load:
        await load.strike(watched.fail_over)
        await load.flow()
        figures = await load.finish()
    assert figures.is_whole, figures


async def test_g7_what_a_failover_lost_is_put_back(watched: Watched) -> None:
    """The replica that takes over has not seen the newest chunks: their producers live."""
    async with Load(lambda config: Hub.from_url(watched.url, config=config), SESSIONS) as load:
        await load.strike(watched.cut_off)
        await load.flow(20)
        await load.strike(watched.fail_over)
        await load.flow()
        figures = await load.finish()
    assert figures.is_whole, figures


async def test_a_master_that_is_demoted_is_left(watched: Watched) -> None:
    """It lives, and becomes a replica of the one that Sentinel puts in its place: nobody stays
    with it."""

    def fail_over() -> None:
        old = watched.master()
        watched.ask(watched.sentinels[0], "SENTINEL", "FAILOVER", SERVICE)
        until(lambda: watched.master() is not old and watched.ask(old, "ROLE")[0] == "slave")

    async with Load(lambda config: Hub.from_url(watched.url, config=config), SESSIONS) as load:
        await load.strike(fail_over)
        await load.flow()
        figures = await load.finish()
    assert figures.is_whole, figures


async def test_a_master_that_was_frozen_is_left(watched: Watched) -> None:
    """When it wakes up, another is master; what it was asked meanwhile has no effect."""

    def fail_over() -> None:
        old = watched.master()
        old.pause()
        until(lambda: watched.master() is not old)
        old.resume()
        until(lambda: watched.ask(old, "ROLE")[0] == "slave")

    url = f"{watched.url}?socket_timeout=1"
    async with Load(lambda config: Hub.from_url(url, config=config), SESSIONS) as load:
        await load.strike(fail_over)
        await load.flow()
        figures = await load.finish()
    assert figures.is_whole, figures


async def test_g12_a_hub_keeps_four_connections(watched: Watched) -> None:
    """To the master; none to the Sentinels, before and after a failover."""

    def connections(server: RedisServer) -> int:
        clients = str(watched.ask(server, "CLIENT", "LIST")).splitlines()
        return len([one for one in clients if " name=mine " in one])

    url = f"{watched.url}?client_name=mine"
    async with Load(lambda config: Hub.from_url(url, config=config), SESSIONS) as load:
        for _ in range(2):
            for session in SESSIONS:
                assert await load.reading.get(session) is not None
                await load.producing.active([session])
            counts = [
                await asyncio.to_thread(connections, server)
                for server in (watched.master(), *watched.sentinels)
            ]
            # Both hubs of the load; the one that only reads claims nothing, and writes nothing.
            assert [4 + 2, 0, 0, 0] == counts
            old = watched.master()
            await load.strike(watched.fail_over)
            await asyncio.to_thread(old.start)
            await load.flow()
        await load.finish()


async def test_a_feed_outlives_a_failover(watched: Watched) -> None:
    """The successor knows what was done, and who has what; and hands out the end of a stream that
    goes on under it."""

    def fail_over() -> None:
        master = watched.master()
        (replica,) = (server for server in watched.servers if server is not master)
        written = watched.ask(master, "ROLE")[1]
        # What is done but not replicated yet may come again.
        until(lambda: int(watched.ask(replica, "ROLE")[4]) >= int(written))
        watched.fail_over()

    names = ("done", "taken", "running")
    async with Hub.from_url(watched.url, config=CONFIG) as hub, hub.ends("save") as ends:
        streams = [(await hub.register(name))[0] for name in names]
        for stream in streams:
            await stream.publish("before")
        await streams[0].close()
        done = await anext(ends)
        await done.done()
        await streams[1].close()
        taken = await anext(ends)
        assert ("done", "taken") == (done.session_id, taken.session_id)
        await streams[2].flush()

        await asyncio.to_thread(fail_over)

        await taken.done()
        await streams[2].publish(" and after")
        await streams[2].close()
        last = await anext(ends)
        assert ("running", "before and after", 1) == (last.session_id, last.text, last.attempt)
        await last.done()
        feeds = hub._store.feeds
        assert feeds is not None
        assert 3 * [None] == [
            await feeds.take(Due(name), "save", "another", lease=5.0, lost_after=0.0)
            for name in names
        ]


async def test_a_client_of_sentinel_can_be_handed_in(watched: Watched) -> None:
    """Its Sentinels are asked, and it is left open."""
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        [(HOST, server.port) for server in watched.sentinels]
    )
    client = sentinel.master_for(SERVICE)
    async with Load(lambda config: Hub(RedisStore(client), config=config), SESSIONS) as load:
        await load.strike(watched.fail_over)
        await load.flow()
        figures = await load.finish()
    assert figures.is_whole, figures
    assert await client.ping()
    await client.aclose()
    for one in sentinel.sentinels:
        await one.aclose()


async def test_sentinels_that_are_silent_or_gone_are_passed_over(watched: Watched) -> None:
    """One that answers is enough."""
    watched.sentinels[0].pause()
    watched.sentinels[1].kill()
    async with Hub.from_url(f"{watched.url}?socket_timeout=5") as hub:
        async with bounded(4.0):
            stream, created = await hub.register("chat")
        assert created
        async with stream:
            await stream.publish("text")
        assert "text" == await stream.text()


async def test_what_sentinel_does_not_know_is_unavailable(watched: Watched) -> None:
    """The error says what was asked for, and who was asked."""
    url = watched.url.replace(SERVICE, "other")
    async with Hub.from_url(url) as hub:
        with pytest.raises(StoreUnavailable, match=r"knows no master 'other'"):
            await hub.register("chat")
    port = watched.sentinels[0].port
    watched.sentinels[0].kill()
    async with Hub.from_url(f"redis+sentinel://{HOST}:{port}/{SERVICE}") as hub:
        with pytest.raises(StoreUnavailable, match=f"{port}"):
            await hub.register("chat")


async def test_a_replica_that_sentinel_takes_for_master_is_not_used(watched: Watched) -> None:
    """It would answer with old data: the error says what it is."""
    master = watched.master()
    (replica,) = (server for server in watched.servers if server is not master)
    for sentinel in watched.sentinels:
        sentinel.pause()
    await asyncio.to_thread(watched.ask, master, "REPLICAOF", HOST, replica.port)
    watched.sentinels[0].resume()
    async with Hub.from_url(watched.url) as hub:
        with pytest.raises(StoreUnavailable, match="not master"):
            await hub.get("chat")


async def test_passwords_and_tls_of_master_and_sentinels(certificates: Certificates) -> None:
    """Each has its own password; TLS is for both."""
    with ExitStack() as servers:
        watched = servers.enter_context(
            Watched(password="one", sentinel_password="two", certificates=certificates)
        )
        url = f"{watched.url}&ssl_ca_certs={certificates.authority}&socket_timeout={patience(5)}"
        async with AsyncExitStack() as hubs:
            hub = await hubs.enter_async_context(Hub.from_url(url))
            stream, _ = await hub.register("chat")
            async with stream:
                await stream.publish("text")
            assert "text" == await stream.text()
            for wrong in (url.replace(":one@", ":wrong@"), url.replace("=two", "=wrong")):
                other = await hubs.enter_async_context(Hub.from_url(wrong))
                with pytest.raises(StoreAuthenticationFailed) as refused:
                    await other.get("chat")
                assert "one" not in str(refused.value).replace("none", "")
                assert "two" not in str(refused.value)
