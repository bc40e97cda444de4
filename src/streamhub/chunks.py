"""What travels through streamhub: chunks, cursors, states. Frozen values, no I/O."""

from __future__ import annotations

import re
from enum import StrEnum
from math import inf
from typing import Any

import msgspec

__all__ = [
    "PART_EVENT",
    "Chunk",
    "Cursor",
    "Item",
    "SessionInfo",
    "Status",
    "Terms",
    "join",
    "right_after",
    "size_of",
]

#: The event type of chunks that hold one part of a message each, as JSON: see ``streamhub.parts``.
PART_EVENT = "ui"

# Redis keeps both halves of an entry id in 64 unsigned bits.
_CURSOR = re.compile(r"(0|[1-9][0-9]{0,19})-(0|[1-9][0-9]{0,19})", re.ASCII)
_MAX_HALF = 2**64 - 1


class Status(StrEnum):
    """Where a session stands.

    ``LOST`` is what a reader concludes from an active session whose lease has lapsed: it can still
    be continued, by its old producer or by a new one. It is stored only by a feed of ends that has
    waited long enough: the old producer can not go on then, while a new one still can.
    """

    ACTIVE = "active"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


class Cursor(msgspec.Struct, frozen=True, gc=False):
    """The name of a chunk, written ``<term>-<offset>``: two chunks of one session with the same
    cursor are the same chunk.

    ``term`` names the claim that wrote the chunk. ``offset`` counts the chunks of a log 1, 2, 3 …
    without holes; 0 stands before the first, and has the log's epoch as its term. In a session of
    the Go library the two halves are those of the Redis entry id.
    """

    term: int
    offset: int

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read ``"<term>-<offset>"``.

        :raises ValueError: it has another form.
        """
        match = _CURSOR.fullmatch(text)
        if match is None:
            raise ValueError(f"a cursor is written <term>-<offset>, not {text[:80]!r}")
        cursor = cls(int(match[1]), int(match[2]))
        if not cursor.possible:
            raise ValueError(f"both halves of a cursor are at most {_MAX_HALF}, not {text!r}")
        return cursor

    def is_before(self, other: Cursor) -> bool:
        """Whether it comes first in the log of both: its halves grow together, whoever wrote it."""
        return (self.term, self.offset) < (other.term, other.offset)

    @property
    def possible(self) -> bool:
        """Whether both halves are numbers that a log can hold."""
        halves = (self.term, self.offset)
        return all(isinstance(half, int) and 0 <= half <= _MAX_HALF for half in halves)

    def __str__(self) -> str:
        return f"{self.term}-{self.offset}"


class Terms(msgspec.Struct, frozen=True, gc=False):
    """Which term wrote which chunks of a log, and so which cursors the log has.

    Every claim is a term. One that continues a log writes after what it finds there; one that wrote
    nothing leaves no trace once the next has begun.
    """

    #: The term of the log's first claim, whether or not that wrote anything.
    epoch: int
    #: Of each term that wrote, and of the current one, the term and the offset after which it
    #: writes, the oldest first.
    spans: tuple[tuple[int, int], ...]

    @classmethod
    def first(cls, epoch: int) -> Terms:
        """Those of a log that has just begun."""
        return cls(epoch, ((epoch, 0),))

    @property
    def current(self) -> int:
        """The term that writes."""
        return self.spans[-1][0]

    @property
    def base(self) -> int:
        """The offset after which the current term writes."""
        return self.spans[-1][1]

    def cursor(self, offset: int) -> Cursor:
        """The cursor of the chunk at ``offset``; at 0, of what stands before the first."""
        if offset == 0:
            return Cursor(self.epoch, 0)
        return Cursor(next(term for term, base in reversed(self.spans) if base < offset), offset)

    def hold(self, cursor: Cursor) -> bool:
        """Whether the chunk that ``cursor`` names is one of this log, once the log is as long."""
        return cursor == self.cursor(cursor.offset)

    def place(self, offset: int) -> Cursor:
        """Where a store reads what follows ``offset``: in the term of the next chunk."""
        term = next((term for term, base in reversed(self.spans) if base <= offset), self.current)
        return Cursor(term, offset)

    def end_of_span(self, offset: int) -> float:
        """The offset of the last chunk by the term that writes after ``offset``; endless while
        that term writes."""
        return next((base for _, base in self.spans if base > offset), inf)

    def continued(self, term: int, last: int) -> Terms:
        """With ``term``, which writes after ``last``."""
        wrote = tuple(span for span in self.spans if span[1] < last)
        return Terms(self.epoch, (*wrote, (term, last)))


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """What one ``publish`` stored, as a subscriber receives it.

    ``event`` is the event type given to ``publish``, or None. To resume after this chunk, hand
    ``cursor`` (or ``str(cursor)``) to ``subscribe(after=…)``.
    """

    data: str
    cursor: Cursor
    event: str | None = None


#: What a producer hands in: the data alone, or with its event type.
Item = str | tuple[str, str]


class SessionInfo(msgspec.Struct, frozen=True):
    """One look at a session, as the store had it at that moment."""

    session_id: str
    status: Status
    #: The generation that claimed the session last.
    generation: str
    #: Which term wrote which chunks; None for a session of the Go library, which has no terms.
    terms: Terms | None
    #: The newest stored chunk; offset 0 when there is none yet.
    last: Cursor
    #: The generation that the current one replaced, if it did.
    replaced: str | None = None
    #: UTF-8 bytes stored in this epoch.
    bytes: int = 0
    #: Seconds until ownership lapses; None once the session has ended.
    lease: float | None = None
    #: The lease as it is stored; only whether it has changed means anything: it was renewed then.
    #: None from a store that cannot tell.
    lease_mark: int | None = None
    #: What ``register(owner=…)`` was given.
    owner: str | None = None
    #: What ``register(request=…)`` was given.
    request: str | None = None
    #: The trace within which the session was claimed, as W3C ``traceparent``: that of the newest
    #: claim of the epoch that an instrument gave one for.
    traceparent: str | None = None
    #: When the epoch began: seconds since 1970 by the store's clock; None if unknown.
    created: float | None = None
    #: When the store last heard of its producer, or of its end: seconds since 1970 by the store's
    #: clock. Chunks count once a quarter of the lease, so that it may be so much too early.
    updated: float | None = None
    #: When it ended, by the same clock; None while it has not, or if unknown.
    ended: float | None = None
    #: How often a supervisor has continued it since somebody else claimed it, and how many of these
    #: were handovers: a hub that closed had released it.
    resumes: int = 0
    handovers: int = 0
    #: Where its producer runs: the machine's name, unless ``HubConfig(host=…)`` says otherwise.
    host: str | None = None
    #: The feeds of ends, and the supervisors, that were known when it was claimed.
    feeds: tuple[str, ...] = ()
    #: About how many follow it, in all hubs with ``HubConfig(count_subscribers=True)``: as of up to
    #: a lease ago, and those that have left since are counted for up to two. None where no such hub
    #: has followed it.
    subscribers: int | None = None
    #: Why it failed, or the reason that was given to ``cancel``.
    error: str | None = None
    #: Whether a cancel has been asked for.
    cancelling: bool = False
    #: The metadata, decoded from JSON; None if never set.
    metadata: Any = None

    @property
    def epoch(self) -> int | None:
        """The log's epoch: the term of its first claim; None in a session of the Go library."""
        return None if self.terms is None else self.terms.epoch

    @property
    def term(self) -> int | None:
        """The term that writes; None in a session of the Go library."""
        return None if self.terms is None else self.terms.current

    @property
    def base(self) -> int:
        """The offset after which the current generation writes: 0, or where it continued."""
        return 0 if self.terms is None else self.terms.base

    @property
    def is_foreign(self) -> bool:
        """Whether the Go library writes it, which has no epochs and does not count its chunks."""
        return self.terms is None

    @property
    def chunks(self) -> int | None:
        """How many chunks are stored; None where nobody counts them."""
        return None if self.terms is None else self.last.offset

    def cursor(self, offset: int) -> Cursor:
        """The cursor of the chunk at ``offset``, where chunks are counted."""
        assert self.terms is not None, "a session of the Go library"
        return self.terms.cursor(offset)

    @property
    def stream_id(self) -> str:
        """What tells this stream from the ones that had the session before: its epoch, or where it
        has none, its generation."""
        return self.generation if self.terms is None else str(self.terms.epoch)


