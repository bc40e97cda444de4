"""Fixtures of pytest for tests of applications::

    # conftest.py
    pytest_plugins = ["streamhub.testing.fixtures"]

Async ones are run by the plugin of anyio or by pytest-asyncio, whichever runs the test.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from anyio.from_thread import start_blocking_portal

from ..config import HubConfig
from ..hub import Hub
from .clock import FakeClock
from .private_redis import PrivateRedis

try:
    import pytest
except ModuleNotFoundError as _missing:
    raise ModuleNotFoundError(
        'streamhub.testing.fixtures needs pytest: pip install "streamhub-llm[testing]"',
        name=_missing.name,
    ) from None

__all__ = ["memory_hub", "private_redis", "redis_hub", "store_clock", "streamhub_config"]

# What a crash costs a test: readers are told of it a second after the lease, at the latest.
_LEASE = 1.0


def _async_fixture(function: Callable[..., Any]) -> Any:
    """For pytest-asyncio, which wants its own mark in its strict mode; anyio takes any."""
    try:
        from pytest_asyncio import fixture
    except ModuleNotFoundError:
        return pytest.fixture(function)
    return fixture(function)


@pytest.fixture
def streamhub_config() -> HubConfig:
    """The limits and times of the hubs below: a lease of a second, so that crashes show soon.
    Override it for others."""
    return HubConfig(lease=_LEASE)


@pytest.fixture
def store_clock() -> FakeClock:
    """A clock that is advanced by hand, for a store in memory: ``MemoryStore(clock=store_clock)``
    keeps sessions, and their leases, for as long as it says."""
    return FakeClock()


@_async_fixture
async def memory_hub(streamhub_config: HubConfig) -> AsyncIterator[Hub]:
    """A hub in memory, closed after the test."""
    async with Hub(config=streamhub_config) as hub:
        yield hub


@pytest.fixture(scope="session")
def private_redis() -> Iterator[str]:
    """The URL of a Redis server that ends with the tests. Its data is shared by them.

    :raises CannotRun: there is none on the PATH, or it did not start.
    """
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(PrivateRedis()) as redis,
    ):
        yield redis.url


@_async_fixture
async def redis_hub(private_redis: str, streamhub_config: HubConfig) -> AsyncIterator[Hub]:
    """A hub on ``private_redis``, closed after the test."""
    async with Hub.from_url(private_redis, config=streamhub_config) as hub:
        yield hub
