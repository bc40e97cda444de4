"""The newest chunks of one session, without holes: what live messages become. Pure."""

from __future__ import annotations

from ..chunks import Chunk, Cursor, size_of

__all__ = ["RecentChunks"]


class RecentChunks:
    """Holds the chunks ``base + 1`` … ``end`` of one term: the newest ``max_chunks`` and up to as
    many again, fewer where they are more than ``max_bytes``, but at least the newest message.

    Every subscriber of the process reads from it by a cursor of its own. One that has fallen behind
    its oldest chunk reads the log until it has caught up.
    """

    # With a dict instead, each live message would look at twice as much memory here.
    __slots__ = ("_base", "_bytes", "_chunks", "_max_bytes", "max_chunks", "term")

    def __init__(self, max_chunks: int, max_bytes: int) -> None:
        self.max_chunks: int = max_chunks
        self._max_bytes = max_bytes
        self.clear()

    @property
    def end(self) -> int:
        return self._base + len(self._chunks)

    def clear(self) -> None:
        self._start(term=-1, base=0)

    def extend(self, term: int, base: int, chunks: list[Chunk], size: int) -> int:
        """Take in the chunks ``base + 1`` …; known ones are skipped, a hole starts it anew. Answers
        where it ends then.

        :param size: bytes of the chunks, more or less.
        """
        held = self._chunks
        end = self._base + len(held)
        if not chunks:
            return end
        if term != self.term or base > end:
            self._start(term, base)
            held = self._chunks
        elif base < end:
            chunks = chunks[end - base :]
            if not chunks:
                return end
        held += chunks
        self._bytes += size
        if len(held) > 2 * self.max_chunks or self._bytes > self._max_bytes:
            self._drop_oldest(len(chunks), size)
        return self._base + len(held)

    @property
    def last(self) -> Cursor:
        """The newest chunk that is held, or was."""
        return Cursor(self.term, self.end)

    def after(self, offset: int) -> list[Chunk]:
        """The chunks right after ``offset``; none if it is at the end or outside."""
        if offset < self._base:
            return []
        return self._chunks[offset - self._base :]

    def _drop_oldest(self, kept: int, size: int) -> None:
        """Keep the newest ``kept`` chunks, of ``size`` bytes, and before them no more than half of
        what may be kept: so this is seldom."""
        most = min(len(self._chunks), self.max_chunks)
        while kept < most:
            chunk = self._chunks[-kept - 1]
            more = size + size_of(chunk.data) + (0 if chunk.event is None else size_of(chunk.event))
            if more > self._max_bytes // 2:
                break
            kept, size = kept + 1, more
        self._base += len(self._chunks) - kept
        del self._chunks[:-kept]
        self._bytes = size

    def _start(self, term: int, base: int) -> None:
        self.term: int = term
        self._base = base
        self._chunks: list[Chunk] = []
        self._bytes = 0
