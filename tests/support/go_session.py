"""The Go library's side of a session, played with raw Redis commands."""

from __future__ import annotations

from typing import Any

__all__ = ["GENERATIONS", "GoSession"]

#: What its producers are called, one after the other.
GENERATIONS = ("01900000-0000-7000-8000-000000000001", "01900000-0000-7000-8000-000000000002")


class GoSession:
    """A producer of the Go library, as far as Redis sees it."""

    TTL = 600

    def __init__(self, client: Any, session_id: str, generation: str) -> None:
        self._client = client
        tag = f"streamhub:{{{session_id}}}"
        self.meta, self.chunks, self.cancel_channel = (
            f"{tag}:meta",
            f"{tag}:chunks",
            f"{tag}:cancel",
        )
        self.generation = generation

    async def register(self) -> None:
        """In one step: a producer of ours that lives would put back a log that it finds gone."""
        # No transaction: older clients know none in a cluster.
        step = """
        redis.call('UNLINK', KEYS[2])
        redis.call('HDEL', KEYS[1], 'cancel', 'metadata')
        redis.call('HSET', KEYS[1], 'status', 'active', 'gen', ARGV[1])
        redis.call('PEXPIRE', KEYS[1], 1000 * ARGV[2])
        """
        await self._client.eval(step, 2, self.meta, self.chunks, self.generation, self.TTL)

    async def publish(self, *data: str, at: str = "*") -> list[str]:
        """The ids of the entries, for the last of which ``at`` may name one."""
        *before, last = data
        ids = [await self._client.xadd(self.chunks, {"d": text}) for text in before]
        ids.append(await self._client.xadd(self.chunks, {"d": last}, id=at))
        await self._client.expire(self.chunks, self.TTL)
        return [entry.decode() for entry in ids]

    async def close(self) -> None:
        await self._client.hset(self.meta, "status", "done")

    async def read(self) -> tuple[str | None, list[str]]:
        """What its readers understand: the status, and the data of entries with growing ids."""
        status = await self._client.hget(self.meta, "status")
        entries = await self._client.xrange(self.chunks)
        keys = [tuple(map(int, key.split(b"-"))) for key, _ in entries]
        assert keys == sorted(set(keys))
        return (status and status.decode()), [fields[b"d"].decode() for _, fields in entries]
