"""What a watch tells of a session while it runs."""

from __future__ import annotations

import pytest

from ...chunks import Chunk, Cursor, Status
from ...stores.base import (
    Appended,
    CancelRequested,
    Claimed,
    Ended,
    Finish,
    LiveEvent,
    Release,
    Released,
    Removed,
    Store,
    Stored,
    Synced,
    Unsynced,
    Watch,
)
from ..scene import Scene
from ..waiting import Recorder
from .steps import append, claim, end, lose, read, to_append, write
from .writes import ODD_TEXTS

__all__ = ["WatchTests"]


class WatchTests(Scene):
    async def test_a_watch_says_when_it_listens(self, store: Store, session: str) -> None:
        """The first thing that a watch tells is that from now on it misses nothing."""
        watch, recorder = await _watching(store, session)
        watch.close()
        assert [Synced()] == recorder.events

    async def test_a_claim_is_told(self, store: Store, other: Store, session: str) -> None:
        """A new claim, a restart and a continue arrive with epoch, place and generation."""
        watch, recorder = await _watching(other, session)
        first = await claim(store, session)
        await append(store, first, ["a"])
        await lose(store, first, last=1)
        second = await claim(store, session, takeover="continue")
        await lose(store, second, last=1)
        third = await claim(store, session, takeover="restart")
        await recorder.wait(Claimed, 3)
        watch.close()
        expected = [
            (first.terms.current, 0, first.generation),
            (second.terms.current, 1, second.generation),
            (third.terms.current, 0, third.generation),
        ]
        told = recorder.of(Claimed)
        assert expected == [(e.term, e.last, e.generation) for e in told]
        assert all(0 < event.lease <= 60.0 for event in told)

    async def test_stored_chunks_are_told(self, store: Store, other: Store, session: str) -> None:
        """Appended chunks arrive whole, with their cursors and their place."""
        claimed = await claim(store, session)
        watch, recorder = await _watching(other, session)
        await append(store, claimed, ["ä", ("b", "tool")])
        await append(store, claimed, ["c"], after=["ä", ("b", "tool")])
        await recorder.wait(Appended, 2)
        watch.close()
        first, second = recorder.of(Appended)
        assert (claimed.epoch, 0) == (first.term, first.base)
        assert (claimed.epoch, 2) == (second.term, second.base)
        assert first.bytes >= 7
        assert [
            Chunk("ä", Cursor(claimed.epoch, 1)),
            Chunk("b", Cursor(claimed.epoch, 2), "tool"),
        ] == first.chunks
        assert [Chunk("c", Cursor(claimed.epoch, 3))] == second.chunks
        assert 0 < first.lease <= 60.0

    async def test_any_text_is_told_as_it_is(
        self, store: Store, other: Store, session: str
    ) -> None:
        """Empty, binary-looking and non-ASCII chunks arrive unchanged."""
        claimed = await claim(store, session)
        watch, recorder = await _watching(other, session)
        await append(store, claimed, [*ODD_TEXTS, ("", "é\u2028 :{}")])
        event = await recorder.wait(Appended)
        watch.close()
        assert await read(store, claimed) == event.chunks

    async def test_a_repeat_is_not_told(self, store: Store, other: Store, session: str) -> None:
        """An append that stores nothing tells nothing; one that overlaps the log tells no chunk
        under another cursor."""
        claimed = await claim(store, session)
        watch, recorder = await _watching(other, session)
        await append(store, claimed, ["a", "b"])
        await append(store, claimed, ["a", "b"])
        await append(store, claimed, ["b", "c"], after=["a"])
        await end(store, claimed, Status.FINISHED, last=3)
        await recorder.wait(Ended)
        watch.close()
        first, second = recorder.of(Appended)
        assert (0, ["a", "b"]) == (first.base, [chunk.data for chunk in first.chunks])
        log = await read(store, claimed)
        assert log[second.base :] == second.chunks

    async def test_events_arrive_in_order(self, store: Store, other: Store, session: str) -> None:
        """Chunks arrive in the order of their offsets, and the end after all of them."""
        claimed = await claim(store, session)
        watch, recorder = await _watching(other, session)
        items = [f"{n} " for n in range(200)]
        ops = [to_append(claimed, items[n : n + 2], after=items[:n]) for n in range(0, 200, 2)]
        await store.write([*ops, Finish(claimed, last=200, status=Status.FINISHED)])
        await recorder.wait(Ended)
        watch.close()
        told = [chunk.data for event in recorder.of(Appended) for chunk in event.chunks]
        assert items == told
        assert isinstance(recorder.events[-1], Ended)

    @pytest.mark.parametrize("status", [Status.FINISHED, Status.FAILED, Status.CANCELLED])
    async def test_an_end_is_told(
        self, store: Store, other: Store, session: str, status: Status
    ) -> None:
        """The end arrives with its status, its error and the chunk that it follows."""
        claimed = await claim(store, session)
        await append(store, claimed, ["a"])
        watch, recorder = await _watching(other, session)
        error = "broke: é" if status is Status.FAILED else None
        await write(store, Finish(claimed, 1, status, error))
        event = await recorder.wait(Ended)
        watch.close()
        assert Ended(claimed.epoch, 1, status, error) == event

    async def test_the_cancel_of_a_lost_session_is_told_as_its_end(
        self, store: Store, other: Store, session: str
    ) -> None:
        """An end that the store makes itself arrives like any other."""
        claimed = await claim(store, session)
        await append(store, claimed, ["a"])
        await lose(store, claimed, last=1)
        watch, recorder = await _watching(other, session)
        await store.cancel(session, generation=claimed.generation, epoch=claimed.epoch)
        event = await recorder.wait(Ended)
        watch.close()
        assert Ended(claimed.epoch, 1, Status.CANCELLED, None) == event

    async def test_a_release_is_told_once(self, store: Store, other: Store, session: str) -> None:
        """A claim that is given up arrives with its term and the chunk that it follows; giving it
        up again is no news, and what continues is told after it."""
        first = await claim(store, session)
        await append(store, first, ["a"])
        watch, recorder = await _watching(other, session)
        await lose(store, first, last=1)
        await lose(store, first, last=1)
        second = await claim(store, session, takeover="continue")
        await lose(store, second, last=1)
        await recorder.wait(Released, 2)
        watch.close()
        assert [
            Released(first.terms.current, 1),
            Claimed(second.terms.current, 1, recorder.of(Claimed)[0].lease, second.generation),
            Released(second.terms.current, 1),
        ] == [event for event in recorder.events if not isinstance(event, Synced | Unsynced)]

    async def test_the_release_of_a_session_that_is_to_be_cancelled_is_not_told(
        self, store: Store, other: Store, session: str
    ) -> None:
        """Its producer ends it as cancelled: nobody is told to look for another one."""
        claimed = await claim(store, session)
        watch, recorder = await _watching(other, session)
        await store.cancel(session, generation=claimed.generation, epoch=claimed.epoch)
        assert Stored(0, cancelling=True) == await write(store, Release(claimed, last=0))
        await write(store, Finish(claimed, 0, Status.FINISHED, None))
        assert Status.CANCELLED is (await recorder.wait(Ended)).status
        watch.close()
        assert [Synced, Ended] == _kinds(recorder)

    async def test_a_removal_is_told(self, store: Store, other: Store, session: str) -> None:
        """Whoever watches a session hears that it was removed."""
        await claim(store, session)
        watch, recorder = await _watching(other, session)
        await store.remove(session)
        await recorder.wait(Removed)
        watch.close()

    async def test_a_cancel_is_told_to_the_producer_alone(
        self, store: Store, other: Store, session: str
    ) -> None:
        """A watch for cancels hears of nothing else, and every other watch not of cancels."""
        claimed = await claim(store, session)
        live_watch, live = await _watching(store, session)
        cancels_watch, cancels = await _watching(store, session, cancels=True)
        await append(store, claimed, ["a"])
        await other.cancel(session, generation=claimed.generation, epoch=claimed.epoch)
        await cancels.wait(CancelRequested)
        await end(store, claimed, Status.CANCELLED, last=1)
        await live.wait(Ended)
        live_watch.close()
        cancels_watch.close()
        assert [Synced, CancelRequested] == _kinds(cancels)
        assert [Synced, Appended, Ended] == _kinds(live)

    async def test_a_watch_hears_of_its_own_session_alone(
        self, store: Store, other: Store, session: str
    ) -> None:
        """Events of other sessions do not arrive."""
        ids = [session, f"{session}:b", f"{{{session}}}", f"{session}*"]
        watches = [await _watching(other, session_id) for session_id in ids]
        claims = [await claim(store, session_id) for session_id in ids]
        for n, claimed in enumerate(claims):
            await append(store, claimed, [str(n)])
            await end(store, claimed, Status.FINISHED, last=1)
        for n, (watch, recorder) in enumerate(watches):
            await recorder.wait(Ended)
            watch.close()
            assert [str(n)] == [c.data for e in recorder.of(Appended) for c in e.chunks]
            assert [Synced, Claimed, Appended, Ended] == _kinds(recorder)

    async def test_every_watch_of_a_session_is_told_everything(
        self, store: Store, other: Store, session: str
    ) -> None:
        """Two watches in one instance and one in another each hear all events."""
        watches = [await _watching(where, session) for where in (store, other, other)]
        claimed = await claim(store, session)
        await append(store, claimed, ["a"])
        await end(store, claimed, Status.FINISHED, last=1)
        for watch, recorder in watches:
            await recorder.wait(Ended)
            watch.close()
            assert [Synced, Claimed, Appended, Ended] == _kinds(recorder)

    async def test_a_closed_watch_is_told_nothing(
        self, store: Store, other: Store, session: str
    ) -> None:
        """After ``close`` the sink is not called, while other watches go on."""
        claimed = await claim(store, session)
        closed, silent = await _watching(other, session)
        watch, recorder = await _watching(other, session)
        closed.close()
        closed.close()
        await append(store, claimed, ["a"])
        await recorder.wait(Appended)
        watch.close()
        assert [Synced()] == silent.events

    async def test_a_watch_closed_before_it_listened_is_told_nothing(
        self, store: Store, session: str
    ) -> None:
        """A watch that is given up at once leaves the next one of the session whole."""
        silent = Recorder()
        store.watch(session, silent).close()
        watch, recorder = await _watching(store, session)
        claimed = await claim(store, session)
        await append(store, claimed, ["a"])
        await recorder.wait(Appended)
        watch.close()
        assert [] == silent.events

    async def test_a_session_can_be_watched_again(
        self, store: Store, other: Store, session: str
    ) -> None:
        """A watch that follows a closed one says for itself when it listens."""
        claimed = await claim(store, session)
        for n in range(3):
            watch, recorder = await _watching(other, session)
            await append(store, claimed, [str(n)], after=["x"] * n)
            event = await recorder.wait(Appended)
            watch.close()
            assert [str(n)] == [chunk.data for chunk in event.chunks]


async def _watching(
    store: Store, session_id: str, *, cancels: bool = False
) -> tuple[Watch, Recorder]:
    """A watch that listens already."""
    recorder = Recorder()
    watch = store.watch(session_id, recorder, cancels=cancels)
    await recorder.wait(Synced)
    return watch, recorder


def _kinds(recorder: Recorder) -> list[type[LiveEvent]]:
    """The kinds of event in order; a connection may be lost and found again at any time."""
    kinds = [type(event) for event in recorder.events if not isinstance(event, Unsynced)]
    return [kind for n, kind in enumerate(kinds) if n == 0 or kind is not Synced]
