"""What is sent to a producer reaches it once, and is handled once, whoever dies in between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from ...chunks import Status, Terms
from ...config import HubConfig
from ...errors import (
    HubClosed,
    InboxFull,
    NotProducer,
    ProducerFenced,
    SessionNotFound,
    StreamClosed,
)
from ...hub import Hub
from ...producing.receiving import Message
from ...stores.base import Claim, InboxPage, MessageSent, Store, WriteOp, WriteResult
from ...stream import LiveStream
from ..backend import Backend
from ..faults import Fails, LosesAnswers, LosesEvents
from ..store.steps import look
from ..waiting import bounded, patience, unhurried, until, within
from .stage import Hubs, Stage, produce, reader, stall

__all__ = ["InboxRepairTests", "ReceivingTests"]

#: Looks around several times a second.
BRISK = HubConfig(lease=unhurried(0.6), retention=60.0)


class ReceivingTests(Stage):
    async def test_messages_arrive_once_and_in_order(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """Those that waited and those that come, by whichever handle, to whoever asks next; also
        to who has left the loop and comes back."""
        stream = await produce(hub, session)
        other = await reader(elsewhere, session)
        ids = [await other.send("a", "kind"), await stream.send("b")]
        first, second = await received(stream, 2)
        coming = asyncio.create_task(received(stream, 1))
        ids.append(await other.send("c"))
        (third,) = await within(coming)

        assert [("a", "kind"), ("b", None), ("c", None)] == [
            (one.data, one.event) for one in (first, second, third)
        ]
        assert ids == [first.id, second.id, third.id]

    async def test_what_is_not_done_comes_again(
        self, hubs: Hubs, elsewhere: Hub, session: str
    ) -> None:
        """To the generation that continues, in order, and nothing else; a restart gets nothing."""
        hub = hubs.open()
        stream = await produce(hub, session)
        other = await reader(elsewhere, session)
        for text in "abcd":
            await other.send(text)
        messages = await received(stream, 3)
        messages[1].done()
        messages[1].done()
        await within(hub.aclose())
        continued, _ = await elsewhere.register(session, takeover="continue")
        assert ["a", "c", "d"] == [one.data for one in await received(continued, 3)]
        await within(continued.close())
        again, _ = await hubs.open().register(session)
        await again.send("e")
        assert ["e"] == [one.data for one in await received(again, 1)]

    async def test_a_full_inbox_is_received_without_a_pause(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """However many messages waited: no news of them has to come first."""
        stream = await produce(hub, session)
        other = await reader(elsewhere, session)
        texts = [f"{n}" for n in range(150)]
        for text in texts:
            await other.send(text)
        assert texts == [one.data for one in await received(stream, 150)]

    @pytest.mark.parametrize("wait", ["flush", "next chunk", "next message", "a while", "nothing"])
    async def test_what_is_done_is_kept_as_soon_as_it_is_stored(
        self, hubs: Hubs, store: Store, elsewhere: Hub, session: str, wait: str
    ) -> None:
        """With a flush, the next chunk, who asks for another message, or after a while, be it that
        nobody asks for anything any more."""
        stream = await produce(hubs.open(BRISK), session, ["x"])
        other = await reader(elsewhere, session)
        await other.send("a")
        iterating = stream.inbox()
        message = await within(anext(iterating))
        asking = None
        if wait == "a while":
            asking = asyncio.create_task(anext(iterating))
            await asyncio.sleep(0)
        message.done()
        if wait == "nothing":
            await iterating.aclose()
        elif wait == "flush":
            await within(stream.flush())
        elif wait == "next chunk":
            await stream.publish("y")
        elif wait == "next message":
            asking = asyncio.create_task(anext(iterating))
        await until(lambda: _is_empty(store, stream))
        if asking is not None:
            await other.send("b")
            assert "b" == (await within(asking)).data

    async def test_done_and_the_next_chunk_are_one_step(self, hubs: Hubs, session: str) -> None:
        """However many writes fail or lose their answers: whoever continues finds either the chunk
        or the message, never both and never neither."""
        checked: list[_Checks] = []

        def through(store: Store) -> Store:
            checked.append(_Checks(store))
            return checked[0]

        stream, _ = await hubs.open(HubConfig(lease=30.0), through=through).register(session)
        other = await reader(hubs.open(), session)
        for n in range(12):
            await other.send(f"{n}")
        async with bounded():
            async for message in stream.inbox():
                message.done()
                await stream.publish(message.data)
                if int(message.data) % 3 == 0:
                    await stream.flush()
                if message.data == "11":
                    break
        await within(stream.close())

        assert [] == checked[0].wrong
        assert 12 == (await other.info()).chunks

    async def test_a_message_whose_chunk_was_not_stored_comes_again(
        self, hubs: Hubs, elsewhere: Hub, session: str
    ) -> None:
        """A producer that dies between done() and the chunk has handled nothing."""
        opened: list[Fails] = []

        def through(store: Store) -> Store:
            opened.append(Fails(store))
            return opened[0]

        stream = await produce(hubs.open(BRISK, through=through), session)
        other = await reader(elsewhere, session)
        await other.send("a")
        (message,) = await received(stream, 1)
        opened[0].failing = True
        message.done()
        await stream.publish("answer")
        await until(lambda: _is(other, Status.LOST))
        continued, created = await elsewhere.register(session, takeover="continue")
        opened[0].failing = False

        assert created
        assert ["a"] == [one.data for one in await received(continued, 1)]
        assert "" == await continued.text()

    async def test_a_message_whose_news_is_lost_arrives_all_the_same(
        self, hubs: Hubs, elsewhere: Hub, session: str
    ) -> None:
        """Within a third of the lease."""

        opened: list[_Deaf] = []

        def through(store: Store) -> Store:
            opened.append(_Deaf(store))
            return opened[0]

        stream = await produce(hubs.open(BRISK, through=through), session)
        other = await reader(elsewhere, session)
        waiting = asyncio.create_task(received(stream, 1))
        # One look at the beginning, and one when it listens.
        await within(opened[0].looked_twice.wait())
        await other.send("a")
        assert ["a"] == [one.data for one in await within(waiting)]

    async def test_two_that_iterate_share_the_messages(self, hub: Hub, session: str) -> None:
        """Each message goes to one of them; one that is closed gets nothing more."""
        stream = await produce(hub, session)
        one, two, closed = stream.inbox(), stream.inbox(), stream.inbox()
        waiting = {asyncio.create_task(anext(each)) for each in (one, two)}
        ending = asyncio.create_task(anext(closed, None))
        await asyncio.sleep(0)
        await closed.aclose()
        assert None is await within(ending)
        await stream.send("a")
        await stream.send("b")
        done, _ = await asyncio.wait(waiting, timeout=patience())
        assert {"a", "b"} == {task.result().data for task in done}

    @pytest.mark.parametrize("end", ["close", "cancel"])
    async def test_an_inbox_ends_with_its_stream(
        self, hub: Hub, elsewhere: Hub, session: str, end: str
    ) -> None:
        """Quietly, also when a cancel is asked for; what is sent then says how it ended."""
        asked = asyncio.Event()
        stream, _ = await hub.register(session, asked.set)
        other = await reader(elsewhere, session)
        inbox = stream.inbox()
        for text in "ab":
            await other.send(text)
            assert text == (await within(anext(inbox))).data
        # It waits, and nothing is on its way.
        reading = asyncio.create_task(anext(inbox, None))
        await asyncio.sleep(0)
        if end == "close":
            await within(stream.close())
            assert None is await within(reading)
        else:
            await other.cancel()
            assert None is await within(reading)
            await within(asked.wait())
            await within(stream.close())
        with pytest.raises(StreamClosed) as closed:
            await other.send("late")
        assert closed.value.status is (await other.info()).status

    async def test_an_inbox_whose_session_is_not_its_own_any_more_raises(
        self, hubs: Hubs, elsewhere: Hub, store: Store, session: str
    ) -> None:
        """ProducerFenced where another has it, HubClosed where the hub closes."""
        hub = hubs.open(BRISK)
        stream = await produce(hub, session)
        reading = asyncio.create_task(received(stream, 1))
        while True:
            await stall(store, session)
            continued, created = await elsewhere.register(session, takeover="continue")
            if created:  # else a renewal came between the two
                break
        with pytest.raises(ProducerFenced):
            await within(reading)
        reading = asyncio.create_task(received(continued, 1))
        await asyncio.sleep(0)
        await within(elsewhere.aclose())
        with pytest.raises(HubClosed):
            await within(reading)

    async def test_only_the_producer_reads_what_anybody_sends(
        self, hubs: Hubs, hub: Hub, session: str
    ) -> None:
        """A reader's handle has no inbox; a full one refuses, whoever sends."""
        stream = await produce(hub, session)
        small = hubs.open(HubConfig(max_inbox_messages=1))
        other = await reader(small, session)
        with pytest.raises(NotProducer):
            other.inbox()
        assert await other.send("a", key="one") == await other.send("a", key="one")
        with pytest.raises(InboxFull):
            await other.send("b")
        assert ["a"] == [one.data for one in await received(stream, 1)]


