"""The log of a session of the Go library: all that reading does differently there."""

from __future__ import annotations

from ..chunks import Chunk, Cursor, SessionInfo
from ..config import HubConfig
from .last import Search
from .logs import PAGE, LogHasHole, Read
from .page_cache import load

__all__ = ["ForeignLog", "whole_foreign_log"]

_READ_AT_ONCE = 2048


class ForeignLog:
    """A log of the Go library: its cursors come from a clock, so that nothing can be counted, and
    it is another's with each generation.

    :param read: the store's ``read`` of this session.
    """

    def __init__(self, generation: str, read: Read, config: HubConfig) -> None:
        self.generation = generation
        self._read = read
        self._give_up_after = config.give_up_after

    @property
    def start(self) -> Cursor:
        return Cursor(0, 0)

    def holds(self, cursor: Cursor, since: str) -> bool:
        return since == self.generation

    async def proves(self, cursor: Cursor) -> bool:
        if cursor == self.start:
            return True
        before = Cursor(cursor.term, cursor.offset - 1)
        if cursor.offset == 0:
            before = Cursor(cursor.term - 1, 2**64 - 1)
        chunks = await self._load(before, 1)
        return bool(chunks) and chunks[0].cursor == cursor

    async def before_last(self, search: Search, end: Cursor) -> Cursor | None:
        chunks: list[Chunk] = []
        at = self.start
        # Nothing says which entries stand before one: all of them are counted.
        while at.is_before(end):
            page = await self._load(at, PAGE)
            if not page:
                raise LogHasHole
            chunks += page
            at = page[-1].cursor
        if not any(map(search.take, reversed(chunks))):
            search.end()
        first = len(chunks) - search.taken
        return chunks[first - 1].cursor if first else self.start

    async def read(self, after: Cursor, end: Cursor) -> list[Chunk] | None:
        return await self._load(after, PAGE)

    async def read_joined(self, after: Cursor, end: Cursor) -> list[Chunk] | None:
        return await self.read(after, end)

    async def _load(self, after: Cursor, limit: int) -> list[Chunk]:
        return await load(
            lambda: self._read(after, limit, generation=self.generation), self._give_up_after
        )


async def whole_foreign_log(read: Read, info: SessionInfo) -> list[Chunk] | None:
    """The log as ``info`` found it; None if it is another generation's by now."""
    chunks: list[Chunk] = []
    cursor = Cursor(0, 0)
    while cursor.is_before(info.last):
        page = await read(cursor, _READ_AT_ONCE, generation=info.generation)
        if not page:
            return None
        chunks += page
        cursor = page[-1].cursor
    return chunks
