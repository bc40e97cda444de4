"""The events of AG-UI, as its own clients and TanStack AI's read them: Server-Sent Events, or a
JSON object a line. Checked with ``@ag-ui/client`` 1.0.0 and ``@tanstack/ai-client`` 0.33.2.

A client that comes back says by the id of an event how far it has come. A stream of AG-UI cannot
go on in the middle of anything, so what is open there is opened again, under that very id: parsers
that begin anew need it, and those that go on where they stopped pass over an id that they have.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from ..chunks import Chunk, Cursor, SessionInfo
from ..parts.ui_stream import UIStream, message_id_of
from .agui_events import AGUIEvents, Event
from .endings import told_of
from .format import Ending
from .json_text import encode as encode_json
from .sse import HEARTBEAT, encode

__all__ = ["AGUI", "EventId"]

#: With its id.
Named = tuple[str, Event]

# By which field events of a kind belong together.
_NAMES = {
    "STEP": "stepName",
    "TEXT_MESSAGE": "messageId",
    "REASONING": "messageId",
    "REASONING_MESSAGE": "messageId",
    "TOOL_CALL": "toolCallId",
}

_ID = re.compile(r"(\d{1,20}-\d{1,20})(?:\.(\d{1,9}))?", re.ASCII)


class EventId(NamedTuple):
    """The name of an event: the cursor of the chunk that it is made of, and how many events that
    has made before it; at its last event the cursor alone."""

    cursor: Cursor
    #: How many events of the chunk a client that has this one has; None for all.
    made: int | None

    @classmethod
    def parse(cls, text: str) -> EventId:
        """
        :raises ValueError: it is the name of no event.
        """
        match = _ID.fullmatch(text)
        if match is None:
            raise ValueError(f"the id of an event is a cursor, or one with .<n>, not {text[:80]!r}")
        return cls(Cursor.parse(match[1]), None if match[2] is None else int(match[2]))

    def __str__(self) -> str:
        return f"{self.cursor}" if self.made is None else f"{self.cursor}.{self.made}"


class AGUI:
    """See :class:`Format`.

    :param run: the run's id; and ``thread``, of which it is one: by default what the session was
        claimed for says.
    :param after: the id of the newest event that the client has.
    :param lines: whether it is a JSON object a line, ``{"id": …, "chunk": …}``.
    :param error_text: what a client is told of a status and its reason; by default nothing of the
        reason, which may be the text of an exception.
    """

    explicit = False
    stateless = False

    def __init__(
        self,
        run: str,
        *,
        thread: str | None = None,
        after: EventId | None = None,
        lines: bool = False,
        error_text: Callable[[str, str], str] | None = None,
    ) -> None:
        self.name = "agui-lines" if lines else "agui"
        self.media_type = "application/x-ndjson" if lines else "text/event-stream"
        self.heartbeat = b"\n" if lines else HEARTBEAT
        self._run, self._thread = run, thread
        self._after = after
        self._lines = lines
        self._error_text = error_text
        #: What is open after the events that the client has seen.
        self._open = _Open()
        #: The newest chunk, and how many events came of it.
        self._cursor = Cursor(0, 0)
        self._count = 0
        #: How many events beyond those of its chunk the client has seen: of an end that was none.
        self._beyond = 0
        #: Under which id what is open is opened again, until that is done.
        self._reopens = None if after is None else str(after)
        #: Whether nothing more is to be sent: the client has seen another stream than this one.
        self.over: bool = False

    def begin(self, info: SessionInfo) -> bytes:
        thread = self._thread or (info.request or "").partition(":")[2] or self._run
        self._parts = UIStream(message_id_of(info))
        self._events = AGUIEvents(thread, self._run)
        after = self._after
        if after is not None and info.terms is not None:
            known = after.cursor.offset <= info.last.offset
            if known and not info.terms.hold(after.cursor):
                return self._lose()
        return self._at(Cursor(info.epoch or 0, 0), self._events.begin())

    def chunk(self, chunk: Chunk) -> bytes:
        made = self._parts.add(chunk.data, chunk.event)
        events = [event for part in made for event in self._events.feed(part.value)]
        return b"" if self.over else self._at(chunk.cursor, events)

    def reset(self, cursor: Cursor) -> None:
        return None

    def end(self, ending: Ending) -> bytes:
        events = []
        if ending.quiet:
            made = self._parts.end(ending.status)
            events = [event for part in made for event in self._events.feed(part.value)]
        events += self._events.end(ending.status, self._told(ending))
        named = [
            (f"{self._cursor}.{number}", event)
            for number, event in enumerate(events, self._count + 1)
        ]
        if self._after is not None:
            return b"" if self.over else self._lose()
        # Of who has them all the last one is said again: an end is always explicit.
        seen = min(self._beyond, len(named) - 1)
        return self._said(named[:seen], named[seen:])

    def _at(self, cursor: Cursor, events: list[Event]) -> bytes:
        """What the client is sent of one chunk: what it has not seen."""
        self._cursor, self._count, self._beyond = cursor, len(events), 0
        names = [f"{cursor}.{number}" for number in range(1, len(events))]
        named = [*zip([*names, str(cursor)], events, strict=False)]
        after = self._after
        if after is None:
            return self._said([], named)
        if cursor.is_before(after.cursor):
            self._open.see(named)
            return b""
        if cursor != after.cursor:
            return self._lose()
        self._after = None
        seen = len(events) if after.made is None else after.made
        self._beyond = max(0, seen - len(events))
        if self._beyond:
            # What it has seen of an end is none if another chunk comes.
            self._open.see(named)
            return b""
        return self._said(named[:seen], named[seen:])

    def _said(self, seen: list[Named], rest: list[Named]) -> bytes:
        """``rest``, and before it, once, what opens again after all that the client has seen."""
        out = b""
        if self._reopens is not None:
            self._open.see(seen)
            out = b"".join([self._line(self._reopens, event) for event in self._open.events])
            self._reopens = None
        return out + b"".join([self._line(name, event) for name, event in rest])

    def _lose(self) -> bytes:
        """The end where the client has seen what is not of this stream."""
        self.over = True
        told = self._told(Ending("replaced", None, None))
        events = [*self._events.begin(), *self._events.end("replaced", told)]
        return b"".join([self._line(None, event) for event in events])

    def _told(self, ending: Ending) -> str:
        if ending.quiet:
            return ""
        if self._error_text is not None:
            return self._error_text(ending.status, ending.error or "")
        return told_of(ending.status)

    def _line(self, name: str | None, event: Event) -> bytes:
        if not self._lines:
            return encode(encode_json(event).decode(), id=name)
        return encode_json(event if name is None else {"id": name, "chunk": event}) + b"\n"


class _Open:
    """What a client that has seen these events has open."""

    def __init__(self) -> None:
        self._begun: dict[tuple[str, str], Event] = {}

    def see(self, named: list[Named]) -> None:
        for _, event in named:
            kind, _, what = event["type"].rpartition("_")
            key = (kind, event.get(_NAMES.get(kind, ""), ""))
            if what in ("START", "STARTED"):
                self._begun[key] = event
            elif what in ("END", "FINISHED"):
                self._begun.pop(key, None)

    @property
    def events(self) -> list[Event]:
        return [*self._begun.values()]
