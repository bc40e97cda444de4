"""The log of one session in pages, each read from the store once for all who ask for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from ..chunks import Chunk, Cursor
from ..errors import HubClosed, StoreUnavailable
from ..signals import is_cancelled

__all__ = ["PageCache", "Spawn"]

_KEPT = 4
# So many pages may wait for readers that have not come to them yet, being read or kept.
_AHEAD = 2
# Between two attempts to read from a store that is away.
_FIRST_PAUSE = 0.05
_LAST_PAUSE = 1.0

Spawn = Callable[[Coroutine[Any, Any, Any]], "asyncio.Task[Any]"]


class _Page:
    """What the log has after ``start``, up to the offset ``stop``: read, or being read."""

    __slots__ = ("ahead", "chunks", "reading", "start", "stop")

    reading: asyncio.Task[list[Chunk]]

    def __init__(self, start: Cursor, stop: int, *, ahead: bool) -> None:
        self.start = start
        self.stop = stop
        #: Whether no reader has come to it yet.
        self.ahead = ahead
        self.chunks: list[Chunk] | None = None

    def follows(self, after: Cursor) -> bool:
        start = self.start
        return start.term == after.term and start.offset <= after.offset < self.stop


class PageCache:
    """PageCache of the log, of which the last ones are kept.

    :param size: of how many entries a page is that a reader asks for. All begin at a multiple.
    :param ahead: of how many one is that is read before somebody asks for it.
    :param read: the store's, for this session: up to so many entries after a cursor.
    :param row: what of a page follows a cursor without a hole.
    :param give_up_after: how long a store that is away is tried again, in seconds.
    """

    def __init__(
        self,
        size: int,
        *,
        ahead: int,
        read: Callable[..., Awaitable[list[Chunk]]],
        row: Callable[[list[Chunk], Cursor], list[Chunk]],
        spawn: Spawn,
        give_up_after: float,
    ) -> None:
        self._size = size
        self._ahead = ahead
        self._read_store = read
        self._row = row
        self._spawn = spawn
        self._give_up_after = give_up_after
        self.forget()

    def forget(self) -> None:
        """What has been read, and what is being read, may be another's."""
        self._kept: list[_Page] = []
        self._reading: list[_Page] = []

    async def read(
        self, after: Cursor, *, begin: int = 0, end: int, generation: str | None = None
    ) -> list[Chunk] | None:
        """What comes right after ``after``, as far as its page goes. ``generation`` is given for a
        session of the Go library, where entries cannot be counted: a page begins anywhere there.

        Empty where the log has a hole or ends; None if what was read is not current any more.
        """
        counted = generation is None
        kept = self._kept
        page = self._find(after)
        shared = page is not None and page.chunks is None
        if page is None and counted:
            at = max(begin, after.offset - after.offset % self._size)
            # A store may ask for a page in many parts: none lies beyond the end.
            page = self._begin(Cursor(after.term, at), max(1, min(self._size, end - at)))
        elif page is None:
            page = self._begin(after, self._size, generation)
        page.ahead = False
        if counted and self._read_ahead(page, end) and page.chunks is not None:
            # It begins when this reader, who has all that it wants, lets go.
            await asyncio.sleep(0)
        chunks = page.chunks
        if chunks is None:
            chunks = await self._share(page.reading)
        found = self._row(chunks, after) if counted else chunks
        # A read that others had begun may have been too early for this reader.
        if kept is not self._kept or (shared and not found):
            return None
        return found

    async def load(self, start: Cursor, limit: int, generation: str | None = None) -> list[Chunk]:
        """Read the log, again and again while the store is unavailable and may come back."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._give_up_after
        pause = _FIRST_PAUSE
        options = {} if generation is None else {"generation": generation}
        while True:
            try:
                return await self._read_store(start, limit, **options)
            except StoreUnavailable:
                if loop.time() + pause > give_up_at:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE)

    async def _share(self, reading: asyncio.Task[list[Chunk]]) -> list[Chunk]:
        """Wait for a read that others may wait for, too."""
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            # Only a hub that closes cancels it; all else cancels the one who waits.
            if reading.cancelled() and not is_cancelled():
                raise HubClosed from None
            raise

    def _find(self, after: Cursor) -> _Page | None:
        known = (*self._kept, *self._reading)
        return next((page for page in known if page.follows(after)), None)

    def _begin(
        self, start: Cursor, limit: int, generation: str | None = None, *, ahead: bool = False
    ) -> _Page:
        page = _Page(start, start.offset + (limit if generation is None else 1), ahead=ahead)
        page.reading = self._spawn(self._read(page, limit, generation))
        self._reading.append(page)
        return page

    def _read_ahead(self, page: _Page, end: int) -> bool:
        """Ask for what follows a page that is wanted, before a reader does, unless that is asked
        for already, or enough is."""
        start = Cursor(page.start.term, page.stop)
        if start.offset >= end or start.offset % self._size or self._find(start) is not None:
            return False
        if sum(one.ahead for one in (*self._kept, *self._reading)) >= _AHEAD:
            return False
        limit = self._ahead - start.offset % self._ahead
        self._begin(start, min(limit, end - start.offset), ahead=True)
        return True

    async def _read(self, page: _Page, limit: int, generation: str | None) -> list[Chunk]:
        kept, start = self._kept, page.start
        try:
            chunks = await self.load(start, limit, generation)
        finally:
            if page in self._reading:
                self._reading.remove(page)
        # A page with a hole is not kept: it may be mended.
        if generation is None and chunks and len(self._row(chunks, start)) == len(chunks):
            page.chunks, page.stop = chunks, chunks[-1].cursor.offset
            kept[:] = [*(one for one in kept if one.start != start), page]
            if len(kept) > _KEPT:
                kept.remove(next(one for one in kept if not one.ahead))
        return chunks
