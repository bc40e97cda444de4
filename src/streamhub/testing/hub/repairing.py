"""G7: a stream survives the loss of the store's data while its producer lives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ...chunks import Chunk, Cursor, Status
from ...config import HubConfig
from ...errors import CursorExpired, ProducerFenced
from ...hub import Hub
from ...stores.base import Granted, HasHoles, Restore, Store
from ...stream import LiveStream
from ..backend import Backend
from ..store.steps import append, attempt, claim, look, lose, texts, write
from ..waiting import until, within
from .stage import Hubs, Stage, drain, joined, produce, reader, stall, until_error

__all__ = ["DamageTests", "RollbackTests", "WipeTests"]

#: Renews several times a second, so that a loss is noticed without a write, too.
BRISK = HubConfig(lease=1.0, retention=60.0)


async def _publish(stream: LiveStream) -> None:
    await stream.publish("end")
    await stream.flush()


NEXT: dict[str, Callable[[LiveStream], Awaitable[object]]] = {
    "publish": _publish,
    "metadata": lambda stream: stream.set_metadata({"n": 2}),
    "close": lambda stream: stream.close(),
}


class WipeTests(Stage):
    """For backends with ``wipe``."""

    @pytest.mark.parametrize("next_write", NEXT.values(), ids=NEXT)
    async def test_g7_whatever_comes_next_puts_back_what_was_lost(
        self,
        backend: Backend,
        hub: Hub,
        elsewhere: Hub,
        session: str,
        next_write: Callable[[LiveStream], Awaitable[object]],
    ) -> None:
        """After the loss of all data the next write brings back the session as it was: the same
        cursors, owner and metadata."""
        stream, _ = await hub.register(session, owner="me", metadata={"n": 1})
        cursors = [await stream.publish(f"{n} ") for n in range(700)]
        await stream.publish("{}", event="tool")
        await within(stream.flush())
        await within(stream.set_metadata({"n": 2}))
        before = await stream.info()
        await backend.wipe()
        await within(next_write(stream))
        other = await reader(elsewhere, session)
        await until(lambda: _reaches(other, 701))
        await within(stream.close())
        info = await other.info()
        assert ("me", {"n": 2}, Status.FINISHED) == (info.owner, info.metadata, info.status)
        assert (before.epoch, before.created, before.generation) == (
            info.epoch,
            info.created,
            info.generation,
        )
        chunks = await drain(other.subscribe())
        assert cursors == [chunk.cursor for chunk in chunks[:700]]
        assert [f"{n} " for n in range(700)] == [chunk.data for chunk in chunks[:700]]
        assert ("{}", "tool") == (chunks[700].data, chunks[700].event)

    async def test_g7_an_idle_producer_repairs_by_itself(
        self, backend: Backend, hubs: Hubs, elsewhere: Hub, session: str
    ) -> None:
        """A producer that publishes nothing notices the loss with its renewal."""
        stream = await produce(hubs.open(BRISK), session, ["a", "b"])
        await backend.wipe()
        other = await within(elsewhere.get(session, wait=20))
        assert other is not None
        await until(lambda: _reaches(other, 2))
        assert "ab" == await other.text()
        await within(stream.close())

    async def test_g7_open_subscribers_read_on(
        self, backend: Backend, hubs: Hubs, session: str
    ) -> None:
        """Readers on every instance, however far they are, get one unbroken row of chunks over
        several losses."""
        hub, elsewhere = hubs.open(BRISK), hubs.open(BRISK)
        stream = await produce(hub, session, [f"{n} " for n in range(20)])
        handles = [stream, await reader(elsewhere, session)]
        ahead = [handle.subscribe() for handle in handles]
        behind = [handle.subscribe(buffer=1) for handle in handles]
        heads = [[await within(anext(each)) for _ in range(20)] for each in ahead]
        starts = [[await within(anext(each))] for each in behind]
        reading = [asyncio.create_task(drain(each)) for each in ahead]
        for n in range(20, 80, 20):
            await backend.wipe()
            for m in range(n, n + 20):
                await stream.publish(f"{m} ")
            await within(stream.flush())
        await within(stream.close())
        texts = [f"{n} " for n in range(80)]
        rows: list[list[Chunk]] = [await drain(handles[1].subscribe())]
        for head, task in zip(heads, reading, strict=True):
            rows.append([*head, *await task])
        for start, each in zip(starts, behind, strict=True):
            rows.append([*start, *await drain(each)])
        for chunks in rows:
            assert texts == [chunk.data for chunk in chunks]
            assert [*range(1, 81)] == [chunk.cursor.offset for chunk in chunks]

    async def test_g7_a_loss_while_chunks_are_on_their_way_leaves_no_hole(
        self, backend: Backend, hubs: Hubs, elsewhere: Hub, session: str
    ) -> None:
        """Data that is lost at full speed is put back, too."""
        stream = await produce(hubs.open(BRISK), session)
        texts = [f"{n} " for n in range(3000)]
        for n, text in enumerate(texts):
            if n % 1000 == 500:
                await backend.wipe()
            await within(stream.publish(text))
        await within(stream.close())
        chunks = await drain((await reader(elsewhere, session)).subscribe())
        assert texts == [chunk.data for chunk in chunks]

    async def test_g7_a_producer_gives_way_to_whoever_claimed_after_the_loss(
        self, backend: Backend, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """A repair never pushes out another producer."""
        stale = await produce(hub, session, ["a"])
        await backend.wipe()
        owner = await produce(elsewhere, session, ["x"])
        with pytest.raises(ProducerFenced) as caught:
            await within(_publish(stale))
        assert owner.generation == caught.value.current
        await within(owner.close())
        assert "x" == joined(await drain(owner.subscribe()))

    async def test_g7_a_continued_stream_is_put_back_whole(
        self, backend: Backend, hub: Hub, elsewhere: Hub, store: Store, session: str
    ) -> None:
        """Who continued a stream keeps what it found there, and puts that back as well."""
        await produce(hub, session, ["a", "b"])
        await stall(store, session)
        stream, created = await elsewhere.register(session, takeover="continue")
        assert created
        await stream.publish("c")
        await within(stream.flush())
        await backend.wipe()
        await stream.publish("d")
        await within(stream.close())
        chunks = await drain(stream.subscribe())
        assert "abcd" == joined(chunks)
        assert [1, 2, 3, 4] == [chunk.cursor.offset for chunk in chunks]


class RollbackTests(Stage):
    """For backends with ``snapshot``."""

    async def test_g7_the_newest_chunks_are_put_back(
        self, backend: Backend, hubs: Hubs, session: str
    ) -> None:
        """A failover that lost the newest writes leaves no hole and no double, and subscribers
        read on."""
        hub, elsewhere = hubs.open(BRISK), hubs.open(BRISK)
        stream = await produce(hub, session, ["a", "b"])
        roll_back = await backend.snapshot()
        await stream.publish("c")
        await stream.publish("d")
        await within(stream.flush())
        subscription = (await reader(elsewhere, session)).subscribe()
        head = [await within(anext(subscription)) for _ in range(4)]
        await roll_back()
        await stream.publish("e")
        await within(stream.close())
        chunks = [*head, *await drain(subscription)]
        assert "abcde" == joined(chunks)
        assert [1, 2, 3, 4, 5] == [chunk.cursor.offset for chunk in chunks]
        assert "abcde" == await stream.text()

    async def test_g7_an_idle_producer_puts_back_the_newest_chunks(
        self, backend: Backend, hubs: Hubs, session: str
    ) -> None:
        """A producer that publishes nothing notices the loss with its renewal."""
        stream = await produce(hubs.open(BRISK), session, ["a"])
        roll_back = await backend.snapshot()
        await stream.publish("b")
        await within(stream.flush())
        await roll_back()
        await until(lambda: _reaches(stream, 2))
        assert "ab" == await stream.text()
        await within(stream.close())

    async def test_g7_a_lost_claim_is_put_back(
        self, backend: Backend, hub: Hub, elsewhere: Hub, store: Store, session: str
    ) -> None:
        """A failover that lost a continue finds the old generation, and the new one replaces it
        again with all its chunks."""
        old = await produce(hub, session, ["a"])
        await stall(store, session)
        roll_back = await backend.snapshot()
        stream, created = await elsewhere.register(session, takeover="continue")
        assert created
        await stream.publish("b")
        await within(stream.flush())
        await roll_back()
        await stream.publish("c")
        await within(stream.flush())
        assert stream.generation == (await stream.info()).generation
        with pytest.raises(ProducerFenced):
            await within(_publish(old))
        await within(stream.close())
        assert "abc" == joined(await drain(stream.subscribe()))

    async def test_g7_a_lost_end_is_stored_again_or_shows(
        self, backend: Backend, hubs: Hubs, session: str
    ) -> None:
        """A stream whose end was lost is never taken for one that still grows for ever: its lease
        lapses."""
        hub = hubs.open(BRISK)
        stream = await produce(hub, session, ["a"])
        roll_back = await backend.snapshot()
        await within(stream.close())
        await roll_back()
        await backend.advance(BRISK.lease)
        assert Status.LOST is await within(stream.wait())


class DamageTests(Stage):
    """For backends with ``drop_chunk``."""

    async def test_a_continue_of_a_damaged_log_begins_a_new_epoch(
        self, backend: Backend, store: Store, session: str
    ) -> None:
        """A log that is not whole is not continued."""
        first = await claim(store, session)
        await append(store, first, ["a", "b", "c"])
        await lose(store, first, last=3)
        await backend.drop_chunk(session, 2)
        answer = await attempt(store, session, takeover="continue")
        assert isinstance(answer, Granted)
        second = answer.claim
        assert first.epoch != second.epoch
        assert (0, 0) == (second.base, answer.bytes)
        assert [] == await texts(store, second)

    async def test_a_log_that_lost_its_newest_chunk_is_not_written_over(
        self, backend: Backend, store: Store, session: str
    ) -> None:
        """The next append stores nothing; a restore keeps what is whole, and says how far."""
        claimed = await claim(store, session)
        await append(store, claimed, ["a", "b", "c"])
        await backend.drop_chunk(session, 3)
        assert HasHoles() == await append(store, claimed, ["d"], after=["a", "b", "c"])
        await write(store, Restore(claimed, metadata=None))
        kept = (await look(store, session)).last.offset
        assert ["a", "b"][:kept] == await texts(store, claimed)
        items = ["a", "b", "c", "d"]
        await append(store, claimed, items[kept:], after=items[:kept])
        assert items == await texts(store, claimed)

    @pytest.mark.parametrize("offset", [1, 2, 3])
    async def test_g4_chunks_that_are_gone_raise(
        self, backend: Backend, hub: Hub, elsewhere: Hub, session: str, offset: int
    ) -> None:
        """A reader that comes to a hole gets all before it and then an error, never the rest."""
        stream = await produce(hub, session, ["a", "b", "c"])
        await within(stream.close())
        epoch = (await stream.info()).last.term
        await backend.drop_chunk(session, offset)
        subscription = (await reader(elsewhere, session)).subscribe()
        chunks, error = await until_error(subscription, CursorExpired)
        assert "abc"[: offset - 1] == joined(chunks)
        assert Cursor(epoch, offset - 1) == error.cursor


async def _reaches(stream: LiveStream, offset: int) -> bool:
    return (await stream.info()).last.offset >= offset
