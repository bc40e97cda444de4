"""How a reader that is behind comes up to date: where it begins, and what comes next, from the
newest chunks or from the log."""

from __future__ import annotations

import asyncio
from typing import Literal

from ..chunks import Chunk, Cursor, SessionInfo, Status, join, size_of
from ..config import HubConfig
from ..errors import (
    CursorExpired,
    HubClosed,
    InvalidCursor,
    ProducerFailed,
    ProducerLost,
    StreamReplaced,
)
from ..stores.feeds import is_supervisor
from .last import Last, Search
from .logs import LogHasHole
from .only import Only
from .session_view import SessionView

__all__ = ["Now", "Replay", "parse_after", "parse_start"]

Now = Literal["now"]

# How often a lease a store is looked at for what a reader knows of, and it has not (any more).
_LOOKS_PER_LEASE = 8


class Replay:
    """Reads one session for one reader. All that it waits for ends within a lease or a look.

    :param after: where to begin; whoever has a cursor knows that the session was there.
    :param batch: join what is stored already.
    """

    __slots__ = (
        "_after", "_batch", "_generation", "_lease", "_lost_until", "_piece", "_session_id",
        "_stored", "_view", "closed", "read_log", "status", "waiter",
    )  # fmt: skip

    def __init__(
        self,
        view: SessionView,
        *,
        after: Cursor | Now | Last | None,
        batch: bool,
        config: HubConfig,
    ) -> None:
        self._view = view
        self._session_id = view.session_id
        self._after = after
        self._batch = batch
        self._stored: Cursor | None = None
        self._lease = config.lease
        self._piece = config.max_pending_bytes
        #: Until when a lost session is expected to be resumed.
        self._lost_until: float | None = None
        #: The generation under which the session was found.
        self._generation = ""
        #: What this reader waits for now, if it does.
        self.waiter: asyncio.Future[list[Chunk] | None] | None = None
        self.closed: bool = False
        #: Whether what it has answered last was read from the log.
        self.read_log: bool = False
        #: How the stream has ended, once all of it was read.
        self.status: Status = Status.ACTIVE

    async def begin(self) -> tuple[Cursor, SessionInfo]:
        """Where to begin, once the session is known.

        :raises StreamReplaced: the log does not have the chunk of the cursor, or will not again.
        """
        asked = self._view.standing.begun + 1
        info = await self._wait_info()
        if isinstance(self._after, Last) or self._after == "now":
            info = await self._wait_end(asked)
        self._generation = info.generation
        cursor, log = self._after, self._view.log
        if cursor is None:
            return log.start, info
        if cursor == "now":
            return info.last, info
        if isinstance(cursor, Last):
            return await self._begin_at_last(cursor)
        until = self._now() + self._lease
        while True:
            if not await log.proves(cursor):
                raise StreamReplaced(self._session_id, cursor, info.epoch)
            if not info.last.is_before(cursor):
                return cursor, info
            # The store has lost what this reader has, and may get it back from its producer.
            if info.status is Status.LOST:
                return cursor, info
            if info.status is not Status.ACTIVE or self._now() >= until:
                raise StreamReplaced(self._session_id, cursor, info.epoch)
            await self._wait_change()
            info = await self._wait_info()
            self._generation, log = info.generation, self._view.log

    async def follow(self, position: Cursor) -> SessionInfo:
        """How the session stands, whose log has what was read up to ``position``.

        :raises StreamReplaced: it has not (any more).
        """
        info = await self._wait_info()
        if not self._view.log.holds(position, self._generation):
            raise StreamReplaced(self._session_id, position, info.epoch)
        return info

    async def next_chunks(self, position: Cursor) -> tuple[list[Chunk], int]:
        """The chunks after ``position`` in order, or none if this reader is up to date; and in
        which turn of the view it is so.

        :raises ProducerFailed, ProducerLost, StopAsyncIteration: that was all, and it has ended.
        """
        view = self._view
        hole_until: float | None = None
        while True:
            info = await self.follow(position)
            turn, behind = view.standing.turn, position.is_before(info.last)
            chunks: list[Chunk] | None = []
            if self._batch:
                # What was stored when this reader came; what comes later is live.
                self._stored = self._stored or info.last
                chunks = await self._read_joined(position, self._stored)
                self._batch = chunks is None or (
                    chunks != [] and chunks[-1].cursor.is_before(self._stored)
                )
            elif not (chunks := view.recent.after(position.offset)) and behind:
                chunks = await view.log.read(position, info.last)
                self.read_log = True
            else:
                self.read_log = False
            if chunks == [] and behind:
                hole_until = await self._wait_for_repair(position, hole_until)
            if self.closed:
                raise StopAsyncIteration
            if chunks:
                return chunks, turn
            if chunks is not None and not behind:
                if (left := self._time_to_resume(info)) > 0:
                    self._view.look_soon(left)
                    await self._wait_news()
                    continue
                self._check_end(info, position)
                if position == info.last:
                    return [], turn
                # What it has read is newer than what was looked at or heard of.
                await self._wait_change()

    # Parts.

    async def _wait_end(self, look: int) -> SessionInfo:
        """How the session stands as the look of this number finds it, or a later one: what others
        who read here know of may be some chunks behind what is stored."""
        if not self._view.standing.has_answered(look):
            await self._wait_look(0.0)
        return await self._wait_info()

    async def _begin_at_last(self, last: Last) -> tuple[Cursor, SessionInfo]:
        """Where its last chunks begin, in the log that the session has now.

        :raises CursorExpired: the log has a hole there that nobody mends.
        """
        until: float | None = None
        while True:
            info = await self._wait_info()
            self._generation, log = info.generation, self._view.log
            try:
                cursor = await log.before_last(Search(last), info.last)
            except LogHasHole:
                if until is None:
                    until = self._now() + self._lease
                    await self._wait_look(0.0)
                elif info.status is Status.ACTIVE and self._now() < until:
                    await self._wait_look(self._lease / _LOOKS_PER_LEASE)
                else:
                    raise CursorExpired(self._session_id, log.start) from None
                continue
            if cursor is not None:
                return cursor, info

    async def _read_joined(self, position: Cursor, target: Cursor) -> list[Chunk] | None:
        """What is stored up to ``target``, joined, as far as it is one piece; None if the log
        changed hands meanwhile."""
        stored: list[Chunk] = []
        size = 0
        while position.is_before(target) and size < self._piece:
            page = await self._view.log.read_joined(position, target)
            if page is None:
                return None
            if not page:
                break
            stored += page
            size += sum(size_of(chunk.data) for chunk in page)
            position = page[-1].cursor
        return join(stored)

    def _time_to_resume(self, info: SessionInfo) -> float:
        """For how many seconds it is waited for that a supervisor takes a lost session over."""
        if info.status is not Status.LOST:
            self._lost_until = None
        elif any(map(is_supervisor, info.feeds)):
            self._lost_until = self._lost_until or self._now() + self._lease
            return self._lost_until - self._now()
        return 0.0

    def _check_end(self, info: SessionInfo, position: Cursor) -> None:
        """All is delivered: end if the stream has."""
        if info.status is Status.ACTIVE:
            return
        if info.status is not Status.LOST and info.last.is_before(position):
            raise StreamReplaced(self._session_id, position, info.epoch)
        self.status = info.status
        match info.status:
            case Status.FAILED:
                raise ProducerFailed(self._session_id, info.error or "no reason given")
            case Status.LOST:
                if self._view.is_closing():
                    raise HubClosed
                raise ProducerLost(self._session_id, info.generation, position)
        raise StopAsyncIteration

    async def _wait_for_repair(self, at: Cursor, until: float | None) -> float:
        """The log has a hole: wait for the producer to mend it, while there can be one.

        :raises CursorExpired: nobody will.
        """
        first = until is None
        if until is None:
            until = self._now() + self._lease
        await self._wait_look(0.0 if first else self._lease / _LOOKS_PER_LEASE)
        info = await self.follow(at)
        over = info.status is not Status.ACTIVE or self._now() >= until
        if over and at.is_before(info.last) and await self._view.log.read(at, info.last) == []:
            raise CursorExpired(self._session_id, at)
        return until

    async def _wait_info(self) -> SessionInfo:
        """How the session stands, waiting until that is known, or until this is closed."""
        patient = isinstance(self._after, Cursor)
        while not self.closed:
            info = self._view.info_now(patient=patient)
            if info is not None:
                return info
            await self._wait_news()
        raise StopAsyncIteration

    async def _wait_look(self, delay: float) -> None:
        """Wait for what a look finds that begins from now on, within ``delay``."""
        look = self._view.look_soon(delay)
        while not (self.closed or self._view.standing.has_answered(look)):
            await self._wait_news()

    async def _wait_change(self) -> None:
        """Wait for whatever comes first: news, or what the next look finds."""
        self._view.look_soon(self._lease / _LOOKS_PER_LEASE)
        await self._wait_news()

    async def _wait_news(self) -> None:
        self.waiter = waiter = self._view.news.wait()
        await waiter

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def parse_start(
    after: Cursor | str | None, last: int | None, only: Only | None
) -> Cursor | Now | Last | None:
    """Check what ``subscribe(after=…, last=…)`` was given.

    :raises InvalidCursor: ``after`` is no cursor, ``"now"`` or None.
    :raises ValueError: ``last`` is no number of chunks, or both are given.
    """
    if last is None:
        return parse_after(after)
    if after is not None:
        raise ValueError(f"after={str(after)!r} and last={last!r} exclude each other: give one")
    return Last.of(last, only)


def parse_after(after: Cursor | str | None) -> Cursor | Now | None:
    """Check what ``subscribe(after=…)`` was given.

    :raises InvalidCursor: it is no cursor, ``"now"`` or None.
    """
    if after is None:
        return None
    if isinstance(after, Cursor):
        if after.possible:
            return after
        raise InvalidCursor(str(after), "is malformed; its halves are numbers of 0 to 2**64 - 1")
    if after == "now":
        return "now"
    if not isinstance(after, str):
        kind = type(after).__name__
        raise InvalidCursor(after, f"must be a Cursor, a str or None, not {kind}")
    try:
        return Cursor.parse(after)
    except ValueError:
        reason = 'is malformed; a cursor is "<term>-<offset>", or "now"'
        raise InvalidCursor(after, reason) from None
