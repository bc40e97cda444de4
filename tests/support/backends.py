"""Every store that the tests run on, in one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import pytest

from streamhub import Hub, HubConfig
from streamhub.instruments import Instrument
from streamhub.stores.memory import MemoryStore


class NewHub(Protocol):
    """Opens a hub; all that come from one of these see the same sessions."""

    def __call__(self, config: HubConfig, instruments: Sequence[Instrument] = (), /) -> Hub: ...


def _memory(request: pytest.FixtureRequest) -> NewHub:
    store = MemoryStore()
    return lambda config, instruments=(): Hub(store, config=config, instruments=instruments)


def _redis(request: pytest.FixtureRequest) -> NewHub:
    url: str = request.getfixturevalue("redis_url")
    return lambda config, instruments=(): Hub.from_url(url, config=config, instruments=instruments)


def _cluster(request: pytest.FixtureRequest) -> NewHub:
    url: str = request.getfixturevalue("cluster_url")
    return lambda config, instruments=(): Hub.from_url(url, config=config, instruments=instruments)


BACKENDS: dict[str, Callable[[pytest.FixtureRequest], NewHub]] = {
    "memory": _memory,
    "redis": _redis,
    "cluster": _cluster,
}
#: What tests run on each backend: a cluster takes longer, and is no other store.
EVERY_BACKEND = [
    pytest.param(name, marks=[pytest.mark.slow] if name == "cluster" else []) for name in BACKENDS
]
