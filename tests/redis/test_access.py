"""Users with the rights that the documentation grants and no others; certificates of clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import pytest
import redis.asyncio

from streamhub import (
    Hub,
    HubConfig,
    LiveStream,
    Status,
    StoreAuthenticationFailed,
    StoreUnavailable,
)
from streamhub.stores.redis.connections import pubsub
from streamhub.testing.waiting import bounded, patience

from ..support.certificates import Certificates
from ..support.feed_use import use_feeds
from ..support.go_session import GENERATIONS, GoSession
from ..support.redis_cluster import RedisCluster, has_sharded_channels, slot_of
from ..support.redis_sentinel import SERVICE, Watched
from ..support.redis_server import HOST, RedisServer
from ..support.redis_stage import BOUND, chunks, claimed, meta, opened, taken

pytestmark = pytest.mark.slow

DOCUMENT = Path(__file__).parents[2] / "docs" / "topologies.md"
PASSWORD = "s3cr3t-pass"
CONFIG = HubConfig(lease=30.0)


@pytest.fixture(autouse=True)
async def bound() -> AsyncIterator[None]:
    async with bounded(3 * BOUND):
        yield


def documented() -> list[list[str]]:
    """The ``ACL SETUSER`` lines: for one server, for a cluster, for Redis and for Sentinel."""
    lines = DOCUMENT.read_text().splitlines()
    return [
        one.replace("PASSWORD", PASSWORD).split() for one in lines if one.startswith("ACL SETUSER")
    ]


def rights(*lines: list[str]) -> set[str]:
    return {word[1:] for line in lines for word in line if word.startswith("+")}


#: All on one slot, and with it on one node.
CHAT, QUIET, GONE, GO, FEEDS = (f"s}}{name}" for name in ("chat", "quiet", "gone", "go", "feeds"))


async def exercise(url: str, admin: Any) -> None:
    """Do what a hub can be asked for, and lose what a store can lose; ``admin`` may do anything."""
    async with Hub.from_url(url, config=CONFIG) as hub, Hub.from_url(url, config=CONFIG) as other:
        stream = await claimed(hub, CHAT, metadata={"a": 1})
        await stream.publish("1")
        subscription = await opened(other, CHAT)
        received = await taken(subscription, 1)
        await (await other.get(CHAT)).send("a message")  # type: ignore[union-attr]
        (await anext(stream.inbox())).done()
        await lose(stream, admin)
        received += await taken(subscription, 4)
        assert ["1", "2", "3", "4", "5"] == [chunk.data for chunk in received]
        await remove_often(hub)
        reader = await other.get(CHAT)
        assert reader is not None
        assert Status.CANCELLED == await reader.cancel(wait=patience(BOUND), reason="enough")
        assert [] == [chunk async for chunk in subscription]
        await (await claimed(hub, CHAT, takeover="continue")).fail("crashed")
        assert {CHAT} == {info.session_id async for info in other.sessions()}
        await use_feeds(hub, FEEDS)
        await meet_go(hub, admin)
        assert GO in [one async for one in hub._store.sessions(foreign=True)]
        await be_quiet(hub, other)


async def lose(stream: LiveStream, admin: Any) -> None:
    """The scripts, the log, its end, and the record: the producer puts all back."""
    await admin.script_flush()
    await stream.publish("2")
    await stream.flush()
    await admin.delete(chunks(CHAT))
    await stream.publish("3")
    await stream.flush()
    await admin.hset(meta(CHAT), "last", 2)
    await admin.xtrim(chunks(CHAT), maxlen=2, approximate=False)
    await stream.publish("4")
    await stream.flush()
    await admin.delete(meta(CHAT))
    await stream.set_metadata({"a": 2})
    await stream.publish("5")
    await stream.flush()


async def remove_often(hub: Hub) -> None:
    """So often that the first tombstones are forgotten; then there is none to remove."""
    for _ in range(102):
        await claimed(hub, GONE)
        assert await hub.remove(GONE)
    assert not await hub.remove(GONE)


async def meet_go(hub: Hub, admin: Any) -> None:
    """A session of the Go library, whose key has no TTL."""
    go = GoSession(admin, GO, GENERATIONS[0])
    await go.register()
    await go.publish("1")
    await admin.persist(go.meta)
    reader = await hub.get(GO)
    assert reader is not None
    assert "1" == await reader.text()
    assert Status.ACTIVE == await reader.cancel()


async def be_quiet(hub: Hub, other: Hub) -> None:
    """Until the server is asked for a sign of life; then somebody goes."""
    stream = await claimed(hub, QUIET)
    subscription = await opened(other, QUIET)
    waiting = asyncio.create_task(anext(subscription))
    done, _ = await asyncio.wait([waiting], timeout=5 * pubsub._PING_AFTER)
    assert set() == done
    await stream.publish("1")
    assert "1" == (await waiting).data
    await subscription.aclose()
    await stream.close()


@pytest.fixture
def talkative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pubsub, "_PING_AFTER", 0.2)


class Witness:
    """Notes every command that comes over TCP or from a script; what comes over a unix socket,
    as what tests ask, is none of a hub's."""

    def __init__(self, node: RedisServer) -> None:
        self.client: Any = redis.asyncio.Redis.from_url(node.unix_url, socket_timeout=patience())
        self.seen: set[str] = set()

    async def __aenter__(self) -> Self:
        self._monitor = await self.client.monitor().__aenter__()
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.echo("the last one")
        await self._watching
        await self._monitor.__aexit__(None, None, None)
        await self.client.aclose()

    async def _watch(self) -> None:
        async for one in self._monitor.listen():
            verb, *rest = one["command"].lower().split(" ")
            if verb == "echo":
                return
            if one["client_type"] != "unix" and verb not in ("auth", "client", "hello"):
                of_parts = verb in ("script", "cluster", "xinfo", "sentinel")
                self.seen.add(f"{verb}|{rest[0]}" if of_parts else verb)


