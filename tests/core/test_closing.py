"""Closing, leaving and cancelling in the middle of a call: nobody hangs, nothing is left behind."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import redis.asyncio

import streamhub.sync
from streamhub import (
    ChunkTooLarge,
    Cursor,
    Hub,
    HubClosed,
    HubInOtherLoop,
    HubInOtherProcess,
    HubStatistics,
    InvalidCursor,
    LiveStream,
    ProducerLost,
    Status,
    StoreUnavailable,
    StreamHubError,
)
from streamhub.chunks import Chunk
from streamhub.stores.base import Appended, Granted, LiveEvent, Refused, Watch
from streamhub.stores.memory import MemoryStore
from streamhub.stores.wrapped import WrappedStore
from streamhub.testing.waiting import bounded, within

from ..conftest import MakeHub


class Told(WrappedStore):
    """Whose readers a test tells what it likes."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self._sinks: list[Callable[[LiveEvent], None]] = []

    def watch(
        self, session_id: str, sink: Callable[[LiveEvent], None], *, cancels: bool = False
    ) -> Watch:
        if not cancels:
            self._sinks.append(sink)
        return super().watch(session_id, sink, cancels=cancels)

    def tell(self, event: LiveEvent) -> None:
        for sink in self._sinks:
            sink(event)


