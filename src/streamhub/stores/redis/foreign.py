"""Sessions of the Go library, which keep another record in the same keys. Pure.

Such a session has no terms, no count of its chunks and no lease. It is alive while its record is
there and not done; the ids of its entries come from a clock, so that nothing follows from a gap
between them; and a log that another generation has begun anew looks like the old one. All that the
store does differently for them is said here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...chunks import Chunk, Cursor, SessionInfo, Status
from ...errors import SessionCorrupted
from .layout.keys import Keys
from .layout.log import entries
from .layout.record import FIELDS, metadata_of, text_of
from .layout.scripts import Command

__all__ = [
    "is_foreign",
    "newest_of",
    "newest_request",
    "page_of",
    "page_requests",
    "read_foreign_record",
]

_GEN, _STATUS, _CLAIM, _CANCEL = (
    FIELDS.index(name) for name in ("gen", "status", "claim", "cancel")
)


def is_foreign(fields: Sequence[bytes | None]) -> bool:
    """Whether a record is the Go library's: it has a generation that is not our claim."""
    there = fields[_GEN] is not None or fields[_STATUS] is not None
    return there and (fields[_CLAIM] is None or fields[_GEN] != fields[_CLAIM])


def newest_request(keys: Keys) -> Command:
    """Asks for the newest entry, for nothing counts them."""
    return (b"XREVRANGE", keys.chunks, b"+", b"-", b"COUNT", 1)


def newest_of(answer: Any) -> Cursor:
    """The cursor of the newest entry, or of what stands before the first."""
    if isinstance(answer, Exception) or not answer:
        return Cursor(0, 0)
    return Cursor.parse(answer[0][0].decode())


def read_foreign_record(
    session_id: str, fields: Sequence[bytes | None], newest: Cursor
) -> SessionInfo | SessionCorrupted:
    """What the fields of a meta hash say."""
    done, cancelled = fields[_STATUS] == b"done", fields[_CANCEL] == b"1"
    status = Status.ACTIVE
    if done:
        status = Status.CANCELLED if cancelled else Status.FINISHED
    try:
        return SessionInfo(
            session_id=session_id,
            status=status,
            generation=text_of(fields[_GEN]),
            terms=None,
            last=newest,
            cancelling=cancelled and not done,
            metadata=metadata_of(fields),
        )
    except ValueError as problem:
        return SessionCorrupted(session_id, f"unreadable record: {problem!r:.200}")


def page_requests(keys: Keys, after: Cursor, limit: int) -> list[Command]:
    """Ask for the next chunks, and then who has the session: it had it while the log was read."""
    return [
        (b"XRANGE", keys.chunks, f"({after}", b"+", b"COUNT", limit),
        (b"HGET", keys.meta, b"gen"),
    ]


def page_of(session_id: str, answers: Sequence[Any], generation: str) -> list[Chunk]:
    """The chunks; none if the session is another generation's now.

    :raises SessionCorrupted: an entry is none of ours, nor of the Go library.
    """
    chunks = entries(session_id, answers[0])
    return chunks if answers[1] == generation.encode() else []