class InboxRepairTests(Stage):
    """For backends with ``wipe`` and ``snapshot``."""

    async def test_g7_a_producer_puts_back_what_it_has_received(
        self, backend: Backend, hubs: Hubs, elsewhere: Hub, store: Store, session: str
    ) -> None:
        """What it has not handled is there again for who continues; what it has, is not."""
        hub = hubs.open(HubConfig(lease=1.0, retention=60.0))
        stream = await produce(hub, session)
        other = await reader(elsewhere, session)
        for text in "abcd":
            await other.send(text, key=text)
        messages = await received(stream, 4)
        messages[0].done()
        await stream.publish("x")
        await within(stream.flush())
        messages[1].done()
        await backend.wipe()
        await until(lambda: _is_there(other))
        # It is known to have been sent, and gets its mark all the same.
        assert messages[2].id == await other.send("c", key="c")
        await other.send("e")
        await stream.publish("y")
        await within(hub.aclose())
        continued, _ = await elsewhere.register(session, takeover="continue")

        assert "xy" == await continued.text()
        assert ["c", "d", "e"] == [one.data for one in await received(continued, 3)]

    async def test_g7_a_store_that_falls_back_hands_out_nothing_twice(
        self, backend: Backend, hubs: Hubs, elsewhere: Hub, session: str
    ) -> None:
        """A message that was handled is not handed out again, one that was received is put back,
        and one that is sent under the number of another arrives."""
        hub = hubs.open(HubConfig(lease=1.0, retention=60.0))
        stream = await produce(hub, session)
        other = await reader(elsewhere, session)
        for text in "ab":
            await other.send(text)
        first, second = await received(stream, 2)
        first.done()
        await stream.publish("x")
        await within(stream.flush())
        roll_back = await backend.snapshot()
        await other.send("c")
        assert ["c"] == [one.data for one in await received(stream, 1)]
        second.done()
        await stream.publish("y")
        await within(stream.flush())
        await roll_back()
        await other.send("d")

        assert ["d"] == [one.data for one in await received(stream, 1)]
        await stream.publish("z")
        await within(stream.flush())
        coming = asyncio.create_task(received(stream, 1))
        await other.send("e")
        assert ["e"] == [one.data for one in await within(coming)]
        await within(hub.aclose())
        continued, _ = await elsewhere.register(session, takeover="continue")
        assert "xyz" == await continued.text()
        again = [one.data for one in await received(continued, 3)]
        assert ["c", "d", "e"] == sorted(again)


