"""Chunks in one format, encoded once for all clients of a session in this process."""

from __future__ import annotations

from collections.abc import Sequence

from ..chunks import Chunk, Cursor
from ..formats.format import Format

__all__ = ["Encoding"]

# What is kept for others: the newest chunks, and the newest rows of chunks.
_KEPT_BYTES = 1024 * 1024
_KEPT_ROWS = 16


class Encoding:
    """What the responses of one session share. Memory: a few MiB at the most.

    Those that follow live ask for the same few chunks, those that replay for the same pages; who
    asks first encodes.
    """

    def __init__(self, format_: Format) -> None:
        self._format = format_
        # By the chunks themselves: after a failover a cursor can come to name another one.
        self._pieces: dict[Chunk, bytes] = {}
        self._bytes = 0
        self._rows: dict[tuple[Cursor, Cursor], tuple[Chunk, Chunk, bytes]] = {}

    def encode(self, chunks: Sequence[Chunk]) -> bytes:
        """All of ``chunks``, a row as the log has it, one after the other."""
        first, last = chunks[0], chunks[-1]
        if len(chunks) == 1:
            return self._piece(first)
        key = (first.cursor, last.cursor)
        kept = self._rows.get(key)
        if kept is not None and kept[0] is first and kept[1] is last:
            return kept[2]
        row = b"".join([self._piece(chunk) for chunk in chunks])
        if len(row) <= _KEPT_BYTES // 4:
            self._rows[key] = (first, last, row)
            if len(self._rows) > _KEPT_ROWS:
                del self._rows[next(iter(self._rows))]
        return row

    def _piece(self, chunk: Chunk) -> bytes:
        piece = self._pieces.get(chunk)
        if piece is None:
            self._pieces[chunk] = piece = self._format.chunk(chunk)
            self._bytes += len(piece)
            while self._bytes > _KEPT_BYTES and len(self._pieces) > 1:
                self._bytes -= len(self._pieces.pop(next(iter(self._pieces))))
        return piece
