"""The store in this process's memory: the embedded default, and the reference for the semantics.

Sessions live as long as the store object, and end with the process. Several hubs may share one
store in one event loop. Everything happens between two awaits, so every operation is atomic.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from ...chunks import Chunk, Cursor, SessionInfo, Status, Terms
from ...config import HubConfig
from ...errors import (
    InboxFull,
    InvalidStoreUrl,
    SessionCorrupted,
    SessionNotFound,
    StreamClosed,
    StreamReplaced,
)
from ..base import (
    Append,
    Appended,
    BaseStore,
    Behind,
    CancelRequested,
    Claim,
    Claimed,
    Ended,
    Fenced,
    Finish,
    Gone,
    Granted,
    Handle,
    InboxMessage,
    InboxPage,
    LiveEvent,
    MessageSent,
    Over,
    Refused,
    Release,
    Released,
    Removed,
    Renew,
    Restore,
    Restored,
    SetMetadata,
    Stored,
    StoreTakeover,
    Watch,
    WriteOp,
    WriteResult,
)
from .channels import Channel
from .feeds import MemoryFeeds
from .record import Record
from .tombstones import Tombstones

__all__ = ["MemoryStore"]

# An append renews a lease of which less than this is left.
_FRESH = 0.75


def _wall_clock() -> Callable[[], float]:
    """Seconds since 1970 that never go back or jump, so that no lease lapses by a clock change."""
    start = time.time() - time.monotonic()
    return lambda: start + time.monotonic()


class MemoryStore(BaseStore):
    """Keeps sessions in memory. See :class:`streamhub.stores.base.Store` for what it promises.

    :param clock: seconds since 1970; for tests that move the time themselves.
    """

    def __init__(self, *, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or _wall_clock()
        self._records: dict[str, Record] = {}
        self._removed = Tombstones()
        self._live, self._cancels, self._inboxes = Channel(), Channel(), Channel()
        self._claims_until_sweep = 64
        self._host = ""
        self._feeds = MemoryFeeds(self._clock, self._records, self._tell_end)

    @classmethod
    def from_url(cls, url: str) -> MemoryStore:
        """A new store with nothing in it.

        :raises InvalidStoreUrl: the URL is not ``memory://``.
        """
        if url.partition("://")[2]:
            raise InvalidStoreUrl("memory://…", "a store in memory has no address: memory://")
        return cls()

    def __repr__(self) -> str:
        return "memory://"

    def configure(self, config: HubConfig) -> None:
        self._host = config.host

    @property
    def feeds(self) -> MemoryFeeds:
        return self._feeds

    async def claim(
        self,
        session_id: str,
        generation: str,
        *,
        takeover: StoreTakeover,
        lease: float,
        retention: float,
        owner: str | None = None,
        metadata: str | None = None,
        request: str | None = None,
        same_owner: bool = False,
        replaces: str | None = None,
        traceparent: str | None = None,
    ) -> Granted | Refused:
        now = self._clock()
        self._sweep(now)
        old = self._get(session_id, now)
        resumes = handovers = 0
        if old is None and (takeover == "resume" or replaces):
            raise SessionNotFound(session_id)
        if old is not None:
            if old.claim.generation == generation and old.status is Status.ACTIVE:
                old.renew(now, old.claim)
                return Granted(old.claim, old.bytes, old.metadata)
            standing = old.standing(now)
            if replaces not in (None, old.claim.generation):
                return Refused(old.info(now, metadata=False))
            if same_owner and old.claim.owner != owner:
                return Refused(old.info(now, metadata=False))
            if takeover == "resume":
                if standing is not Status.LOST:
                    return Refused(old.info(now, metadata=False))
                takeover = "continue"
                resumes = old.claim.resumes + 1
                handovers = old.claim.handovers + old.handed_over
            complete = standing is Status.FINISHED and takeover == "continue"
            stopped = standing is Status.LOST and old.cancelling and takeover == "continue"
            if stopped:
                # Its producer died before it could stop: the cancel is kept all the same.
                old.end(now, Status.CANCELLED)
                self._tell_end(old)
            if standing is Status.ACTIVE or complete or stopped:
                return Refused(old.info(now, metadata=False))
        continues = old is not None and takeover == "continue"
        if continues and old is not None:
            owner = old.claim.owner if owner is None else owner
        feeds, unsaved = self._feeds.known_to(owner)
        newest = 0 if old is None else old.claim.terms.current
        term = max(int(now * 1000), newest + 1, self._removed.last_term(session_id) + 1)
        if continues and old is not None:
            created_ms = old.claim.created_ms
            terms = old.claim.terms.continued(term, len(old.log))
            metadata = old.metadata if metadata is None else metadata
            request = old.claim.request if request is None else request
            traceparent = traceparent or old.claim.traceparent
        else:
            created_ms = int(now * 1000)
            terms = Terms.first(term)
        record = Record(
            Claim(
                session_id=session_id,
                generation=generation,
                terms=terms,
                replaced=None if old is None else old.claim.generation,
                lease=lease,
                retention=retention,
                owner=owner,
                request=request,
                traceparent=traceparent,
                created_ms=created_ms,
                resumes=resumes,
                handovers=handovers,
                feeds=feeds,
                unsaved=unsaved,
            ),
            metadata,
        )
        if continues and old is not None:
            record.log, record.bytes, record.inbox = old.log, old.bytes, old.inbox
            record.followers = old.followers
        elif old is not None:
            self._feeds.set_aside(old, feeds, generation)
        record.host = self._host
        record.renew(now, record.claim)
        self._records[session_id] = record
        self._feeds.enlist(record.claim)
        self._live.tell(session_id, Claimed(term, terms.base, lease, generation))
        return Granted(record.claim, record.bytes, record.metadata)

    async def write(self, ops: Sequence[WriteOp]) -> list[WriteResult | Exception]:
        now = self._clock()
        return [self._write(op, now) for op in ops]

    def _write(self, op: WriteOp, now: float) -> WriteResult:
        claim = op.claim
        record = self._get(claim.session_id, now)
        if isinstance(op, Restore):
            return self._restore(op, record, now)
        if record is None:
            return Gone()
        if record.claim.generation != claim.generation:
            return Fenced(record.claim.generation)
        if record.status is not Status.ACTIVE:
            return Over(record.status)
        match op:
            case Append():
                return self._append(op, record, now)
            case Handle():
                answer = self._append(op.append, record, now)
                if isinstance(answer, Stored):
                    record.inbox.handle(op.messages)
                return answer
            case SetMetadata():
                record.metadata = op.metadata
            case Renew() if record.lease_until > 0:
                record.renew(now, claim)
            case Release():
                self._release(record, now, in_vain=op.in_vain)
            case Finish():
                if len(record.log) < op.last:
                    return Behind(len(record.log))
                record.end(now, op.status, op.error)
                self._tell_end(record)
                return Over(record.status)
        return Stored(len(record.log), record.cancelling)

    def _release(self, record: Record, now: float, *, in_vain: bool) -> None:
        claim = record.claim
        given_up = record.lease_until > 0
        record.release(now, in_vain=in_vain)
        self._feeds.tell(claim)
        if given_up and not record.cancelling:
            self._live.tell(claim.session_id, Released(claim.terms.current, len(record.log)))

    def _append(self, op: Append, record: Record, now: float) -> WriteResult:
        last = len(record.log)
        if last < op.base:
            return Behind(last)
        new = [
            Chunk(item, Cursor(op.term, offset))
            if isinstance(item, str)
            else Chunk(item[0], Cursor(op.term, offset), item[1])
            for offset, item in enumerate(op.items[last - op.base :], last + 1)
        ]
        # A claim that was given up stays so.
        if 0 < record.lease_until < now + _FRESH * op.claim.lease:
            record.renew(now, op.claim)
        if new:
            added = op.total_bytes - record.bytes
            record.log.extend(new)
            record.bytes = op.total_bytes
            event = Appended(op.term, last, new, added, op.claim.lease)
            self._live.tell(op.claim.session_id, event)
        return Stored(len(record.log), record.cancelling)

    def _restore(self, op: Restore, record: Record | None, now: float) -> WriteResult:
        claim = op.claim
        if record is not None:
            if record.claim.generation not in (claim.generation, claim.replaced):
                return Fenced(record.claim.generation)
            if record.claim.generation == claim.generation:
                if record.status is not Status.ACTIVE:
                    return Over(record.status)
                record.inbox.put_back(op.messages)
                return Restored(len(record.log))
        if claim.terms.current <= self._removed.last_term(claim.session_id):
            # Whoever claimed after a removal was given a later term.
            return Fenced(None)
        restored = Record(claim, op.metadata)
        kept = record is not None and record.claim.epoch == claim.epoch
        if record is not None and kept:
            restored.inbox = record.inbox
            restored.followers = record.followers
            if len(record.log) <= claim.base:
                restored.log, restored.bytes = record.log, record.bytes
        restored.inbox.put_back(op.messages)
        restored.host = self._host
        restored.renew(now, restored.claim)
        self._records[claim.session_id] = restored
        self._feeds.enlist(claim)
        last = len(restored.log)
        self._live.tell(
            claim.session_id,
            Claimed(claim.terms.current, last, claim.lease, claim.generation),
        )
        return Restored(last)

    async def cancel(
        self, session_id: str, *, generation: str, epoch: int | None, reason: str | None = None
    ) -> Status | None:
        now = self._clock()
        record = self._get(session_id, now)
        if record is None or record.claim.epoch != epoch:
            return None
        standing = record.standing(now)
        if standing in (Status.ACTIVE, Status.LOST):
            record.reason = record.reason or reason
        if standing is Status.LOST:
            # What has ended before is kept as long as before.
            expires = record.expires if record.status is Status.LOST else None
            record.end(now, Status.CANCELLED)
            record.expires = expires or record.expires
            self._tell_end(record)
            return Status.CANCELLED
        if standing is Status.ACTIVE:
            record.cancelling = True
            self._cancels.tell(session_id, CancelRequested())
        return standing

    async def remove(self, session_id: str) -> bool:
        now = self._clock()
        record = self._get(session_id, now)
        if record is None:
            return False
        del self._records[session_id]
        self._feeds.forget(session_id)
        claim = record.claim
        if record.status is Status.ACTIVE:
            # A frozen producer is kept out for as long as its session would have outlived it.
            self._removed.bury(claim, int(now * 1000), now + claim.lease + claim.kept)
        elif claim.terms.current >= int(now * 1000):
            # Whoever claims within this millisecond must still get another term.
            self._removed.bury(claim, 0, now + 0.002)
        self._live.tell(session_id, Removed())
        self._cancels.tell(session_id, CancelRequested())
        return True

    async def look(
        self, session_ids: Sequence[str], *, metadata: bool = False
    ) -> list[SessionInfo | SessionCorrupted | None]:
        now = self._clock()
        records = [self._get(session_id, now) for session_id in session_ids]
        return [
            None if record is None else record.info(now, metadata=metadata) for record in records
        ]

    async def announce(self, followers: Mapping[str, int], *, hub: str, lasts: float) -> None:
        now = self._clock()
        for session_id, count in followers.items():
            record = self._get(session_id, now)
            if record is not None:
                record.announce(now, hub, count, lasts)

    async def metadata_sizes(self, session_ids: Sequence[str]) -> list[int]:
        now = self._clock()
        records = [self._get(session_id, now) for session_id in session_ids]
        return [len(record.metadata or "") if record is not None else 0 for record in records]

    async def read(
        self, session_id: str, after: Cursor, limit: int, *, generation: str | None = None
    ) -> list[Chunk]:
        record = self._get(session_id, self._clock())
        if record is None:
            return []
        if generation is not None and record.claim.generation != generation:
            return []
        page = record.log[after.offset : after.offset + limit]
        if page and page[0].cursor.term == page[-1].cursor.term == after.term:
            return page
        return [chunk for chunk in page if chunk.cursor.term == after.term]

    async def sessions(
        self, *, owner: str | None = None, foreign: bool = False
    ) -> AsyncIterator[str]:
        for session_id in list(self._records):
            record = self._get(session_id, self._clock())
            if record is not None and owner in (None, record.claim.owner):
                yield session_id

    def watch(
        self, session_id: str, sink: Callable[[LiveEvent], None], *, cancels: bool = False
    ) -> Watch:
        return (self._cancels if cancels else self._live).watch(session_id, sink)

    async def send(
        self,
        session_id: str,
        data: str,
        event: str | None,
        *,
        epoch: int | None,
        token: str,
        max_messages: int,
        max_bytes: int,
    ) -> str:
        now = self._clock()
        record = self._get(session_id, now)
        if record is None:
            raise SessionNotFound(session_id)
        if record.claim.epoch != epoch:
            raise StreamReplaced(session_id, Cursor(epoch or 0, 0), record.claim.epoch)
        inbox = record.inbox
        if (known := inbox.id_of(token)) is not None:
            return known
        if record.status is not Status.ACTIVE:
            raise StreamClosed(session_id, record.status)
        waiting, size = len(inbox.messages), inbox.bytes
        if waiting >= max_messages or size + InboxMessage("", data, event).size > max_bytes:
            raise InboxFull(
                session_id, waiting, size, max_messages=max_messages, max_bytes=max_bytes
            )
        sent = inbox.add(token, data, event)
        self._inboxes.tell(session_id, MessageSent())
        return sent

    async def read_inbox(self, claim: Claim, held: Sequence[str]) -> InboxPage:
        record = self._get(claim.session_id, self._clock())
        if record is None or record.claim.generation != claim.generation:
            return InboxPage([], [])
        return InboxPage([], []) if record.status is not Status.ACTIVE else record.inbox.page(held)

    def watch_inbox(self, session_id: str, sink: Callable[[LiveEvent], None]) -> Watch:
        return self._inboxes.watch(session_id, sink)

    def _get(self, session_id: str, now: float) -> Record | None:
        self._removed.drop_expired(session_id, now)
        record = self._records.get(session_id)
        if record is not None and record.expires <= now:
            del self._records[session_id]
            return None
        return record

    def _sweep(self, now: float) -> None:
        """Drop what has expired, often enough that the work per claim stays constant."""
        self._claims_until_sweep -= 1
        if self._claims_until_sweep > 0:
            return
        for session_id in list(self._records):
            self._get(session_id, now)
        self._removed.sweep(now)
        self._feeds.sweep(now)
        for channel in (self._live, self._cancels, self._inboxes):
            channel.sweep()
        self._claims_until_sweep = max(64, len(self._records))

    def _tell_end(self, record: Record) -> None:
        claim = record.claim
        event = Ended(claim.terms.current, len(record.log), record.status, record.error)
        self._live.tell(claim.session_id, event)
        self._feeds.tell(claim)