async def received(stream: LiveStream, count: int) -> list[Message]:
    """The next messages; fewer where the inbox ends."""
    messages: list[Message] = []
    async with bounded():
        async for message in stream.inbox():
            messages.append(message)
            if len(messages) == count:
                break
    return messages


class _Deaf(LosesEvents):
    """Loses the news of messages; tells when the inbox was looked into for the second time."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, lambda event: isinstance(event, MessageSent))
        self._looks = 0
        self.looked_twice = asyncio.Event()

    async def read_inbox(self, claim: Claim, held: Sequence[str]) -> InboxPage:
        page = await super().read_inbox(claim, held)
        self._looks += 1
        if self._looks == 2:
            self.looked_twice.set()
        return page


class _Checks(LosesAnswers):
    """Looks after each write whether the message n waits just as long as chunk n is not stored."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.wrong: list[tuple[int, list[str]]] = []
        self._one = asyncio.Lock()

    async def write(self, ops: Sequence[WriteOp]) -> list[WriteResult | Exception]:
        async with self._one:
            answers = await super().write(ops)
            info = await look(self.store, ops[0].claim.session_id)
            if info.status is Status.ACTIVE:
                page = await self.store.read_inbox(ops[0].claim, [])
                waiting = [message.data for message in page.messages]
                if waiting != [f"{n}" for n in range(info.last.offset, 12)]:
                    self.wrong.append((info.last.offset, waiting))
        return answers


async def _is_empty(store: Store, stream: LiveStream) -> bool:
    assert stream.generation is not None
    claim = Claim(stream.session_id, stream.generation, Terms.first(0), None, 1.0, 1.0)
    return not (await store.read_inbox(claim, [])).messages


async def _is(stream: LiveStream, status: Status) -> bool:
    return (await stream.info()).status is status


async def _is_there(stream: LiveStream) -> bool:
    try:
        return not await stream.done()
    except SessionNotFound:
        return False
