"""What the messages of a Durable Stream are: parts, events of AG-UI, values, or text.

Each chunk makes some messages, and so does the end. The same chunks make the same messages for
whoever asks, so that a reader can go on anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from ..chunks import Chunk, SessionInfo
from ..parts.ui_stream import Emitted, UIStream, message_id_of
from .agui_events import AGUIEvents, Event
from .endings import told_of
from .format import Ending
from .json_text import encode, unbroken
from .text import TEXT
from .ui_messages import UIMessages, part_json

__all__ = ["SHAPES", "Messages", "Shape"]

# Where in a part its kind stands as a rule, in characters.
_KIND = 64

#: What a client is told of a status and its reason.
ErrorText = Callable[[str, str], str]


class Messages(Protocol):
    """The messages of one stream, chunk by chunk from its beginning."""

    @property
    def held(self) -> int:
        """How much it keeps of what the chunks have said, at the most; in characters."""
        ...

    def fork(self) -> Messages:
        """One that goes on from here by itself."""
        ...

    def of(self, chunk: Chunk) -> list[bytes]:
        """What ``chunk`` adds. JSON is on one line."""
        ...

    def at_end(self, ending: Ending) -> list[bytes] | None:
        """What the end adds; None where it is one that messages cannot tell."""
        ...


@dataclass(frozen=True)
class Shape:
    """One way to read a stream."""

    name: str
    content_type: str
    #: Of a stream, by how it stands.
    begin: Callable[[SessionInfo, ErrorText | None], Messages]
    #: Whether what a chunk adds depends on those before it.
    stateful: bool = True
    #: Whether that it is closed is said by itself, after all messages: TanStack AI's transport
    #: drops those that come along with it.
    closes_apart: bool = False

    def body(self, messages: list[bytes]) -> bytes:
        """Messages as one body."""
        if self.is_json:
            return b"[%b]" % b",".join(messages)
        return b"".join(messages)

    @property
    def is_json(self) -> bool:
        return self.content_type == "application/json"


class _Parts:
    """A UI message stream, as ``useChat`` reads it."""

    def __init__(self, messages: UIMessages, held: int = 0) -> None:
        self._messages = messages
        self.held = held

    @classmethod
    def begin(cls, info: SessionInfo, error_text: ErrorText | None) -> _Parts:
        messages = UIMessages(error_text=error_text, replay=True)
        messages.begin(info)
        return cls(messages)

    def fork(self) -> _Parts:
        return _Parts(self._messages.fork(), self.held)

    def of(self, chunk: Chunk) -> list[bytes]:
        self.held += _kept_of(chunk)
        return [part_json(part) for part in self._messages.parts_of(chunk)]

    def at_end(self, ending: Ending) -> list[bytes]:
        return [part_json(part) for part in self._messages.last_parts(ending)]


class _Run:
    """The events of a run of AG-UI, as TanStack AI reads them, too."""

    def __init__(
        self, parts: UIStream, events: AGUIEvents, error_text: ErrorText | None, *, begun: bool
    ) -> None:
        self._parts = parts
        self._events = events
        self._error_text = error_text
        self._begun = begun
        self.held = 0

    @classmethod
    def begin(cls, info: SessionInfo, error_text: ErrorText | None) -> _Run:
        run = info.session_id
        thread = (info.request or "").partition(":")[2] or run
        parts, events = UIStream(message_id_of(info)), AGUIEvents(thread, run)
        return cls(parts, events, error_text, begun=False)

    def fork(self) -> _Run:
        parts, events = self._parts.fork(), self._events.fork()
        one = _Run(parts, events, self._error_text, begun=self._begun)
        one.held = self.held
        return one

    def of(self, chunk: Chunk) -> list[bytes]:
        self.held += _kept_of(chunk)
        return self._said(self._parts.add(chunk.data, chunk.event), [])

    def at_end(self, ending: Ending) -> list[bytes]:
        told = ""
        if not ending.quiet:
            tell = self._error_text
            reason = ending.error or ""
            told = told_of(ending.status) if tell is None else tell(ending.status, reason)
        parts = self._parts.end(ending.status) if ending.quiet else []
        return self._said(parts, [(ending.status, told)])

    def _said(self, parts: list[Emitted], ends: list[tuple[str, str]]) -> list[bytes]:
        events: list[Event] = [] if self._begun else self._events.begin()
        self._begun = True
        events += [event for part in parts for event in self._events.feed(part.value)]
        events += [event for end in ends for event in self._events.end(*end)]
        return [encode(event) for event in events]


class _Values:
    """The chunks as they were published: JSON as it is, and all else as a string."""

    held = 0

    @classmethod
    def begin(cls, info: SessionInfo, error_text: ErrorText | None) -> _Values:
        return cls()

    def fork(self) -> _Values:
        return self

    def of(self, chunk: Chunk) -> list[bytes]:
        try:
            value = msgspec.json.decode(chunk.data)
        except (msgspec.DecodeError, RecursionError):
            return [encode(chunk.data)]
        if "\n" in chunk.data or "\r" in chunk.data:
            return [encode(value)]
        return [unbroken(chunk.data.encode())]

    def at_end(self, ending: Ending) -> list[bytes] | None:
        return [] if ending.quiet else None


class _Text:
    """The text alone, that of parts included."""

    held = 0

    @classmethod
    def begin(cls, info: SessionInfo, error_text: ErrorText | None) -> _Text:
        return cls()

    def fork(self) -> _Text:
        return self

    def of(self, chunk: Chunk) -> list[bytes]:
        text = TEXT.chunk(chunk)
        return [text] if text else []

    def at_end(self, ending: Ending) -> list[bytes] | None:
        return [] if ending.quiet else None


def _kept_of(chunk: Chunk) -> int:
    """How much of ``chunk`` may be kept: text and deltas are not."""
    plain = chunk.event is None and not chunk.data.startswith("data: ")
    return 0 if plain or '-delta"' in chunk.data[:_KIND] else len(chunk.data)


#: By the name that a stream's address gives.
SHAPES = {
    "ui": Shape("ui", "application/json", _Parts.begin),
    "agui": Shape("agui", "application/json", _Run.begin, closes_apart=True),
    "json": Shape("json", "application/json", _Values.begin, stateful=False),
    "text": Shape("text", "text/plain; charset=utf-8", _Text.begin, stateful=False),
}
