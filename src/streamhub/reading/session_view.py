"""What this process knows of one session: from looks at the store, and from its live events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from contextlib import suppress
from functools import partial
from math import inf
from typing import Any

from msgspec.structs import replace

from ..chunks import Chunk, Cursor, SessionInfo, Status, right_after
from ..config import HubConfig
from ..errors import SessionCorrupted, SessionNotFound, StreamHubError
from ..signals import Signal
from ..stores.base import Appended, Claimed, Ended, LiveEvent, Removed, Store, Synced, Unsynced
from .page_cache import PageCache, Spawn
from .recent_chunks import RecentChunks

__all__ = ["SessionView"]

_PAGE = 512
_PAGE_AHEAD = 2048
# Each costs a task; its entries are joined while they come, so that few are in memory at once.
_JOINED_PAGE = 8192
# A lease is taken for lapsed this long after it, so that a renewal on its way still counts.
_LAPSE_MARGIN = 0.05
# How long a lapse is not believed after the store was away: producers need a moment as well. They
# try to renew several times a second, and whoever is dead shows within a second of its lease.
_GRACE = 0.75
# How long the first look waits for the live channel.
_FIRST_LOOK = 0.25
# Without the live channel, and on sessions of the Go library, the store is polled.
_DEGRADED_POLL = 1.0
_FASTEST_POLL = 0.02
_SLOWEST_POLL = 1.0
# How long the end of a cancelled session whose producer died may take to be stored.
_RETRY_END = 1.0


class SessionView:
    """One session as its subscribers in this process see it. They share it; the fan-out owns it.

    ``trusted`` is False whenever events may have been missed, until the next look. While it is
    True, ``info`` is how the session stands (None: it is not in the store) and ``missing`` whether
    it is to be taken for gone: at once for who comes new, else after a lease, in which a producer
    that lives puts back what the store has lost.
    """

    # What each live message needs comes first: of a thousand views little is in a processor's
    # cache. Without slots the names would be too many for CPython to share them between the views.
    __slots__ = (  # noqa: RUF023
        "_heard", "recent", "trusted", "_term", "end", "_grown", "due", "_loop", "news", "turn",
        "_distrust_until", "_gone_since", "_info", "_joined_pages", "_known", "_lapsed_since",
        "_lease", "_overtaken", "_pages", "_poll", "_removed", "_schedule", "_spawn", "_store",
        "_synced", "_was_synced", "_watch", "failure", "looks", "missing", "references",
        "session_id", "shared", "takeovers",
    )  # fmt: skip

    def __init__(
        self,
        session_id: str,
        store: Store,
        config: HubConfig,
        *,
        spawn: Spawn,
        schedule: Callable[[SessionView], None],
    ) -> None:
        self.session_id = session_id
        self.references = 0
        self.due = asyncio.get_running_loop().time() + _FIRST_LOOK
        self._info: SessionInfo | None = None
        #: The term that writes; None if there is none.
        self._term: int | None = None
        #: Whether chunks have come since, of which ``end`` knows already.
        self._grown = False
        self.trusted = False
        self.missing = False
        self.failure: StreamHubError | None = None
        self.recent = RecentChunks(1, config.max_pending_bytes)
        #: Where each later generation took over: who had read further has read what is gone.
        self.takeovers: list[int] = []
        #: What its subscribers keep for each other, by a key of theirs.
        self.shared: dict[Hashable, Any] = {}
        #: How often the store was looked at.
        self.looks = 0
        #: Goes on with all news but chunks: who was up to date in this turn need not look further.
        self.turn = 0
        #: The offset of the newest chunk that is known of.
        self.end = 0
        self._store = store
        self._lease = config.lease
        self._spawn = spawn
        self._schedule = schedule
        self._loop = asyncio.get_running_loop()
        self._synced = self._was_synced = False
        # Since the look began: events that it may not know of, and signs of life.
        self._overtaken = self._heard = False
        self._removed = False
        self._known: SessionInfo | None = None
        self._gone_since: float | None = None
        self._distrust_until = 0.0
        self._lapsed_since = inf
        self._poll = _FASTEST_POLL
        self._pages = PageCache(
            _PAGE,
            ahead=_PAGE_AHEAD,
            read=partial(store.read, session_id),
            row=right_after,
            spawn=spawn,
            give_up_after=config.give_up_after,
        )
        self._joined_pages = PageCache(
            _JOINED_PAGE,
            ahead=_JOINED_PAGE,
            read=partial(store.read_joined, session_id),
            row=_whole,
            spawn=spawn,
            give_up_after=config.give_up_after,
        )
        #: Brings to who was up to date all that is new to it, or None where it must look itself.
        self.news = Signal[list[Chunk]]()
        self._watch = store.watch(session_id, self._on_event)

    # -- for subscribers ---------------------------------------------------------------------

    @property
    def info(self) -> SessionInfo | None:
        info = self._info
        if info is not None and info.terms is not None and self._grown:
            # Made when it is asked for: each chunk would have to pay for it otherwise.
            last = info.terms.cursor(self.end)
            self._info = info = replace(info, status=Status.ACTIVE, last=last)
            self._grown = False
        return info

    async def changed(self) -> None:
        """Wait for news: chunks, an end, the result of a look."""
        await self.news.wait()

    def glance(self) -> SessionInfo | None:
        """How the session stands, as far as that is known now.

        :raises SessionNotFound: it is gone.
        """
        if self.failure is not None:
            # Many raise it: each with a traceback of his own.
            raise self.failure.with_traceback(None)
        if self.trusted and self.info is None and self.missing:
            raise SessionNotFound(self.session_id)
        return self.info if self.trusted else None

    async def standing(self) -> SessionInfo:
        """How the session stands, waiting until that is known.

        :raises SessionNotFound: it is gone.
        """
        while (info := self.glance()) is None:
            await self.changed()
        return info

    async def read(self, after: Cursor) -> list[Chunk] | None:
        """The chunks right after ``after``, read from the log once for all who ask.

        Empty where the log has a hole or ends; None if what was read is not current any more.
        """
        terms = None if self.info is None else self.info.terms
        if terms is None:
            return await self._pages.read(after, end=self.end, generation=self._foreign)
        place = terms.place(after.offset)
        begin = next(base for term, base in terms.spans if term == place.term)
        end = int(min(self.end, terms.end_of_span(after.offset)))
        return await self._pages.read(place, begin=begin, end=end)

    async def read_joined(self, after: Cursor) -> list[Chunk] | None:
        """Like ``read``, with rows of chunks without event type as one, where that saves work."""
        # Joined pages cannot be entered in the middle, and those of cursors all over not be shared.
        terms = None if self.info is None else self.info.terms
        if terms is not None and after.offset % _JOINED_PAGE == 0:
            end = int(min(self.end, terms.end_of_span(after.offset)))
            return await self._joined_pages.read(
                terms.place(after.offset), begin=after.offset, end=end
            )
        return await self.read(after)

    @property
    def _foreign(self) -> str | None:
        """The generation of a session of the Go library, which has no epochs."""
        info = self.info or self._known
        return info.generation if info is not None and info.epoch is None else None

    async def holds(self, cursor: Cursor) -> bool:
        """Whether the log has the very chunk that ``cursor`` names."""
        before = Cursor(cursor.term, cursor.offset - 1)
        if cursor.offset == 0:
            before = Cursor(cursor.term - 1, 2**64 - 1)
        chunks = await self._pages.load(before, 1, self._foreign)
        return bool(chunks) and chunks[0].cursor == cursor

    def look_soon(self, delay: float = 0.0) -> None:
        """Have the store looked at within ``delay`` seconds."""
        self.due = min(self.due, self._loop.time() + delay)
        self._schedule(self)

    # -- for the fan-out ---------------------------------------------------------------------

    def begin_look(self) -> None:
        self._overtaken = self._heard = False
        self.due = inf

    def end_look(self, found: SessionInfo | SessionCorrupted | None) -> None:
        """Take in what a look found, unless events have overtaken it."""
        self.looks += 1
        lost = isinstance(found, SessionInfo) and found.status is Status.LOST
        if self._overtaken or (lost and self._heard):
            self.look_soon()
        elif isinstance(found, SessionCorrupted):
            self.fail(found)
        elif found is None or self._is_past(found):
            self._take_missing(found)
        else:
            self._take(found)

    def distrust(self) -> None:
        """Believe no lapse of the lease for a while: nobody was watching, or could renew."""
        self._distrust_until = self._loop.time() + _GRACE

    def fail(self, failure: StreamHubError) -> None:
        self.failure = failure
        self._turn_over()

    def wake(self) -> None:
        """Let those who wait look around, though there is no news."""
        self._turn_over()

    def close(self) -> None:
        self._watch.close()

    # -- what the store says -----------------------------------------------------------------

    def _on_event(self, event: LiveEvent) -> None:
        # What comes most by far comes first, and in one call.
        if not isinstance(event, Appended):
            self._on_change(event)
            return
        self._heard = True
        end = self.recent.extend(event.term, event.base, event.chunks, event.bytes)
        if not self.trusted:
            return
        if self._term != event.term:
            self._doubt(forget=False)
            return
        follows = event.base == self.end
        self._grown = True
        if end > self.end:
            self.end = end
        self.due = self._loop.time() + event.lease + _LAPSE_MARGIN
        self.news.fire(event.chunks if follows else None)

    def _on_change(self, event: LiveEvent) -> None:
        match event:
            case Synced() | Unsynced():
                if self._was_synced:
                    self.distrust()
                self._synced = isinstance(event, Synced)
                self._was_synced = True
                self._doubt(forget=True)
            case Claimed():
                self._removed = False
                other = self.info is None or self.info.generation != event.generation
                self._doubt(forget=other)
            case Removed():
                self._removed = True
                self._doubt(forget=True)
            case Ended():
                self._on_ended(event)
            case _:
                pass

    def _on_ended(self, event: Ended) -> None:
        self._overtaken = True
        info = self.info
        if (
            not self.trusted
            or info is None
            or info.terms is None
            or info.terms.current != event.term
        ):
            self._doubt(forget=False)
            return
        last = info.terms.cursor(event.last)
        self._stands(replace(info, status=event.status, last=last, error=event.error, lease=None))
        self.due = inf
        self._turn_over()

    def _doubt(self, *, forget: bool) -> None:
        """Trust nothing until the next look; ``forget`` chunks that may be another's."""
        self._overtaken = True
        self.trusted = False
        self.turn += 1
        if forget:
            self.recent.clear()
            self._pages.forget()
            self._joined_pages.forget()
        self.look_soon()

    def _take(self, found: SessionInfo) -> None:
        now = self._loop.time()
        known = self._known
        if known is not None and known.generation != found.generation:
            self.takeovers.append(found.base)
        if found.terms is not None and self.recent.term == found.terms.current:
            # Live messages may have told of newer chunks than this look.
            last = max(found.last.offset, self.recent.end)
            found = replace(found, last=found.terms.cursor(last))
        if found.status is not Status.LOST:
            self._lapsed_since = inf
        else:
            self._lapsed_since = min(self._lapsed_since, now)
            # Once, for a store that goes away again and again must not hide a dead producer.
            until = min(self._distrust_until, self._lapsed_since + _GRACE)
            if now < until:
                found = replace(found, status=Status.ACTIVE, lease=until - now)
        if found.status is Status.LOST and found.cancelling:
            # Its producer died before it could stop. It is ended for it, and the end will tell.
            self._spawn(self._end_cancelled(found))
            found = replace(found, status=Status.ACTIVE, lease=_RETRY_END)
        if found.lease is not None:
            # Once lapsed it is looked at again at the old pace: it may be renewed after all.
            wait = found.lease if found.status is Status.ACTIVE else self._lease
            self.due = now + wait + _LAPSE_MARGIN
        elif found.status is Status.ACTIVE:
            grown = known is None or known.last != found.last
            self._poll = _FASTEST_POLL if grown else min(2 * self._poll, _SLOWEST_POLL)
            self.due = now + self._poll
        if not self._synced:
            self.due = min(self.due, now + _DEGRADED_POLL)
        self._schedule(self)
        # A producer whose lease is longer than this hub's has that long to put back its data.
        self._lease = max(self._lease, found.lease or 0.0)
        self._known = found
        self._stands(found)
        self._gone_since, self.missing, self._removed = None, False, False
        self.trusted = True
        self._turn_over()

    def _is_past(self, found: SessionInfo) -> bool:
        """Whether the store went back to a time before what is known: a failover lost a claim."""
        return self._known is not None and found.generation == self._known.replaced

    def _take_missing(self, past: SessionInfo | None) -> None:
        """The session is not there, or not there any more as it was."""
        now = self._loop.time()
        if self._gone_since is None:
            self._gone_since = now
        left = self._gone_since + self._lease - now
        if past is not None and left <= 0:
            self._take(past)
            return
        self._info = self._term = None
        self.missing = self.missing or self._removed or self._known is None or left <= 0
        pause = self._lease / 3 if self.missing else min(left, self._lease / 4)
        self.due = now + min(pause, _DEGRADED_POLL if not self._synced else pause)
        self._schedule(self)
        self.trusted = True
        self._turn_over()

    def _stands(self, info: SessionInfo) -> None:
        self._info = info
        self._term = None if info.terms is None else info.terms.current
        self._grown, self.end = False, info.last.offset

    def _turn_over(self) -> None:
        self.turn += 1
        self.news.fire()

    # -- parts -------------------------------------------------------------------------------

    async def _end_cancelled(self, info: SessionInfo) -> None:
        with suppress(StreamHubError):
            await self._store.cancel(self.session_id, generation=info.generation, epoch=info.epoch)


def _whole(joined: list[Chunk], _: Cursor) -> list[Chunk]:
    """Joined pages end at a hole, and are read from their start."""
    return joined
