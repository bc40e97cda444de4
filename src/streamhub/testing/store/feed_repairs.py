"""What becomes of ends where the store loses data, and goes back to older."""

from __future__ import annotations

from ...chunks import Status
from ...stores.base import Granted, Restore, Store
from ...stores.feeds import Due, Later
from ..backend import Backend
from ..scene import Scene
from .feed_steps import UNSAVED, feeds_of, handed_out, take, taken_by, texts_of
from .steps import append, attempt, claim, end, write

__all__ = ["FeedRepairTests"]


class FeedRepairTests(Scene):
    """In addition, where the data can be lost while a producer lives."""

    async def test_an_end_that_was_done_is_not_that_of_a_continuation_that_was_lost(
        self, backend: Backend, store: Store, session: str
    ) -> None:
        """A failover goes back to the end before the claim: what its producer, which puts it back,
        ends is another end, though the store knows the first one as done."""
        feeds = feeds_of(store)
        await feeds.open("save", unsaved=UNSAVED)
        first = await claim(store, session)
        await end(store, first, Status.FAILED)
        await taken_by(feeds, Due(session), "save", "one")
        assert await feeds.settle(Due(session), "save", "one", "done")
        roll_back = await backend.snapshot()
        answer = await attempt(store, session, takeover="continue")
        assert isinstance(answer, Granted)
        await roll_back()
        await write(store, Restore(answer.claim, metadata=None))
        await end(store, answer.claim, Status.FINISHED)
        await handed_out(feeds, "save", Due(session))
        taken = await taken_by(feeds, Due(session), "save", "two")
        assert (1, answer.claim.generation) == (taken.attempt, taken.info.generation)

    async def test_what_a_lost_restart_had_set_aside_is_set_aside_again(
        self, backend: Backend, store: Store, session: str
    ) -> None:
        """A failover goes back to the end before the claim: the producer that puts its claim back
        does not take it from the feed."""
        feeds = feeds_of(store)
        await feeds.open("save", unsaved=UNSAVED)
        first = await claim(store, session)
        await append(store, first, ["a"])
        await end(store, first, Status.FINISHED, last=1)
        roll_back = await backend.snapshot()
        second = await claim(store, session)
        await append(store, second, ["x"])
        await roll_back()
        await write(store, Restore(second, metadata=None))
        await append(store, second, ["x"])
        due = Due(session, second.generation)
        await handed_out(feeds, "save", due)
        taken = await taken_by(feeds, due, "save", "one")
        assert first.generation == taken.info.generation
        assert ["a"] == await texts_of(feeds, due, taken.info)
        assert await feeds.settle(due, "save", "one", "done")
        assert isinstance(await take(feeds, Due(session), "save", "two"), Later)

    async def test_a_stream_that_is_put_back_is_on_its_schedules_again(
        self, backend: Backend, store: Store, other: Store, session: str
    ) -> None:
        """Its end is handed out as it would have been, and kept for as long."""
        feeds = feeds_of(store)
        await feeds.open("save", unsaved=UNSAVED)
        claimed = await claim(store, session, retention=0.1)
        await append(store, claimed, ["a"])
        await backend.wipe()
        await write(store, Restore(claimed, metadata=None))
        await append(store, claimed, ["a"])
        await end(store, claimed, Status.FINISHED, last=1)
        await feeds_of(other).open("save", unsaved=UNSAVED)
        await handed_out(feeds_of(other), "save", Due(session))
        await backend.advance(0.15)
        taken = await taken_by(feeds_of(other), Due(session), "save", "one")
        assert (("save",), 1) == (taken.info.feeds, taken.attempt)
        assert claimed.generation == taken.info.generation
        assert await feeds.settle(Due(session), "save", "one", "done")
