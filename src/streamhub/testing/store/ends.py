"""How a session ends: by its producer, by a cancel, by its removal."""

from __future__ import annotations

import pytest

from ...chunks import Cursor, Status
from ...stores.base import (
    Append,
    Behind,
    Fenced,
    Finish,
    Gone,
    Over,
    Renew,
    Restore,
    SetMetadata,
    Store,
    Stored,
)
from ..backend import Backend
from ..scene import Scene, new_generation
from .steps import append, claim, end, listed, look, lose, read, texts, write

__all__ = ["EndTests"]

STORED_ENDS = (Status.FINISHED, Status.FAILED, Status.CANCELLED)


class EndTests(Scene):
    @pytest.mark.parametrize("status", STORED_ENDS)
    async def test_an_end_is_stored_with_the_log(
        self, store: Store, other: Store, session: str, status: Status
    ) -> None:
        """Every instance sees how the session ended and can still read its chunks."""
        claimed = await claim(store, session)
        await append(store, claimed, ["a"])
        error = "ValueError: broke\n\0é" if status is Status.FAILED else None
        assert Over(status) == await write(store, Finish(claimed, 1, status, error))
        info = await look(other, session)
        assert (status, error, None) == (info.status, info.error, info.lease)
        assert Cursor(claimed.epoch, 1) == info.last
        assert ["a"] == await texts(other, claimed)

    async def test_a_session_does_not_end_before_its_log_is_complete(
        self, store: Store, session: str
    ) -> None:
        """An end waits for the chunk that it follows; until then the session is active."""
        claimed = await claim(store, session)
        await append(store, claimed, ["a"])
        finish = Finish(claimed, last=3, status=Status.FINISHED)
        assert Behind(1) == await write(store, finish)
        assert Status.ACTIVE is (await look(store, session)).status
        await append(store, claimed, ["b", "c"], after=["a"])
        assert Over(Status.FINISHED) == await write(store, finish)

    @pytest.mark.parametrize("first", STORED_ENDS)
    @pytest.mark.parametrize("second", STORED_ENDS)
    async def test_an_ended_session_keeps_its_end(
        self, store: Store, session: str, first: Status, second: Status
    ) -> None:
        """Ending again, the same way or another, is answered with the end that stands."""
        claimed = await claim(store, session)
        error = "first" if first is Status.FAILED else None
        await end(store, claimed, first, error=error)
        assert Over(first) == await write(store, Finish(claimed, 0, second, "second"))
        info = await look(store, session)
        assert (first, error) == (info.status, info.error)

    async def test_a_lost_producer_that_was_not_replaced_can_end(
        self, store: Store, session: str
    ) -> None:
        """A stalled producer may still bring its answer to its end."""
        claimed = await claim(store, session)
        await lose(store, claimed)
        assert Over(Status.FINISHED) == await write(store, Finish(claimed, 0, Status.FINISHED))

    async def test_a_cancel_marks_an_active_session(
        self, store: Store, other: Store, session: str
    ) -> None:
        """A cancel asks: the session stays active until its producer ends it."""
        claimed = await claim(store, session)
        answer = await other.cancel(session, generation=claimed.generation, epoch=claimed.epoch)
        assert Status.ACTIVE is answer
        info = await look(store, session)
        assert (Status.ACTIVE, True) == (info.status, info.cancelling)

    async def test_a_cancel_can_be_repeated(self, store: Store, session: str) -> None:
        """Asking again changes nothing and is answered the same."""
        claimed = await claim(store, session)
        for _ in range(3):
            answer = await store.cancel(session, generation=claimed.generation, epoch=claimed.epoch)
            assert Status.ACTIVE is answer
        assert Stored(1, cancelling=True) == await append(store, claimed, ["a"])

    @pytest.mark.parametrize("status", STORED_ENDS)
    async def test_a_cancel_that_came_first_wins_over_any_end(
        self, store: Store, session: str, status: Status
    ) -> None:
        """A session whose cancel was asked for ends as cancelled, without an error."""
        claimed = await claim(store, session)
        await store.cancel(session, generation=claimed.generation, epoch=claimed.epoch)
        assert Over(Status.CANCELLED) == await write(store, Finish(claimed, 0, status, "broke"))
        info = await look(store, session)
        assert (Status.CANCELLED, None) == (info.status, info.error)

    async def test_a_cancel_ends_a_lost_session_on_the_spot(
        self, store: Store, session: str
    ) -> None:
        """Where no producer lives to hear the cancel, the store ends the session itself."""
        claimed = await claim(store, session)
        await append(store, claimed, ["a"])
        await lose(store, claimed, last=1)
        answer = await store.cancel(session, generation=claimed.generation, epoch=claimed.epoch)
        assert Status.CANCELLED is answer
        info = await look(store, session)
        assert (Status.CANCELLED, None) == (info.status, info.lease)
        assert Cursor(claimed.epoch, 1) == info.last
        assert Over(Status.CANCELLED) == await write(store, Renew(claimed, last=1))

    @pytest.mark.parametrize("status", STORED_ENDS)
    async def test_a_cancel_leaves_an_ended_session_as_it_is(
        self, store: Store, session: str, status: Status
    ) -> None:
        """A cancel that comes too late is answered with the end that stands."""
        claimed = await claim(store, session)
        error = "broke" if status is Status.FAILED else None
        await end(store, claimed, status, error=error)
        before = await look(store, session)
        answer = await store.cancel(
            session, generation=claimed.generation, epoch=claimed.epoch, reason="too late"
        )
        assert status is answer
        assert before == await look(store, session)

    async def test_the_first_reason_of_a_cancel_stays(
        self, store: Store, other: Store, session: str
    ) -> None:
        """A session that ends as cancelled tells why, whatever later cancels and its end say."""
        claimed = await claim(store, session)
        for reason in (None, "too long: é\n", "later", None):
            await other.cancel(
                session, generation=claimed.generation, epoch=claimed.epoch, reason=reason
            )
        await write(store, Finish(claimed, 0, Status.FAILED, "broke"))
        info = await look(store, session)
        assert (Status.CANCELLED, "too long: é\n") == (info.status, info.error)

    async def test_the_reason_of_a_cancel_stays_with_a_lost_session(
        self, store: Store, session: str
    ) -> None:
        """A session that the cancel itself ended tells why, and a later reason changes nothing."""
        claimed = await claim(store, session)
        await lose(store, claimed)
        for reason in ("too long", "later"):
            answer = await store.cancel(
                session, generation=claimed.generation, epoch=claimed.epoch, reason=reason
            )
            assert Status.CANCELLED is answer
        assert "too long" == (await look(store, session)).error

    async def test_a_cancel_of_an_unknown_session_leaves_nothing_behind(
        self, store: Store, session: str
    ) -> None:
        """A cancel creates no session, and does not reach one that is claimed later."""
        assert None is await store.cancel(session, generation=new_generation(), epoch=1)
        assert None is await store.cancel(session, generation=new_generation(), epoch=None)
        assert [None] == await store.look([session])
        claimed = await claim(store, session)
        assert Stored(1, cancelling=False) == await append(store, claimed, ["a"])

    async def test_a_cancel_does_not_reach_another_epoch(self, store: Store, session: str) -> None:
        """Who cancels the old answer does not stop the new one."""
        first = await claim(store, session)
        await lose(store, first)
        second = await claim(store, session)
        answer = await store.cancel(session, generation=first.generation, epoch=first.epoch)
        assert None is answer
        info = await look(store, session)
        assert (Status.ACTIVE, False) == (info.status, info.cancelling)
        assert Stored(1, cancelling=False) == await append(store, second, ["a"])

    async def test_a_cancel_reaches_whoever_continued_the_epoch(
        self, store: Store, session: str
    ) -> None:
        """The epoch, not the generation, says what is meant."""
        first = await claim(store, session)
        await lose(store, first)
        second = await claim(store, session, takeover="continue")
        answer = await store.cancel(session, generation=first.generation, epoch=first.epoch)
        assert Status.ACTIVE is answer
        assert Stored(1, cancelling=True) == await append(store, second, ["a"])

    async def test_a_cancel_without_an_epoch_does_not_reach_another_generation(
        self, store: Store, session: str
    ) -> None:
        """Where the epoch is not known, a stale generation stops nobody."""
        claimed = await claim(store, session)
        assert None is await store.cancel(session, generation=new_generation(), epoch=None)
        assert Stored(1, cancelling=False) == await append(store, claimed, ["a"])

    @pytest.mark.parametrize("status", [Status.ACTIVE, *STORED_ENDS, Status.LOST])
    async def test_a_removed_session_is_gone(
        self, store: Store, other: Store, session: str, status: Status
    ) -> None:
        """However it stood, nothing of it can be seen any more."""
        claimed = await claim(store, session, metadata="1")
        await append(store, claimed, ["a"])
        if status is not Status.ACTIVE:
            await end(store, claimed, status, last=1)
        assert await other.remove(session)
        assert [None] == await store.look([session], metadata=True)
        assert [] == await read(store, claimed)
        assert session not in await listed(store)
        assert not await store.remove(session)

    async def test_an_unknown_session_cannot_be_removed(self, store: Store, session: str) -> None:
        """Removing what is not there is answered with False."""
        assert not await store.remove(session)

    async def test_a_producer_whose_session_was_removed_is_fenced(
        self, store: Store, other: Store, session: str
    ) -> None:
        """A removal is undone by no write of the producer, and by no repair."""
        claimed = await claim(store, session)
        await append(store, claimed, ["a"])
        await other.remove(session)
        refused = (Gone(), Fenced(None))
        assert await append(store, claimed, ["b"], after=["a"]) in refused
        assert await write(store, SetMetadata(claimed, "1")) in refused
        assert await write(store, Renew(claimed, last=1)) in refused
        assert await write(store, Finish(claimed, 1, Status.FINISHED)) in refused
        assert Fenced(None) == await write(store, Restore(claimed, metadata=None))
        assert [None] == await store.look([session])
        assert [] == await read(store, claimed)

    async def test_a_removed_session_can_be_claimed_again(self, store: Store, session: str) -> None:
        """The new claim finds an unknown session, and its producer is not fenced."""
        first = await claim(store, session, owner="one", metadata="1")
        await append(store, first, ["a"])
        await store.remove(session)
        second = await claim(store, session, takeover="continue")
        assert (0, None, None) == (second.base, second.replaced, second.owner)
        assert Stored(1) == await append(store, second, ["x"])
        assert Fenced(second.generation) == await append(store, first, ["b"], after=["a"])
        assert isinstance(await write(store, Restore(first, metadata=None)), Fenced)
        assert ["x"] == await texts(store, second)

    async def test_a_removed_producer_stays_fenced_when_its_successor_is_removed_too(
        self, store: Store, session: str
    ) -> None:
        """The second removal does not lift the fence of the first."""
        first = await claim(store, session)
        await store.remove(session)
        second = await claim(store, session)
        await store.remove(session)
        for stale in (first, second):
            assert Fenced(None) == await write(store, Restore(stale, metadata=None))
        assert [None] == await store.look([session])

    async def test_a_removal_outlives_the_lease(
        self, backend: Backend, store: Store, session: str
    ) -> None:
        """A producer that was frozen for several leases does not put a removed session back."""
        frozen = await claim(store, session, lease=0.1)
        await store.remove(session)
        await backend.advance(0.5)
        assert Fenced(None) == await write(store, Restore(frozen, metadata=None))
        assert [None] == await store.look([session])

    async def test_a_session_removed_again_and_again_fences_the_newest_producers(
        self, store: Store, session: str
    ) -> None:
        """However many there were: no memory is kept for all of them, and none is lost that the
        last ones need."""
        stale = []
        for _ in range(105):
            stale.append(await claim(store, session))
            await store.remove(session)
        for one in stale[-40:]:
            assert Fenced(None) == await write(store, Restore(one, metadata=None))

    async def test_an_append_to_a_removed_session_does_not_reach_the_next(
        self, store: Store, session: str
    ) -> None:
        """A write that was on its way while the session was removed is not mixed into it."""
        first = await claim(store, session)
        await store.remove(session)
        second = await claim(store, session)
        late = Append(first, base=0, items=["late"], total_bytes=4, term=first.epoch)
        assert Fenced(second.generation) == await write(store, late)
        assert [] == await texts(store, second)
