"""What travels through streamhub: chunks, cursors, states. Frozen values, no I/O."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

import msgspec

__all__ = ["Chunk", "Cursor", "Item", "SessionInfo", "Status", "join", "right_after", "size_of"]

# Redis keeps both halves of an entry id in 64 unsigned bits.
_CURSOR = re.compile(r"(0|[1-9][0-9]{0,19})-(0|[1-9][0-9]{0,19})", re.ASCII)
_MAX_HALF = 2**64 - 1


class Status(StrEnum):
    """Where a session stands.

    ``LOST`` is never stored: it is what a reader concludes from an active session whose lease
    has lapsed. A lost session can still be continued, by its old producer or by a new one.
    """

    ACTIVE = "active"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


class Cursor(msgspec.Struct, frozen=True, gc=False):
    """A place in a session's log, written ``<epoch>-<offset>``.

    ``epoch`` names one incarnation of the log and is only ever compared for equality; ``offset``
    counts the epoch's chunks 1, 2, 3 … without holes, and 0 stands before the first.
    In a session of the Go library the two halves are those of the Redis entry id.
    """

    epoch: int
    offset: int

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read ``"<epoch>-<offset>"``.

        :raises ValueError: it has another form.
        """
        match = _CURSOR.fullmatch(text)
        if match is None:
            raise ValueError(f"a cursor is written <epoch>-<offset>, not {text[:80]!r}")
        cursor = cls(int(match[1]), int(match[2]))
        if not cursor.possible:
            raise ValueError(f"both halves of a cursor are at most {_MAX_HALF}, not {text!r}")
        return cursor

    @property
    def possible(self) -> bool:
        """Whether both halves are numbers that a log can hold."""
        halves = (self.epoch, self.offset)
        return all(isinstance(half, int) and 0 <= half <= _MAX_HALF for half in halves)

    def __str__(self) -> str:
        return f"{self.epoch}-{self.offset}"


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
    #: The log's epoch; None for a session of the Go library, which has none.
    epoch: int | None
    #: The newest stored chunk; offset 0 when there is none yet.
    last: Cursor
    #: The offset after which the current generation writes: 0, or where it continued another's.
    base: int = 0
    #: The generation that the current one replaced, if it did.
    replaced: str | None = None
    #: UTF-8 bytes stored in this epoch.
    bytes: int = 0
    #: Seconds until ownership lapses; None once the session has ended.
    lease: float | None = None
    #: What ``register(owner=…)`` was given.
    owner: str | None = None
    #: When the epoch began: seconds since 1970 by the store's clock; None if unknown.
    created: float | None = None
    #: Why it failed, or the reason that was given to ``cancel``.
    error: str | None = None
    #: Whether a cancel has been asked for.
    cancelling: bool = False
    #: The metadata, decoded from JSON; None if never set.
    metadata: Any = None


def size_of(item: Item) -> int:
    """The size of what was published before."""
    size = len(item.encode()) if isinstance(item, str) else sum(len(s.encode()) for s in item)
    return size or 1


def right_after(page: list[Chunk], after: Cursor) -> list[Chunk]:
    """The unbroken row of chunks in ``page`` that begins right after ``after``; maybe none."""
    if not page or page[0].cursor.epoch != after.epoch:
        return []
    if page[0].cursor.offset > after.offset + 1:
        return []
    first = page[0].cursor
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
