"""Server-Sent Events: how a log looks in them, an encoder that is safe on its own, and a parser.

They are those of the WHATWG HTML standard, section 9.2.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

import msgspec

from ..chunks import Chunk, Cursor, SessionInfo
from .format import Ending
from .json_text import encode as encode_json

__all__ = [
    "HEARTBEAT",
    "SSE",
    "TOLD_OF_LOSS",
    "Event",
    "EventParser",
    "SSEFormat",
    "encode",
    "encode_heartbeat",
    "encode_retry",
]

#: A comment. No blank line follows: parsers exist that take one for an event.
HEARTBEAT = b":\n"

# The line breaks that the standard knows; str.splitlines() knows more.
_LINE_BREAK = re.compile("\r\n|\n|\r")
_FORBIDDEN = re.compile("[\r\n\0]")
# In digits: some centuries.
_LONGEST_RETRY = 15
# What an application publishes under these event types must not pass for the stream's own.
_OWN_EVENTS = frozenset({"end", "error", "reset"})


#: What the id of a ``lost`` event ends with: who comes back with it was told.
TOLD_OF_LOSS = "-lost"


class SSEFormat:
    """See :class:`Format`.

    :param told: the cursor at which the client has heard already that the producer is lost: an
        EventSource comes back to see whether anybody goes on, and is not to be told each time.
    """

    name = "sse"
    media_type = "text/event-stream"
    heartbeat = HEARTBEAT
    explicit = True
    stateless = True
    over = False

    def __init__(self, *, told: str | None = None) -> None:
        self._told = told

    def begin(self, info: SessionInfo) -> bytes:
        return b""

    def chunk(self, chunk: Chunk) -> bytes:
        event = chunk.event
        if event in _OWN_EVENTS:
            event = f"chunk:{event}"
        return encode(chunk.data, event=event, id=str(chunk.cursor))

    def reset(self, cursor: Cursor) -> bytes:
        facts = {"cursor": str(cursor)}
        return encode(_json(facts), event="reset", id=str(cursor))

    def end(self, ending: Ending) -> bytes:
        cursor = None if ending.cursor is None else str(ending.cursor)
        facts = {"status": ending.status, "cursor": cursor}
        event_id = cursor
        if ending.status == "lost" and cursor is not None:
            if cursor == self._told:
                return HEARTBEAT
            event_id = cursor + TOLD_OF_LOSS
        if not ending.quiet:
            facts["error"] = ending.error
        return encode(_json(facts), event="end" if ending.quiet else "error", id=event_id)


SSE = SSEFormat()


def encode(data: str, *, event: str | None = None, id: str | None = None) -> bytes:  # noqa: A002
    """One event, as bytes that end with its blank line.

    Every line break in ``data`` reaches the client as ``\\n``; the standard has no way to tell them
    apart. Line breaks and NUL, which ``event`` and ``id`` cannot hold, become spaces there.
    """
    head = ""
    if id is not None:
        head = f"id: {_one_line(id)}\n"
    if event is not None:
        head += f"event: {_one_line(event)}\n"
    if "\n" in data or "\r" in data:
        data = "\ndata: ".join(_LINE_BREAK.split(data))
    return f"{head}data: {data}\n\n".encode()


def encode_heartbeat(cursor: Cursor) -> bytes:
    """A heartbeat with the id of a client that has got nothing since an earlier one. Clients that
    take an id at once come back with it; others with the one of their last event, which is as good.
    """
    # No blank line follows, as after any heartbeat.
    return b"id: %s\n%s" % (str(cursor).encode(), HEARTBEAT)


def encode_retry(seconds: float) -> bytes:
    """How long the client is to wait before it connects again, as a field before any event."""
    # No blank line follows, as after a heartbeat.
    return b"retry: %d\n" % round(seconds * 1000)


def _json(value: object) -> str:
    return encode_json(value).decode()


def _one_line(text: str) -> str:
    return _FORBIDDEN.sub(" ", text) if _FORBIDDEN.search(text) else text


class Event(msgspec.Struct, frozen=True):
    """One event as a client receives it."""

    data: str
    #: Its type; ``message`` where none was sent.
    event: str = "message"
    #: The last id that was sent, with this event or before it; empty if none was.
    id: str = ""


class EventParser:
    """Makes events of the bytes of a response, in whatever pieces these come.

    :param max_event_bytes: the most that an event may hold, unfinished lines included.

    ::

        parser = EventParser()
        async for piece in response.aiter_bytes():
            for event in parser.feed(piece):
                print(event.id, event.event, event.data)
    """

    def __init__(self, *, max_event_bytes: int = 32 * 1024 * 1024) -> None:
        self._limit = max_event_bytes
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        # Of the line that is not whole yet: joined once, however many pieces a long one comes in.
        self._rest: list[str] = []
        self._rest_size = 0
        self._fresh = True
        # A CR ends its line at once; a LF right after it belongs to it.
        self._after_cr = False
        self._size = 0
        self._data: list[str] = []
        self._event = ""
        #: What a client sends as ``Last-Event-ID`` when it connects again.
        self.last_event_id: str = ""
        self._id = ""
        #: The delay in seconds before it does, once the server has named one.
        self.retry: float | None = None

    def feed(self, piece: bytes) -> list[Event]:
        """The events that ``piece`` completes. What is unfinished at the end of a response is to
        be forgotten, as the standard says.

        :raises ValueError: an event is larger than ``max_event_bytes``.
        """
        events = []
        for line in self._lines(self._decode(piece)):
            if line:
                self._field(line)
            elif (event := self._dispatch()) is not None:
                events.append(event)
        if self._size + self._rest_size > self._limit:
            raise ValueError(f"an event is larger than max_event_bytes ({self._limit:,})")
        return events

    def _lines(self, text: str) -> Iterator[str]:
        if self._fresh and text:
            self._fresh = False
            text = text.removeprefix("\ufeff")
        if self._after_cr and text:
            text = text.removeprefix("\n")
            self._after_cr = False
        self._after_cr = self._after_cr or text.endswith("\r")
        *lines, rest = _LINE_BREAK.split(text)
        if lines:
            lines[0] = "".join([*self._rest, lines[0]])
            self._rest, self._rest_size = [], 0
        if rest:
            self._rest.append(rest)
            self._rest_size += len(rest)
        yield from lines

    def _field(self, line: str) -> None:
        self._size += len(line)
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
            case "event":
                self._event = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit() and len(value) <= _LONGEST_RETRY:
                self.retry = int(value) / 1000

    def _dispatch(self) -> Event | None:
        self.last_event_id = self._id
        data, event = self._data, self._event
        self._data, self._event, self._size = [], "", 0
        if not data:
            return None
        return Event("\n".join(data), event or "message", self.last_event_id)
