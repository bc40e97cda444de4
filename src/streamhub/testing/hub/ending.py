"""G4: iteration ends at a stored end only; nothing else is ever taken for one."""

from __future__ import annotations

import asyncio

import pytest

from ...chunks import Cursor, Status
from ...config import HubConfig
from ...errors import (
    HubClosed,
    InvalidCursor,
    ProducerFailed,
    SessionNotFound,
    StreamReplaced,
)
from ...hub import Hub
from ...stores.base import Removed, Store
from ..faults import LosesEvents
from ..waiting import patience, unhurried, until, within
from .stage import CALM, Hubs, Stage, drain, joined, produce, reader, stall, until_error

__all__ = ["EndingTests"]


class EndingTests(Stage):
    async def test_g4_iteration_ends_quietly_when_the_stream_is_finished(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """A stored end is the end, for who waits for it and for who asks again at it."""
        stream = await produce(hub, session, ["a"])
        subscription = (await reader(elsewhere, session)).subscribe()
        waiting = asyncio.create_task(drain(subscription))
        await within(stream.close())
        assert "a" == joined(await waiting)
        assert Status.FINISHED is subscription.status
        again = stream.subscribe(after=subscription.cursor)
        assert [] == await drain(again)
        assert Status.FINISHED is again.status

    @pytest.mark.parametrize("when", ["waiting", "afterwards", "at the end"])
    async def test_g4_a_failure_raises(
        self, hub: Hub, elsewhere: Hub, session: str, when: str
    ) -> None:
        """All stored chunks come, and then the producer's error, however late one asks."""
        stream = await produce(hub, session, ["a", "b"])
        other = await reader(elsewhere, session)
        epoch = (await other.info()).last.term
        subscription = other.subscribe(after=Cursor(epoch, 2) if when == "at the end" else None)
        if when == "waiting":
            assert "a" == (await within(anext(subscription))).data
            assert "b" == (await within(anext(subscription))).data
        await within(stream.fail(RuntimeError("no more")))
        chunks, error = await until_error(subscription, ProducerFailed)
        assert ("ab" if when == "afterwards" else "") == joined(chunks)
        assert "RuntimeError: no more" == error.error
        assert Status.FAILED is subscription.status

    async def test_g4_a_task_that_is_cancelled_leaves_no_finished_stream(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """Who cancels the task of a block gets its cancellation, and subscribers an error."""
        stream = await produce(hub, session)
        inside = asyncio.Event()

        async def body() -> None:
            async with stream:
                await stream.publish("a")
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(body())
        await within(inside.wait())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await within(task)
        with pytest.raises(ProducerFailed):
            await drain((await reader(elsewhere, session)).subscribe())

    @pytest.mark.parametrize("ended", [True, False])
    async def test_g4_a_removed_session_raises(
        self, hub: Hub, elsewhere: Hub, session: str, ended: bool
    ) -> None:
        """A session that is removed under its readers never looks like one that ended."""
        stream = await produce(hub, session, ["a"])
        if ended:
            await within(stream.close())
        other = await reader(elsewhere, session)
        subscription = other.subscribe()
        assert "a" == (await within(anext(subscription))).data
        if not ended:
            await elsewhere.remove(session)
            with pytest.raises(SessionNotFound) as caught:
                await within(anext(subscription))
            assert session == caught.value.session_id
        else:
            await elsewhere.remove(session)
        for ask in (other.info, other.done, other.text, other.metadata):
            with pytest.raises(SessionNotFound):
                await within(ask())

        async def reads_nothing() -> bool:
            try:
                await anext(other.subscribe())
            except SessionNotFound:
                return True
            return False

        # Who reads on is told by news, which may come a moment later.
        await until(reads_nothing)

    async def test_g4_a_removed_session_raises_though_the_message_was_lost(
        self, hubs: Hubs, session: str
    ) -> None:
        """A reader that never hears of the removal notices it by itself, and so does who waits for
        the end: within the lease in which a producer might put back what was lost."""
        config = HubConfig(lease=unhurried(0.8))
        hub = hubs.open(config)
        deaf = hubs.open(
            config,
            through=lambda store: LosesEvents(store, lambda event: isinstance(event, Removed)),
        )
        await produce(hub, session, ["a"])
        other = await reader(deaf, session)
        subscription = other.subscribe()
        assert "a" == (await within(anext(subscription))).data
        await hub.remove(session)
        with pytest.raises(SessionNotFound):
            await within(anext(subscription))
        with pytest.raises(SessionNotFound):
            await within(other.wait())
        assert Status.LOST is await within(other.cancel(wait=patience()))

    async def test_g4_a_session_that_takes_the_name_of_a_removed_one_is_another(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """Readers and cursors of the removed session get an error, never the new chunks."""
        await produce(hub, session, ["old"] * 3)
        other = await reader(elsewhere, session)
        subscription = other.subscribe()
        old = [await within(anext(subscription)) for _ in range(3)]
        await elsewhere.remove(session)
        await produce(elsewhere, session, ["new"] * 5)
        with pytest.raises((SessionNotFound, StreamReplaced)):
            await within(anext(subscription))
        with pytest.raises(StreamReplaced):
            await within(anext(other.subscribe(after=old[-1].cursor)))

    @pytest.mark.parametrize("read", [1, 300, 600])
    async def test_g4_an_old_and_a_new_answer_are_never_glued_together(
        self, hub: Hub, elsewhere: Hub, store: Store, session: str, read: int
    ) -> None:
        """A subscriber that is open across a restart gets chunks of the old answer only, and
        then an error that tells of the new one; wherever it was reading."""
        await produce(hub, session, ["old"] * 600)
        subscription = (await reader(elsewhere, session)).subscribe(buffer=1)
        head = [await within(anext(subscription)) for _ in range(read)]
        old = await stall(store, session)
        fresh, created = await elsewhere.register(session, takeover="restart")
        assert created
        reading = asyncio.create_task(until_error(subscription, StreamReplaced))
        for _ in range(700):
            await fresh.publish("new")
        await within(fresh.close())
        rest, error = await reading
        chunks = [*head, *rest]
        assert {"old"} == {chunk.data for chunk in chunks}
        assert [*range(1, len(chunks) + 1)] == [chunk.cursor.offset for chunk in chunks]
        assert (session, old.epoch) == (error.session_id, error.cursor.term)
        assert (await fresh.info()).epoch == error.epoch

    async def test_g4_who_waits_for_the_first_chunk_hears_of_a_restart(
        self, hub: Hub, elsewhere: Hub, store: Store, session: str
    ) -> None:
        """A subscriber of a stream that was replaced before its first chunk gets the error."""
        await produce(hub, session)
        other = await reader(elsewhere, session)
        subscription = other.subscribe()
        with pytest.raises(TimeoutError):
            # It is told of the loss if it is still waiting then, and looks away for a moment.
            await within(anext(subscription), 0.5)
        old = await stall(store, session)
        fresh = await produce(hub, session, ["new"])
        chunks, error = await until_error(subscription, StreamReplaced)
        assert [] == chunks
        assert (old.epoch, (await fresh.info()).epoch) == (error.cursor.term, error.epoch)

    async def test_g4_a_cursor_of_another_epoch_raises(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """A cursor of the old answer is no place in the new one, be it smaller or larger."""
        stream = await produce(hub, session, ["a", "b"])
        epoch = (await stream.info()).last.term
        other = await reader(elsewhere, session)
        for foreign in (epoch - 1, epoch + 1):
            with pytest.raises(StreamReplaced) as caught:
                await within(anext(other.subscribe(after=Cursor(foreign, 1))))
            assert (foreign, epoch) == (caught.value.cursor.term, caught.value.epoch)

    @pytest.mark.parametrize("ended", [True, False])
    async def test_g4_a_cursor_beyond_the_end_raises(
        self, hub: Hub, elsewhere: Hub, session: str, ended: bool
    ) -> None:
        """A cursor beyond the end names a chunk that the store has lost: its reader waits for as
        long as a producer lives who may put it back, and then hears that there is no such chunk."""
        stream = await produce(hub, session, ["a", "b"])
        if ended:
            await within(stream.close())
        beyond = Cursor((await stream.info()).last.term, 9)
        subscription = (await reader(elsewhere, session)).subscribe(after=beyond)
        reading = asyncio.create_task(until_error(subscription, StreamReplaced))
        if not ended:
            assert Status.ACTIVE is await (await reader(elsewhere, session)).wait(0.5)
            assert not reading.done()
            await within(stream.close())
        chunks, error = await within(reading)
        assert ([], beyond) == (chunks, error.cursor)

    @pytest.mark.parametrize(
        "after", ["", "x", "1", "1-", "-1", "1-2-3", " 1-2", "01-2", "1-2\n", "1.5-2", "NOW"]
    )
    async def test_g4_a_malformed_cursor_is_refused_at_once(
        self, hub: Hub, session: str, after: str
    ) -> None:
        """What is no cursor is refused before anything is read."""
        stream = await produce(hub, session, ["a"])
        with pytest.raises(InvalidCursor):
            stream.subscribe(after=after)

    async def test_g4_a_closed_hub_raises(self, hubs: Hubs, hub: Hub, session: str) -> None:
        """Subscribers of a hub that is closed hear of that, not of an end."""
        await produce(hub, session, ["a"])
        closing = hubs.open(CALM)
        subscription = (await reader(closing, session)).subscribe()
        assert "a" == (await within(anext(subscription))).data
        waiting = asyncio.create_task(within(anext(subscription)))
        await asyncio.sleep(0)
        await within(closing.aclose())
        with pytest.raises(HubClosed):
            await waiting
