"""The shapes in which a log can be sent: what a chunk, an end and a new epoch look like in each."""

from __future__ import annotations

import json
from typing import Protocol

import msgspec

from ..chunks import Chunk, Cursor
from . import sse

__all__ = ["FORMATS", "NDJSON", "SSE", "TEXT", "Ending", "Format", "negotiate"]

# What an application publishes under these event types must not pass for the stream's own.
_OWN_EVENTS = frozenset({"end", "error", "reset"})


class Ending(msgspec.Struct, frozen=True):
    """How a response ends: the ``status`` of the session, or why nothing more can be read."""

    status: str
    cursor: Cursor | None
    error: str | None = None

    @property
    def quiet(self) -> bool:
        """Whether this is an end that the producer, or who cancelled it, meant."""
        return self.status in ("finished", "cancelled")


class Format(Protocol):
    """What a response writes. Every method gives whole events or lines."""

    @property
    def name(self) -> str: ...
    @property
    def media_type(self) -> str: ...
    @property
    def heartbeat(self) -> bytes:
        """What readers skip; empty where the format has no such thing."""
        ...

    @property
    def explicit(self) -> bool:
        """Whether clients tell a response that just closes from one that has ended."""
        ...

    def chunk(self, chunk: Chunk) -> bytes: ...

    def reset(self, cursor: Cursor) -> bytes | None:
        """All begins anew, at ``cursor``; None where that cannot be said."""
        ...

    def end(self, ending: Ending) -> bytes | None:
        """The explicit end; None where it cannot be said: the response is to break off."""
        ...


class _SSE:
    name = "sse"
    media_type = "text/event-stream"
    heartbeat = sse.HEARTBEAT
    explicit = True

    def chunk(self, chunk: Chunk) -> bytes:
        event = chunk.event
        if event in _OWN_EVENTS:
            event = f"chunk:{event}"
        return sse.encode(chunk.data, event=event, id=str(chunk.cursor))

    def reset(self, cursor: Cursor) -> bytes:
        return sse.encode(_json({"cursor": str(cursor)}), event="reset", id=str(cursor))

    def end(self, ending: Ending) -> bytes:
        facts = {"status": ending.status, "cursor": _text(ending.cursor)}
        if not ending.quiet:
            facts["error"] = ending.error
        event = "end" if ending.quiet else "error"
        return sse.encode(_json(facts), event=event, id=_text(ending.cursor))


class _NDJSON:
    name = "ndjson"
    media_type = "application/x-ndjson"
    heartbeat = b"\n"
    explicit = True

    def chunk(self, chunk: Chunk) -> bytes:
        return _line({"data": chunk.data, "cursor": str(chunk.cursor), "event": chunk.event})

    def reset(self, cursor: Cursor) -> bytes:
        return _line({"status": "reset", "cursor": str(cursor), "error": None})

    def end(self, ending: Ending) -> bytes:
        cursor = _text(ending.cursor)
        return _line({"status": ending.status, "cursor": cursor, "error": ending.error})


class _Text:
    name = "text"
    media_type = "text/plain"
    heartbeat = b""
    explicit = False

    def chunk(self, chunk: Chunk) -> bytes:
        # As in LiveStream.text(): what has an event type is no part of the text.
        return b"" if chunk.event is not None else chunk.data.encode()

    def reset(self, cursor: Cursor) -> None:
        return None

    def end(self, ending: Ending) -> bytes | None:
        return b"" if ending.quiet else None


SSE, NDJSON, TEXT = _SSE(), _NDJSON(), _Text()

FORMATS: dict[str, Format] = {one.name: one for one in (SSE, NDJSON, TEXT)}

_BY_MEDIA_TYPE: dict[str, Format] = {
    "text/event-stream": SSE,
    "application/x-ndjson": NDJSON,
    "application/ndjson": NDJSON,
    "application/jsonl": NDJSON,
    "text/plain": TEXT,
}
_BY_WILDCARD: dict[str, tuple[Format, ...]] = {
    "text/*": (SSE, TEXT),
    "application/*": (NDJSON,),
    "*/*": (SSE, NDJSON, TEXT),
}


def negotiate(accept: str | None) -> Format | None:
    """The format that an ``Accept`` header likes best; None if it likes none of ours.

    Without a header it is SSE. What cannot be understood in it is passed over.
    """
    if accept is None or not accept.strip():
        return SSE
    named: dict[Format, float] = {}
    covered: dict[Format, float] = {}
    for entry in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in entry.split(";"))
        quality = _quality(parameters)
        if (one := _BY_MEDIA_TYPE.get(media_type)) is not None:
            named[one] = max(quality, named.get(one, 0.0))
        for one in _BY_WILDCARD.get(media_type, ()):
            covered[one] = max(quality, covered.get(one, 0.0))
    # What is named is not asked of the wildcards, and comes first among equals.
    wanted = {**named, **{one: q for one, q in covered.items() if one not in named}}
    best = max(wanted, key=wanted.__getitem__, default=None)
    return best if best is not None and wanted[best] > 0 else None


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _line(value: object) -> bytes:
    return msgspec.json.encode(value) + b"\n"


def _text(cursor: Cursor | None) -> str | None:
    return None if cursor is None else str(cursor)
