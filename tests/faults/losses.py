"""A Redis that really loses its newest writes: the end of its append-only file, or a failover."""

from __future__ import annotations

import asyncio
from pathlib import Path

import redis.asyncio

from streamhub.testing.waiting import until

from ..support.redis_server import RedisServer

__all__ = ["Failover", "LossyRedis"]


class LossyRedis(RedisServer):
    """Keeps what it holds in an append-only file, whose end a crash can take."""

    def __init__(self) -> None:
        super().__init__(
            arguments=(
                *("--appendonly", "yes", "--appendfsync", "no"),
                *("--auto-aof-rewrite-percentage", "0"),
            )
        )
        self._mark = 0

    def mark(self) -> None:
        """What is written up to here outlives every crash."""
        self._mark = self._file.stat().st_size

    def crash(self) -> None:
        """SIGKILL it; what was written since the mark is lost."""
        self.kill()
        with self._file.open("rb+") as file:
            file.truncate(self._mark)

    def lose(self) -> None:
        """Crash, and start again with what is left."""
        self.crash()
        self.start()

    @property
    def _file(self) -> Path:
        # Redis 7 keeps it in parts, of which this is the one that is written to.
        (file,) = self.directory.rglob("*.aof")
        return file


class Failover:
    """A primary with a replica that takes its place without the newest writes."""

    def __init__(self, primary: RedisServer) -> None:
        self.primary = primary
        self.replica = RedisServer(replica_of=primary)

    async def hold_back(self) -> None:
        """The replica has all that the primary holds now, and gets nothing more."""
        await asyncio.to_thread(self.replica.start)
        async with (
            redis.asyncio.Redis.from_url(self.primary.url) as primary,
            redis.asyncio.Redis.from_url(self.replica.url) as replica,
        ):

            async def has_all() -> bool:
                # What is written meanwhile is waited for, too: at least all up to here.
                return bool(await primary.wait(1, 100))

            await until(has_all)
            await replica.replicaof("NO", "ONE")

    def happen(self) -> RedisServer:
        """The primary dies; who goes on."""
        self.primary.kill()
        return self.replica
