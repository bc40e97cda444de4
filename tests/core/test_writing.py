"""How the writer shares the store between streams: what it writes when, and with what."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Sequence
from contextlib import suppress

import pytest

from streamhub import Hub, HubConfig, StoreUnavailable
from streamhub.producing.pacing import distance
from streamhub.producing.producer import Producer
from streamhub.producing.writer import Writer
from streamhub.stores.base import (
    Append,
    Appended,
    Granted,
    LiveEvent,
    Store,
    WriteOp,
    WriteResult,
)
from streamhub.stores.memory import MemoryStore
from streamhub.stores.wrapped import WrappedStore
from streamhub.testing.waiting import until, within

CONFIG = HubConfig(lease=3600.0)


class Holds(WrappedStore):
    """Keeps all writes waiting until ``go`` is set, and remembers how many chunks each brought."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.go = asyncio.Event()
        self.rounds: list[int] = []
        self.at_once = self.most_at_once = 0
        self._turn = asyncio.Lock()

    async def two_begun(self) -> bool:
        return len(self.rounds) >= 2

    async def write(self, ops: Sequence[WriteOp]) -> list[WriteResult | Exception]:
        self.rounds.append(sum(len(op.items) for op in ops if isinstance(op, Append)))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        async with self._turn:
            await self.go.wait()
            self.at_once -= 1
            return await super().write(ops)


async def turns() -> None:
    """Let everything run that can."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_a_few_chunks_wait_for_the_round_that_is_under_way(session_id: str) -> None:
    """The next round trip then carries them together."""
    store = Holds(MemoryStore())
    async with Hub(store, config=CONFIG) as hub:
        stream, _ = await hub.register(session_id)
        for text in "abc":
            await stream.publish(text)
            await turns()
        under_way = list(store.rounds)
        store.go.set()
        await within(stream.flush())

    assert [1] == under_way
    assert [1, 2] == store.rounds[:2]


async def test_much_does_not_wait_for_the_round_that_is_under_way(session_id: str) -> None:
    """The store has the next chunks already when it has stored the first; but never all of them."""
    store = Holds(MemoryStore())
    async with Hub(store, config=CONFIG) as hub:
        stream, _ = await hub.register(session_id)
        for _ in range(30_000):
            await stream.publish("x")
        await turns()
        under_way = list(store.rounds)
        store.go.set()
        await within(stream.flush())
        info = await stream.info()

    assert len(under_way) > 1
    assert sum(under_way) < 30_000
    assert store.most_at_once == len(under_way)
    assert 30_000 == info.last.offset
    assert 30_000 == sum(store.rounds)


async def test_what_a_round_leaves_begins_another_one_at_once(session_id: str) -> None:
    """More streams than a round takes: nothing has to happen for the others to follow."""
    store = Holds(MemoryStore())
    store.go.set()
    async with Hub(store, config=CONFIG) as hub:
        claims = [hub.register(f"{session_id}:{number}") for number in range(1_100)]
        streams = [stream for stream, _ in await asyncio.gather(*claims)]
        # The first chunk of a stream lets others run; all of the second ones come in one turn.
        await asyncio.gather(*(stream.publish("x") for stream in streams))
        await within(asyncio.gather(*(stream.flush() for stream in streams)))
        store.go.clear()
        store.rounds.clear()
        for stream in streams:
            await stream.publish("x")
        await until(store.two_begun)
        under_way = list(store.rounds)
        store.go.set()
        await within(asyncio.gather(*(stream.flush() for stream in streams)))

    assert [1_024, 76] == under_way


class Prompt(WrappedStore):
    """Begins to write when it is called, unless it is to fail then."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.rounds: list[int] = []
        self.failures: list[Exception] = []

    def write(self, ops: Sequence[WriteOp]) -> Awaitable[list[WriteResult | Exception]]:
        if self.failures:
            raise self.failures.pop()
        self.rounds.append(sum(len(op.items) for op in ops if isinstance(op, Append)))
        return super().write(ops)


async def test_the_chunk_of_a_lone_stream_is_on_its_way_when_publish_returns(
    session_id: str,
) -> None:
    """It does not wait for its turn in the event loop: what follows in this turn, goes together."""
    store = Prompt(MemoryStore())
    async with Hub(store, config=CONFIG) as hub:
        stream, _ = await hub.register(session_id)
        await turns()
        for _ in range(10):
            await stream.publish("x")
        at_once = list(store.rounds)
        await within(stream.flush())

    assert [1] == at_once
    assert [1, 9] == store.rounds[:2]


