"""A reader of what is stored by a producer in its own process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest

from streamhub import Chunk, Hub, LiveStream, ProducerFailed, Status
from streamhub.producing.own_reader import OwnReader
from streamhub.stores.base import Finish, Over, WriteOp
from streamhub.stores.memory import MemoryStore
from streamhub.testing.faults import Fails, Stalls
from streamhub.testing.waiting import within


async def test_it_gets_what_is_stored_and_the_end() -> None:
    """Each chunk once and in order, as any other reader does, and how the stream has ended."""
    async with Hub() as hub:
        stream, _ = await hub.register("s")
        reader = OwnReader(stream.production("read").producer)
        told: list[Chunk] = []
        for number in range(100):
            await stream.publish(f"{number}", event="e" if number % 2 else None)
            if number % 10 == 0:
                told += await within(reader.take())
        await stream.fail("why")
        while chunks := await within(reader.take()):
            told += chunks
        stored = await _all(stream)

        assert stored == told
        assert (Status.FAILED, "why") == reader.end
        assert told[-1].cursor == reader.cursor


async def test_it_gets_nothing_that_is_not_stored() -> None:
    """And waits no longer than for that."""
    store = Stalls(MemoryStore())
    async with Hub(store) as hub:
        stream, _ = await hub.register("s")
        reader = OwnReader(stream.production("read").producer)
        await stream.publish("a")
        taking = asyncio.ensure_future(reader.take())
        await within(store.stalled.wait())
        await asyncio.sleep(0.01)
        early = taking.done()
        store.resume.set()
        told = await within(taking)

    assert (False, ["a"]) == (early, [chunk.data for chunk in told])


async def test_it_has_its_turn_before_the_next_round() -> None:
    """What it was given is with its client before the writer makes more ready."""
    happened: list[str] = []

    class Tells(Stalls):
        def write(self, ops: Sequence[WriteOp]) -> Any:
            # As a store that sends what is to be written right away.
            happened.append("written")
            return super().write(ops)

    store = Tells(MemoryStore())
    async with Hub(store) as hub:
        stream, _ = await hub.register("s")
        reader = OwnReader(stream.production("read").producer)

        async def read() -> None:
            await reader.take()
            happened.append("told")

        reading = asyncio.ensure_future(read())
        await stream.publish("a")
        await within(store.stalled.wait())
        await stream.publish("b")
        # Long enough for the next round to be due.
        await asyncio.sleep(0.01)
        store.resume.set()
        await within(reading)
        await stream.flush()

    assert ["written", "told", "written"] == happened[:3]


@pytest.mark.parametrize(
    ("size", "kept"), [(100, ["x" * 100, "y" * 100]), (200 * 1024, list[str]())]
)
async def test_one_that_is_behind_at_the_end(size: int, kept: list[str]) -> None:
    """Is given a little more, and else is to ask the store."""
    async with Hub() as hub:
        stream, _ = await hub.register("s")
        reader = OwnReader(stream.production("read").producer)
        for letter in "xy":
            await stream.publish(letter * size)
        await stream.close()
        told = await within(reader.take())

        assert kept == [chunk.data for chunk in told]
        assert ((Status.FINISHED, "") if kept else None) == reader.end
        assert [] == await within(reader.take())


async def test_an_end_that_is_not_known_here() -> None:
    """Somebody has removed the session: what that means, the store says."""
    async with Hub() as hub:
        stream, _ = await hub.register("s")
        reader = OwnReader(stream.production("read").producer)
        await stream.publish("a")
        told = await within(reader.take())
        await hub.remove("s")
        await stream.publish("b")
        rest = await within(reader.take())

    assert (["a"], [], None) == ([chunk.data for chunk in told], rest, reader.end)


async def test_a_renewal_that_tells_of_the_end_before_the_last_write_is_answered() -> None:
    """The answer says what was stored: nothing is left out, and who waits for it is told so."""
    store = LateAnswers()
    async with Hub(store) as hub:
        stream, _ = await hub.register("s")
        producer = stream.production("renew").producer
        reader = OwnReader(stream.production("read").producer)
        await stream.publish("a")
        await within(store.wrote.wait())
        # Both of these wait for the answer, and are written together.
        await stream.publish("b")
        waiting = asyncio.gather(stream.flush(), stream.close())
        await asyncio.sleep(0)
        assert not producer.open
        store.answers.set()
        told = await within(reader.take())
        await within(store.ended.wait())
        renewal = producer.next_renewal()
        [over] = await store.renew([renewal])
        producer.apply(renewal, over)
        store.answers_end.set()
        told += await within(reader.take())
        known = reader.end
        await within(waiting)

    assert isinstance(over, Over)
    assert (["a", "b"], (Status.FINISHED, "")) == ([chunk.data for chunk in told], known)


class LateAnswers(MemoryStore):
    """Does all writes at once, and answers when it may: all but the end, and the end."""

    def __init__(self) -> None:
        super().__init__()
        self.wrote, self.answers = asyncio.Event(), asyncio.Event()
        self.ended, self.answers_end = asyncio.Event(), asyncio.Event()

    async def write(self, ops: Sequence[WriteOp]) -> Any:
        answers = await super().write(ops)
        ends = any(isinstance(op, Finish) for op in ops)
        (self.ended if ends else self.wrote).set()
        await (self.answers_end if ends else self.answers).wait()
        return answers


async def test_a_store_that_was_away() -> None:
    """Is waited for; nothing comes twice."""
    store = Fails(MemoryStore())
    async with Hub(store) as hub:
        stream, _ = await hub.register("s")
        reader = OwnReader(stream.production("read").producer)
        await stream.publish("a")
        told = await within(reader.take())
        store.failing = True
        await stream.publish("b")
        await within(store.failed.wait())
        store.failing = False
        told += await within(reader.take())

    assert ["a", "b"] == [chunk.data for chunk in told]


async def test_one_that_is_closed_costs_nothing() -> None:
    """Nobody is told any more."""
    async with Hub() as hub:
        stream, _ = await hub.register("s")
        reader = OwnReader(stream.production("read").producer)
        reader.close()
        await stream.publish("a")
        await stream.close()

        assert ([], None) == (await within(reader.take()), reader.end)


async def _all(stream: LiveStream) -> list[Chunk]:
    chunks: list[Chunk] = []
    with suppress(ProducerFailed):
        async for chunk in stream.subscribe():
            chunks.append(chunk)
    return chunks
