"""The messages of a session's three channels."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ....chunks import Chunk, Cursor, Item, Status
from ...base import (
    Appended,
    CancelRequested,
    Claimed,
    Ended,
    LiveEvent,
    MessageSent,
    Released,
    Removed,
    Synced,
)
from .record import OUTCOMES

__all__ = ["appended", "cancel_event", "inbox_event", "live_event", "news_event"]

_encode = msgspec.msgpack.Encoder().encode


#: Term, base, lease in ms, bytes of the epoch, chunks. What the script only hands on is text.
_decode_appended = msgspec.msgpack.Decoder(
    tuple[str, int, int, str, list[str | tuple[str, str]]]
).decode


# An array of five. The other messages are text, and begin with a letter.
_APPENDED = 0x95


def appended(term: int, base: int, lease_ms: int, total_bytes: int, items: Sequence[Item]) -> bytes:
    """The message of chunks that are stored after ``base``. The script reads it, too."""
    return _encode((str(term), base, lease_ms, str(total_bytes), items))


def live_event(message: bytes) -> LiveEvent | None:
    """What a message on the live channel says; None for one of a later version."""
    if message and message[0] == _APPENDED:
        written, base, lease_ms, _, items = _decode_appended(message)
        term = int(written)
        if len(items) == 1 and type(items[0]) is str:
            # Fast path of what follows: saves half of that for most messages, at a model's pace.
            chunks = [Chunk(items[0], Cursor(term, base + 1))]
        elif items:
            chunks = [
                Chunk(item, Cursor(term, offset))
                if type(item) is str
                else Chunk(item[0], Cursor(term, offset), item[1])
                for offset, item in enumerate(items, base + 1)
            ]
        else:
            raise ValueError("no chunks")
        return Appended(term, base, chunks, len(message), lease_ms / 1000)
    kind = message[:1]
    if kind == b"c":
        _, *numbers, generation = message.split(b" ", 4)
        term, last, lease = map(int, numbers)
        return Claimed(term, last, lease / 1000, generation.decode())
    if kind == b"e":
        _, term_text, last_text, outcome, error = message.split(b" ", 4)
        status = OUTCOMES.get(outcome, Status.FAILED)
        return Ended(int(term_text), int(last_text), status, error.decode() or None)
    if kind == b"g":
        _, term_text, last_text = message.split(b" ")
        return Released(int(term_text), int(last_text))
    if kind == b"r":
        return Removed()
    return None


def cancel_event(_: bytes) -> LiveEvent:
    """What any message on the cancel channel means: the record has to be read."""
    return CancelRequested()


def inbox_event(_: bytes) -> LiveEvent:
    """What any message on the inbox channel means: the inbox has to be read."""
    return MessageSent()


def news_event(_: bytes) -> LiveEvent:
    """What any message on the news channel of the index means: to look around, as after a break."""
    return Synced()
