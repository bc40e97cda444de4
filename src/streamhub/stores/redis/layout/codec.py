"""What stands in Redis, and what it means: records, log entries, live messages, script answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from ....chunks import Chunk, Cursor, SessionInfo, Status
from ....errors import SessionCorrupted
from ....rows import join, right_after
from ...base import (
    Appended,
    Behind,
    CancelRequested,
    Claimed,
    Ended,
    Fenced,
    Gone,
    Item,
    LiveEvent,
    Over,
    Removed,
    Stored,
    WriteResult,
)

__all__ = [
    "FIELDS",
    "appended",
    "cancel_event",
    "entries",
    "given",
    "is_foreign",
    "joined",
    "live_event",
    "ms",
    "page",
    "pages",
    "record",
    "row",
    "taken",
    "write_result",
]

#: The fields of a record that a look reads; the metadata follows on request.
FIELDS = (
    "gen", "status", "claim", "epoch", "last", "lease", "outcome", "error",
    "cancel", "owner", "created", "bytes", "base", "replaced",
)  # fmt: skip

_OUTCOMES = {
    b"finished": Status.FINISHED,
    b"failed": Status.FAILED,
    b"cancelled": Status.CANCELLED,
}

# Scripts calculate with doubles, which are exact up to 2**53.
_LONGEST_NUMBER = 15

_encode = msgspec.msgpack.Encoder().encode
#: Epoch, base, lease in ms, bytes of the epoch, chunks. What the script only hands on is text.
_decode_appended = msgspec.msgpack.Decoder(
    tuple[str, int, int, str, list[str | tuple[str, str]]]
).decode
# An array of five. The other messages are text, and begin with a letter.
_APPENDED = 0x95


def is_foreign(fields: Sequence[bytes | None]) -> bool:
    """Whether the record is one of the Go library: it has a generation that is not our claim."""
    return fields[0] != fields[2] or fields[2] is None


def record(
    session_id: str, fields: Sequence[bytes | None], now_ms: int, last: Cursor | None = None
) -> SessionInfo | SessionCorrupted | None:
    """What the fields of a meta hash say; ``last`` is the newest entry of a foreign log."""
    gen, status, _, epoch, last_offset, lease, outcome, error = fields[:8]
    cancel, owner, created, size, base, replaced = fields[8:14]
    if gen is None and status is None:
        return None
    try:
        metadata = json.loads(fields[14]) if len(fields) > 14 and fields[14] else None
        if is_foreign(fields):
            return SessionInfo(
                session_id=session_id,
                status=_foreign_status(status, cancel),
                generation=_text(gen),
                epoch=None,
                last=last or Cursor(0, 0),
                cancelling=status != b"done" and cancel == b"1",
                metadata=metadata,
            )
        standing, remaining = Status.ACTIVE, None
        if status == b"done":
            standing = _OUTCOMES[outcome or b"finished"]
        else:
            remaining = max(0.0, (_number(lease or b"0") - now_ms) / 1000)
            standing = Status.ACTIVE if remaining > 0 else Status.LOST
        return SessionInfo(
            session_id=session_id,
            status=standing,
            generation=_text(gen),
            epoch=_number(epoch),
            last=Cursor(_number(epoch), _number(last_offset)),
            base=_number(base or b"0"),
            replaced=_text(replaced) or None,
            bytes=_number(size or b"0"),
            lease=remaining,
            owner=None if owner is None else _text(owner),
            created=_number(created) / 1000 if created else None,
            error=_text(error) if error else None,
            cancelling=status != b"done" and cancel == b"1",
            metadata=metadata,
        )
    except (ValueError, KeyError) as problem:
        return SessionCorrupted(session_id, f"unreadable record: {problem!r}")


def entries(session_id: str, raw: Any) -> list[Chunk]:
    """The chunks of an XRANGE reply, or of what ``page`` has made of it.

    :raises SessionCorrupted: an entry is none of ours, nor of the Go library.
    """
    if not raw:
        return []
    found = raw if _is_page(raw) else page(raw)
    if _is_page(found):
        chunks: list[Chunk] = found
        return chunks
    try:
        return [_chunk(_cursor(key), fields) for key, fields in raw]
    except (ValueError, KeyError, TypeError, IndexError) as problem:
        raise SessionCorrupted(session_id, f"unreadable log entry: {problem!r}") from problem


def page(reply: Any) -> Any:
    """An XRANGE reply as its chunks, if none has an event type or is missing between them; else as
    it is. Raises nothing."""
    try:
        first, last = _cursor(reply[0][0]), _cursor(reply[-1][0])
        # Ids only grow: from the first to the last there is room for just so many.
        if (first.epoch, first.offset + len(reply) - 1) == (last.epoch, last.offset):
            epoch = first.epoch
            chunks = [
                Chunk(data.decode(), Cursor(epoch, offset))
                for offset, (_, (name, data)) in enumerate(reply, first.offset)
                if name == b"d"
            ]
            if len(chunks) == len(reply):
                return chunks
    except (ValueError, TypeError, IndexError, AttributeError):
        pass
    return reply


def pages(session_id: str, replies: Sequence[Any], after: Cursor) -> list[Chunk] | None:
    """The chunks of XRANGE replies, or of what ``page`` has made of them, if they follow ``after``
    without a hole between the replies; else None.

    :raises SessionCorrupted: an entry is none of ours, nor of the Go library.
    """
    found: list[Chunk] = []
    for reply in replies:
        chunks = entries(session_id, reply)
        if chunks:
            # Where one reply found nothing yet, the next may: the log grew, or was put back.
            if chunks[0].cursor != Cursor(after.epoch, after.offset + 1):
                return None
            found += chunks
            after = chunks[-1].cursor
    return found


def _is_page(reply: Any) -> bool:
    return type(reply[0]) is Chunk


class Row(msgspec.Struct, frozen=True, gc=False):
    """Entries without event type and without a hole between them, as one chunk."""

    first: Cursor
    chunk: Chunk


def row(reply: Any) -> Any:
    """An XRANGE reply as a ``Row``, where it is one; else as it is. Raises nothing."""
    try:
        plain = [data for _, (name, data) in reply if name == b"d"]
        first, last = _cursor(reply[0][0]), _cursor(reply[-1][0])
        # Ids only grow: from the first to the last there is room for just so many.
        if (first.epoch, first.offset + len(plain) - 1) == (last.epoch, last.offset):
            return Row(first, Chunk(b"".join(plain).decode("utf-8", "replace"), last))
    except (ValueError, TypeError, IndexError):
        pass
    return reply


def joined(session_id: str, replies: Sequence[Any], after: Cursor) -> list[Chunk]:
    """What of XRANGE replies, or what ``row`` has made of them, follows ``after`` without a hole,
    its rows joined.

    :raises SessionCorrupted: an entry is none of ours.
    """
    found: list[Chunk] = []
    for reply in replies:
        if not isinstance(reply, Row):
            chunks = right_after(entries(session_id, reply), after)
        elif reply.first == Cursor(after.epoch, after.offset + 1):
            chunks = [reply.chunk]
        else:
            chunks = []
        if not chunks:
            break
        found += chunks
        after = chunks[-1].cursor
    return join(found)


def _cursor(key: bytes) -> Cursor:
    epoch, _, offset = key.partition(b"-")
    return Cursor(int(epoch), int(offset))


def _chunk(cursor: Cursor, fields: Sequence[bytes]) -> Chunk:
    pairs = dict(zip(fields[::2], fields[1::2], strict=True))
    event = pairs[b"e"].decode(errors="replace") if b"e" in pairs else None
    return Chunk(pairs[b"d"].decode(errors="replace"), cursor, event)


def appended(
    epoch: int, base: int, lease_ms: int, total_bytes: int, items: Sequence[Item]
) -> bytes:
    """The message of chunks that are stored after ``base``. The script reads it, too."""
    return _encode((str(epoch), base, lease_ms, str(total_bytes), items))


def live_event(message: bytes) -> LiveEvent | None:
    """What a message on the live channel says; None for one of a later version."""
    if message and message[0] == _APPENDED:
        written, base, lease_ms, _, items = _decode_appended(message)
        epoch = int(written)
        if len(items) == 1 and type(items[0]) is str:
            # Most of them, at the pace of a model; what follows would take twice as long.
            chunks = [Chunk(items[0], Cursor(epoch, base + 1))]
        elif items:
            chunks = [
                Chunk(item, Cursor(epoch, offset))
                if type(item) is str
                else Chunk(item[0], Cursor(epoch, offset), item[1])
                for offset, item in enumerate(items, base + 1)
            ]
        else:
            raise ValueError("no chunks")
        return Appended(epoch, base, chunks, len(message), lease_ms / 1000)
    kind = message[:1]
    if kind == b"c":
        _, *numbers, generation = message.split(b" ", 5)
        epoch, last, base, lease = map(int, numbers)
        return Claimed(epoch, last, base, lease / 1000, generation.decode())
    if kind == b"e":
        _, epoch_text, last_text, outcome, error = message.split(b" ", 4)
        status = _OUTCOMES.get(outcome, Status.FAILED)
        return Ended(int(epoch_text), int(last_text), status, error.decode() or None)
    if kind == b"r":
        return Removed()
    return None


def cancel_event(_: bytes) -> LiveEvent:
    """Whoever sends on the cancel channel, the record decides."""
    return CancelRequested()


def write_result(session_id: str, answer: Any) -> WriteResult | SessionCorrupted:
    """What a write script answered; damage is the answer of that session alone."""
    if type(answer) is int:
        return Stored(answer, cancelling=False)
    match answer:
        case [b"cancelling", last]:
            return Stored(int(last), cancelling=True)
        case [b"behind", last]:
            return Behind(int(last))
        case [b"gone"]:
            return Gone()
        case [b"fenced", generation]:
            return Fenced(generation.decode(errors="replace") or None)
        case [b"over", outcome] if outcome in _OUTCOMES:
            return Over(_OUTCOMES[outcome])
    return SessionCorrupted(session_id, f"a script answered {answer!r}")


def outcome_status(session_id: str, outcome: bytes) -> Status:
    """:raises SessionCorrupted: it is no outcome that streamhub writes."""
    if outcome not in _OUTCOMES:
        raise SessionCorrupted(session_id, f"unknown outcome {outcome!r}")
    return _OUTCOMES[outcome]


def _foreign_status(status: bytes | None, cancel: bytes | None) -> Status:
    if status != b"done":
        return Status.ACTIVE
    return Status.CANCELLED if cancel == b"1" else Status.FINISHED


@lru_cache(maxsize=64)
def ms(seconds: float) -> int:
    """A duration as scripts have it."""
    return max(1, round(seconds * 1000))


def given(value: str | None) -> str:
    """An optional argument of a script: marked, so that an empty one is not taken for none."""
    return "" if value is None else f"={value}"


def taken(value: bytes) -> str | None:
    """An optional answer of a script, marked in the same way."""
    return value[1:].decode() if value else None


def _number(value: bytes | None) -> int:
    """:raises ValueError: it is no number that a script would have written."""
    if value is None or not value.isdigit() or len(value) > _LONGEST_NUMBER:
        raise ValueError(f"{value!r:.40} is not a number")
    return int(value)


def _text(value: bytes | None) -> str:
    return (value or b"").decode()