async def test_chunks_of_streams_that_share_rounds_still_go_together(session_id: str) -> None:
    """The first of many that come in one turn does not go alone."""
    store = Prompt(MemoryStore())
    async with Hub(store, config=CONFIG) as hub:
        claims = [hub.register(f"{session_id}:{number}") for number in range(10)]
        streams = [stream for stream, _ in await asyncio.gather(*claims)]
        await turns()
        for _ in range(2):
            await asyncio.gather(*(stream.publish("x") for stream in streams))
            await within(asyncio.gather(*(stream.flush() for stream in streams)))
            # The next round is due then.
            await asyncio.sleep(2 * distance(10))
        rounds = list(store.rounds)

    assert [1, 9, 10] == rounds


async def test_a_store_that_fails_when_it_is_called_is_tried_again(session_id: str) -> None:
    """As one that fails when it is awaited: nothing is lost, and ``publish`` raises nothing."""
    store = Prompt(MemoryStore())
    async with Hub(store, config=CONFIG) as hub:
        stream, _ = await hub.register(session_id)
        store.failures.append(StoreUnavailable("prompt", "away"))
        await stream.publish("a")
        assert [] == store.failures
        await stream.publish("b")
        await within(stream.flush())
        reader = await hub.get(session_id)
        assert reader is not None
        await stream.close()
        assert "ab" == await within(reader.text())


async def test_a_round_that_was_begun_ends_with_the_writer(session_id: str) -> None:
    """Cancelled before its carrier had its turn: no write is left that nobody awaits."""
    before = asyncio.all_tasks()
    writer = Writer(MemoryStore())
    running = asyncio.create_task(writer.run())
    await turns()
    granted = await MemoryStore().claim(
        session_id, "generation", takeover="restart", lease=5.0, retention=5.0
    )
    assert isinstance(granted, Granted)
    producer = Producer(granted, CONFIG)
    producer.accept("a", None, rested=True)

    writer.mark(producer)
    assert not producer.pending_bytes
    for task in asyncio.all_tasks() - before:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    # What was never awaited warns when it goes, and warnings are errors here.
    del writer, running
    gc.collect()


@pytest.mark.parametrize("turns_later", range(6))
async def test_work_for_a_writer_that_is_being_cancelled_raises_nothing(turns_later: int) -> None:
    """A program that stops cancels all its tasks at once; a body that still publishes meanwhile
    must not get an error of the event loop."""
    writer = Writer(MemoryStore())
    running = asyncio.create_task(writer.run())
    await turns()
    granted = await MemoryStore().claim(
        "chat", "generation", takeover="restart", lease=5.0, retention=5.0
    )
    assert isinstance(granted, Granted)
    producer = Producer(granted, CONFIG)
    producer.accept("a", None, rested=True)

    running.cancel()
    for _ in range(turns_later):
        await asyncio.sleep(0)
    writer.mark(producer)

    with pytest.raises(asyncio.CancelledError):
        await running


class Eager(MemoryStore):
    """Carries writes out when it is called, and answers later."""

    def write(  # type: ignore[override]
        self, ops: Sequence[WriteOp]
    ) -> asyncio.Future[list[WriteResult | Exception]]:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[list[WriteResult | Exception]] = loop.create_future()
        try:
            super().write(ops).send(None)
        except StopIteration as done:
            loop.call_later(0.0003, answered.set_result, done.value)
        return answered


async def test_who_is_told_of_a_write_in_the_middle_of_it_may_publish() -> None:
    """A store may write, and tell its watches, as soon as it is called."""
    store = Eager()
    async with Hub(store, config=CONFIG) as hub:
        told, _ = await hub.register("told")
        echo, _ = await hub.register("echo")
        # The first of 32 chunks lets go of the event loop.
        await echo.publish("x")

        def repeat(event: LiveEvent) -> None:
            if isinstance(event, Appended):
                with suppress(StopIteration):
                    echo.publish("x").send(None)

        store.watch("told", repeat)
        others = [(await hub.register(f"other {n}"))[0] for n in range(4)]
        for _ in range(30):
            for one in (*others, told):
                await one.publish("x")
            # Until the last round is so long ago that another may begin at once.
            await asyncio.sleep(distance(len(others) + 2))
            for one in (*others, told, echo):
                await within(one.flush())
        assert 31 == (await echo.info()).last.offset
