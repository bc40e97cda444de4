"""Feeds in memory: the reference for what ``streamhub.stores.feeds`` promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from ...chunks import Chunk, Cursor, Status
from ..base import Claim
from ..feeds import (
    FORGOTTEN_AFTER,
    DeadEnd,
    Due,
    FeedInfo,
    Later,
    Outcome,
    Taken,
    is_supervisor,
    suits,
)
from .record import EndState, Record

__all__ = ["MemoryFeeds"]

# Who has nothing to do looks again after so many seconds.
_LONGEST_REST = 60.0
# The schedule of a feed that nobody reads is looked through when it has so many, and twice as many.
_ROOM = 1000


class _Feed:
    def __init__(self) -> None:
        self.unsaved = 0.0
        self.opened = self.asked = 0.0
        self.schedule: dict[Due, float] = {}
        #: When those that were handed out come again, if they are still as they were then.
        self.handed: dict[Due, float] = {}
        #: With more than so many it is looked through for what is gone.
        self.room = _ROOM


class _Watch:
    def __init__(self, sinks: dict[_Watch, None], sink: Callable[[], None]) -> None:
        self._sinks = sinks
        self.sink: Callable[[], None] = sink
        sinks[self] = None

    def tell(self) -> None:
        if self in self._sinks:
            self.sink()

    def close(self) -> None:
        self._sinks.pop(self, None)


class MemoryFeeds:
    """See :class:`streamhub.stores.feeds.Feeds`. Here a claim and what it puts on the schedules are
    one step, as all is between two awaits."""

    def __init__(
        self,
        clock: Callable[[], float],
        records: Mapping[str, Record],
        tell_end: Callable[[Record], None],
    ) -> None:
        self._clock = clock
        self._records = records
        self._tell_end = tell_end
        self._feeds: dict[str, _Feed] = {}
        self._aside: dict[Due, Record] = {}
        self._sinks: dict[_Watch, None] = {}

    async def open(self, feed: str, *, unsaved: float) -> None:
        now = self._clock()
        self.sweep(now)
        known = self._feeds.get(feed)
        if known is None:
            known = self._feeds[feed] = _Feed()
            known.asked = now
            for record in self._records.values():
                if suits(feed, record.claim.owner):
                    known.schedule[Due(record.claim.session_id)] = now
        known.unsaved, known.opened = unsaved, now

    async def due(self, feed: str, limit: int, *, hold: float) -> tuple[list[Due], float]:
        now = self._clock()
        known = self._feeds.get(feed)
        if known is None:
            return [], _LONGEST_REST
        known.asked = now
        waiting = sorted((at, n) for n, at in enumerate(known.schedule.values()))
        names = list(known.schedule)
        found = [names[n] for at, n in waiting[:limit] if at <= now]
        for one in found:
            known.schedule[one] = known.handed[one] = now + hold
        rest = min((at for at, _ in waiting[len(found) :]), default=now + _LONGEST_REST)
        held = now + hold if found else rest
        return found, min(max(0.0, min(rest, held) - now), _LONGEST_REST)

    async def put_off(self, feed: str, when: Mapping[Due, float | None]) -> None:
        known = self._feeds.get(feed)
        if known is None:
            return
        now = self._clock()
        for due, seconds in when.items():
            handed = known.handed.pop(due, None)
            if due in known.schedule and known.schedule[due] != handed:
                continue  # it was put on since
            if seconds is not None:
                known.schedule[due] = now + seconds
            elif not self._has_news(due, feed, now):
                known.schedule.pop(due, None)

    def watch(self, sink: Callable[[], None]) -> _Watch:
        watch = _Watch(self._sinks, sink)
        asyncio.get_running_loop().call_soon(watch.tell)
        return watch

    async def take(
        self, due: Due, feed: str, worker: str, *, lease: float, lost_after: float
    ) -> Taken | Later | None:
        now = self._clock()
        record = self._find(due, now)
        if record is None:
            return None
        if record.status is Status.ACTIVE:
            if due.aside is None:
                if record.lease_until > now:
                    return Later(record.lease_until - now + lost_after)
                # Nobody continues one whose cancel was asked for.
                left = 0.0 if record.cancelling else record.lapsed + lost_after - now
                if left > 0:
                    return Later(left)
            record.end(now, Status.LOST)
            if due.aside is None:
                self._tell_end(record)
        state = record.end_in(feed)
        if state.state in ("done", "dead"):
            return None
        mine = state.state == "held" and state.worker == worker
        if not mine:
            if state.state in ("held", "again", "back") and state.until > now:
                return Later(state.until - now)
            state.state, state.worker = "held", worker
            state.attempts += 1
        state.until = now + lease
        record.ends[feed] = state
        info = record.info(now, metadata=True)
        return Taken(due, info, record.ended or now, state.attempts)

    async def renew(self, due: Due, feed: str, worker: str, *, lease: float) -> bool:
        now = self._clock()
        found = self._held(due, feed, worker, now)
        if found is None or found[1].state != "held":
            return False
        found[1].until = now + lease
        return True

    async def settle(
        self,
        due: Due,
        feed: str,
        worker: str,
        outcome: Outcome,
        *,
        after: float = 0.0,
        error: str = "",
    ) -> bool:
        now = self._clock()
        found = self._held(due, feed, worker, now)
        if found is None:
            return False
        record, state = found
        if state.state == "held":
            state.state, state.until, state.error = outcome, now + after, error
            if outcome == "back":
                state.attempts -= 1
        elif state.state != outcome:
            return False
        if not record.awaited({*record.claim.feeds, feed}):
            self._let_go(record, now)
        return True

    async def read(self, due: Due, after: Cursor, limit: int) -> list[Chunk]:
        record = self._find(due, self._clock())
        page = [] if record is None else record.log[after.offset : after.offset + limit]
        return [chunk for chunk in page if chunk.cursor.term == after.term]

    async def dead(self, feed: str) -> AsyncIterator[DeadEnd]:
        now = self._clock()
        kept = {**{Due(one): record for one, record in self._records.items()}, **self._aside}
        for due, record in kept.items():
            state = record.end_in(feed)
            if state.state == "dead" and record.expires > now:
                info = record.info(now, metadata=True)
                yield DeadEnd(due, info, state.attempts, state.error, record.ended or now)

    async def revive(self, due: Due, feed: str) -> bool:
        record = self._find(due, self._clock())
        state = None if record is None else record.end_in(feed)
        if record is None or state is None or state.state != "dead":
            return False
        record.ends[feed] = EndState(record.claim.generation)
        self._put_on(feed, due, self._clock())
        self._wake()
        return True

    async def known(self) -> Sequence[FeedInfo]:
        now = self._clock()
        self.sweep(now)
        found = []
        for name, feed in self._feeds.items():
            late = [now - at for at in feed.schedule.values() if at < now]
            found.append(FeedInfo(name, now - feed.asked, len(late), max(late, default=0.0)))
        return found

    # What the store does for them.

    def known_to(self, owner: str | None) -> tuple[tuple[str, ...], float]:
        """The feeds that a session of this owner is claimed under, and how long they keep it."""
        latest = self._clock() - FORGOTTEN_AFTER
        names = tuple(
            sorted(
                name
                for name, feed in self._feeds.items()
                if feed.opened > latest and suits(name, owner)
            )
        )
        return names, max((self._feeds[name].unsaved for name in names), default=0.0)

    def enlist(self, claim: Claim) -> None:
        """Put a session on the schedules; it is looked at when its lease has lapsed."""
        for name in claim.feeds:
            self._put_on(name, Due(claim.session_id), self._clock() + claim.lease)

    def tell(self, claim: Claim) -> None:
        """It has ended or was released: now there may be something to do."""
        for name in {*claim.feeds, *self.known_to(claim.owner)[0]}:
            self._put_on(name, Due(claim.session_id), self._clock())
        self._wake()

    def set_aside(self, record: Record, feeds: Sequence[str], generation: str) -> None:
        """Keep what the claim of ``generation`` replaces for the feeds that have not done it."""
        claim = record.claim
        names = tuple(sorted({*claim.feeds, *feeds}))
        if not record.awaited(names):
            return
        due = Due(claim.session_id, generation)
        self._aside[due] = record
        now = self._clock()
        record.keep_for(names, max(claim.unsaved, self.known_to(claim.owner)[1]), now)
        for name in names:
            self._put_on(name, due, now)
        self._wake()

    def forget(self, session_id: str) -> None:
        """The session was removed, and with it all that was set aside."""
        for due in [due for due in self._aside if due.session_id == session_id]:
            del self._aside[due]

    def sweep(self, now: float) -> None:
        for due in [due for due, record in self._aside.items() if record.expires <= now]:
            del self._aside[due]
        for name in [
            name for name, feed in self._feeds.items() if feed.opened + FORGOTTEN_AFTER <= now
        ]:
            del self._feeds[name]

    def _put_on(self, name: str, due: Due, at: float) -> None:
        feed = self._feeds.get(name)
        if feed is not None:
            feed.handed.pop(due, None)
            feed.schedule[due] = at
            if len(feed.schedule) > feed.room:
                self._drop_gone(feed)

    def _drop_gone(self, feed: _Feed) -> None:
        now = self._clock()
        for due in [due for due in feed.schedule if self._find(due, now) is None]:
            del feed.schedule[due]
            feed.handed.pop(due, None)
        feed.room = max(_ROOM, 2 * len(feed.schedule))

    def _has_news(self, due: Due, feed: str, now: float) -> bool:
        """Whether a feed of ends has something to do there after all: somebody may have continued
        it meanwhile."""
        record = None if is_supervisor(feed) else self._find(due, now)
        return record is not None and record.end_in(feed).state not in ("done", "dead")

    def _wake(self) -> None:
        for watch in list(self._sinks):
            watch.tell()

    def _find(self, due: Due, now: float) -> Record | None:
        aside = due.aside is not None
        record = self._aside.get(due) if aside else self._records.get(due.session_id)
        return None if record is None or record.expires <= now else record

    def _held(self, due: Due, feed: str, worker: str, now: float) -> tuple[Record, EndState] | None:
        """The end that the worker has, wherever it is now."""
        places = [due, *(one for one in self._aside if one.session_id == due.session_id)]
        for place in places:
            record = self._find(place, now)
            if record is not None:
                state = record.end_in(feed)
                if state.worker == worker:
                    return record, state
        return None

    def _let_go(self, record: Record, now: float) -> None:
        """All feeds are done with it."""
        if any(one is record for one in self._aside.values()):
            # For a moment it answers who asks again.
            record.log = []
            record.expires = min(record.expires, now + _LONGEST_REST)
        else:
            record.expires = min(record.expires, (record.ended or now) + record.claim.retention)