class Gate:
    """Holds who comes to it until it is opened, and tells that somebody came."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def pass_through(self) -> None:
        self.reached.set()
        await self.opened.wait()


class GatedStore(MemoryStore):
    """Where a test stops a call in its middle."""

    def __init__(self) -> None:
        super().__init__()
        self.claimed: Gate | None = None
        self.reading: Gate | None = None

    async def claim(self, *args: Any, **options: Any) -> Granted | Refused:
        answer = await super().claim(*args, **options)
        if self.claimed is not None:
            await self.claimed.pass_through()
        return answer

    async def read(self, *args: Any, **options: Any) -> list[Chunk]:
        if self.reading is not None:
            await self.reading.pass_through()
        return await super().read(*args, **options)


async def test_a_reader_in_the_middle_of_the_log_hears_that_the_hub_closed(
    session_id: str,
) -> None:
    """HubClosed, not the cancellation of a read that several share."""
    store = GatedStore()
    hub = Hub(store)
    stream, _ = await hub.register(session_id)
    await stream.publish("a")
    await stream.flush()
    store.reading = Gate()
    readers = [asyncio.create_task(anext(stream.subscribe())) for _ in range(3)]
    await store.reading.reached.wait()

    await hub.aclose()

    for reader in readers:
        with pytest.raises(HubClosed):
            await reader


async def test_closing_a_subscription_ends_the_task_that_waits_in_it(
    hub: Hub, session_id: str
) -> None:
    """Its iteration ends quietly, whichever task closes it."""
    stream, _ = await hub.register(session_id)
    await stream.publish("a")
    subscription, other = stream.subscribe(), stream.subscribe()
    received: list[str] = []
    first = asyncio.Event()

    async def read() -> None:
        async for chunk in subscription:
            received.append(chunk.data)
            first.set()

    reading = asyncio.create_task(read())
    await first.wait()
    assert "a" == (await anext(other)).data
    await subscription.aclose()

    async with bounded(10):
        await reading
    assert ["a"] == received
    await other.aclose()


async def test_a_claim_under_way_while_the_hub_closes_is_released(session_id: str) -> None:
    """The caller hears that the hub closed, and another instance can claim at once."""
    store = GatedStore()
    hub = Hub(store)
    store.claimed = gate = Gate()
    registering = asyncio.create_task(hub.register(session_id))
    await gate.reached.wait()
    closing = asyncio.create_task(hub.aclose())
    gate.opened.set()

    with pytest.raises(HubClosed):
        await registering
    await closing
    store.claimed = None
    async with Hub(store) as other:
        _, created = await other.register(session_id, takeover="continue")
        assert created


async def test_a_claim_whose_caller_is_cancelled_is_released(session_id: str) -> None:
    """A session is never held for nobody: the lease does not have to run out first."""
    store = GatedStore()
    async with Hub(store) as hub:
        store.claimed = gate = Gate()
        registering = asyncio.create_task(hub.register(session_id))
        await gate.reached.wait()
        registering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await registering
        store.claimed = None
        reader = await hub.get(session_id)
        assert reader is not None
        gate.opened.set()

        async with bounded(10):
            # A release is not announced, so that readers wait for whoever continues.
            while not (await hub.register(session_id))[1]:  # noqa: ASYNC110
                await asyncio.sleep(0)


async def test_take_hands_out_what_is_ready_together(hub: Hub, session_id: str) -> None:
    """At least one chunk, in order and without gaps; none at the end, or the error of it."""
    stream, _ = await hub.register(session_id)
    for n in range(2000):
        await stream.publish(f"{n} ")
    await stream.close()
    subscription = stream.subscribe()

    takes = []
    while chunks := await subscription.take():
        takes.append([chunk.cursor.offset for chunk in chunks])
        assert subscription.cursor == chunks[-1].cursor

    assert list(range(1, 2001)) == [offset for take in takes for offset in take]
    assert len(takes) < 20
    assert Status.FINISHED is subscription.status
    assert [] == await subscription.take()


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_take_catches_up_at_once(session_id: str, is_cancelled: bool) -> None:
    """Who is woken by a message, and has its turn after the next ones, gets the chunks of all of
    them together; a take that is cancelled at that moment leaves them for the next one."""
    store = Told()
    async with Hub(store) as hub:
        stream, _ = await hub.register(session_id)
        term = (await stream.publish("1")).term
        await stream.flush()
        subscription = stream.subscribe()
        assert ["1"] == [chunk.data for chunk in await subscription.take()]
        taking = asyncio.create_task(subscription.take())
        for _ in range(20):
            await asyncio.sleep(0)
        for offset in (2, 3):
            chunk = Chunk(str(offset), Cursor(term, offset))
            store.tell(Appended(term, offset - 1, [chunk], bytes=1, lease=15.0))
        if is_cancelled:
            taking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await taking
            taking = asyncio.create_task(subscription.take())

        assert ["2", "3"] == [chunk.data for chunk in await within(taking)]
    assert Cursor(term, 3) == subscription.cursor


def _groups(error: BaseException) -> BaseException:
    return ExceptionGroup("of two tasks", [error])  # type: ignore[type-var]


@pytest.mark.parametrize(
    "way", ["passes on", "wraps", "groups", "fails by hand", "cleans up badly"]
)
@pytest.mark.parametrize("new_hub", ["memory", "redis"], indirect=True)
async def test_what_closing_raises_in_a_source_is_no_failure_of_its_answer(
    make_hub: MakeHub, session_id: str, way: str
) -> None:
    """A source that asks its hub for something while it is stopped gets ``HubClosed``; the session
    is left to others as it is, who can continue at once."""
    hub, elsewhere = make_hub(), make_hub()

    async def answer(stream: LiveStream) -> None:
        await stream.publish("a")
        try:
            await asyncio.Event().wait()
        finally:
            try:
                await hub.get("other")
            except HubClosed as error:
                match way:
                    case "wraps":
                        raise RuntimeError("could not look") from error
                    case "groups":
                        raise _groups(error) from None
                    case "fails by hand":
                        await stream.fail(error)
                    case "cleans up badly":
                        raise ValueError("of the clean-up") from None
                raise

    stream = await hub.run(session_id, answer)
    await anext(stream.subscribe())
    await hub.aclose()

    left = await elsewhere.get(session_id)
    assert left is not None
    info = await left.info()
    assert (Status.LOST, None) == (info.status, info.error)
    continued, created = await elsewhere.register(session_id, takeover="continue")
    assert created
    await continued.publish("b")
    await continued.close()
    assert "ab" == await continued.text()


async def test_a_failure_of_its_own_while_the_hub_closes_is_one(
    make_hub: MakeHub, session_id: str
) -> None:
    """What closing has not caused is told to subscribers as ever."""
    hub, elsewhere = make_hub(), make_hub()
    failing = asyncio.Event()

    async def answer(stream: LiveStream) -> None:
        await stream.publish("a")
        await stream.flush()
        failing.set()
        raise ValueError("of the model")

    stream = await hub.run(session_id, answer)
    await failing.wait()
    await hub.aclose()

    left = await elsewhere.get(session_id)
    assert left is not None
    assert Status.FAILED is await left.wait(10)
    assert stream.generation is not None


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_a_source_that_does_not_stop_does_not_hold_its_hub(
    hub: Hub, session_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One that catches its cancellation is named, and left behind."""
    cancelled = 0
    may_end = asyncio.Event()

    async def stubborn(stream: LiveStream) -> None:
        nonlocal cancelled
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                cancelled += 1

    stream = await hub.run(session_id, stubborn)
    try:
        await within(hub.aclose())
    finally:
        may_end.set()

    assert 2 == cancelled
    assert [True] == [
        f"run {session_id}" in one.getMessage()
        for one in caplog.records
        if "does not end" in one.getMessage()
    ]
    assert stream.generation is not None


