"""The log of a session: what its entries mean, one by one, in pages, and as joined rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ....chunks import Chunk, Cursor, join, right_after
from ....errors import SessionCorrupted

__all__ = ["Row", "entries", "joined", "of_term", "page", "pages", "row"]


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


def of_term(chunks: list[Chunk], term: int) -> list[Chunk]:
    if chunks and chunks[-1].cursor.term != term:
        return [chunk for chunk in chunks if chunk.cursor.term == term]
    return chunks


def page(reply: Any) -> Any:
    """An XRANGE reply as its chunks, if none has an event type or is missing between them; else as
    it is. Raises nothing."""
    # Fast path of what ``entries`` does: saves half of what each chunk of a replay takes.
    try:
        first, last = _cursor(reply[0][0]), _cursor(reply[-1][0])
        # Ids only grow: from the first to the last there is room for just so many.
        if (first.term, first.offset + len(reply) - 1) == (last.term, last.offset):
            term = first.term
            chunks = [
                Chunk(data.decode(), Cursor(term, offset))
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
            if chunks[0].cursor != Cursor(after.term, after.offset + 1):
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
    # Fast path of ``join`` over ``entries``: saves the making of chunks that are not asked for.
    try:
        plain = [data for _, (name, data) in reply if name == b"d"]
        first, last = _cursor(reply[0][0]), _cursor(reply[-1][0])
        # Ids only grow: from the first to the last there is room for just so many.
        if (first.term, first.offset + len(plain) - 1) == (last.term, last.offset):
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
        elif reply.first == Cursor(after.term, after.offset + 1):
            chunks = [reply.chunk]
        else:
            chunks = []
        if not chunks:
            break
        found += chunks
        after = chunks[-1].cursor
    return join(found)


def _cursor(key: bytes) -> Cursor:
    term, _, offset = key.partition(b"-")
    return Cursor(int(term), int(offset))


def _chunk(cursor: Cursor, fields: Sequence[bytes]) -> Chunk:
    pairs = dict(zip(fields[::2], fields[1::2], strict=True))
    event = pairs[b"e"].decode(errors="replace") if b"e" in pairs else None
    return Chunk(pairs[b"d"].decode(errors="replace"), cursor, event)
