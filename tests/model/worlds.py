"""The stores that the machine drives, and what it can do to them from outside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import redis

from streamhub import HubConfig
from streamhub.stores.base import Store
from streamhub.stores.memory import MemoryStore
from streamhub.stores.redis import RedisStore
from streamhub.testing import FakeClock

__all__ = ["CONFIG", "MemoryWorld", "RedisWorld", "World"]

#: No lease lapses and no session expires by itself while an example runs.
CONFIG = HubConfig(lease=300.0, retention=1e8)
_FOR_EVER = 1e9


class World(ABC):
    """One body of data."""

    #: Whether single keys can be lost, and whether it can fall back to older data.
    is_redis = False

    @abstractmethod
    def open(self) -> Store:
        """Another store on the data."""

    @abstractmethod
    def lapse(self) -> None:
        """Let a lease pass."""

    @abstractmethod
    def wipe(self) -> None:
        """Lose everything."""

    def tick(self) -> None:  # noqa: B027 - a real clock does that by itself
        """Let a moment pass."""

    def lose(self, session_id: str, kind: str) -> None:
        """Lose one key of a session."""
        raise NotImplementedError

    def snapshot(self) -> Callable[[], None]:
        """Remember the data; the function that is returned goes back to it."""
        raise NotImplementedError

    def keys_without_ttl(self) -> list[bytes]:
        return []

    def close(self) -> None:  # noqa: B027 - memory needs none
        """Let go of it."""


class MemoryWorld(World):
    def __init__(self) -> None:
        self._clock = FakeClock()
        self._store = MemoryStore(clock=self._clock)

    def open(self) -> Store:
        return self._store

    def lapse(self) -> None:
        self._clock.advance(CONFIG.lease)

    def wipe(self) -> None:
        self._clock.advance(_FOR_EVER)

    def tick(self) -> None:
        self._clock.advance(0.01)


class RedisWorld(World):
    is_redis = True

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Any = redis.Redis.from_url(url)
        self._client.flushall()

    def open(self) -> Store:
        return RedisStore.from_url(self._url)

    def lapse(self) -> None:
        # A claim that was given up has a lease of 0 and stays so.
        for key in self._scan("meta"):
            if self._client.hget(key, "lease") not in (None, b"0"):
                self._client.hset(key, "lease", 1)

    def wipe(self) -> None:
        self._client.flushall()

    def lose(self, session_id: str, kind: str) -> None:
        self._client.delete(f"{CONFIG.key_prefix}{{{session_id}}}:{kind}")

    def snapshot(self) -> Callable[[], None]:
        keys = self._client.keys()
        kept = {key: (self._client.pttl(key), self._client.dump(key)) for key in keys}

        def go_back() -> None:
            self._client.flushall()
            for key, (ttl, value) in kept.items():
                self._client.restore(key, ttl, value)

        return go_back

    def keys_without_ttl(self) -> list[bytes]:
        longest = (CONFIG.lease + CONFIG.retention) * 1000
        # The index outlives what it lists, until that is put on it again.
        index = f"{CONFIG.key_prefix}index:".encode()
        return [
            key
            for key in self._scan("*")
            if not 0 < self._client.pttl(key) <= longest * (1 + key.startswith(index))
        ]

    def close(self) -> None:
        self._client.close()

    def _scan(self, kind: str) -> list[bytes]:
        return list(self._client.scan_iter(f"{CONFIG.key_prefix}*:{kind}", count=100))
