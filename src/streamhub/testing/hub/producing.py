"""G1, G2, G5, G6, G10: what a producer may rely on, and what it cannot do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from ...chunks import Status
from ...config import HubConfig
from ...errors import (
    ChunkTooLarge,
    NotProducer,
    ProducerFailed,
    ProducerFenced,
    StreamClosed,
    StreamTooLarge,
)
from ...hub import Hub
from ...stores.base import Store, Takeover
from ...stream import LiveStream
from ..faults import LosesAnswers, Stalls
from ..waiting import within
from .stage import Hubs, Stage, crash, drain, joined, produce, reader, stall

__all__ = ["ProducingTests"]


class _Word(str):
    """As libraries have them for markup, say."""

    __slots__ = ()


async def _publish(stream: LiveStream) -> None:
    await stream.publish("stale")
    await stream.flush()


async def _enter(stream: LiveStream) -> None:
    async with stream:
        pass


WRITES: dict[str, Callable[[LiveStream], Awaitable[object]]] = {
    "publish": _publish,
    "metadata": lambda stream: stream.set_metadata("stale"),
    "close": lambda stream: stream.close(),
    "fail": lambda stream: stream.fail("stale"),
    "block": _enter,
}
every_write: pytest.MarkDecorator = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)


class ProducingTests(Stage):
    async def test_g1_of_many_who_register_at_once_one_produces(
        self, hubs: Hubs, session: str
    ) -> None:
        """Whatever instances try at the same time, one gets the session and all others read."""
        opened = [hubs.open() for _ in range(3)]
        answers = await asyncio.gather(*(opened[n % 3].register(session) for n in range(12)))
        winners = [stream for stream, created in answers if created]
        losers = [stream for stream, created in answers if not created]
        assert (1, 11) == (len(winners), len(losers))
        assert {None} == {stream.generation for stream in losers}
        await winners[0].publish("a")
        await winners[0].close()
        for stream in losers:
            assert "a" == joined(await drain(stream.subscribe()))

    async def test_g1_of_many_runs_at_once_one_draws_from_its_source(
        self, hubs: Hubs, session: str
    ) -> None:
        """A session that many instances run at the same time is produced once."""
        drawn: list[int] = []

        async def source(number: int) -> AsyncIterator[str]:
            drawn.append(number)
            yield "a"

        opened = [hubs.open() for _ in range(3)]
        streams = await asyncio.gather(
            *(opened[n % 3].run(session, source(n), takeover="continue") for n in range(9))
        )
        for stream in streams:
            assert "a" == joined(await drain(stream.subscribe()))
        assert 1 == len(drawn)

    @every_write
    async def test_g1_a_reader_cannot_write(
        self,
        hub: Hub,
        elsewhere: Hub,
        session: str,
        write: Callable[[LiveStream], Awaitable[object]],
    ) -> None:
        """A handle that does not own the session refuses every write, and changes nothing."""
        owner = await produce(hub, session, ["a"])
        refused, created = await elsewhere.register(session)
        assert not created
        for stream in (refused, await reader(elsewhere, session)):
            with pytest.raises(NotProducer) as caught:
                await write(stream)
            assert session == caught.value.session_id
        assert Status.ACTIVE is (await owner.info()).status
        assert "a" == await owner.text()

    @every_write
    @pytest.mark.parametrize("takeover", ["restart", "continue"])
    async def test_g2_a_stale_generation_can_write_nothing(
        self,
        hub: Hub,
        elsewhere: Hub,
        store: Store,
        session: str,
        write: Callable[[LiveStream], Awaitable[object]],
        takeover: Takeover,
    ) -> None:
        """A producer that stalled and was replaced is told so, and leaves no trace."""
        stale = await produce(hub, session, ["a"])
        await stall(store, session)
        owner, created = await elsewhere.register(session, takeover=takeover, metadata="owned")
        assert created
        with pytest.raises(ProducerFenced) as caught:
            await within(write(stale))
        assert (session, stale.generation) == (caught.value.session_id, caught.value.generation)
        assert owner.generation == caught.value.current
        info = await owner.info()
        assert (Status.ACTIVE, owner.generation) == (info.status, info.generation)
        assert "owned" == info.metadata
        await owner.publish("b")
        await owner.close()
        expected = "b" if takeover == "restart" else "ab"
        assert expected == joined(await drain(owner.subscribe()))

    @every_write
    async def test_g2_the_producer_of_a_removed_session_can_write_nothing(
        self,
        hub: Hub,
        elsewhere: Hub,
        session: str,
        write: Callable[[LiveStream], Awaitable[object]],
    ) -> None:
        """A removal fences the producer, and nothing that it does brings the session back."""
        stale = await produce(hub, session, ["a"])
        assert await elsewhere.remove(session)
        with pytest.raises(ProducerFenced) as caught:
            await within(write(stale))
        assert None is caught.value.current
        assert None is await elsewhere.get(session)

    @every_write
    async def test_g2_a_fenced_producer_stays_fenced(
        self,
        hub: Hub,
        elsewhere: Hub,
        session: str,
        write: Callable[[LiveStream], Awaitable[object]],
    ) -> None:
        """Every call after the first refusal is refused, too."""
        stale = await produce(hub, session, ["a"])
        await elsewhere.remove(session)
        await elsewhere.register(session)
        for _ in range(3):
            with pytest.raises(ProducerFenced):
                await within(_publish(stale))
        with pytest.raises(ProducerFenced):
            await within(write(stale))

    async def test_g2_the_source_of_a_fenced_run_is_stopped(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """Nobody pays for an answer that cannot be stored any more."""
        running, cleaned = asyncio.Event(), asyncio.Event()

        async def source() -> AsyncIterator[str]:
            try:
                yield "a"
                running.set()
                await asyncio.Event().wait()
            finally:
                cleaned.set()

        await hub.run(session, source())
        await within(running.wait())
        await elsewhere.remove(session)
        await within(cleaned.wait())

    async def test_text_of_a_subclass_is_text(self, hub: Hub, session: str) -> None:
        """It is stored as the text that it is, and streams that are written with it go on."""
        streams = [await produce(hub, f"{session}:{n}") for n in range(2)]
        await streams[0].publish(_Word("oui"), event=_Word("oui"))
        await streams[1].publish("yes")
        for stream in streams:
            await within(stream.close())
        (chunk,) = await drain(streams[0].subscribe())
        assert ("oui", str, "oui", str) == (
            *(chunk.data, type(chunk.data)),
            *(chunk.event, type(chunk.event)),
        )
        assert "yes" == await streams[1].text()

    async def test_g5_after_flush_everything_is_in_the_store(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """What was published before a flush is read by every instance after it."""
        stream = await produce(hub, session)
        other = await reader(elsewhere, session)
        expected = ""
        for n in range(5):
            for _ in range(100):
                await stream.publish(f"{n} ")
                expected += f"{n} "
            await within(stream.flush())
            assert expected == await other.text()

    async def test_g5_close_stores_what_is_pending(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """A stream that was closed holds all that was published, and takes nothing more."""
        stream = await produce(hub, session)
        for _ in range(1000):
            await stream.publish("x")
        await within(stream.close())
        info = await (await reader(elsewhere, session)).info()
        assert (Status.FINISHED, 1000) == (info.status, info.last.offset)
        await within(stream.close())
        with pytest.raises(StreamClosed) as caught:
            await stream.publish("y")
        assert Status.FINISHED is caught.value.status

    async def test_g5_publish_returns_the_cursor_under_which_the_chunk_is_read(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """Publishers at the same time get different cursors, without a hole between them."""
        stream = await produce(hub, session)
        texts = [str(n) for n in range(300)]
        cursors = await within(asyncio.gather(*(stream.publish(text) for text in texts)))
        await within(stream.close())
        chunks = await drain((await reader(elsewhere, session)).subscribe())
        assert dict(zip(cursors, texts, strict=True)) == {c.cursor: c.data for c in chunks}
        assert list(range(1, 301)) == [chunk.cursor.offset for chunk in chunks]

    async def test_g5_a_full_queue_makes_publish_wait_and_drops_nothing(
        self, hubs: Hubs, elsewhere: Hub, session: str
    ) -> None:
        """However little may be pending, everything arrives; a chunk over that limit does, too."""
        hub = hubs.open(HubConfig(lease=300.0, max_pending_bytes=10))
        stream = await produce(hub, session)
        texts = ["x" * (n % 40) for n in range(200)]
        for text in texts:
            await within(stream.publish(text))
        await within(stream.close())
        chunks = await drain((await reader(elsewhere, session)).subscribe())
        assert texts == [chunk.data for chunk in chunks]

    async def test_g5_a_chunk_over_the_limit_is_refused_alone(
        self, hubs: Hubs, elsewhere: Hub, session: str
    ) -> None:
        """A chunk that is too large is not stored; those before and after it are."""
        hub = hubs.open(HubConfig(lease=300.0, max_chunk_bytes=4))
        stream = await produce(hub, session, ["ab"])
        with pytest.raises(ChunkTooLarge) as caught:
            await stream.publish("äää")
        assert (session, 6, 4) == (caught.value.session_id, caught.value.size, caught.value.limit)
        await stream.publish("cd")
        await within(stream.close())
        assert "abcd" == await (await reader(elsewhere, session)).text()

    async def test_g5_what_raises_in_the_block_is_what_subscribers_hear(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """A block that raises stores what was published and fails the stream with the error."""
        stream = await produce(hub, session)

        async def body() -> None:
            async with stream:
                await stream.publish("a")
                raise ValueError("it broke")

        with pytest.raises(ValueError, match="it broke"):
            await within(body())
        subscription = (await reader(elsewhere, session)).subscribe()
        assert "a" == (await within(anext(subscription))).data
        with pytest.raises(ProducerFailed) as caught:
            await within(anext(subscription))
        assert (session, "ValueError: it broke") == (caught.value.session_id, caught.value.error)

    async def test_g6_a_write_whose_answer_was_lost_takes_effect_once(
        self, hubs: Hubs, elsewhere: Hub, session: str
    ) -> None:
        """However often the store's answers get lost, no chunk is missing and none is doubled."""
        hub = hubs.open(through=LosesAnswers)
        stream = await produce(hub, session)
        live = asyncio.create_task(drain((await reader(elsewhere, session)).subscribe()))
        texts = [f"{n} " for n in range(60)]
        for n, text in enumerate(texts):
            await stream.publish(text)
            if n % 10 == 0:
                await within(stream.flush())
        await within(stream.set_metadata({"n": 1}))
        await within(stream.close())
        assert texts == [chunk.data for chunk in await live]
        info = await (await reader(elsewhere, session)).info()
        assert (Status.FINISHED, 60, {"n": 1}) == (info.status, info.last.offset, info.metadata)

    async def test_g10_no_more_than_the_limit_waits_to_be_stored(
        self, hubs: Hubs, store: Store, session: str
    ) -> None:
        """While the store does not take writes, publish waits, and it goes on afterwards."""
        stalling: list[Stalls] = []

        def through(store: Store) -> Store:
            stalling.append(Stalls(store))
            return stalling[0]

        hub = hubs.open(HubConfig(lease=300.0, max_pending_bytes=100), through=through)
        stream, _ = await hub.register(session)
        accepted = 0

        async def publish() -> None:
            nonlocal accepted
            for _ in range(50):
                await stream.publish("x" * 10)
                accepted += 1

        publishing = asyncio.create_task(publish())
        await within(stalling[0].stalled.wait())
        for _ in range(100):
            await asyncio.sleep(0)
        assert 10 == accepted
        stalling[0].resume.set()
        await within(publishing)
        await within(stream.flush())
        assert "x" * 500 == await stream.text()

    async def test_g10_a_stream_does_not_grow_over_its_limit(
        self, hubs: Hubs, elsewhere: Hub, session: str
    ) -> None:
        """A chunk that would be too much is refused, and what was stored stays."""
        hub = hubs.open(HubConfig(lease=300.0, max_stream_bytes=10))
        stream = await produce(hub, session, ["12345", "", "789"])
        with pytest.raises(StreamTooLarge) as caught:
            await stream.publish("12")
        assert (session, 11, 10) == (caught.value.session_id, caught.value.size, caught.value.limit)
        await stream.publish("0")
        await within(stream.close())
        assert "123457890" == await (await reader(elsewhere, session)).text()

    async def test_g10_a_continued_stream_counts_what_it_found(
        self, hubs: Hubs, store: Store, session: str
    ) -> None:
        """The limit is the epoch's, whoever wrote into it."""
        await crash(store, session, ["12345"])
        await stall(store, session)
        hub = hubs.open(HubConfig(lease=300.0, max_stream_bytes=10))
        stream, created = await hub.register(session, takeover="continue")
        assert created
        with pytest.raises(StreamTooLarge):
            await stream.publish("123456")
        await stream.publish("67890")
        await within(stream.close())
        assert "1234567890" == await stream.text()