async def test_a_user_with_the_documented_rights_does_everything(
    make_redis: Callable[..., RedisServer], talkative: None
) -> None:
    """On one server; and it uses every right that it has."""
    server = make_redis()
    granted, *_ = documented()
    async with Witness(server) as witness:
        await witness.client.execute_command(*granted)
        url = f"redis://streamhub:{PASSWORD}@{HOST}:{server.port}/0"
        await exercise(url, witness.client)
        assert [] == await witness.client.acl_log()
    assert rights(granted) == witness.seen


@pytest.mark.skipif(
    not has_sharded_channels(), reason="Redis 6.2 has no rights on sharded channels"
)
async def test_a_tenant_with_keys_of_its_own_reaches_no_others(
    make_redis: Callable[..., RedisServer],
) -> None:
    """The documented line with another prefix, as docs/tenants.md has it: its own sessions, in
    full, and of those under another prefix nothing."""
    server = make_redis()
    words = [word.replace("streamhub:", "acme:") for word in documented()[0]]
    admin: Any = redis.asyncio.Redis.from_url(server.url, socket_timeout=patience())
    async with admin:
        await admin.execute_command(*words)
    url = server.url.replace("redis://", f"redis://streamhub:{PASSWORD}@")
    configs = [HubConfig(key_prefix=prefix, give_up_after=1.0) for prefix in ("acme:", "beta:")]
    async with Hub.from_url(url, config=configs[0]) as own:
        async with await claimed(own, CHAT) as stream:
            await stream.publish("1")
        assert [CHAT] == [info.session_id async for info in own.sessions()]
    async with Hub.from_url(url, config=configs[1]) as others:
        with pytest.raises(StoreAuthenticationFailed):
            await others.register(CHAT)
        with pytest.raises(StoreAuthenticationFailed):
            await others.get(CHAT)


async def test_a_user_with_the_documented_rights_does_everything_in_a_cluster(
    talkative: None,
) -> None:
    """While a slot moves, too. Channels that are not sharded are left to older clusters."""
    with RedisCluster(3) as cluster:
        granted, more, *_ = documented()
        async with AsyncExitStack() as stack:
            witnesses = {
                node: await stack.enter_async_context(Witness(node)) for node in cluster.primaries
            }
            for witness in witnesses.values():
                await witness.client.execute_command(*granted)
                await witness.client.execute_command(*more)
            url = cluster.url_of(user="streamhub", password=PASSWORD)
            await exercise(url, witnesses[cluster.owner_of(CHAT)].client)
            target = next(
                node for node in cluster.primaries if node is not cluster.owner_of("moving")
            )
            await asyncio.to_thread(cluster.begin_move, slot_of("moving"), target)
            async with Hub.from_url(url) as hub:
                assert await hub.get("moving") is None
            for witness in witnesses.values():
                assert [] == await witness.client.acl_log()
    seen = set().union(*(witness.seen for witness in witnesses.values()))
    assert rights(granted, more) - {"subscribe", "unsubscribe", "info"} == seen


async def test_sentinel_takes_two_rights_more() -> None:
    """One of Redis, one of the Sentinels' own."""
    granted, _, more, finder = documented()
    with Watched() as watched:
        for server in watched.servers:
            for one in (granted, more):
                watched.ask(server, *one)
        for sentinel in watched.sentinels:
            watched.ask(sentinel, *finder)
        hosts = f"{HOST}:{watched.sentinels[0].port}/{SERVICE}"
        login = f"streamhub:{PASSWORD}@"
        query = f"sentinel_username=finder&sentinel_password={PASSWORD}"
        async with Hub.from_url(f"redis+sentinel://{login}{hosts}?{query}") as hub:
            async with await claimed(hub, "chat") as stream:
                await stream.publish("1")
            assert "1" == await stream.text()
            watched.ask(watched.master(), "ACL", "SETUSER", "streamhub", "-role")
        async with Hub.from_url(f"redis+sentinel://{login}{hosts}?{query}") as hub:
            with pytest.raises(StoreAuthenticationFailed, match="role"):
                await hub.get("chat")


def with_certificate(url: str, certificates: Certificates) -> str:
    return (
        f"{url}?ssl_ca_certs={certificates.authority}&socket_timeout={patience(5)}"
        f"&ssl_certfile={certificates.certificate}&ssl_keyfile={certificates.key}"
    )


@pytest.mark.parametrize("kind", ["server", "cluster"])
async def test_a_server_that_wants_a_certificate_of_its_clients(
    certificates: Certificates, kind: str
) -> None:
    """With one everything works; without, or of another authority, the server is unavailable."""
    options: dict[str, Any] = {"certificates": certificates, "client_certificates": True}
    with RedisServer(**options) if kind == "server" else RedisCluster(2, **options) as redis_:
        url = redis_.url.removesuffix("/0")
        async with (
            Hub.from_url(with_certificate(url, certificates)) as hub,
            Hub.from_url(with_certificate(url, certificates)) as other,
        ):
            stream = await claimed(hub, "chat")
            await stream.publish("1")
            subscription = await opened(other, "chat")
            assert ["1"] == [chunk.data for chunk in await taken(subscription, 1)]
            await stream.publish("2")
            assert ["2"] == [chunk.data for chunk in await taken(subscription, 1)]
            await stream.close()
        async with Hub.from_url(f"{url}?ssl_ca_certs={certificates.authority}") as stranger:
            with pytest.raises(StoreUnavailable):
                await stranger.get("chat")
