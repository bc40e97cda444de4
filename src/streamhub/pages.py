"""The log of one session in pages, each read from the store once for all who ask for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from .chunks import Chunk, Cursor
from .errors import HubClosed, StoreUnavailable

__all__ = ["Pages", "Spawn"]

_KEPT = 8
# So many pages are on their way while the ones before are delivered, unless readers are all over.
_AHEAD = 2
# Between two attempts to read from a store that is away.
_FIRST_PAUSE = 0.05
_LAST_PAUSE = 1.0

Spawn = Callable[[Coroutine[Any, Any, Any]], "asyncio.Task[Any]"]


class Pages:
    """Pages of ``size`` entries of the log, of which the last ones are kept.

    :param read: the store's, for this session: up to so many entries after a cursor.
    :param row: what of a page follows a cursor without a hole.
    :param give_up_after: how long a store that is away is tried again, in seconds.
    """

    def __init__(
        self,
        size: int,
        *,
        read: Callable[..., Awaitable[list[Chunk]]],
        row: Callable[[list[Chunk], Cursor], list[Chunk]],
        spawn: Spawn,
        give_up_after: float,
    ) -> None:
        self._size = size
        self._read_store = read
        self._row = row
        self._spawn = spawn
        self._give_up_after = give_up_after
        #: Where the page begins that was wanted last, and the end of the log as it was then.
        self._wanted, self._end = Cursor(0, 0), 0
        self.forget()

    def forget(self) -> None:
        """What has been read, and what is being read, may be another's."""
        self._kept: dict[Cursor, list[Chunk]] = {}
        self._reading: dict[Cursor, asyncio.Task[list[Chunk]]] = {}

    async def read(
        self, after: Cursor, *, end: int, generation: str | None = None
    ) -> list[Chunk] | None:
        """What comes right after ``after``, as far as its page goes. ``generation`` is given for a
        session of the Go library, where entries cannot be counted: a page begins anywhere there.

        Empty where the log has a hole or ends; None if what was read is not current any more.
        """
        counted = generation is None
        start = Cursor(after.epoch, after.offset - after.offset % self._size) if counted else after
        kept = self._kept
        page = kept.get(start)
        shared = False
        if counted:
            self._wanted, self._end = start, end
        if page is None or page[-1].cursor.offset <= after.offset:
            reading = self._reading.get(start)
            shared = reading is not None
            if reading is None:
                reading = self._reading[start] = self._spawn(self._read(start, generation))
            page = await self._share(reading)
        else:
            self._read_ahead()
        found = self._row(page, after) if counted else page
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
            if reading.cancelled():
                raise HubClosed from None
            raise

    async def _read(self, start: Cursor, generation: str | None = None) -> list[Chunk]:
        kept, reading, limit = self._kept, self._reading, self._size
        if generation is None:
            # A store may ask for a page in many parts: none lies beyond the end.
            limit = max(1, min(limit, self._end - start.offset))
        try:
            page = await self.load(start, limit, generation)
        finally:
            reading.pop(start, None)
        # A page with a hole is not kept: it may be mended.
        if generation is None and page and len(self._row(page, start)) == len(page):
            kept.pop(start, None)
            kept[start] = page
            if len(kept) > _KEPT:
                del kept[next(iter(kept))]
            if kept is self._kept:
                self._read_ahead()
        return page

    def _read_ahead(self) -> None:
        """Ask for what follows the page that was wanted last, before a reader does."""
        epoch, wanted = self._wanted.epoch, self._wanted.offset
        for ahead in range(1, _AHEAD + 1):
            start = Cursor(epoch, wanted + ahead * self._size)
            if start.offset >= self._end or len(self._reading) >= _AHEAD:
                return
            if start not in self._kept and start not in self._reading:
                self._reading[start] = self._spawn(self._read(start))