def size_of(item: Item) -> int:
    """The size of what was published before."""
    size = len(item.encode()) if isinstance(item, str) else sum(len(s.encode()) for s in item)
    return size or 1


def right_after(page: list[Chunk], after: Cursor) -> list[Chunk]:
    """The unbroken row of chunks in ``page``, all of one term, that begins right after the place
    ``after`` in that term; maybe none."""
    if not page or page[0].cursor.term != after.term:
        return []
    if page[0].cursor.offset > after.offset + 1:
        return []
    first = page[0].cursor
    # Fast path of what follows: saves a look at each chunk of a page that has no hole.
    if page[-1].cursor.offset - first.offset == len(page) - 1:
        return page[after.offset + 1 - first.offset :]
    row = [chunk for chunk in page if chunk.cursor.offset > after.offset]
    return [chunk for n, chunk in enumerate(row, after.offset + 1) if chunk.cursor.offset == n]


def join(chunks: list[Chunk]) -> list[Chunk]:
    """Make one chunk of each row of chunks without event type; the others stay as they are."""
    joined: list[Chunk] = []
    row: list[Chunk] = []
    for chunk in [*chunks, None]:
        if chunk is not None and chunk.event is None:
            row.append(chunk)
            continue
        if row:
            joined.append(Chunk("".join([part.data for part in row]), row[-1].cursor))
            row = []
        if chunk is not None:
            joined.append(chunk)
    return joined
