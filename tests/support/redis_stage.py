"""A Redis server that a test may harm, instances of the hub on it, and what they read and write."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import redis.asyncio

from streamhub import Chunk, Hub, HubConfig, LiveStream, Subscription
from streamhub.instruments import Instrument
from streamhub.testing.waiting import patience, unhurried

from .faulty_proxy import FaultyProxy
from .redis_server import RedisServer

__all__ = [
    "BOUND",
    "CONFIG",
    "Stage",
    "assert_whole",
    "channel",
    "chunks",
    "claimed",
    "meta",
    "opened",
    "taken",
]

CONFIG = HubConfig(lease=unhurried(0.5))
#: Within which everything on a stage ends, unless it hangs.
BOUND = 20.0


class Stage:
    """A server, a plain client of it, and hubs that end with the stage."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self._stack = AsyncExitStack()

    def hub(
        self,
        config: HubConfig = CONFIG,
        *,
        url: str | None = None,
        instruments: Sequence[Instrument] = (),
    ) -> Hub:
        hub = Hub.from_url(url or self.server.url, config=config, instruments=instruments)
        self._stack.push_async_callback(hub.aclose)
        return hub

    async def proxy(self) -> FaultyProxy:
        return await self._stack.enter_async_context(FaultyProxy(self.server.port))

    async def __aenter__(self) -> Self:
        client = redis.asyncio.Redis.from_url(self.server.url, socket_timeout=patience())
        self.client: Any = await self._stack.enter_async_context(client)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()


def meta(session_id: str) -> str:
    return f"streamhub:{{{session_id}}}:meta"


def chunks(session_id: str) -> str:
    return f"streamhub:{{{session_id}}}:chunks"


def channel(session_id: str, kind: str) -> str:
    return f"streamhub:{{{session_id}}}:{kind}"


async def claimed(hub: Hub, session_id: str, **options: object) -> LiveStream:
    stream, created = await hub.register(session_id, **options)  # type: ignore[arg-type]
    assert created
    return stream


async def opened(hub: Hub, session_id: str) -> Subscription:
    stream = await hub.get(session_id)
    assert stream is not None
    return stream.subscribe()


async def taken(subscription: Subscription, count: int) -> list[Chunk]:
    return [await anext(subscription) for _ in range(count)]


def assert_whole(received: list[Chunk], data: list[str]) -> None:
    """Every chunk once, in order, under one unbroken row of cursors whose terms grow."""
    assert data == [chunk.data for chunk in received]
    assert [*range(1, len(data) + 1)] == [chunk.cursor.offset for chunk in received]
    terms = [chunk.cursor.term for chunk in received]
    assert sorted(terms) == terms
