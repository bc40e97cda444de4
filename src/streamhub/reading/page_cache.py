"""The log of one session in pages, each read from the store once for all who ask for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from ..chunks import Chunk, Cursor, Terms
from ..errors import HubClosed, StoreUnavailable
from ..signals import is_cancelled

__all__ = ["PageCache", "Spawn", "load"]

_KEPT = 4
# So many pages may wait for readers that have not come to them yet, being read or kept.
_AHEAD = 2
# Between two attempts to read from a store that is away.
_FIRST_PAUSE = 0.05
_LAST_PAUSE = 1.0

Spawn = Callable[[Coroutine[Any, Any, Any]], "asyncio.Task[Any]"]
Read = Callable[[], Awaitable[list[Chunk]]]


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

    def follows(self, offset: int) -> bool:
        return self.start.offset <= offset < self.stop


class PageCache:
    """Pages of a log, of which the last ones are kept. No page has chunks of two terms.

    :param ahead: how many times as large a page is that is read before somebody asks for it.
    :param read: the store's, for this session: up to so many entries after a place.
    :param row: what of a page follows a place without a hole; None where a page is read from its
        beginning only, and ends at a hole.
    :param give_up_after: how long a store that is away is tried again, in seconds.
    """

    def __init__(
        self,
        *,
        ahead: int,
        read: Callable[[Cursor, int], Awaitable[list[Chunk]]],
        row: Callable[[list[Chunk], Cursor], list[Chunk]] | None,
        spawn: Spawn,
        give_up_after: float,
    ) -> None:
        self._ahead = ahead
        self._read_store = read
        self._row = row or _whole
        self._entered_anywhere = row is not None
        self._keeps = _KEPT
        self._spawn = spawn
        self._give_up_after = give_up_after
        self.forget()

    def forget(self) -> None:
        """Drop all pages, those being read too: they may be those of another generation."""
        self._kept: list[_Page] = []
        self._reading: list[_Page] = []

    async def read(
        self, offset: int, terms: Terms, *, size: int, end: int, lean: bool = False
    ) -> list[Chunk] | None:
        """The chunks right after ``offset``, as far as their page goes.

        Empty where the log has a hole or ends; None if what was read is not current any more.

        :param size: of how many entries a page is. All begin at a multiple, or with a term.
        :param end: how far the log goes, as far as that is known.
        :param lean: keep nothing that this reader has been through.
        """
        kept = self._kept
        page = self._find(offset)
        shared = page is not None and page.chunks is None
        if page is None:
            page = self._begin(offset - offset % size, offset, terms, size, end)
        page.ahead = False
        # Where one chunk fills a page, nothing is read for later, and none is kept but for others
        # who may come to the same chunk now.
        self._keeps = _KEPT if size > 1 else int(not lean)
        if lean:
            kept[:] = [one for one in kept if one.stop > offset]
        if size > 1 and self._read_ahead(page, terms, size, end) and page.chunks is not None:
            # It begins when this reader, who has all that it wants, lets go.
            await asyncio.sleep(0)
        chunks = page.chunks
        if chunks is None:
            chunks = await self._share(page.reading)
        found = self._row(chunks, Cursor(page.start.term, offset))
        # A read that others had begun may have been too early for this reader.
        if kept is not self._kept or (shared and not found):
            return None
        return found

    async def _share(self, reading: asyncio.Task[list[Chunk]]) -> list[Chunk]:
        """Wait for a read that others may wait for, too."""
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            # Only a hub that closes cancels it; all else cancels the one who waits.
            if reading.cancelled() and not is_cancelled():
                raise HubClosed from None
            raise

    def _find(self, offset: int) -> _Page | None:
        known = (*self._kept, *self._reading)
        if self._entered_anywhere:
            return next((page for page in known if page.follows(offset)), None)
        return next((page for page in known if page.start.offset == offset), None)

    def _begin(
        self, at: int, offset: int, terms: Terms, size: int, end: int, *, ahead: bool = False
    ) -> _Page:
        """Read the page that has what follows ``offset``, from ``at`` or from the beginning of its
        term. A store may ask for a page in many parts: none lies beyond the end."""
        term = terms.place(offset).term
        start = max(at, next(base for one, base in terms.spans if one == term))
        stop = max(offset + 1, int(min(at + size, end, terms.end_of_span(offset))))
        page = _Page(Cursor(term, start), stop, ahead=ahead)
        page.reading = self._spawn(self._read(page))
        self._reading.append(page)
        return page

    def _read_ahead(self, page: _Page, terms: Terms, size: int, end: int) -> bool:
        """Ask for what follows a page that is wanted, before a reader does, unless that is asked
        for already, or enough is."""
        start = page.stop
        if start >= end or start % size or self._find(start) is not None:
            return False
        if sum(one.ahead for one in (*self._kept, *self._reading)) >= _AHEAD:
            return False
        ahead = size * self._ahead
        self._begin(start, start, terms, ahead - start % ahead, end, ahead=True)
        return True

    async def _read(self, page: _Page) -> list[Chunk]:
        kept, start = self._kept, page.start
        limit = page.stop - start.offset
        try:
            chunks = await load(lambda: self._read_store(start, limit), self._give_up_after)
        finally:
            if page in self._reading:
                self._reading.remove(page)
        # A page with a hole is not kept: it may be mended.
        if chunks and len(self._row(chunks, start)) == len(chunks):
            page.chunks, page.stop = chunks, chunks[-1].cursor.offset
            kept[:] = [*(one for one in kept if one.start != start), page]
            while len(kept) > self._keeps:
                kept.remove(next((one for one in kept if not one.ahead), kept[0]))
        return chunks


async def load(read: Read, give_up_after: float) -> list[Chunk]:
    """Read the log, again and again while the store is unavailable and may come back."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + give_up_after
    pause = _FIRST_PAUSE
    while True:
        try:
            return await read()
        except StoreUnavailable:
            if loop.time() + pause > give_up_at:
                raise
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LAST_PAUSE)


def _whole(page: list[Chunk], _: Cursor) -> list[Chunk]:
    return page
