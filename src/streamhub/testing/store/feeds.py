"""Who gets the end of a stream, how often, and for how long it is kept for that."""

from __future__ import annotations

import asyncio

import pytest

from ...chunks import Status
from ...stores.base import Fenced, Granted, Over, Refused, Release, Renew, Restore, Store, Stored
from ...stores.feeds import Due, Feeds, Later, Taken
from ..backend import Backend
from ..scene import new_generation
from ..waiting import until
from .feed_steps import FeedScene, ended, feeds_of, handed_out, take, taken_by, texts_of
from .steps import append, attempt, claim, end, look, lose, write

__all__ = ["FeedTests"]


class FeedTests(FeedScene):
    @pytest.mark.parametrize("status", [Status.FINISHED, Status.FAILED, Status.CANCELLED])
    async def test_an_end_is_handed_out_once(
        self, store: Store, other: Store, feeds: Feeds, feed: str, session: str, status: Status
    ) -> None:
        """To one worker, with all that it has to know; and to nobody any more once that is done,
        whoever asks and however often."""
        claimed = await claim(store, session, owner="ada", metadata='{"n": 1}')
        await append(store, claimed, ["a", "b"])
        due = Due(session)
        assert isinstance(await take(feeds, due, feed, "one"), Later)
        await end(store, claimed, status, last=2, error="why")
        await handed_out(feeds_of(other), feed, due)

        taken = await taken_by(feeds, due, feed, "one")
        again = await taken_by(feeds, due, feed, "one")
        elsewhere = await take(feeds_of(other), due, feed, "two")

        info = taken.info
        assert (session, status, claimed.generation) == (
            info.session_id,
            info.status,
            info.generation,
        )
        assert ("ada", {"n": 1}, claimed.epoch, 2) == (
            info.owner,
            info.metadata,
            info.epoch,
            info.chunks,
        )
        assert (feed,) == info.feeds
        assert info.created is not None
        assert info.created <= taken.ended == info.ended
        assert (1, 1) == (taken.attempt, again.attempt)
        assert isinstance(elsewhere, Later)
        assert 0 < elsewhere.seconds <= 60.0
        assert ["a", "b"] == await texts_of(feeds_of(other), due, info)

        assert not await feeds_of(other).settle(due, feed, "two", "done")
        assert await feeds.settle(due, feed, "one", "done")
        assert await feeds.settle(due, feed, "one", "done")
        assert not await feeds.settle(due, feed, "one", "again")
        assert not await feeds.renew(due, feed, "one", lease=60.0)
        assert None is await take(feeds_of(other), due, feed, "two")
        assert status is (await look(store, session)).status

    async def test_who_takes_too_long_loses_it(
        self, backend: Backend, store: Store, feeds: Feeds, feed: str, session: str
    ) -> None:
        """A renewal keeps it, though it be late, as long as nobody else took it; then whoever had
        it is told so, and changes nothing."""
        due = await ended(store, session)
        await taken_by(feeds, due, feed, "one", lease=0.1)
        await backend.advance(0.15)
        assert await feeds.renew(due, feed, "one", lease=0.1)
        assert isinstance(await take(feeds, due, feed, "two"), Later)
        await backend.advance(0.15)
        taken = await taken_by(feeds, due, feed, "two")
        assert 2 == taken.attempt
        assert not await feeds.renew(due, feed, "one", lease=60.0)
        for outcome in ("done", "again", "back", "dead"):
            assert not await feeds.settle(due, feed, "one", outcome)
        assert await feeds.renew(due, feed, "two", lease=60.0)
        assert await feeds.settle(due, feed, "two", "done")

    async def test_what_failed_comes_again_until_it_is_given_up(
        self, backend: Backend, store: Store, feeds: Feeds, feed: str, session: str
    ) -> None:
        """After its pause, with the next attempt; what was given up is listed with the reason, and
        handed out again only when somebody revives it."""
        due = await ended(store, session, owner="ada")
        await taken_by(feeds, due, feed, "one")
        assert await feeds.settle(due, feed, "one", "again", after=0.1, error="no database")
        later = await take(feeds, due, feed, "two")
        assert isinstance(later, Later)
        assert later.seconds <= 0.1
        await backend.advance(0.15)
        taken = await taken_by(feeds, due, feed, "two")
        assert 2 == taken.attempt

        assert await feeds.settle(due, feed, "two", "dead", error="still none")
        assert await feeds.settle(due, feed, "two", "dead", error="still none")
        assert None is await take(feeds, due, feed, "three")
        (dead,) = [one async for one in feeds.dead(feed)]
        assert (due, 2, "still none", taken.ended) == (
            dead.due,
            dead.attempts,
            dead.error,
            dead.ended,
        )
        assert (session, "ada") == (dead.info.session_id, dead.info.owner)

        await feeds.put_off(feed, {due: None})
        assert await feeds.revive(due, feed)
        assert not await feeds.revive(due, feed)
        assert [] == [one async for one in feeds.dead(feed)]
        await handed_out(feeds, feed, due)
        assert 1 == (await taken_by(feeds, due, feed, "three")).attempt

    async def test_what_is_given_back_unused_counts_as_never_handed_out(
        self, store: Store, feeds: Feeds, feed: str, session: str
    ) -> None:
        """Told twice it counts once."""
        due = await ended(store, session)
        await taken_by(feeds, due, feed, "one")
        assert await feeds.settle(due, feed, "one", "back", error="stopped")
        assert await feeds.settle(due, feed, "one", "back", error="stopped")
        assert not await feeds.settle(due, feed, "one", "done")
        assert 1 == (await taken_by(feeds, due, feed, "two")).attempt

    @pytest.mark.parametrize("how", ["lapsed", "released"])
    async def test_a_lost_stream_ends_when_its_end_is_taken(
        self, backend: Backend, store: Store, feeds: Feeds, feed: str, session: str, how: str
    ) -> None:
        """Not before the grace has passed, in which its producer may come back. Afterwards it is
        told that it is over, whatever it does; and its subscribers are."""
        claimed = await claim(store, session, lease=0.2)
        await append(store, claimed, ["a"])
        if how == "released":
            await write(store, Release(claimed, last=1))
        else:
            await backend.advance(0.25)
        later = await take(feeds, Due(session), feed, "one", lost_after=0.5)
        assert isinstance(later, Later)
        assert later.seconds <= 0.5
        assert Stored(2) == await append(store, claimed, ["b"], after=["a"])
        if how == "lapsed":
            await write(store, Release(claimed, last=2))
        await backend.advance(0.55)

        taken = await taken_by(feeds, Due(session), feed, "one", lost_after=0.5)

        assert (Status.LOST, 2) == (taken.info.status, taken.info.chunks)
        assert Over(Status.LOST) == await append(store, claimed, ["c"], after=["a", "b"])
        assert Over(Status.LOST) == await write(store, Renew(claimed, last=2))
        assert Over(Status.LOST) == await write(store, Restore(claimed, metadata=None))
        info = await look(store, session)
        assert (Status.LOST, None, False) == (info.status, info.lease, info.cancelling)

    async def test_a_lost_end_may_still_be_continued(
        self, store: Store, feeds: Feeds, feed: str, session: str
    ) -> None:
        """The claim goes on in the same log, takes the end from the worker that has it, and its own
        end is another one."""
        lost = await claim(store, session)
        await append(store, lost, ["a"])
        await lose(store, lost, last=1)
        due = Due(session)
        await taken_by(feeds, due, feed, "one", lost_after=0.0)
        answer = await attempt(store, session, takeover="continue")
        assert isinstance(answer, Granted)
        assert (lost.epoch, 1) == (answer.claim.epoch, answer.claim.base)

        assert not await feeds.settle(due, feed, "one", "done")
        assert isinstance(await take(feeds, due, feed, "one"), Later)
        await append(store, answer.claim, ["b"], after=["a"])
        await end(store, answer.claim, Status.FINISHED, last=2)
        taken = await taken_by(feeds, due, feed, "two")
        assert (1, answer.claim.generation, 2) == (
            taken.attempt,
            taken.info.generation,
            taken.info.chunks,
        )

    async def test_a_lost_end_is_cancelled_as_a_lost_session_is(
        self, backend: Backend, store: Store, feeds: Feeds, feed: str, session: str
    ) -> None:
        """Nobody continues it afterwards. One whose cancel was asked for before its producer was
        lost ends as cancelled, and at once."""
        lost = await claim(store, session)
        await lose(store, lost)
        await taken_by(feeds, Due(session), feed, "one", lost_after=0.0)
        answer = await store.cancel(session, generation=lost.generation, epoch=lost.epoch)
        assert Status.CANCELLED is answer
        assert isinstance(await attempt(store, session, takeover="continue"), Granted)

        cancelled = await claim(store, f"{session}:2", lease=0.1)
        await store.cancel(f"{session}:2", generation=cancelled.generation, epoch=cancelled.epoch)
        await backend.advance(0.15)
        taken = await taken_by(feeds, Due(f"{session}:2"), feed, "two", lost_after=60.0)
        assert Status.CANCELLED is taken.info.status

    async def test_a_cancel_keeps_no_longer_what_is_done(
        self, backend: Backend, store: Store, feeds: Feeds, feed: str, session: str
    ) -> None:
        """A lost stream is not stored for the feed once more whose end that has dealt with: it
        would get it again."""
        lost = await claim(store, session, retention=0.5)
        await lose(store, lost)
        due = Due(session)
        await taken_by(feeds, due, feed, "one", lost_after=0.0)
        assert await feeds.settle(due, feed, "one", "done")
        await store.cancel(session, generation=lost.generation, epoch=lost.epoch)
        assert None is await take(feeds, due, feed, "two")
        await backend.advance(0.6)
        assert [None] == await store.look([session])

    @pytest.mark.parametrize("status", [Status.FINISHED, Status.LOST])
    @pytest.mark.parametrize("held", [False, True], ids=["free", "held"])
    async def test_a_restart_sets_aside_what_is_not_done(
        self,
        store: Store,
        feeds: Feeds,
        feed: str,
        session: str,
        status: Status,
        held: bool,
    ) -> None:
        """With its record and its chunks, for the feed alone. A worker that has the end keeps it;
        once it is done, nothing of it is left."""
        first = await claim(store, session, metadata='"first"')
        await append(store, first, ["a", "b"])
        await end(store, first, status, last=2)
        if held:
            await taken_by(feeds, Due(session), feed, "one", lost_after=0.0)
        second = await claim(store, session)
        await append(store, second, ["x"])
        due = Due(session, second.generation)
        await handed_out(feeds, feed, due)

        if held:
            assert isinstance(await take(feeds, due, feed, "two"), Later)
            assert await feeds.renew(Due(session), feed, "one", lease=60.0)
        else:
            taken = await taken_by(feeds, due, feed, "one")
            assert (first.generation, status, "first") == (
                taken.info.generation,
                taken.info.status,
                taken.info.metadata,
            )
            assert ["a", "b"] == await texts_of(feeds, due, taken.info)
        place = Due(session) if held else due
        assert await feeds.settle(place, feed, "one", "done")
        assert await feeds.settle(place, feed, "one", "done")
        assert None is await take(feeds, due, feed, "two")
        assert [] == await feeds.read(due, first.terms.place(0), 10)
        assert (Status.ACTIVE, 1) == (
            (await look(store, session)).status,
            (await look(store, session)).chunks,
        )
        assert Fenced(second.generation) == await write(store, Renew(first, last=2))

    async def test_nothing_is_set_aside_that_is_done(
        self, store: Store, feeds: Feeds, feed: str, session: str
    ) -> None:
        """A restart over an end that every feed has done replaces it as ever."""
        due = await ended(store, session)
        await taken_by(feeds, due, feed, "one")
        assert await feeds.settle(due, feed, "one", "done")
        second = await claim(store, session)
        assert None is await take(feeds, Due(session, second.generation), feed, "two")

    async def test_a_removal_takes_all_ends_with_it(
        self, store: Store, feeds: Feeds, feed: str, session: str
    ) -> None:
        """Those that were set aside, too. Who has one is told so by what it does next."""
        await ended(store, session)
        second = await claim(store, session)
        await end(store, second, Status.FINISHED)
        third = await claim(store, session)
        aside = [Due(session, one.generation) for one in (second, third)]
        await taken_by(feeds, aside[0], feed, "one")
        assert await store.remove(session)
        for due in (Due(session), *aside):
            assert None is await take(feeds, due, feed, "two")
        assert not await feeds.settle(aside[0], feed, "one", "done")

    async def test_an_end_is_kept_until_all_feeds_have_done_it(
        self, backend: Backend, store: Store, feeds: Feeds, feed: str, session: str
    ) -> None:
        """Beyond the session's retention, and for no longer than that once the last one is done."""
        second = f"{feed}.2"
        await feeds.open(second, unsaved=1.0)
        claimed = await claim(store, session, retention=0.1)
        assert (feed, second) == claimed.feeds
        await end(store, claimed, Status.FINISHED)
        await backend.advance(0.15)
        for name in (feed, second):
            assert 1 == (await taken_by(feeds, Due(session), name, name)).attempt
        assert await feeds.settle(Due(session), feed, feed, "done")
        assert Status.FINISHED is (await look(store, session)).status
        assert await feeds.settle(Due(session), second, second, "done")

        async def gone() -> bool:
            return [None] == list(await store.look([session]))

        await until(gone)

    async def test_an_end_that_nobody_saves_is_kept_for_so_long_only(
        self, backend: Backend, store: Store, feed: str, session: str
    ) -> None:
        """Memory is bounded, whoever does not read a feed; what was set aside goes, too."""
        feeds = feeds_of(store)
        await feeds.open(feed, unsaved=0.3)
        await ended(store, session, retention=0.1)
        second = await claim(store, session, retention=0.1)
        await end(store, second, Status.FINISHED)
        await backend.advance(0.4)
        assert None is await take(feeds, Due(session), feed, "one")
        assert None is await take(feeds, Due(session, second.generation), feed, "one")
        assert [None] == list(await store.look([session]))

    async def test_of_many_workers_one_gets_it(
        self, store: Store, other: Store, feeds: Feeds, feed: str, session: str
    ) -> None:
        """However many ask at the same time, and of many claims over it one sets it aside."""
        due = await ended(store, session)
        answers = await asyncio.gather(
            *[take(feeds_of(one), due, feed, new_generation()) for one in [store, other] * 8]
        )
        assert 1 == sum(isinstance(one, Taken) for one in answers)
        claims = await asyncio.gather(*[attempt(one, session) for one in [store, other] * 4])
        granted = [one for one in claims if isinstance(one, Granted)]
        assert 7 == sum(isinstance(one, Refused) for one in claims)
        aside = Due(session, granted[0].claim.generation)
        assert isinstance(await take(feeds, aside, feed, "late"), Later)

    async def test_a_claim_that_is_repeated_sets_aside_once(
        self, store: Store, feeds: Feeds, feed: str, session: str
    ) -> None:
        """Its answer was lost: the end stands where the first one has put it."""
        first = await claim(store, session)
        await append(store, first, ["a"])
        await end(store, first, Status.FINISHED, last=1)
        generation = new_generation()
        for _ in range(2):
            assert isinstance(await attempt(store, session, generation), Granted)
        taken = await taken_by(feeds, Due(session, generation), feed, "one")
        assert first.generation == taken.info.generation
        assert ["a"] == await texts_of(feeds, taken.due, taken.info)
