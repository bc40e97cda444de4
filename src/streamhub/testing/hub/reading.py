"""G3: a subscriber gets every chunk after its cursor, once, in order, then the end."""

from __future__ import annotations

import asyncio

import pytest

from ...chunks import Chunk, Cursor, Status
from ...config import HubConfig
from ...hub import Hub
from ...stores.base import Appended, Claimed, Ended, LiveEvent
from ...stream import LiveStream
from ..faults import LosesEvents
from ..store.writes import ODD_TEXTS
from ..waiting import bounded, within
from .stage import Hubs, Stage, drain, joined, produce, reader

__all__ = ["ReadingTests"]


class ReadingTests(Stage):
    @pytest.mark.parametrize("buffer", [1, 256])
    @pytest.mark.parametrize("pending", [1_000, 1_000_000])
    async def test_g3_a_slow_subscriber_misses_nothing(
        self, hubs: Hubs, session: str, buffer: int, pending: int
    ) -> None:
        """Of 5,000 chunks at full speed each subscriber gets 5,000: the fast one, the slow one,
        and the one that reads nothing before all is written; here and elsewhere."""
        config = HubConfig(lease=300.0, max_pending_bytes=pending)
        hub, elsewhere = hubs.open(config), hubs.open(config)
        stream = await produce(hub, session)
        written = asyncio.Event()

        async def fast(stream: LiveStream) -> list[Chunk]:
            return [chunk async for chunk in stream.subscribe(buffer=buffer)]

        async def slow(stream: LiveStream) -> list[Chunk]:
            chunks: list[Chunk] = []
            async for chunk in stream.subscribe(buffer=buffer):
                chunks.append(chunk)
                if len(chunks) % 10 == 0:
                    await asyncio.sleep(0.0002)
            return chunks

        async def late(stream: LiveStream) -> list[Chunk]:
            chunks: list[Chunk] = []
            async for chunk in stream.subscribe(buffer=buffer):
                chunks.append(chunk)
                if len(chunks) == 10:
                    await written.wait()
            return chunks

        readers = [
            asyncio.create_task(read(handle))
            for handle in (stream, await reader(elsewhere, session))
            for read in (fast, slow, late)
        ]
        texts = [f"{n} " for n in range(5000)]
        async with bounded(60.0):
            for text in texts:
                await stream.publish(text)
            await stream.close()
        written.set()
        for chunks in await within(asyncio.gather(*readers), 60.0):
            assert texts == [chunk.data for chunk in chunks]
            assert list(range(1, 5001)) == [chunk.cursor.offset for chunk in chunks]

    async def test_g3_a_subscriber_gets_all_whenever_it_comes(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """Who comes before the first chunk, in the middle or after the end reads the same."""
        stream = await produce(hub, session)
        other = await reader(elsewhere, session)
        readers = []
        expected = ""
        for n in range(20):
            readers.append(asyncio.create_task(drain((stream, other)[n % 2].subscribe())))
            await stream.publish(f"{n} ")
            expected += f"{n} "
            await within(stream.flush())
        await within(stream.close())
        readers.append(asyncio.create_task(drain(other.subscribe())))
        assert {expected} == {joined(chunks) for chunks in await asyncio.gather(*readers)}

    async def test_g3_any_text_arrives_as_published(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """Data and event types come through unchanged, live and from the log."""
        stream = await produce(hub, session)
        other = await reader(elsewhere, session)
        live = asyncio.create_task(drain(other.subscribe()))
        published = [(text, event) for text in ODD_TEXTS for event in (None, "tool:ä")]
        cursors = [await stream.publish(text, event=event) for text, event in published]
        await within(stream.close())
        expected = [
            Chunk(text, cursor, event)
            for (text, event), cursor in zip(published, cursors, strict=True)
        ]
        assert expected == await live
        assert expected == await drain(other.subscribe())

    @pytest.mark.parametrize("ended", [True, False])
    async def test_g3_a_reader_resumes_at_every_cursor(
        self, hub: Hub, elsewhere: Hub, session: str, ended: bool
    ) -> None:
        """After any chunk, and after none, a reader gets exactly the rest."""
        texts = [f"{n} " for n in range(12)]
        stream = await produce(hub, session, texts)
        if ended:
            await within(stream.close())
        epoch = (await stream.info()).last.term
        other = await reader(elsewhere, session)
        readers = [
            asyncio.create_task(drain(other.subscribe(after=after)))
            for offset in range(13)
            for after in (Cursor(epoch, offset), f"{epoch}-{offset}")
        ]
        if not ended:
            await stream.publish("end")
            texts.append("end")
            await within(stream.close())
        for n, chunks in enumerate(await asyncio.gather(*readers)):
            assert texts[n // 2 :] == [chunk.data for chunk in chunks]

    async def test_g3_a_subscriber_that_goes_resumes_where_it_stood(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """A subscription tells its cursor, and another goes on from there on any instance."""
        stream = await produce(hub, session, ["a", "b", "c"])
        async with stream.subscribe() as subscription:
            assert None is subscription.cursor
            chunk = await within(anext(subscription))
            assert chunk.cursor == subscription.cursor
            assert Status.ACTIVE is subscription.status
        await stream.publish("d")
        await within(stream.close())
        other = await reader(elsewhere, session)
        resumed = other.subscribe(after=subscription.cursor)
        assert "bcd" == joined(await drain(resumed))
        assert Status.FINISHED is resumed.status

    async def test_g3_now_reads_the_tail_only(self, hub: Hub, elsewhere: Hub, session: str) -> None:
        """A subscriber from now on gets what is published after it came, and nothing before."""
        stream = await produce(hub, session, ["old"] * 5)
        tail = asyncio.create_task(drain((await reader(elsewhere, session)).subscribe(after="now")))
        own = stream.subscribe(after="now")
        first = asyncio.create_task(within(anext(own)))
        while not first.done():
            await stream.publish("new")
            await within(stream.flush())
        await within(stream.close())
        assert {"new"} == {chunk.data for chunk in [first.result(), *await drain(own)]}
        assert {"new"} >= {chunk.data for chunk in await tail}

    async def test_g3_a_batch_replay_joins_what_is_stored(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """What is stored comes as one chunk under its last cursor, chunks with an event type
        single and in their place, and what comes later as published."""
        stream = await produce(hub, session, ["a", "b"])
        tool = await stream.publish('{"x":1}', event="tool")
        more = await stream.publish('{"x":2}', event="tool")
        await stream.publish("c")
        last = await stream.publish("d")
        await within(stream.flush())
        epoch = last.term
        subscription = (await reader(elsewhere, session)).subscribe(batch_replay=True)
        replay = [await within(anext(subscription)) for _ in range(4)]
        assert [
            Chunk("ab", Cursor(epoch, 2)),
            Chunk('{"x":1}', tool, "tool"),
            Chunk('{"x":2}', more, "tool"),
            Chunk("cd", last),
        ] == replay
        cursors = [await stream.publish(text) for text in ("e", "f")]
        await within(stream.close())
        assert [Chunk("e", cursors[0]), Chunk("f", cursors[1])] == await drain(subscription)

    async def test_g3_a_batch_replay_begins_after_its_cursor(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """A resumed batch holds the rest only."""
        stream = await produce(hub, session, [f"{n} " for n in range(3000)])
        await within(stream.close())
        epoch = (await stream.info()).last.term
        subscription = (await reader(elsewhere, session)).subscribe(
            after=Cursor(epoch, 10), batch_replay=True
        )
        expected = "".join(f"{n} " for n in range(10, 3000))
        assert [Chunk(expected, Cursor(epoch, 3000))] == await drain(subscription)

    async def test_g3_a_long_batch_replay_is_whole(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """However the log is divided on its way, rows end at chunks with an event type only."""
        texts = [f"{n} " for n in range(5000)]
        events = (2047, 2048, 4000)
        stream, _ = await hub.register(session)
        for n, text in enumerate(texts):
            await stream.publish(text, event="tool" if n in events else None)
        await within(stream.close())
        replay = await drain((await reader(elsewhere, session)).subscribe(batch_replay=True))
        assert [
            ("".join(texts[:2047]), None),
            (texts[2047], "tool"),
            (texts[2048], "tool"),
            ("".join(texts[2049:4000]), None),
            (texts[4000], "tool"),
            ("".join(texts[4001:]), None),
        ] == [(chunk.data, chunk.event) for chunk in replay]

    async def test_g3_sessions_are_not_mixed(self, hub: Hub, elsewhere: Hub, session: str) -> None:
        """Many streams at the same time each hold their own chunks only."""

        async def talk(n: int) -> str:
            stream = await produce((hub, elsewhere)[n % 2], f"{session}:{n}")
            other = await (elsewhere, hub)[n % 2].get(f"{session}:{n}")
            assert other is not None
            reading = asyncio.create_task(drain(other.subscribe()))
            for _ in range(50):
                await stream.publish(f"{n} ")
            await within(stream.close())
            return joined(await reading)

        texts = await asyncio.gather(*(talk(n) for n in range(20)))
        assert [f"{n} " * 50 for n in range(20)] == texts

    async def test_g3_the_log_makes_up_for_lost_messages(self, hubs: Hubs, session: str) -> None:
        """A subscriber that misses two of three live messages still misses no chunk."""
        count = 0

        def lost(event: LiveEvent) -> bool:
            nonlocal count
            count += 1
            return isinstance(event, Appended | Ended | Claimed) and count % 3 != 0

        config = HubConfig(lease=1.0)
        hub = hubs.open(config)
        elsewhere = hubs.open(config, through=lambda store: LosesEvents(store, lost))
        stream = await produce(hub, session)
        reading = asyncio.create_task(drain((await reader(elsewhere, session)).subscribe()))
        texts = [f"{n} " for n in range(40)]
        for text in texts:
            await stream.publish(text)
            await within(stream.flush())
        await within(stream.close())
        assert texts == [chunk.data for chunk in await reading]
