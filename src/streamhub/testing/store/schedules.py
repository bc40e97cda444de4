"""Which streams a feed is told to look after, and when."""

from __future__ import annotations

import asyncio

import pytest

from ...chunks import Status
from ...stores.base import Granted, Store
from ...stores.feeds import Due, Feeds
from ..backend import Backend
from ..waiting import until, within
from .feed_steps import UNSAVED, FeedScene, ended, feeds_of, handed_out, take, taken_by
from .steps import attempt, claim, end, look, lose

__all__ = ["ScheduleTests"]


class ScheduleTests(FeedScene):
    async def test_a_new_feed_gets_what_is_there(
        self, store: Store, feeds: Feeds, feed: str, session: str
    ) -> None:
        """Sessions that were claimed before it was known are on its schedule, and are set aside for
        it as well."""
        await ended(store, session)
        late = f"{feed}.late"
        await feeds.open(late, unsaved=UNSAVED)
        await handed_out(feeds, late, Due(session))
        second = await claim(store, session)
        taken = await taken_by(feeds, Due(session, second.generation), late, "one")
        assert 1 == taken.attempt

    async def test_a_claim_is_made_under_feeds_that_others_have_opened(
        self, store: Store, other: Store, feed: str, session: str
    ) -> None:
        """However lately, and by whom: it is on their schedules before it stands."""
        await claim(store, f"{session}:before")
        await feeds_of(other).open(feed, unsaved=UNSAVED)
        first = await claim(store, session)
        await feeds_of(other).open(f"{feed}.2", unsaved=2 * UNSAVED)
        await lose(store, first)
        second = await attempt(store, session, takeover="continue")
        assert isinstance(second, Granted)
        assert ((feed,), UNSAVED) == (first.feeds, first.unsaved)
        assert ((feed, f"{feed}.2"), 2 * UNSAVED) == (second.claim.feeds, second.claim.unsaved)
        assert second.claim.feeds == (await look(other, session)).feeds
        await end(store, second.claim, Status.FINISHED)
        for name in second.claim.feeds:
            await handed_out(feeds_of(other), name, Due(session))

    async def test_a_stream_is_handed_out_to_one_who_asks_and_comes_again(
        self, backend: Backend, store: Store, feeds: Feeds, feed: str, session: str
    ) -> None:
        """After the hold, unless whoever got it has put it off; and what was put on since stays
        on."""
        due = await ended(store, session)
        await handed_out(feeds, feed, due, hold=0.2)
        found, rest = await feeds.due(feed, 100, hold=60.0)
        assert due not in found
        assert 0 < rest <= 0.2
        await backend.advance(0.25)
        await handed_out(feeds, feed, due, hold=60.0)
        await feeds.put_off(feed, {due: 0.1})
        await backend.advance(0.15)
        await handed_out(feeds, feed, due, hold=60.0)
        second = await claim(store, session)
        await end(store, second, Status.FINISHED)

        async def is_overdue() -> bool:
            # Now and no earlier, of what is due: the rest was handed out for a minute.
            return any(one.overdue for one in await feeds.known() if one.name == feed)

        await until(is_overdue)
        await feeds.put_off(feed, {due: None})
        await handed_out(feeds, feed, due, hold=60.0)
        await taken_by(feeds, due, feed, "one")
        await feeds.settle(due, feed, "one", "done")
        await feeds.put_off(feed, {due: None, Due("nobody has it"): None})
        found, rest = await feeds.due(feed, 100, hold=60.0)
        assert due not in found
        assert 0 <= rest <= 60.0

    async def test_no_more_are_handed_out_than_are_asked_for(
        self, store: Store, feeds: Feeds, feed: str, session: str
    ) -> None:
        """And it is said that there are more."""
        expected = {await ended(store, f"{session}:{n}") for n in range(5)}
        got: list[Due] = []

        async def all_came() -> bool:
            found, rest = await feeds.due(feed, 2, hold=60.0)
            assert len(found) <= 2
            assert not (len(found) == 2 and len(got) + 2 < 5 and rest > 0)
            got.extend(found)
            return len(got) >= 5

        async def all_wait() -> bool:
            return 5 in [one.overdue for one in await feeds.known() if one.name == feed]

        # Their ends are put on the schedule a moment after they are stored.
        await until(all_wait)
        await until(all_came)
        assert (5, expected) == (len(got), set(got))

    @pytest.mark.parametrize("how", ["end", "release", "cancel"])
    async def test_news_are_told(
        self, store: Store, other: Store, feeds: Feeds, feed: str, session: str, how: str
    ) -> None:
        """Who waits hears of an end and of a release, and then finds it due."""
        heard = asyncio.Event()
        watch = feeds_of(other).watch(heard.set)
        # The first news are that it listens.
        await within(heard.wait())
        heard.clear()
        claimed = await claim(store, session)
        if how == "cancel":
            await lose(store, claimed)
            await within(heard.wait())
            await handed_out(feeds, feed, Due(session))
            heard.clear()
        if how == "end":
            await end(store, claimed, Status.FINISHED)
        elif how == "release":
            await lose(store, claimed)
        else:
            await store.cancel(session, generation=claimed.generation, epoch=claimed.epoch)
        await within(heard.wait())
        watch.close()
        # A store of several parts may begin to listen to the last of them only now.
        await handed_out(feeds, feed, Due(session))

    async def test_supervisors_use_the_schedule_alone(
        self, store: Store, feeds: Feeds, feed: str, session: str
    ) -> None:
        """That of one owner gets this owner's sessions; none of them has an end kept."""
        names = (":supervise", ":supervise:ada", ":supervise:b o b")
        for name in names:
            await feeds.open(name, unsaved=0.0)
        adas = await claim(store, session, owner="ada")
        assert {feed, ":supervise", ":supervise:ada"} == set(adas.feeds)
        assert set(adas.feeds) == set((await look(store, session)).feeds)
        bobs = await claim(store, f"{session}:bob", owner="b o b")
        assert ":supervise:b o b" in bobs.feeds
        await lose(store, adas)
        await lose(store, bobs)
        for name in names[1:]:
            due = Due(session if name.endswith("ada") else f"{session}:bob")
            await handed_out(feeds, name, due, alone=True)
        continued = await attempt(store, session, takeover="continue")
        assert isinstance(continued, Granted)
        assert ":supervise:ada" in continued.claim.feeds
        assert "ada" == continued.claim.owner
        await end(store, continued.claim, Status.FINISHED)
        await taken_by(feeds, Due(session), feed, "one")
        await feeds.settle(Due(session), feed, "one", "done")
        again = await claim(store, session)
        assert None is await take(feeds, Due(session, again.generation), feed, "two")

    async def test_feeds_are_known_with_what_waits_in_them(
        self, backend: Backend, store: Store, other: Store, feeds: Feeds, feed: str, session: str
    ) -> None:
        """For how long nobody has asked, and how much is overdue."""
        due = await ended(store, session)
        await handed_out(feeds, feed, due, hold=0.05)
        await backend.advance(0.2)
        (known,) = [one for one in await feeds_of(other).known() if one.name == feed]
        assert 1 == known.overdue
        assert known.oldest >= 0.1
        assert known.idle >= 0.1
        await feeds.due(feed, 100, hold=60.0)
        (known,) = [one for one in await feeds_of(other).known() if one.name == feed]
        assert (0, 0.0) == (known.overdue, known.oldest)
