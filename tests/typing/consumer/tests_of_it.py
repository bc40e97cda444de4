"""Test an application, without a model and without a network that works."""

from __future__ import annotations

from typing import assert_type

from streamhub import Hub
from streamhub.stores.memory import MemoryStore
from streamhub.testing import (
    PAUSE,
    CannotRun,
    Fails,
    FakeClock,
    LosesAnswers,
    LosesEvents,
    PrivateRedis,
    ScriptedSource,
    Stalls,
    crash,
)
from streamhub.testing.conformance import StoreConformance


class TestMyStore(StoreConformance): ...


async def test_an_answer(memory_hub: Hub, store_clock: FakeClock) -> None:
    model = ScriptedSource("The ", PAUSE, "lamp.", ValueError("the lamp broke"))
    await memory_hub.run("chat:1", model)
    await model.pauses()
    model.go_on()
    assert_type(model.interrupted, str | None)
    store_clock.advance(15.0)
    crash(memory_hub)
    store = MemoryStore(clock=store_clock)
    stalls = Stalls(store)
    await stalls.stalled.wait()
    Hub(Fails(LosesAnswers(LosesEvents(stalls, lambda event: True))))
    try:
        async with PrivateRedis() as redis:
            assert_type(redis.url, str)
    except CannotRun:
        pass
