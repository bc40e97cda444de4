"""Rows of chunks: what follows what, and what becomes of a row that is joined. Pure."""

from __future__ import annotations

from .chunks import Chunk, Cursor

__all__ = ["join", "right_after"]


def right_after(page: list[Chunk], after: Cursor) -> list[Chunk]:
    """The unbroken row of chunks in ``page`` that begins right after ``after``; maybe none."""
    if not page or page[0].cursor.epoch != after.epoch:
        return []
    if page[0].cursor.offset > after.offset + 1:
        return []
    first = page[0].cursor
    if page[-1].cursor.offset - first.offset == len(page) - 1:
        return page[after.offset + 1 - first.offset :]
    row = [chunk for chunk in page if chunk.cursor.offset > after.offset]
    return [chunk for n, chunk in enumerate(row, after.offset + 1) if chunk.cursor.offset == n]


def join(chunks: list[Chunk]) -> list[Chunk]:
    """Make one chunk of each row of chunks without event type; the others stay as they are."""
    joined: list[Chunk] = []
    row: list[Chunk] = []
    for chunk in [*chunks, None]:
        if chunk is not None and chunk.event is None:
            row.append(chunk)
            continue
        if row:
            joined.append(Chunk("".join([part.data for part in row]), row[-1].cursor))
            row = []
        if chunk is not None:
            joined.append(chunk)
    return joined
