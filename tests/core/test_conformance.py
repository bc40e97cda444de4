"""The public conformance suite, on every store that we ship."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import redis.asyncio

from streamhub.stores.base import Store
from streamhub.stores.memory import MemoryStore
from streamhub.stores.redis import RedisStore
from streamhub.testing import FakeClock
from streamhub.testing.conformance import (
    Backend,
    DamageConformance,
    FeedConformance,
    FeedRepairConformance,
    InboxConformance,
    InboxRepairConformance,
    RollbackConformance,
    StoreConformance,
    WipeConformance,
)
from streamhub.testing.store.resumes import ResumeTests

from ..support.redis_cluster import RedisCluster


class MemoryBackend(Backend):
    """One process: every instance holds the same store."""

    def __init__(self) -> None:
        self._store = MemoryStore()

    def open(self) -> Store:
        return self._store


class ClockedMemoryBackend(Backend):
    """Memory whose time only moves when a test says so."""

    def __init__(self) -> None:
        self._clock = FakeClock()
        self._store = MemoryStore(clock=self._clock)

    def open(self) -> Store:
        return self._store

    async def advance(self, seconds: float) -> None:
        self._clock.advance(seconds)

    async def wipe(self) -> None:
        # Memory loses nothing but what expires.
        self._clock.advance(1e9)


class RedisBackend(Backend):
    """One server, or the nodes of a cluster."""

    def __init__(self, url: str, *nodes: str) -> None:
        self._url = url
        self._nodes = nodes or (url,)

    def open(self) -> Store:
        return RedisStore.from_url(self._url)

    async def wipe(self) -> None:
        async for client in self._clients():
            await client.flushall()

    async def snapshot(self) -> Callable[[], Awaitable[None]]:
        kept: list[dict[bytes, tuple[int, bytes]]] = []
        async for client in self._clients():
            keys = [key async for key in client.scan_iter()]
            kept.append(
                {key: (await client.pttl(key), await client.dump(key) or b"") for key in keys}
            )

        async def roll_back() -> None:
            at = 0
            async for client in self._clients():
                # Session by session, for a cluster; those of the index are no session's.
                slots: dict[bytes, list[bytes]] = {}
                for key in sorted(kept[at], key=lambda key: key.startswith(b"streamhub:index:")):
                    slots.setdefault(key.partition(b"{")[2].partition(b"}")[0], []).append(key)
                for n, keys in enumerate([*slots.values()] or [[]]):
                    async with client.pipeline(transaction=True) as pipeline:
                        if n == 0:
                            pipeline.flushall()
                        for key in keys:
                            ttl, value = kept[at][key]
                            # Index keys may have been made again meanwhile.
                            pipeline.restore(key, ttl, value, replace=True)
                        await pipeline.execute()
                at += 1

        return roll_back

    async def drop_chunk(self, session_id: str, offset: int) -> None:
        key = f"streamhub:{{{session_id}}}:chunks"
        async for client in self._clients():
            if key.encode() in await client.keys():
                entries = await client.xrange(key)
                assert entries is not None
                entry_id, _ = entries[offset - 1]
                assert entry_id is not None
                await client.xdel(key, entry_id)

    async def forget_scripts(self) -> None:
        """Make every script one that the server is called with for the first time."""
        async for client in self._clients():
            await client.script_flush()

    async def _clients(self) -> AsyncIterator[redis.asyncio.Redis]:
        for url in self._nodes:
            async with redis.asyncio.Redis.from_url(url) as client:
                yield client


class TestMemory(StoreConformance, FeedConformance, InboxConformance):
    @pytest.fixture
    def backend(self) -> Backend:
        return MemoryBackend()


class TestClockedMemory(StoreConformance, WipeConformance):
    @pytest.fixture
    def backend(self) -> Backend:
        return ClockedMemoryBackend()


class TestRedis(
    StoreConformance,
    FeedConformance,
    FeedRepairConformance,
    ResumeTests,
    WipeConformance,
    RollbackConformance,
    DamageConformance,
    InboxConformance,
    InboxRepairConformance,
):
    @pytest.fixture
    async def backend(self, redis_url: str) -> Backend:
        backend = RedisBackend(redis_url)
        await backend.forget_scripts()
        return backend


@pytest.mark.slow
class TestCluster(
    StoreConformance,
    FeedConformance,
    FeedRepairConformance,
    WipeConformance,
    RollbackConformance,
    DamageConformance,
    InboxConformance,
    InboxRepairConformance,
):
    @pytest.fixture
    async def backend(self, redis_cluster: RedisCluster, cluster_url: str) -> Backend:
        nodes = [node.url for node in redis_cluster.primaries]
        backend = RedisBackend(cluster_url, *nodes)
        await backend.forget_scripts()
        return backend
