"""The newest chunks of one session, without holes: what live messages become. Pure."""

from __future__ import annotations

from collections import deque

from .chunks import Chunk, Cursor

__all__ = ["Window"]


class Window:
    """Holds the chunks ``base + 1`` … ``end`` of one epoch, old batches dropped over the limits.

    Every subscriber of the process reads from the same window by its own cursor; who has fallen
    out of it reads the log until it is back in.
    """

    def __init__(self, max_chunks: int, max_bytes: int) -> None:
        self.max_chunks = max_chunks
        self._max_bytes = max_bytes
        self.clear()

    @property
    def end(self) -> int:
        return self._base + len(self._chunks)

    def clear(self) -> None:
        self._start(epoch=-1, base=0)

    def extend(self, epoch: int, base: int, chunks: list[Chunk], size: int) -> int:
        """Take in the chunks ``base + 1`` …; known ones are skipped, a hole starts it anew. Answers
        where it ends then."""
        end = self._base + len(self._chunks)
        known = end - base
        if epoch != self.epoch or known < 0:
            self._start(epoch, base)
            end, known = base, 0
        count = len(chunks) - known
        if count <= 0:
            return end
        self._chunks += chunks[known:] if known else chunks
        self._batches.append(count)
        self._batches.append(size)
        self._bytes += size
        while self._bytes > self._max_bytes or len(self._chunks) > self.max_chunks:
            oldest, size = self._batches[0], self._batches[1]
            spare = len(self._chunks) - oldest
            if not spare or (self._bytes <= self._max_bytes and spare < self.max_chunks):
                break
            self._batches.popleft()
            self._batches.popleft()
            self._bytes -= size
            self._base += oldest
            del self._chunks[:oldest]
        return end + count

    def after(self, cursor: Cursor) -> list[Chunk]:
        """The chunks right after ``cursor``; none if it is at the end or outside."""
        if cursor.epoch != self.epoch or cursor.offset < self._base:
            return []
        return self._chunks[cursor.offset - self._base :]

    def _start(self, epoch: int, base: int) -> None:
        self.epoch, self._base = epoch, base
        self._chunks: list[Chunk] = []
        # Of each batch how many chunks, then how many bytes. A pair would be one more object with
        # each live message for the garbage collector, which has hardly any without.
        self._batches: deque[int] = deque()
        self._bytes = 0
