"""Chunks in one format, encoded once for all clients of a session in this process."""

from __future__ import annotations

from collections.abc import Sequence

from ..chunks import Chunk, Cursor
from ..formats.format import Format

__all__ = ["Encoding"]

# What is kept for others, in bytes: half of it single chunks, half of it rows of chunks.
_KEPT = 1024 * 1024
# What a chunk takes beside its text, more or less.
_OBJECTS = 256


class Encoding:
    """What the responses of one session share, while there are at least two of them.

    Those that follow live ask for the same few chunks, those that replay for the same pages; who
    asks first encodes. A session with one client keeps nothing.
    """

    def __init__(self, format_: Format) -> None:
        self._format = format_
        #: How many responses share this.
        self.users: int = 0
        self._forget()

    def leave(self) -> None:
        """One response less shares this."""
        self.users -= 1
        if self.users < 2:
            self._forget()

    def encode(self, chunks: Sequence[Chunk]) -> bytes:
        """All of ``chunks``, a row as the log has it, one after the other."""
        if self.users < 2:
            return b"".join([self._format.chunk(chunk) for chunk in chunks])
        first, last = chunks[0], chunks[-1]
        if len(chunks) == 1:
            return self._piece(first)
        key = (first.cursor, last.cursor)
        kept = self._rows.get(key)
        if kept is not None and kept[0] is first and kept[1] is last:
            return kept[2]
        row = b"".join([self._piece(chunk) for chunk in chunks])
        if kept is not None:
            self._row_bytes -= len(kept[2])
        self._rows[key] = (first, last, row)
        self._row_bytes += len(row)
        while self._row_bytes > _KEPT // 2:
            self._row_bytes -= len(self._rows.pop(next(iter(self._rows)))[2])
        return row

    def _piece(self, chunk: Chunk) -> bytes:
        piece = self._pieces.get(chunk)
        if piece is None:
            self._pieces[chunk] = piece = self._format.chunk(chunk)
            self._piece_bytes += _size(piece)
            while self._piece_bytes > _KEPT // 2:
                self._piece_bytes -= _size(self._pieces.pop(next(iter(self._pieces))))
        return piece

    def _forget(self) -> None:
        # By the chunks themselves: after a failover a cursor can come to name another one.
        self._pieces: dict[Chunk, bytes] = {}
        self._piece_bytes = 0
        self._rows: dict[tuple[Cursor, Cursor], tuple[Chunk, Chunk, bytes]] = {}
        self._row_bytes = 0


def _size(piece: bytes) -> int:
    """What a piece and the chunk that it was made of take, in bytes."""
    return 2 * len(piece) + _OBJECTS
