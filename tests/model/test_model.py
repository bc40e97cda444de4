"""Several hubs on one store, driven at random: after every step the store holds what a simple model
of a session says, and readers get what is stored.

A failure prints the steps that lead to it, and the decorator that replays them.
``STREAMHUB_MODEL_EXAMPLES=5000`` searches longer.
"""

from __future__ import annotations

import faulthandler
import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import initialize, run_state_machine_as_test

from ..support.redis_server import RedisServer
from .producing import Producing, items_to_publish
from .reading import Reading
from .session import Item
from .stage import SESSIONS
from .worlds import MemoryWorld, RedisWorld

pytestmark = [pytest.mark.slow, pytest.mark.long]

_LONGER = int(os.environ.get("STREAMHUB_MODEL_EXAMPLES", "0"))


def _settings(examples: int) -> settings:
    return settings(
        max_examples=_LONGER or examples,
        stateful_step_count=40,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@pytest.fixture(autouse=True)
def _no_hang() -> None:
    """Every step is bounded, so that a long search, or the search for the shortest failure, is not
    to be taken for a hang."""
    faulthandler.cancel_dump_traceback_later()


class SessionMachine(Producing, Reading):
    """All rules together. Somebody writes, and somebody follows, before the first of them."""

    @initialize(items=items_to_publish)
    def begin(self, items: list[Item]) -> None:
        session_id = SESSIONS[0]
        self._claim(self.instances[0], session_id, "restart")
        self._write(self.productions[0], items)
        record = self.sessions[session_id].record
        assert record is not None
        reader = self.run(self.reading.get(session_id))
        assert reader is not None
        self._open_follower(session_id, record, self.opened(reader), len(items))


def test_sessions_in_memory_follow_the_model() -> None:
    """On the reference store, with a clock of its own."""

    class Machine(SessionMachine):
        def __init__(self) -> None:
            super().__init__(MemoryWorld())

    run_state_machine_as_test(Machine, settings=_settings(100))


def test_sessions_in_redis_follow_the_model(redis_server: RedisServer) -> None:
    """On Redis, where keys can be lost one by one and a failover can lose the newest writes."""

    class Machine(SessionMachine):
        def __init__(self) -> None:
            super().__init__(RedisWorld(redis_server.url))

    run_state_machine_as_test(Machine, settings=_settings(30))
