"""Closing, leaving and cancelling in the middle of a call: nobody hangs, nothing is left behind."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import Any

import pytest

from streamhub import (
    ChunkTooLarge,
    Cursor,
    Hub,
    HubClosed,
    InvalidCursor,
    ProducerLost,
    Status,
    StoreUnavailable,
    StreamHubError,
)
from streamhub.chunks import Chunk
from streamhub.stores.base import Appended, Granted, Refused
from streamhub.stores.memory import MemoryStore
from streamhub.testing.waiting import until, within


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

    async with asyncio.timeout(10):
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

        async with asyncio.timeout(10):
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
async def test_take_catches_up_at_once(hub: Hub, session_id: str, is_cancelled: bool) -> None:
    """Who is woken by a message, and has its turn after the next ones, gets the chunks of all of
    them together; a take that is cancelled at that moment leaves them for the next one."""
    stream, _ = await hub.register(session_id)
    term = (await stream.publish("1")).term
    await stream.flush()
    subscription = stream.subscribe()
    await subscription.take()
    taking = asyncio.create_task(subscription.take())
    assert hub._engine is not None
    view = hub._engine.watcher._views[session_id]

    async def waits() -> bool:
        return bool(view.news)

    await until(waits)
    for offset in (2, 3):
        chunk = Chunk(str(offset), Cursor(term, offset))
        view._on_event(Appended(term, offset - 1, [chunk], bytes=1, lease=15.0))
    if is_cancelled:
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        taking = asyncio.create_task(subscription.take())

    assert ["2", "3"] == [chunk.data for chunk in await within(taking)]
    assert Cursor(term, 3) == subscription.cursor


@pytest.mark.parametrize(
    "error",
    [
        HubClosed(),
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
