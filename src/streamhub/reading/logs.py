"""The log of a session as its readers have it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from ..chunks import Chunk, Cursor, SessionInfo, Terms, right_after
from ..config import HubConfig
from .last import Search
from .page_cache import PageCache, Spawn

__all__ = ["PAGE", "CountedLog", "Log", "LogHasHole", "Read"]

# How many entries a page has at the most, and how many times as large one is that is read ahead.
PAGE = 512
_AHEAD = 4
# Each costs a task; its entries are joined while they come, so that few are in memory at once.
_JOINED_PAGE = 8192
# Into how many pages what a reader may keep waiting is divided: some are kept, some are ahead.
_PAGES_PER_READER = 16

Read = Callable[..., Awaitable[list[Chunk]]]


class LogHasHole(Exception):
    """A log that is read backwards does not have what it is to have."""


class Log(Protocol):
    """Where readers begin in a log, whether it has what they have read, and what follows."""

    @property
    def start(self) -> Cursor:
        """What stands before the first chunk."""
        ...

    def holds(self, cursor: Cursor, since: str) -> bool:
        """Whether a reader that has ``cursor``, and found the session under the generation
        ``since``, has read a part of this log."""
        ...

    async def proves(self, cursor: Cursor) -> bool:
        """Whether a reader that comes with ``cursor`` has read a part of this log."""
        ...

    async def before_last(self, search: Search, end: Cursor) -> Cursor | None:
        """The cursor after which what ``search`` finds begins, in a log up to ``end``; None if what
        was read is not current any more.

        :raises LogHasHole: it could not be read as far as that.
        """
        ...

    async def read(self, after: Cursor, end: Cursor) -> list[Chunk] | None:
        """The chunks right after ``after``, read from the store once for all who ask.

        Empty where the log has a hole or ends; None if what was read is not current any more.
        """
        ...

    async def read_joined(self, after: Cursor, end: Cursor) -> list[Chunk] | None:
        """Like ``read``, with rows of chunks without event type as one, where that saves work."""
        ...


class CountedLog:
    """A log of ours: its chunks are counted, and each names the term that wrote it.

    :param read: the store's ``read`` of this session, and ``read_joined``.
    """

    def __init__(self, read: Read, read_joined: Read, config: HubConfig, spawn: Spawn) -> None:
        self.terms: Terms = Terms.first(0)
        #: How many read it.
        self.readers = 0
        self._bytes_per_chunk = 1.0
        self._page_bytes = max(1, config.max_pending_bytes // _PAGES_PER_READER)
        patience = config.give_up_after
        self._pages = PageCache(
            ahead=_AHEAD, read=read, row=right_after, spawn=spawn, give_up_after=patience
        )
        self._joined_pages = PageCache(
            ahead=1, read=read_joined, row=None, spawn=spawn, give_up_after=patience
        )

    def stands(self, info: SessionInfo, terms: Terms) -> None:
        """Take over what a look found."""
        self.terms = terms
        self._bytes_per_chunk = info.bytes / max(1, info.last.offset)

    def forget(self) -> None:
        """Drop all pages: they may be those of another generation."""
        self._pages.forget()
        self._joined_pages.forget()

    @property
    def start(self) -> Cursor:
        return self.terms.cursor(0)

    def holds(self, cursor: Cursor, since: str) -> bool:
        return self.terms.hold(cursor)

    async def proves(self, cursor: Cursor) -> bool:
        return self.terms.hold(cursor)

    async def before_last(self, search: Search, end: Cursor) -> Cursor | None:
        terms, start = self.terms, end.offset
        size = self._entries(PAGE, self._page_bytes)
        while start > 0:
            stop = start
            # Pages begin at the same places for all who read.
            start = (stop - 1) // size * size
            chunks: list[Chunk] = []
            while len(chunks) < stop - start:
                page = await self.read(terms.place(start + len(chunks)), end)
                if page is None:
                    return None
                if not page:
                    raise LogHasHole
                chunks += page
            for chunk in reversed(chunks[: stop - start]):
                if search.take(chunk):
                    return terms.cursor(end.offset - search.taken)
        search.end()
        return terms.cursor(end.offset - search.taken)

    async def read(self, after: Cursor, end: Cursor) -> list[Chunk] | None:
        size = self._entries(PAGE, self._page_bytes)
        # Of large chunks nothing is kept for those who may come later.
        lean = size < PAGE and self.readers < 2
        return await self._pages.read(
            after.offset, self.terms, size=size, end=end.offset, lean=lean
        )

    async def read_joined(self, after: Cursor, end: Cursor) -> list[Chunk] | None:
        size = self._entries(_JOINED_PAGE, _PAGES_PER_READER * self._page_bytes // 2)
        begins = self.terms.place(after.offset).term != after.term
        # A joined page cannot be entered in the middle, and one that begins anywhere not be shared.
        if size > 1 and (begins or after.offset % size == 0):
            return await self._joined_pages.read(
                after.offset, self.terms, size=size, end=end.offset
            )
        return await self.read(after, end)

    def _entries(self, most: int, size: int) -> int:
        """How many chunks of this log are about so many bytes: a power of two, so that pages of
        readers that come at different times begin at the same places."""
        entries = most
        while entries > 1 and entries * self._bytes_per_chunk > size:
            entries //= 2
        return entries
