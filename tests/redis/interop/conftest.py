"""Our side and the Go library's of one session."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from streamhub import Hub, HubConfig, LiveStream
from streamhub.testing.waiting import bounded, unhurried

from ...support.go_session import GENERATIONS, GoSession

CONFIG = HubConfig(lease=unhurried(0.5))
BOUND = 10.0


@pytest.fixture
async def hub(redis_url: str) -> AsyncIterator[Hub]:
    async with Hub.from_url(redis_url, config=CONFIG) as hub:
        yield hub


@pytest.fixture
async def go(redis_client: redis.asyncio.Redis, session_id: str) -> AsyncIterator[GoSession]:
    """The Go side of the session, not registered yet."""
    async with bounded(2 * BOUND):
        yield GoSession(redis_client, session_id, GENERATIONS[0])


async def found(hub: Hub, session_id: str) -> LiveStream:
    stream = await hub.get(session_id)
    assert stream is not None
    return stream
