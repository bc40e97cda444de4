"""The read side: what is stored is replayed, then the live view is followed, as one row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from types import TracebackType
from typing import Literal, TypeVar

from ..chunks import Chunk, Cursor, SessionInfo, Status, join
from ..errors import (
    CursorExpired,
    InvalidCursor,
    ProducerFailed,
    ProducerLost,
    StreamReplaced,
)
from .session_view import SessionView
from .watcher import Watcher

__all__ = ["Subscription", "parse_after"]

Now = Literal["now"]
T = TypeVar("T")

# A cursor beyond the end may be ahead of a store that has just lost data and gets it back.
_BEYOND_END = 2.0
_NONE: Iterator[Chunk] = iter(())


class Subscription(AsyncIterator[Chunk]):
    """One reader of a session: an async iterator of :class:`Chunk`, and a context manager.

    Every chunk after its start comes once and in order, however slow the reader is. Iteration
    ends quietly only when the stream is ``finished`` or ``cancelled``.

    Leaving it never cancels the stream. It needs no ``aclose()`` if it is iterated to its end or
    dropped; ``async with`` lets go of it at once.

    :raises ProducerFailed: the producer ended the stream with an error.
    :raises ProducerLost: the producer gave no sign of life for a lease.
    :raises StreamReplaced: the session began a new epoch.
    :raises CursorExpired: the next chunks are no longer stored.
    :raises InvalidCursor: the start lies beyond the end of the log.
    :raises SessionNotFound: there is no such session, or it was removed or has expired.
    :raises StoreUnavailable: the store could not be read for ``give_up_after`` seconds.
    :raises HubClosed: the hub was closed meanwhile.
    """

    # In the order in which a live chunk needs them: of a thousand subscribers little is in a
    # processor's cache.
    __slots__ = (  # noqa: RUF023
        "_ready", "_view", "_turn", "_reached", "_waiter", "_position", "_cursor",
        "_watcher", "_session_id", "_after", "_batch", "_buffer", "_takeovers", "_status", "_over",
        "_failure", "_loop", "__weakref__",
    )  # fmt: skip

    def __init__(
        self,
        watcher: Watcher,
        session_id: str,
        *,
        after: Cursor | Now | None,
        batch_replay: bool,
        buffer: int,
    ) -> None:
        self._watcher = watcher
        self._session_id = session_id
        self._after = after
        self._batch = batch_replay
        self._buffer = buffer
        self._view: SessionView | None = None
        self._takeovers = 0
        #: In which turn of the view this reader was up to date, and to which offset.
        self._turn = self._reached = -1
        self._waiter: asyncio.Future[list[Chunk] | None] | None = None
        self._ready = _NONE
        #: What has been taken from view or log, and what has been handed out.
        self._position: Cursor | None = None
        self._cursor = after if isinstance(after, Cursor) else None
        self._status = Status.ACTIVE
        self._over = False
        self._failure: Exception | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def cursor(self) -> Cursor | None:
        """Where this reader stands: hand it to ``subscribe(after=…)`` to go on from here.

        None until the session was found, unless it started at a cursor.
        """
        return self._cursor

    @property
    def status(self) -> Status:
        """How the stream ended, once iteration has; ``ACTIVE`` before."""
        return self._status

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Chunk:
        while True:
            for chunk in self._ready:
                self._cursor = chunk.cursor
                return chunk
            view = self._view
            if view is None or view.turn != self._turn or view.end != self._reached:
                await self._fetch()
                continue
            # The quick way, for what each subscriber does for each chunk: nothing can come but the
            # next chunks. It is not a method, which would cost as much as all the rest.
            self._waiter = waiter = view.news.wait()
            try:
                chunks = await waiter
            except RuntimeError:  # of asyncio, in another event loop
                self._watcher.check()
                raise
            if chunks is not None and view.turn == self._turn:
                self._position = last = chunks[-1].cursor
                self._reached = last.offset
                if len(chunks) == 1:
                    self._cursor = last
                    return chunks[0]
                self._ready = iter(chunks)

    async def take(self) -> list[Chunk]:
        """All chunks that are ready at once, at least one; none once the stream has ended quietly.

        For those who pass them on together. Raises what iteration raises.
        """
        chunks = [*self._ready]
        while not chunks:
            view = self._view
            if view is None or view.turn != self._turn or view.end != self._reached:
                try:
                    await self._fetch()
                except StopAsyncIteration:
                    return []
                chunks = [*self._ready]
                continue
            # The quick way of __anext__, but to all that came until this reader had its turn.
            assert self._position is not None
            self._waiter = waiter = view.news.wait()
            try:
                news = await waiter
            except RuntimeError:  # of asyncio, in another event loop
                self._watcher.check()
                raise
            if news is not None and view.turn == self._turn:
                chunks = view.recent.after(self._position) or [*news]
                self._position = chunks[-1].cursor
                self._reached = chunks[-1].cursor.offset
        self._cursor = chunks[-1].cursor
        return chunks

    async def open(self) -> SessionInfo:
        """Find the session and check the start, which iteration does by itself otherwise.

        For those who must know before the first chunk whether there will be one: how the session
        stands then. Raises what iteration raises.
        """
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        self._watcher.check()
        try:
            _, info = await self._started()
        except StopAsyncIteration:
            raise RuntimeError("the subscription was closed") from None
        except Exception as error:
            self._failure = error
            self._let_go()
            raise
        return info

    def shared(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` once made under ``key`` for all subscriptions of the session in this
        process; it lives as long as one of them does. For modules of ours, after ``open``."""
        if self._view is None:
            raise RuntimeError("shared() comes after open()")
        kept = self._view.shared
        if key not in kept:
            kept[key] = make()
        made: T = kept[key]
        return made

    async def aclose(self) -> None:
        """Let go of everything; iteration ends, also for a task that waits in it. Idempotent."""
        self._ready = _NONE
        self._let_go()

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if self._view is None or self._loop is None or self._watcher.left:
            return
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._watcher.detach, self._view)

    def _let_go(self) -> None:
        self._over = True
        view, self._view = self._view, None
        if view is not None:
            self._watcher.detach(view)
            if self._waiter is not None and not self._waiter.done():
                view.wake()

    async def _changed(self, view: SessionView) -> None:
        """Wait for news of the session, or until this is closed."""
        self._waiter = waiter = view.news.wait()
        await waiter

    async def _fetch(self) -> None:
        """Make ready what is there, if this reader is not up to date; raises at the end."""
        if self._failure is not None:
            # Who asks again must not take an error for the end.
            raise self._failure.with_traceback(None)
        if self._over:
            raise StopAsyncIteration
        self._watcher.check()
        try:
            chunks = await self._next_chunks()
        except StopAsyncIteration:
            self._let_go()
            raise
        except Exception as error:
            self._failure = error
            self._let_go()
            raise
        self._ready = iter(chunks) if chunks else _NONE

    # -- replay and view ---------------------------------------------------------------------

    async def _next_chunks(self) -> list[Chunk]:
        """The next chunks in order, from the recent or from the log; none if this reader is up to
        date, and the end by raising."""
        hole_until: float | None = None
        while True:
            view, info = await self._started()
            turn, position = view.turn, self._position
            assert position is not None
            chunks: list[Chunk] | None
            if self._batch:
                chunks = await self._read_stored(view, info.last)
                self._batch = chunks is None
            else:
                chunks = view.recent.after(position)
                if not chunks and _is_before(position, info.last):
                    chunks = await view.read(position)
                    if chunks == []:
                        hole_until = await self._wait_for_repair(view, position, hole_until)
            if self._over:
                raise StopAsyncIteration
            if chunks:
                self._position = chunks[-1].cursor
                return chunks
            if chunks is not None and not _is_before(position, info.last):
                self._check_end(info)
                if position == info.last:
                    self._turn, self._reached = turn, position.offset
                    return []
                # What it has read is newer than what was looked at or heard of.
                await self._changed(view)

    async def _started(self) -> tuple[SessionView, SessionInfo]:
        """The view, and how the session stands, once the start is known to lie in this epoch."""
        if self._view is None:
            self._loop = asyncio.get_running_loop()
            self._view = self._watcher.attach(self._session_id, buffer=self._buffer)
        view = self._view
        while True:
            info = await self._standing(view)
            if self._position is not None:
                self._check_epoch(view, info, self._position)
                return view, info
            self._position = await self._start(view, info)
            self._cursor = self._position

    async def _standing(self, view: SessionView) -> SessionInfo:
        """How the session stands, waiting until that is known, or until this is closed."""
        while not self._over:
            info = view.glance()
            if info is not None:
                return info
            await self._changed(view)
        raise StopAsyncIteration

    async def _start(self, view: SessionView, info: SessionInfo) -> Cursor:
        """Where to begin, once the session is known."""
        self._takeovers = len(view.takeovers)
        cursor = self._after
        if cursor is None:
            return Cursor(info.epoch or 0, 0)
        if cursor == "now":
            return info.last
        if info.terms is not None and not info.terms.hold(cursor):
            raise StreamReplaced(self._session_id, cursor, info.epoch)
        if info.epoch is None and cursor != Cursor(0, 0) and not await view.holds(cursor):
            # A log of the Go library has no epoch that would tell it from the one before.
            raise StreamReplaced(self._session_id, cursor, None)
        if _is_before(info.last, cursor):
            try:
                async with asyncio.timeout(_BEYOND_END):
                    while info.status is Status.ACTIVE and _is_before(info.last, cursor):
                        view.look_soon(_BEYOND_END / 8)
                        await self._changed(view)
                        info = await self._standing(view)
            except TimeoutError:
                pass
            if _is_before(info.last, cursor):
                raise InvalidCursor(
                    cursor, f"is beyond the end of the log, which is {info.last}", self._session_id
                )
        return cursor

    def _check_epoch(self, view: SessionView, info: SessionInfo, position: Cursor) -> None:
        if info.terms is not None:
            if not info.terms.hold(position):
                raise StreamReplaced(self._session_id, position, info.epoch)
        elif len(view.takeovers) > self._takeovers:
            raise StreamReplaced(self._session_id, position, None)

    def _check_end(self, info: SessionInfo) -> None:
        """All is delivered: end if the stream has."""
        if info.status is Status.ACTIVE:
            return
        self._status = info.status
        match info.status:
            case Status.FAILED:
                raise ProducerFailed(self._session_id, info.error or "no reason given")
            case Status.LOST:
                raise ProducerLost(self._session_id, info.generation, self._position)
            case _:
                raise StopAsyncIteration

    async def _read_stored(self, view: SessionView, target: Cursor) -> list[Chunk] | None:
        """All that is stored up to ``target``, joined; None if the log changed hands meanwhile."""
        stored: list[Chunk] = []
        position = self._position
        while position is not None and _is_before(position, target):
            page = await view.read_joined(position)
            if page is None:
                return None
            if not page:
                break
            stored += page
            position = page[-1].cursor
        return join(stored)

    async def _wait_for_repair(self, view: SessionView, at: Cursor, until: float | None) -> float:
        """The log has a hole: wait for the producer to mend it, while there can be one.

        :raises CursorExpired: nobody will.
        """
        loop = asyncio.get_running_loop()
        looks = view.looks
        if until is None:
            until = loop.time() + self._watcher.lease
            view.look_soon()
        else:
            view.look_soon(self._watcher.lease / 8)
        while view.looks == looks and view.failure is None and not self._over:
            await self._changed(view)
        info = await self._standing(view)
        over = info.status is not Status.ACTIVE or loop.time() >= until
        held = info.terms is None or info.terms.hold(at)
        missing = held and _is_before(at, info.last)
        if over and missing and await view.read(at) == []:
            raise CursorExpired(self._session_id, at)
        return until


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


def _is_before(one: Cursor, other: Cursor) -> bool:
    # Within one log the halves grow together, in one of the Go library too.
    return (one.term, one.offset) < (other.term, other.offset)
