"""The write side of one session: what waits to be stored, what is kept for repair, how it ends.

Decides only; the writer does the I/O. It asks for the next operations, carries them out, and
hands back what the store said.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from enum import Enum, auto

from ..chunks import Cursor, Item, Status, size_of
from ..config import HubConfig
from ..errors import (
    HubClosed,
    ProducerFenced,
    SessionCorrupted,
    StoreUnavailable,
    StreamClosed,
    StreamHubError,
    StreamTooLarge,
)
from ..signals import Signal
from ..stores.base import (
    Append,
    Behind,
    End,
    Fenced,
    Gone,
    Granted,
    HasHoles,
    Over,
    Release,
    Renew,
    Restore,
    Restored,
    SetMetadata,
    Stored,
    WriteOp,
    WriteResult,
)
from .measure import measured, plain

__all__ = ["Producer"]

# One script call must not hold the server for much longer than a millisecond.
_APPEND_CHUNKS = 512
_APPEND_BYTES = 256 * 1024
# How much of one stream may travel in one round trip: the rest waits, so that others get theirs.
_APPENDS_PER_ROUND = 8
# A log that loses what is put back each time is not worth more attempts.
_MENDINGS_IN_VAIN = 20
# A source that never waits still has to let the writer run.
_REST_AFTER = 32


class _Phase(Enum):
    OPEN = auto()
    ENDING = auto()
    RELEASING = auto()
    ENDED = auto()
    RELEASED = auto()
    FENCED = auto()
    BROKEN = auto()


class Producer:
    """One generation's stream, from the claim to its end.

    ::

        OPEN ── finish() ──▶ ENDING ──── the end is stored ────▶ ENDED
         │ └─── release() ─▶ RELEASING ─ the lease is given up ▶ RELEASED
         │
         └ from any phase above:  another generation owns the session ─▶ FENCED
                                  ended elsewhere (cancelled when lost) ▶ ENDED
                                  the store failed for give_up_after ──▶ BROKEN

    Every chunk of the epoch is retained until the end (``max_stream_bytes`` bounds them), because
    a store that loses data gets them again under the same cursors.
    """

    # In the order in which a chunk needs them: of a thousand producers little is in a processor's
    # cache. Without slots the names would be too many for CPython to share them between producers.
    __slots__ = (  # noqa: RUF023
        "open", "_max_chunk", "_items", "_sizes", "_full_at", "_sent", "on_work", "_term", "_base",
        "_waiting", "_only_chunks", "_under_way", "claim", "done", "_stored", "_failing_since",
        "renewed", "_mendings", "_broken", "_cancelling", "_current", "_end", "_give_up_after",
        "_max_pending", "_max_stream", "_metadata", "_metadata_sent", "_metadata_set",
        "_metadata_stored", "_phase", "_restore", "_changed", "finishing", "on_cancelling",
        "on_done", "check_place",
    )  # fmt: skip

    def __init__(self, granted: Granted, config: HubConfig, past: Sequence[Item] = ()) -> None:
        self.claim = granted.claim
        self._term, self._base = granted.claim.terms.current, granted.claim.base
        self._max_chunk = config.max_chunk_bytes
        self._max_pending = config.max_pending_bytes
        self._max_stream = config.max_stream_bytes
        self._give_up_after = config.give_up_after
        self._items: list[Item] = list(past)
        # _sizes[n] is what the first n chunks take together.
        self._sizes = array("Q", [0])
        for item in past:
            self._sizes.append(self._sizes[-1] + size_of(item))
        #: How many chunks are stored, and how many are stored or on their way to the store.
        self._stored = self._sent = len(self._items)
        #: Up to this size of the stream no chunk has to wait; beyond it, ``_is_full`` knows.
        self._full_at = 0
        #: Operations that are under way.
        self._under_way = 0
        self._metadata = granted.metadata
        #: How often the metadata was set, and which time is on its way and which is stored.
        self._metadata_set = self._metadata_sent = self._metadata_stored = 0
        self._phase = _Phase.OPEN
        #: Whether chunks are taken in, and whether nothing can be written any more.
        self.open, self.done = True, False
        #: Whether chunks, if any, are all that there is to write; not of one that is done.
        self._only_chunks = True
        self._end = (Status.FINISHED, "")
        self._current: str | None = None
        self._broken: StreamHubError | None = None
        self._restore = False
        self._mendings = 0
        self._failing_since: float | None = None
        self._changed = Signal[None]()
        #: How many wait for chunks to be stored.
        self._waiting = 0
        self._cancelling = False
        #: Whether the end was asked for here, by ``finish``.
        self.finishing = False
        #: Whether the store took a renewal since it began to fail to take anything else.
        self.renewed = False
        #: Raises where nothing may be published: in another event loop than the hub's.
        self.check_place: Callable[[], None] = _nothing
        #: Called with this producer when there is something to write.
        self.on_work: Callable[[Producer], None] = _ignore
        #: Called once, when the store says that a cancel was asked for.
        self.on_cancelling: Callable[[], None] = _nothing
        #: Called once, when nothing can be written any more.
        self.on_done: Callable[[], None] = _nothing

    # -- the user's side ---------------------------------------------------------------------

    @property
    def last(self) -> int:
        return len(self._items)

    def accept(self, data: str, event: str | None, *, rested: bool = False) -> Cursor | None:
        """Take a chunk in; None if that has to wait, for which there is ``publish``."""
        if not self.open:
            self.raise_for_phase()
        if event is None and type(data) is str and data.isascii() and len(data) <= self._max_chunk:
            size = len(data) or 1
        else:
            size = measured(self.claim.session_id, data, event, limit=self._max_chunk)
            data, event = plain(data), None if event is None else plain(event)
        items, sizes = self._items, self._sizes
        last, total = len(items), sizes[-1] + size
        if not (rested or last % _REST_AFTER):
            return None
        if total > self._full_at and self._is_full(total):
            return None
        idle = self._sent == last
        if idle:
            # Seldom enough that it costs nothing: else chunks are on their way in that place.
            self.check_place()
        items.append(data if event is None else (data, event))
        sizes.append(total)
        if idle:
            self.on_work(self)
        return Cursor(self._term, last + 1)

    async def publish(self, data: str, event: str | None) -> Cursor:
        """Take a chunk in, as soon as there is room for it."""
        self._have_sent()
        await asyncio.sleep(0)
        while (cursor := self.accept(data, event, rested=True)) is None:
            await self._stored_more()
        return cursor

    async def flush(self) -> None:
        target = len(self._items)
        while self._stored < target and not self.done:
            await self._stored_more()
        if self._phase not in (_Phase.OPEN, _Phase.ENDING, _Phase.RELEASING):
            self.raise_for_phase()

    async def set_metadata(self, metadata: str) -> None:
        self.raise_for_phase()
        self._metadata = metadata
        self._metadata_set += 1
        target = self._metadata_set
        self._only_chunks = False
        self.on_work(self)
        while self._metadata_stored < target and not self.done:
            await self.changed()
        if self._metadata_stored < target:
            self.raise_for_phase()

    async def finish(self, status: Status, error: str | None = None) -> None:
        """End the stream once all is stored; quiet if it has ended already."""
        if self.open:
            self.finishing, self.open, self._only_chunks = True, False, False
            self._phase, self._end = _Phase.ENDING, (status, error or "")
            self.on_work(self)
        await self._settled()
        if self._phase is not _Phase.ENDED:
            self.raise_for_phase()

    async def release(self) -> None:
        """Store what is pending and let the lease go; never raises."""
        if self.open:
            self._phase, self.open, self._only_chunks = _Phase.RELEASING, False, False
            self.on_work(self)
        await self._settled()

    def abandon(self) -> None:
        """Stop here and now, leaving the session to its lease."""
        self._finish_phase(_Phase.RELEASED)

    def leave(self) -> None:
        """Take nothing in any more, and touch nothing: this is a copy of a producer, in a process
        that was forked from its."""
        self._phase, self.open, self.done, self._only_chunks = _Phase.RELEASED, False, True, False

    @property
    def unstored_bytes(self) -> int:
        """The size of what is not in the store yet."""
        return self._sizes[-1] - self._sizes[self._stored]

    def raise_for_phase(self) -> None:
        """Raise the error of a write in this phase, if it is one."""
        session_id = self.claim.session_id
        match self._phase:
            case _Phase.ENDING | _Phase.ENDED:
                raise StreamClosed(session_id, self._end[0])
            case _Phase.RELEASING | _Phase.RELEASED:
                raise HubClosed
            case _Phase.FENCED:
                raise ProducerFenced(session_id, self.claim.generation, self._current)
            case _Phase.BROKEN if self._broken is not None:
                raise self._broken

    async def changed(self) -> None:
        """Wait until the phase changes, or the store has answered something: that it has taken
        chunks only if somebody is counted who waits for it, as ``_stored_more`` does."""
        await self._changed.wait()

    def _have_sent(self) -> None:
        if self._sent < len(self._items):
            self.on_work(self)

    def _is_full(self, total: int) -> bool:
        """Whether a chunk has to wait that makes the stream as large.

        :raises StreamTooLarge: it may not become so.
        """
        most = self._sizes[self._stored] + self._max_pending
        if total > most and self._stored < len(self._items):
            return True
        if total > self._max_stream:
            raise StreamTooLarge(self.claim.session_id, total, self._max_stream)
        self._full_at = min(most, self._max_stream)
        return False

    async def _stored_more(self) -> None:
        self._waiting += 1
        self._have_sent()
        try:
            await self.changed()
        finally:
            self._waiting -= 1

    # -- the writer's side -------------------------------------------------------------------

    @property
    def has_work(self) -> bool:
        return self._sent < len(self._items) or not (self._only_chunks or self.done)

    @property
    def urgent(self) -> bool:
        """Whether what is to be written must not wait for more: somebody waits for it, it is more
        than chunks, or enough of them."""
        return (
            self._waiting > 0
            or not self._only_chunks
            or len(self._items) - self._sent >= _APPEND_CHUNKS
        )

    @property
    def pending_bytes(self) -> int:
        """The size of what is not on its way to the store yet; 0 if that is no chunk."""
        return self._sizes[-1] - self._sizes[self._sent]

    def next_ops(self) -> list[WriteOp]:
        """What to write next, in order; bounded, so more may follow. Each is answered with
        ``apply``.

        Chunks may follow others that are still under way: the store takes no chunk without the one
        before. All else waits for what was written before it.
        """
        base, last = self._sent, len(self._items)
        if base + 1 == last and self._only_chunks and base >= self._base:
            # What is asked for most by far, at the pace of a model.
            self._sent = last
            self._under_way += 1
            return [Append(self.claim, base, self._items[base:], self._sizes[last], self._term)]
        ops: list[WriteOp] = []
        if self.done:
            return ops
        if self._restore:
            if not self._under_way:
                self._metadata_sent = self._metadata_set
                ops.append(Restore(self.claim, self._metadata))
        elif not self._under_way:
            self._add_appends(ops)
            if not self._only_chunks:
                self._add_others(ops)
        elif self._metadata_stored == self._metadata_set:
            # Else the metadata would wait for as long as there are chunks to follow.
            self._add_appends(ops)
        self._under_way += len(ops)
        return ops

    def _add_appends(self, ops: list[WriteOp]) -> None:
        base, last = self._sent, len(self._items)
        for _ in range(_APPENDS_PER_ROUND):
            if base == last:
                break
            end = self._batch_end(base)
            term = self.claim.terms.place(base).term
            ops.append(Append(self.claim, base, self._items[base:end], self._sizes[end], term))
            base = self._sent = end

    def _add_others(self, ops: list[WriteOp]) -> None:
        if self._metadata_stored < self._metadata_set and self._metadata is not None:
            self._metadata_sent = self._metadata_set
            ops.append(SetMetadata(self.claim, self._metadata))
        if self.open or self._sent < len(self._items):
            return
        if self._phase is _Phase.ENDING:
            status, error = self._end
            if self._cancelling:
                # The store may have lost that a cancel was asked for.
                status, error = Status.CANCELLED, ""
            ops.append(End(self.claim, self._sent, status, error))
        elif self._phase is _Phase.RELEASING:
            ops.append(Release(self.claim, self._sent))

    def next_renewal(self) -> Renew:
        return Renew(self.claim, self._stored)

    def apply(self, op: WriteOp, result: WriteResult | Exception) -> None:
        """Take in the answer to an operation, those of ``next_renewal`` included."""
        if isinstance(op, Append) and isinstance(result, Stored) and not self.done:
            # What comes most by far comes first, and in one call.
            self._under_way -= 1
            end = op.base + len(op.items)
            if end > self._stored:
                self._stored = end
                if self._sent < end:
                    self._sent = end
            self._failing_since, self.renewed, self._mendings = None, False, 0
            if result.cancelling:
                self._notice_cancel()
            if self._waiting:
                self._changed.fire()
            return
        renewal = isinstance(op, Renew)
        if not renewal:
            self._under_way -= 1
        if self.done:
            return
        if isinstance(result, Exception):
            self._apply_failure(result)
            return
        if renewal:
            self.renewed = self._failing_since is not None
        elif not isinstance(result, Behind):
            # To what only came too early the answer says nothing.
            self._failing_since, self.renewed = None, False
        self._apply_answer(op, result)
        self._only_chunks = (
            self.open and not self._restore and self._metadata_stored == self._metadata_set
        )
        self._changed.fire()

    # -- parts -------------------------------------------------------------------------------

    def _apply_answer(self, op: WriteOp, result: WriteResult) -> None:
        match result:
            case Stored():
                self._mendings = 0
                if isinstance(op, SetMetadata):
                    self._metadata_stored = self._metadata_sent
                elif isinstance(op, Release):
                    self._finish_phase(_Phase.RELEASED)
                if result.cancelling:
                    self._notice_cancel()
            case Behind(last):
                # The newest writes are lost, or were never there: go on after what is.
                self._go_on_after(last)
            case Restored(last):
                self._restore = False
                self._metadata_stored = self._metadata_sent
                self._go_on_after(last)
            case Gone() | HasHoles() if not self._restore:
                self._restore = True
                self._mendings += 1
                if self._mendings > _MENDINGS_IN_VAIN:
                    reason = f"the log could not be mended in {_MENDINGS_IN_VAIN} attempts"
                    self._broken = SessionCorrupted(self.claim.session_id, reason)
                    self._finish_phase(_Phase.BROKEN)
            case Fenced(current) if self._lost_claim(op, current):
                self._restore = True
            case Fenced(current):
                self._current = current
                self._finish_phase(_Phase.FENCED)
            case Over(status):
                self._end = (status, "")
                if status is Status.CANCELLED:
                    self._notice_cancel()
                self._finish_phase(_Phase.ENDED)

    def _go_on_after(self, last: int) -> None:
        self._stored = self._sent = min(last, len(self._items))
        self._full_at = 0

    def _lost_claim(self, op: WriteOp, current: str | None) -> bool:
        """Whether the store went back to before this claim: a failover lost its newest writes."""
        replaced = self.claim.replaced
        return replaced is not None and current == replaced and not isinstance(op, Restore)

    def _apply_failure(self, error: Exception) -> None:
        self._sent = self._stored
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        if isinstance(error, StoreUnavailable):
            if now - self._failing_since < self._give_up_after:
                return
            self._broken = StoreUnavailable(
                error.store,
                f"could not be written for {self._give_up_after:g} s; session "
                f"{self.claim.session_id!r} is stored up to offset {self._stored} "
                f"of {len(self._items)}: {error.reason}",
            )
            self._broken.__cause__ = error
        elif isinstance(error, StreamHubError):
            self._broken = error
        else:
            self._broken = StoreUnavailable("store", f"failed with {type(error).__name__}: {error}")
            self._broken.__cause__ = error
        self._finish_phase(_Phase.BROKEN)

    def _finish_phase(self, phase: _Phase) -> None:
        if self.done:
            return
        self._phase, self.open, self.done, self._only_chunks = phase, False, True, False
        self._items, self._sizes = [], array("Q", [0])
        self._stored = self._sent = 0
        self._changed.fire()
        self.on_done()

    def _notice_cancel(self) -> None:
        if not self._cancelling:
            self._cancelling = True
            self.on_cancelling()

    async def _settled(self) -> None:
        while not self.done:
            await self.changed()

    def _batch_end(self, base: int) -> int:
        """The offset up to which chunks after ``base`` fit into one append; at least one does."""
        end = min(base + _APPEND_CHUNKS, len(self._items))
        if base < self.claim.base:
            # What is put back was written by several terms, one after the other.
            end = min(end, int(self.claim.terms.end_of_span(base)))
        limit = self._sizes[base] + _APPEND_BYTES
        if self._sizes[end] <= limit:
            return end
        return max(base + 1, bisect_right(self._sizes, limit, base, end + 1) - 1)


def _ignore(_: Producer) -> None:
    pass


def _nothing() -> None:
    pass
