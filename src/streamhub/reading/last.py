"""Where the last chunks of a log begin: far enough back that no part is cut in two."""

from __future__ import annotations

import msgspec

from ..chunks import PART_EVENT, Chunk
from .only import Only
from .part_heads import head_of

__all__ = ["Last", "Search"]

_Name = tuple[str, str | None]


class Last(msgspec.Struct, frozen=True):
    """What ``subscribe(last=…)`` was given: so many chunks, of those that are wanted."""

    count: int
    only: Only | None = None

    @classmethod
    def of(cls, count: int, only: Only | None) -> Last:
        """:raises ValueError: it is no number of chunks."""
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(
                f'last must be a number of chunks of at least 1, not {count!r}; after="now" '
                "begins behind all of them"
            )
        return cls(count, only)


class Search:
    """Is shown a log backwards, one chunk after the other, until it knows where to begin.

    ==========================  =================================================================
    it looks for                and goes on to
    ==========================  =================================================================
    ``count`` wanted chunks     the beginnings of what they go on with, or the row, or it is done
    the beginnings of parts     the row, or it is done; what stands between is taken, too
    the beginning of a row      it is done: there, or, after ``count`` more chunks, where it was
    ==========================  =================================================================

    A row is one of chunks without event type, which are text: that may have begun very long ago.
    """

    __slots__ = ("_count", "_found", "_left", "_only", "_open", "_parts", "_row", "_shown", "taken")

    def __init__(self, last: Last) -> None:
        self._only = last.only
        self._left = self._count = last.count
        self._shown = 0
        #: How many chunks were shown when the wanted ones were enough.
        self._found = 0
        #: Of what goes on without having begun, and of whole parts: its newest chunk and its
        #: oldest one, counted from the end.
        self._open: dict[_Name, tuple[int, int]] = {}
        self._parts: list[tuple[int, int]] = []
        #: Since which chunk the beginning of a row is looked for.
        self._row: int | None = None
        #: With how many of the newest chunks to begin, once that is known.
        self.taken: int = 0

    def take(self, chunk: Chunk) -> bool:
        """The chunk that stands before those that were shown; whether that was enough."""
        self._shown += 1
        if self._row is not None:
            if chunk.event is not None:
                self.taken = self._shown - 1
            elif self._shown - self._row > self._count:
                self.taken = self._row
            return self.taken > 0
        wanted = self._only is None or self._only.allows(chunk)
        if wanted and self._left > 0:
            self._left -= 1
            self._found = self._shown
        if chunk.event == PART_EVENT:
            self._take_part(chunk.data, wanted)
        if self._left > 0 or self._open:
            return False
        if chunk.event is None and wanted:
            self._row = self._shown
            return False
        self.taken = self._shown
        return True

    def end(self) -> None:
        """There is nothing before what was shown."""
        self.taken = self._shown
        if self._left > 0 or not self._open:
            return
        # What never began begins with its first chunk, and what that cuts in two, earlier.
        self.taken = self._found
        for newest, oldest in sorted([*self._parts, *self._open.values()]):
            if newest <= self.taken < oldest:
                self.taken = oldest

    def _take_part(self, data: str, wanted: bool) -> None:
        head = head_of(data)
        if head is None:
            return
        if (name := head.begins) is not None:
            if (newest := self._open.pop(name, None)) is not None:
                self._parts.append((newest[0], self._shown))
        elif wanted and (name := head.goes_on) is not None:
            newest = self._open.get(name, (self._shown, 0))
            self._open[name] = (newest[0], self._shown)
