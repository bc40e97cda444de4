"""A JSON object per line: chunks exactly as they were published, parts as the JSON that they are,
and at last the end."""

from __future__ import annotations

from ..chunks import PART_EVENT, Chunk, Cursor, SessionInfo
from ..errors import InvalidPart
from ..parts.coding import parse
from .format import Ending
from .json_text import encode

__all__ = ["NDJSON", "NDJSONFormat"]


class NDJSONFormat:
    """See :class:`Format`."""

    name = "ndjson"
    media_type = "application/x-ndjson"
    heartbeat = b"\n"
    explicit = True
    stateless = True
    over = False

    def begin(self, info: SessionInfo) -> bytes:
        return b""

    def chunk(self, chunk: Chunk) -> bytes:
        if chunk.event == PART_EVENT:
            try:
                part = parse(chunk.data)
                return _line({"part": part, "cursor": str(chunk.cursor), "event": chunk.event})
            except InvalidPart:
                # It is sent as it is.
                pass
        return _line({"data": chunk.data, "cursor": str(chunk.cursor), "event": chunk.event})

    def reset(self, cursor: Cursor) -> bytes:
        return _line({"status": "reset", "cursor": str(cursor), "error": None})

    def end(self, ending: Ending) -> bytes:
        cursor = None if ending.cursor is None else str(ending.cursor)
        return _line({"status": ending.status, "cursor": cursor, "error": ending.error})


NDJSON = NDJSONFormat()


def _line(value: object) -> bytes:
    return encode(value) + b"\n"