@pytest.mark.parametrize("new_hub", ["memory"], indirect=True)
async def test_an_on_cancel_that_waits_for_a_task_it_has_cancelled(
    hub: Hub, session_id: str
) -> None:
    """Its ``CancelledError`` is that task's: the stream is ended all the same."""
    working = asyncio.create_task(asyncio.Event().wait())
    await asyncio.sleep(0)

    async def stop() -> None:
        working.cancel()
        await working

    stream, _ = await hub.register(session_id, stop)
    assert Status.CANCELLED is await stream.cancel(wait=10)


async def test_statistics_say_what_a_hub_holds(hub: Hub, session_id: str) -> None:
    """Nothing before its first use and after its end."""
    assert HubStatistics() == hub.statistics()
    stream, _ = await hub.register(session_id)
    running = await hub.run(f"{session_id}:run", _endless)
    await anext(running.subscribe())
    subscriptions = [stream.subscribe() for _ in range(2)]
    await stream.publish("a" * 7)
    assert 7 == hub.statistics().pending_bytes
    for subscription in subscriptions:
        await anext(subscription)
    await stream.flush()

    held = hub.statistics()
    assert (1, 2) == (held.sessions_followed, held.subscribers)
    assert (2, 1, 0) == (held.producers, held.sources, held.pending_bytes)
    assert (held.connections > 0) == repr(hub).startswith("<Hub redis")
    await hub.aclose()
    assert HubStatistics() == hub.statistics()


async def _endless(stream: LiveStream) -> None:
    await stream.publish("x")
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("store", "hint"),
    [
        ("redis://user:secret@host", "Hub.from_url(url)"),
        (MemoryStore, "MemoryStore(…)"),
        (redis.asyncio.Redis(), "streamhub.stores.redis.RedisStore(client)"),
        (object(), "which has no configure, claim,"),
        (5, "not int"),
    ],
)
def test_what_is_no_store_is_refused(store: Any, hint: str) -> None:
    """With what to do instead, and without the password."""
    for kind in (Hub, streamhub.sync.Hub):
        with pytest.raises(TypeError) as caught:
            kind(store)
        assert hint in str(caught.value)
        assert "secret" not in str(caught.value)


def test_what_is_no_config_is_refused() -> None:
    """Before anything is connected."""
    wrong: Any = {"lease": 5}
    with pytest.raises(TypeError, match="HubConfig, not dict"):
        Hub(config=wrong)


@pytest.mark.parametrize(
    "error",
    [
        HubClosed(),
        HubInOtherLoop("MainThread"),
        HubInOtherProcess(5),
        ChunkTooLarge("s", 5, 4),
        InvalidCursor("x", "is malformed"),
        ProducerLost("s", "g", Cursor(1, 2)),
        StoreUnavailable("redis://h:1/0", "cannot be reached"),
    ],
)
def test_errors_survive_pickling_with_their_facts(error: StreamHubError) -> None:
    """A worker that passes an error on loses neither its type nor its attributes."""
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(error), str(error), vars(error)) == (type(other), str(other), vars(other))
