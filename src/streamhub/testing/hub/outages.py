"""G3 to G6 while the store cannot be reached: for a moment, and for longer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ...chunks import Status
from ...config import HubConfig
from ...errors import StoreUnavailable
from ...hub import Hub
from ...stores.base import Appended, LiveEvent, Store
from ..faults import Fails, LosesEvents
from ..waiting import unhurried, within
from .stage import Hubs, Stage, drain, produce, reader, until_error

__all__ = ["OutageTests"]

BRISK = HubConfig(lease=unhurried(0.6), retention=60.0)
IMPATIENT = HubConfig(lease=unhurried(0.6), retention=60.0, give_up_after=0.2)


class OutageTests(Stage):
    @pytest.mark.parametrize("read", [0, 1, 1200])
    async def test_g3_a_store_that_comes_back_is_not_noticed_by_subscribers(
        self, hubs: Hubs, session: str, read: int
    ) -> None:
        """A subscriber at the start, in the log or at the tail reads on after the outage."""
        hub, (failing, elsewhere) = hubs.open(BRISK), _failing(hubs, BRISK)
        texts = [f"{n} " for n in range(1200)]
        stream = await produce(hub, session, texts)
        subscription = (await reader(elsewhere, session)).subscribe()
        head = [await within(anext(subscription)) for _ in range(read)]
        failing.failing = True
        reading = asyncio.create_task(drain(subscription))
        for text in ("x", "y"):
            texts.append(text)
            await stream.publish(text)
            await within(stream.flush())
        await within(failing.failed.wait())
        failing.failing = False
        await within(stream.close())
        assert texts == [chunk.data for chunk in [*head, *await reading]]

    async def test_g5_a_store_that_comes_back_is_not_noticed_by_its_producer(
        self, hubs: Hubs, elsewhere: Hub, session: str
    ) -> None:
        """What is published during an outage is stored after it, once, and no cancel is seen."""
        failing, hub = _failing(hubs, BRISK)
        calls: list[str] = []
        stream, _ = await hub.register(session, lambda: calls.append("cancelled"))
        texts = [f"{n} " for n in range(50)]
        for n, text in enumerate(texts):
            if n % 10 == 5:
                failing.failing = True
                failing.failed.clear()
            await stream.publish(text)
            if n % 10 == 7:
                await within(failing.failed.wait())
                failing.failing = False
        await within(stream.close())
        chunks = await drain((await reader(elsewhere, session)).subscribe())
        assert texts == [chunk.data for chunk in chunks]
        assert [] == calls

    @pytest.mark.parametrize("call", ["flush", "metadata", "close", "fail"])
    async def test_g5_a_store_that_stays_away_is_told_to_the_producer(
        self, hubs: Hubs, session: str, call: str
    ) -> None:
        """What cannot be stored for ``give_up_after`` raises, from whatever is called next."""
        failing, hub = _failing(hubs, IMPATIENT)
        stream = await produce(hub, session, ["a"])
        failing.failing = True
        await stream.publish("b")
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "flush": stream.flush,
            "metadata": lambda: stream.set_metadata(1),
            "close": stream.close,
            "fail": lambda: stream.fail("broke"),
        }
        with pytest.raises(StoreUnavailable):
            await within(calls[call]())
        with pytest.raises(StoreUnavailable):
            await within(stream.publish("c"))
        failing.failing = False
        info = await stream.info()
        assert info.status in (Status.ACTIVE, Status.LOST)
        assert "a" == await stream.text()

    async def test_g5_publish_does_not_wait_for_ever(self, hubs: Hubs, session: str) -> None:
        """A publish that waits for room is told that the store stays away."""
        config = HubConfig(lease=unhurried(0.6), give_up_after=0.2, max_pending_bytes=10)
        failing, hub = _failing(hubs, config)
        stream = await produce(hub, session, ["a"])
        failing.failing = True
        await stream.publish("x" * 10)
        with pytest.raises(StoreUnavailable):
            await within(stream.publish("y"))

    async def test_g4_a_store_that_stays_away_raises(self, hubs: Hubs, session: str) -> None:
        """A subscriber that cannot read for ``give_up_after`` gets an error after what it has,
        never an end."""
        hub, (failing, elsewhere) = hubs.open(BRISK), _failing(hubs, IMPATIENT, deaf=True)
        stream = await produce(hub, session, ["a"])
        subscription = (await reader(elsewhere, session)).subscribe()
        assert "a" == (await within(anext(subscription))).data
        failing.failing = True
        await stream.publish("b")
        await within(stream.close())
        chunks, _ = await until_error(subscription, StoreUnavailable)
        assert [] == chunks

    async def test_g4_a_subscriber_resumes_after_an_outage(self, hubs: Hubs, session: str) -> None:
        """The cursor of a subscription that gave up is as good as any."""
        hub, (failing, elsewhere) = hubs.open(BRISK), _failing(hubs, IMPATIENT, deaf=True)
        stream = await produce(hub, session, ["a"])
        other = await reader(elsewhere, session)
        subscription = other.subscribe()
        assert "a" == (await within(anext(subscription))).data
        failing.failing = True
        await stream.publish("b")
        await within(stream.flush())
        await until_error(subscription, StoreUnavailable)
        failing.failing = False
        await within(stream.close())
        rest = await drain(other.subscribe(after=subscription.cursor))
        assert ["b"] == [chunk.data for chunk in rest]


def _failing(hubs: Hubs, config: HubConfig, *, deaf: bool = False) -> tuple[Fails, Hub]:
    """A hub, and the switch that parts it from its store."""
    switch: list[Fails] = []

    def through(store: Store) -> Store:
        switch.append(Fails(store))
        return LosesEvents(switch[0], _is_chunks) if deaf else switch[0]

    hub = hubs.open(config, through=through)
    return switch[0], hub


def _is_chunks(event: LiveEvent) -> bool:
    return isinstance(event, Appended)
