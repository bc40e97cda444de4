"""The write side of one session: takes chunks in, says what is written next, and takes in what the
store has answered.

Decides only; the writer does the I/O. What its parts decide: where it stands (``phase``), what
waits and what is kept (``outbox``), what is done about a store that loses data or fails
(``repair``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from ..chunks import Cursor, Item, Status
from ..config import HubConfig
from ..signals import Signal
from ..stores.base import (
    Append,
    Behind,
    Claim,
    Fenced,
    Finish,
    Granted,
    Handle,
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
from .inbox import HeldMessages
from .measure import measured, plain
from .observing import Observed
from .outbox import FULL_APPEND, MetadataBox, Outbox
from .phase import Follow, LastWrite, Phase, ProducerState
from .repair import Repair, loss

__all__ = ["Producer"]

# A source that never waits still has to let the writer run.
_REST_AFTER = 32


class Producer:
    """One generation's stream, from the claim to its end."""

    # In the order in which a chunk needs them: of a thousand producers little is in a processor's
    # cache.
    __slots__ = (  # noqa: RUF023
        "_max_chunk", "outbox", "on_work", "_term", "_waiting", "_only_chunks", "_under_way",
        "claim", "done", "_repair", "metadata", "state", "_changed", "on_cancelling", "on_done",
        "check_place", "inbox", "observed", "on_stored", "_stored",
    )  # fmt: skip

    def __init__(self, granted: Granted, config: HubConfig, past: Sequence[Item] = ()) -> None:
        self.claim: Claim = granted.claim
        claim = self.claim
        self._term = claim.terms.current
        self._max_chunk = config.max_chunk_bytes
        self.outbox: Outbox = Outbox(claim, config, past)
        self.metadata: MetadataBox = MetadataBox(granted.metadata)
        self.state: ProducerState = ProducerState(claim)
        self._repair = Repair(claim, config.give_up_after)
        #: Operations that are under way.
        self._under_way = 0
        #: How many chunks were stored when it was done.
        self._stored = 0
        #: How many wait for chunks to be stored.
        self._waiting = 0
        #: Whether nothing can be written any more.
        self.done: bool = False
        #: Whether chunks, if any, are all that there is to write; not of one that is done.
        self._only_chunks = True
        self._changed = Signal[None]()
        #: What was received; None as long as nobody asked for messages.
        self.inbox: HeldMessages | None = None
        #: Tells instruments; None where there are none.
        self.observed: Observed | None = None
        #: Raises where nothing may be published: in another event loop than the hub's.
        self.check_place: Callable[[], None] = _nothing
        #: Called with this producer when there is something to write.
        self.on_work: Callable[[Producer], None] = _ignore
        #: Called once, when the store says that a cancel was asked for.
        self.on_cancelling: Callable[[], None] = _nothing
        #: Called once, when nothing can be written any more, and before what was is forgotten.
        self.on_done: Callable[[], None] = _nothing
        #: Called when the store has answered something, and right after ``on_done``; None where
        #: nobody here reads what is stored.
        self.on_stored: Callable[[], None] | None = None

    @property
    def open(self) -> bool:
        """Whether chunks are taken in."""
        return self.state.open

    @property
    def finishing(self) -> bool:
        """Whether the end was asked for here, by ``finish``."""
        return self.state.asked_to_end

    @property
    def last(self) -> int:
        return self.outbox.last

    def accept(self, data: str, event: str | None, *, rested: bool = False) -> Cursor | None:
        """Take a chunk in; None if that has to wait, for which there is ``publish``."""
        # Fast path of ``measured``: saves a sixth of what taking a chunk in takes, of most chunks.
        if (
            event is None
            and type(data) is str
            and data.isascii()
            and (size := len(data)) <= self._max_chunk
        ):
            size = size or 1
        else:
            size = measured(self.claim.session_id, data, event, limit=self._max_chunk)
            data, event = plain(data), None if event is None else plain(event)
        outbox = self.outbox
        items = outbox.items
        sizes = outbox.sizes
        last = len(items)
        total = sizes[-1] + size
        if not (rested or last % _REST_AFTER):
            return None
        if total > outbox.full_at and self._has_to_wait(total):
            return None
        if outbox.sent < last:
            # It goes along with others of this place, for which there is a round to come.
            items.append(data if event is None else (data, event))
            sizes.append(total)
            return Cursor(self._term, last + 1)
        if not rested:
            self.check_place()
        items.append(data if event is None else (data, event))
        sizes.append(total)
        self.on_work(self)
        return Cursor(self._term, last + 1)

    def accept_together(self, chunks: Sequence[tuple[str, str]]) -> int:
        """Take in as many of these as there is room for, each with its event type, before any of
        them is written; how many that are."""
        on_work, self.on_work = self.on_work, _ignore
        try:
            for count, (data, event) in enumerate(chunks):
                if self.accept(data, event, rested=True) is None:
                    return count
            return len(chunks)
        finally:
            self.on_work = on_work
            self._have_sent()

    async def publish(self, data: str, event: str | None) -> Cursor:
        """Take a chunk in, as soon as there is room for it."""
        self._have_sent()
        inbox = self.inbox
        if inbox is not None:
            inbox.publishing += 1
        try:
            await asyncio.sleep(0)
            while (cursor := self.accept(data, event, rested=True)) is None:
                await self._stored_more()
            return cursor
        finally:
            if inbox is not None:
                inbox.publishing -= 1

    async def flush(self) -> None:
        if self.done:
            self.raise_for_phase()
        target = self.outbox.last
        inbox = self.inbox
        marks: list[str] = []
        if inbox is not None and (marks := inbox.hurry(target)):
            self.on_work(self)
        while not self.done and (
            self.outbox.stored < target or (inbox is not None and inbox.has_marks(marks))
        ):
            await self._stored_more()
        # If it was stored, it is no failure that the stream has ended with it.
        if self.done and self._stored < target:
            self.raise_for_phase()

    async def set_metadata(self, metadata: str) -> None:
        self.raise_for_phase()
        number = self.metadata.set(metadata)
        self._only_chunks = False
        self.on_work(self)
        while not self.metadata.is_stored(number) and not self.done:
            await self.changed()
        if not self.metadata.is_stored(number):
            self.raise_for_phase()

    @property
    def receiving(self) -> bool:
        """Whether messages of the inbox are handed out: until the stream ends, or is asked to."""
        return self.state.phase is Phase.OPEN

    def see_to_inbox(self, *, lost: bool = False) -> None:
        """There is more in ``inbox``, or less; ``lost``: the store has lost some of it."""
        if self.done:
            return
        if lost:
            self._put_back("has lost messages of the inbox")
        self._only_chunks = self._has_only_chunks()
        if self.has_work:
            self.on_work(self)

    async def finish(self, status: Status, error: str | None = None) -> None:
        """End the stream once all is stored; quiet if it has ended already, unless as lost, for
        which nobody here has asked."""
        self._ask(self.state.finish(status, error or ""))
        await self._settled()
        if self.state.phase is not Phase.ENDED or self.state.outcome[0] is Status.LOST:
            self.raise_for_phase()

    async def release(self, *, in_vain: bool = False) -> None:
        """Store what is pending and let the lease go; never raises."""
        self._ask(self.state.release(in_vain=in_vain))
        await self._settled()

    def abandon(self) -> None:
        """Stop here and now, leaving the session to its lease."""
        self._go(self.state.abandon())

    def leave(self) -> None:
        """Take nothing in any more, and touch nothing: this is a copy of a producer, in a process
        that was forked from its."""
        self.state.abandon()
        self.done, self._only_chunks, self.outbox.full_at = True, False, 0

    def raise_for_phase(self) -> None:
        """Raise the error of a write in this phase, if it is one."""
        if (refusal := self.state.refusal()) is not None:
            raise refusal

    async def changed(self) -> None:
        """Wait until the phase changes, or the store has answered something: that it has taken
        chunks only if somebody is counted who waits for it, as ``_stored_more`` does."""
        await self._changed.wait()

    def _has_to_wait(self, total: int) -> bool:
        """Whether a chunk that makes the stream as large has to. Raises where none is taken in."""
        self.raise_for_phase()
        return not self.outbox.has_room(total)

    def _have_sent(self) -> None:
        if self.outbox.sent < self.outbox.last and not self.done:
            self.on_work(self)

    async def _stored_more(self) -> None:
        self._waiting += 1
        self._have_sent()
        try:
            await self.changed()
        finally:
            self._waiting -= 1

    async def _settled(self) -> None:
        while not self.done:
            await self.changed()

    # What follows is for the writer and the leases.

    @property
    def has_work(self) -> bool:
        outbox = self.outbox
        if outbox.sent < len(outbox.items):
            return True
        return not (self._only_chunks or self.done) and self._has_more_than_chunks()

    @property
    def urgent(self) -> bool:
        """Whether what is to be written must not wait for more: somebody waits for it, it is more
        than chunks, or enough of them."""
        return (
            self._waiting > 0
            or not self._only_chunks
            or len(self.outbox.items) - self.outbox.sent >= FULL_APPEND
        )

    @property
    def pending_bytes(self) -> int:
        """The size of what is not on its way to the store yet; 0 if that is no chunk."""
        outbox = self.outbox
        return outbox.sizes[-1] - outbox.sizes[outbox.sent]

    @property
    def unstored_bytes(self) -> int:
        """The size of what is not in the store yet."""
        return self.outbox.unstored_bytes

    @property
    def renewed(self) -> bool:
        """Whether the store took a renewal since it began to fail to take anything else."""
        return self._repair.renewed

    def next_ops(self) -> list[WriteOp]:
        """What to write next, in order; bounded, so more may follow. Each is answered with
        ``apply``.

        Chunks may follow others that are still under way: the store takes no chunk without the one
        before. All else waits for what was written before it.
        """
        outbox = self.outbox
        ops: list[WriteOp] = []
        if self._only_chunks:
            ops = outbox.take_appends()
        elif self.done:
            return ops
        elif self.state.restoring:
            if not self._under_way:
                messages = () if self.inbox is None else self.inbox.held
                ops.append(Restore(self.claim, self.metadata.send(), messages))
        elif not self._under_way:
            ops = self._take_appends()
            self._add_others(ops)
        elif not self.metadata.waits:
            # Else the metadata would wait for as long as there are chunks to follow.
            ops = self._take_appends()
        self._under_way += len(ops)
        return ops

    def _take_appends(self) -> list[WriteOp]:
        appends = self.outbox.take_appends()
        return appends if self.inbox is None else self.inbox.with_marks(appends)

    def _add_others(self, ops: list[WriteOp]) -> None:
        if self.metadata.waits and (metadata := self.metadata.send()) is not None:
            ops.append(SetMetadata(self.claim, metadata))
        outbox = self.outbox
        if outbox.sent < outbox.last:
            return
        last_write = self.state.last_write
        if self.inbox is not None:
            marks = self.inbox.left(ops, all_of_them=last_write is not None)
            if marks:
                ops.append(Handle(outbox.no_chunks(), marks))
        match last_write:
            case LastWrite.END:
                ops.append(Finish(self.claim, outbox.sent, *self.state.outcome))
            case LastWrite.RELEASE:
                ops.append(Release(self.claim, outbox.sent, self.state.in_vain))

    def next_renewal(self) -> Renew:
        return Renew(self.claim, self.outbox.stored)

    def apply(self, op: WriteOp, result: WriteResult | Exception) -> None:
        """Take in the answer to an operation, those of ``next_renewal`` included."""
        if isinstance(op, Append) and isinstance(result, Stored) and not self.done:
            # Nearly every answer, so that all that it means is here.
            self._under_way -= 1
            outbox, end = self.outbox, op.base + len(op.items)
            if end > outbox.stored:
                outbox.stored = end
                if outbox.sent < end:
                    outbox.sent = end
            if self._repair.trouble:
                self._repair.lasted()
                self._repair.answered()
            if result.cancelling:
                self._go(self.state.cancel())
            if self._waiting:
                self._changed.fire()
            if self.on_stored is not None:
                self.on_stored()
            return
        if isinstance(op, Handle):
            if isinstance(result, Stored) and self.inbox is not None:
                self.inbox.handled(op.messages)
            self.apply(op.append, result)
            self.see_to_inbox()
            return
        renewal = isinstance(op, Renew)
        if not renewal:
            self._under_way -= 1
        if self.done:
            return
        if isinstance(result, Exception):
            self._have_failed(result)
            return
        if renewal:
            self._repair.renewed_lease()
            if self.inbox is not None:
                self.inbox.hurry_old(self.outbox.last)
        elif not isinstance(result, Behind):
            # To what only came too early the answer says nothing.
            self._repair.answered()
        self._take_in(op, result)
        self._only_chunks = self._has_only_chunks()
        self._changed.fire()
        if self.on_stored is not None and not self.done:
            self.on_stored()

    def _take_in(self, op: WriteOp, result: WriteResult) -> None:
        state, outbox = self.state, self.outbox
        if not isinstance(result, Stored) and (lost := loss(op, result)) is not None:
            self._put_back(lost)
            return
        match result:
            case Stored(_, cancelling):
                if outbox.stored == outbox.last:
                    self._repair.lasted()
                if cancelling:
                    self._go(state.cancel())
                if isinstance(op, SetMetadata):
                    self.metadata.arrived()
                elif isinstance(op, Release):
                    self._go(state.let_go())
            case Behind(last):
                if last < outbox.stored and self.observed is not None:
                    self.observed.lost_data("has lost its newest chunks")
                    self.observed.repaired(last, outbox.last)
                self._go_on_after(last)
            case Restored(last):
                if self.observed is not None:
                    self.observed.repaired(last, outbox.last)
                self.metadata.arrived()
                self._go_on_after(last)
                state.restored()
            case Fenced(current):
                self._go(state.fence(current))
            case Over(status):
                if isinstance(op, Renew) and self._under_way:
                    # What is under way is answered with the same, and says what of it was stored.
                    return
                self._go(state.over(status))

    def _go_on_after(self, last: int) -> None:
        self.outbox.go_on_after(last)
        if self.inbox is not None:
            self.inbox.hurry_stored(self.outbox.stored)
            # What the store has lost of the inbox shows when it is read.
            self.inbox.wake()

    def _put_back(self, lost: str) -> None:
        follow = self.state.lose()
        if not follow:
            return
        if self.observed is not None:
            self.observed.lost_data(lost)
        if (error := self._repair.begin()) is not None:
            follow = self.state.give_up(error)
        self._go(follow)

    def _have_failed(self, error: Exception) -> None:
        outbox = self.outbox
        outbox.sent = outbox.stored
        reason = self._repair.failed(
            error, time.monotonic(), stored=outbox.stored, last=outbox.last
        )
        if reason is not None:
            self._go(self.state.give_up(reason))

    def _ask(self, follow: Follow) -> None:
        """Do what follows from a request: who brings answers, looks for work by himself."""
        self._go(follow)
        if Follow.WRITE in follow:
            self.on_work(self)

    def _go(self, follow: Follow) -> None:
        """Do what follows from an input."""
        if not follow:
            return
        self._only_chunks = self._has_only_chunks()
        if not self.state.open:
            # No chunk is taken in without a question any more.
            self.outbox.full_at = 0
        if self.inbox is not None:
            self.inbox.wake()
        if Follow.STOP in follow:
            if self.observed is not None:
                self.observed.cancelling()
            self.on_cancelling()
        if Follow.DONE in follow:
            self.done = True
            self.on_done()
            if self.on_stored is not None:
                self.on_stored()
            self._stored = self.outbox.stored
            self.outbox.clear()
            self._changed.fire()

    def _has_only_chunks(self) -> bool:
        if self.inbox is not None and self.inbox.marks:
            return False
        state = self.state
        return state.open and not state.restoring and not self.metadata.waits

    def _has_more_than_chunks(self) -> bool:
        """The same but for marks that wait for a chunk."""
        state = self.state
        if not state.open or state.restoring or self.metadata.waits:
            return True
        return self.inbox is not None and self.inbox.has_work


def _ignore(_: Producer) -> None:
    pass


def _nothing() -> None:
    pass
