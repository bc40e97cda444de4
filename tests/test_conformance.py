"""The public conformance suite, on every store that we ship."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import redis.asyncio

from streamhub.stores.base import Store
from streamhub.stores.memory import MemoryStore
from streamhub.stores.redis import RedisStore
from streamhub.testing import (
    Backend,
    DamageConformance,
    FakeClock,
    RollbackConformance,
    StoreConformance,
    WipeConformance,
)


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
    def __init__(self, url: str) -> None:
        self._url = url

    def open(self) -> Store:
        return RedisStore.from_url(self._url)

    async def wipe(self) -> None:
        async with self._client() as client:
            await client.flushall()

    async def snapshot(self) -> Callable[[], Awaitable[None]]:
        async with self._client() as client:
            keys = [key async for key in client.scan_iter()]
            kept = {key: (await client.pttl(key), await client.dump(key) or b"") for key in keys}

        async def roll_back() -> None:
            async with self._client() as client, client.pipeline(transaction=True) as pipeline:
                pipeline.flushall()
                for key, (ttl, value) in kept.items():
                    pipeline.restore(key, ttl, value)
                await pipeline.execute()

        return roll_back

    async def drop_chunk(self, session_id: str, offset: int) -> None:
        key = f"streamhub:{{{session_id}}}:chunks"
        async with self._client() as client:
            entries = await client.xrange(key)
            assert entries is not None
            entry_id, _ = entries[offset - 1]
            assert entry_id is not None
            await client.xdel(key, entry_id)

    async def forget_scripts(self) -> None:
        """Make every script one that the server is called with for the first time."""
        async with self._client() as client:
            await client.script_flush()

    def _client(self) -> redis.asyncio.Redis:
        return redis.asyncio.Redis.from_url(self._url)


class TestMemory(StoreConformance):
    @pytest.fixture
    def backend(self) -> Backend:
        return MemoryBackend()


class TestClockedMemory(StoreConformance, WipeConformance):
    @pytest.fixture
    def backend(self) -> Backend:
        return ClockedMemoryBackend()


class TestRedis(StoreConformance, WipeConformance, RollbackConformance, DamageConformance):
    @pytest.fixture
    async def backend(self, redis_url: str) -> Backend:
        backend = RedisBackend(redis_url)
        await backend.forget_scripts()
        return backend
