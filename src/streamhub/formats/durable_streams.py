"""Durable Streams (PROTOCOL.md 1.0): offsets, cursors for caches, and its Server-Sent Events.

Checked with ``@durable-streams/client`` 0.2.7 and the ``durable-streams`` 0.1.0 of PyPI.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from ..chunks import Cursor

__all__ = [
    "Control",
    "Offset",
    "control_event",
    "cursor_at_end",
    "data_event",
    "next_cursor",
    "was_told_of_end",
]

_OFFSET = re.compile(r"([0-9a-f]{16})_([0-9a-f]{16})_([01])", re.ASCII)
_LINE_BREAK = re.compile(rb"\r\n|\n|\r")

# Intervals of 20 seconds since 9 October 2024, as the protocol counts them.
_INTERVAL = 20.0
_FIRST_INTERVAL = 1_728_432_000.0
# By how many of them a cursor may be ahead: the protocol's hour.
_MOST_AHEAD = 180
_LONGEST_CURSOR = 15
# What a closed stream adds to a cursor: no other is as large.
_AT_END = 10**14


class Offset(NamedTuple):
    """A place in a stream: after the chunk of a cursor, or after its end as well.

    Its text is of one width, and in the order of the stream. It names what was read, not how much:
    a log that has been replaced, or has lost its tail to another term, does not have it.
    """

    cursor: Cursor
    #: Whether what the end of the stream says was read, too.
    ended: bool = False

    @classmethod
    def parse(cls, text: str) -> Offset:
        """
        :raises ValueError: it is none that was ever given out.
        """
        match = _OFFSET.fullmatch(text)
        if match is None:
            raise ValueError(f"an offset is one that a response has named, not {text[:80]!r}")
        return cls(Cursor(int(match[1], 16), int(match[2], 16)), match[3] == "1")

    def __str__(self) -> str:
        return f"{self.cursor.term:016x}_{self.cursor.offset:016x}_{int(self.ended)}"


def next_cursor(held: str | None, now: float, jitter: float) -> str:
    """What a client is to send along next, so that a cache in between answers it, and others that
    wait with it, but not for ever: it grows with the time, and with each request.

    :param held: what the client has sent along.
    :param now: in seconds since 1970.
    :param jitter: from 0 to 1.
    """
    interval = int((now - _FIRST_INTERVAL) // _INTERVAL)
    valid = held is not None and held.isascii() and held.isdigit() and len(held) <= _LONGEST_CURSOR
    if held is None or not valid or int(held) < interval:
        return str(interval)
    return str(int(held) + 1 + int(jitter * (_MOST_AHEAD - 1)))


def cursor_at_end(now: float) -> str:
    """What a client would send along that asks on after it was told that the stream is closed."""
    return str(_AT_END + int((now - _FIRST_INTERVAL) // _INTERVAL))


def was_told_of_end(held: str | None) -> bool:
    """Whether what the client has sent along is that."""
    return held is not None and len(held) == _LONGEST_CURSOR and held.isascii() and held.isdigit()


class Control(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Where the reader of an SSE response stands."""

    stream_next_offset: str
    stream_cursor: str | None = None
    up_to_date: bool = False
    stream_closed: bool = False
    #: How the stream has ended: an addition of ours.
    streamhub_status: str | None = None


def data_event(data: bytes) -> bytes:
    """Messages of a stream, as they are in the body of a response."""
    lines = _LINE_BREAK.split(data)
    # A reader takes off one space before a line.
    said = b"".join([b"data:%b%b\n" % (b" " if line[:1] == b" " else b"", line) for line in lines])
    # The type comes last: the stock clients would take what was cut off within the lines for a
    # whole event otherwise.
    return b"%bevent: data\n\n" % said


def control_event(control: Control) -> bytes:
    """Follows all data that is new since the last one."""
    return b"event: control\ndata:%b\n\n" % msgspec.json.encode(control)
