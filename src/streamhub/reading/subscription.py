"""The read side: what is stored is replayed, then the live messages are followed, as one row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from types import TracebackType
from typing import TypeVar

from ..chunks import Chunk, Cursor, SessionInfo, Status
from .last import Last
from .observing import ObservedReader
from .only import Only
from .replay import Now, Replay
from .session_view import SessionView
from .watcher import Watcher

__all__ = ["PickedSubscription", "Subscription"]

T = TypeVar("T")

_NONE: Iterator[Chunk] = iter(())


class Subscription(AsyncIterator[Chunk]):
    """One reader of a session: an async iterator of :class:`Chunk`, and a context manager.

    Every chunk after its start comes once and in order, however slow the reader is. Iteration
    ends quietly only when the stream is ``finished`` or ``cancelled``.

    Leaving it never cancels the stream. It needs no ``aclose()`` if it is iterated to its end or
    dropped; ``async with`` lets go of it at once.

    :raises ProducerFailed: the producer ended the stream with an error.
    :raises ProducerLost: the producer gave no sign of life for a lease.
    :raises StreamReplaced: the log does not have what this reader has read (any more).
    :raises CursorExpired: the next chunks are no longer stored.
    :raises SessionNotFound: there is no such session, or it was removed or has expired.
    :raises StoreUnavailable: the store could not be read for ``give_up_after`` seconds.
    :raises HubClosed: the hub was closed meanwhile.
    """

    # In the order in which a live chunk needs them: of a thousand subscribers little is in a
    # processor's cache.
    __slots__ = (  # noqa: RUF023
        "_ready", "_view", "_turn", "_reached", "_waiter", "_position", "_cursor", "_replay",
        "_watcher", "_session_id", "_after", "_batch", "_buffer", "_status", "_over", "_failure",
        "_loop", "_observed", "__weakref__",
    )  # fmt: skip

    def __init__(
        self,
        watcher: Watcher,
        session_id: str,
        *,
        after: Cursor | Now | Last | None,
        batch_replay: bool,
        buffer: int,
    ) -> None:
        self._watcher = watcher
        self._session_id = session_id
        self._after = after
        self._batch = batch_replay
        self._buffer = buffer
        self._view: SessionView | None = None
        self._replay: Replay | None = None
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
        #: What is told of it to instruments, once it has begun.
        self._observed: ObservedReader | None = None

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

    @property
    def behind(self) -> bool:
        """Whether more is stored than was handed out, as far as is known here."""
        info = None if self._view is None else self._view.standing.info
        return info is not None and self._cursor is not None and self._cursor.is_before(info.last)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Chunk:
        while True:
            for chunk in self._ready:
                self._cursor = chunk.cursor
                return chunk
            view = self._view
            if (
                view is None
                or view.standing.turn != self._turn
                or view.standing.end != self._reached
            ):
                await self._fetch()
                continue
            # Fast path of _fetch: nothing can come but the next chunks, and the message that brings
            # them is the answer. It is not a method, which would cost as much as all the rest.
            self._waiter = waiter = view.news.wait()
            try:
                chunks = await waiter
            except RuntimeError:  # of asyncio, in another event loop
                self._watcher.check_place()
                raise
            if chunks is not None and view.standing.turn == self._turn:
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
            if (
                view is None
                or view.standing.turn != self._turn
                or view.standing.end != self._reached
            ):
                try:
                    await self._fetch()
                except StopAsyncIteration:
                    return []
                chunks = [*self._ready]
                continue
            # Fast path of _fetch: as in __anext__, but to all that came until this reader had its
            # turn.
            assert self._position is not None
            self._waiter = waiter = view.news.wait()
            try:
                news = await waiter
            except RuntimeError:  # of asyncio, in another event loop
                self._watcher.check_place()
                raise
            if news is not None and view.standing.turn == self._turn:
                chunks = view.recent.after(self._position.offset) or [*news]
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
        self._watcher.check_place()
        try:
            return await self._started()
        except StopAsyncIteration:
            raise RuntimeError("the subscription was closed") from None
        except Exception as error:
            self._failure = error
            self._let_go()
            raise

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
            if self._observed is not None:
                self._loop.call_soon_threadsafe(self._observed.left, Status.ACTIVE, None)

    def _let_go(self) -> None:
        self._over = True
        view, self._view = self._view, None
        replay, self._replay = self._replay, None
        if view is None or replay is None:
            return
        self._watcher.detach(view)
        self._status, replay.closed = replay.status, True
        if self._observed is not None:
            self._observed.left(self._status, self._failure)
        if any(one is not None and not one.done() for one in (self._waiter, replay.waiter)):
            view.wake()

    async def _fetch(self) -> None:
        """Make ready what is there, if this reader is not up to date; raises at the end."""
        if self._failure is not None:
            # Who asks again must not take an error for the end.
            raise self._failure.with_traceback(None)
        if self._over:
            raise StopAsyncIteration
        self._watcher.check_place()
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

    async def _next_chunks(self) -> list[Chunk]:
        """The next chunks in order; none if this reader is up to date, and the end by raising."""
        await self._started()
        replay, position = self._replay, self._position
        assert replay is not None
        assert position is not None
        chunks, turn = await replay.next_chunks(position)
        if self._observed is not None:
            self._observed.took(chunks, position, self._newest(), stored=replay.read_log)
        if chunks:
            self._position = chunks[-1].cursor
        else:
            self._turn, self._reached = turn, position.offset
        return chunks

    async def _started(self) -> SessionInfo:
        """How the session stands, once the start is known to lie in its log."""
        if self._view is None or self._replay is None:
            self._loop = asyncio.get_running_loop()
            self._view = self._watcher.attach(self._session_id, buffer=self._buffer)
            self._replay = Replay(
                self._view, after=self._after, batch=self._batch, config=self._watcher.config
            )
        if self._position is not None:
            return await self._replay.follow(self._position)
        position, info = await self._replay.begin()
        self._position = self._cursor = position
        self._observed = self._watcher.observe(self, info, position)
        return info

    def _newest(self) -> int:
        return 0 if self._view is None else self._view.standing.end


class PickedSubscription(Subscription):
    """A :class:`Subscription` that hands out chunks of some event types.

    ``cursor`` goes on with those that are passed over, too: who resumes there misses nothing, and
    gets nothing twice. Ends and errors are those of the session.
    """

    __slots__ = ("only",)

    def __init__(
        self,
        watcher: Watcher,
        session_id: str,
        only: Only,
        *,
        after: Cursor | Now | Last | None,
        batch_replay: bool,
        buffer: int,
    ) -> None:
        super().__init__(watcher, session_id, after=after, batch_replay=batch_replay, buffer=buffer)
        #: Which these are.
        self.only: Only = only

    async def __anext__(self) -> Chunk:
        while not self.only.allows(chunk := await super().__anext__()):
            pass
        return chunk

    async def take(self) -> list[Chunk]:
        while chunks := await super().take():
            if wanted := self.only.among(chunks):
                return wanted
        return []

    async def take_all(self) -> list[Chunk]:
        """Like ``take``, those that are not wanted among them: for who passes over them itself."""
        return await super().take()
