"""The text alone. It cannot say how it ends: what is no quiet end breaks the response off."""

from __future__ import annotations

from ..chunks import Chunk, Cursor, SessionInfo
from .format import Ending

__all__ = ["TEXT", "TextFormat"]


class TextFormat:
    """See :class:`Format`."""

    name = "text"
    media_type = "text/plain"
    heartbeat = b""
    explicit = False
    stateless = True
    over = False

    def begin(self, info: SessionInfo) -> bytes:
        return b""

    def chunk(self, chunk: Chunk) -> bytes:
        # As in LiveStream.text(): what has an event type is no part of the text.
        return b"" if chunk.event is not None else chunk.data.encode()

    def reset(self, cursor: Cursor) -> None:
        return None

    def end(self, ending: Ending) -> bytes | None:
        return b"" if ending.quiet else None


TEXT = TextFormat()
