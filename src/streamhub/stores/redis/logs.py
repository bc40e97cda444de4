"""Reads logs, a page at a time: of bounded memory, however many are read and however long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from ...chunks import Chunk, Cursor
from .connections.protocol import Listing
from .foreign import page_of, page_requests
from .layout.keys import Keys
from .layout.log import entries, joined, of_term, page, pages, row
from .topology.topology import Commands

__all__ = ["Logs"]

# So many entries of a log are listed by one command: few enough that they are gone before the
# garbage collector looks at them. Who asks for a great many has them listed by so many commands.
_LISTED = 192
_LISTINGS = 64
# How many pages of logs may be on their way to this process, for the memory that they take.
_PAGES = 64


class _Page(Listing):
    shorten = staticmethod(page)


class _Row(Listing):
    shorten = staticmethod(row)


class Logs:
    """Reads what ``Store.read`` and ``Store.read_joined`` answer.

    :param check: raises where one of the answers for a session is an error.
    """

    def __init__(self, reads: Commands, check: Callable[[Sequence[Any], str], None]) -> None:
        self._reads = reads
        self._check = check
        self._pages = asyncio.Semaphore(_PAGES)

    async def read(
        self, session_id: str, keys: Keys, after: Cursor, limit: int, generation: str | None
    ) -> list[Chunk]:
        if generation is not None:
            asked = page_requests(keys, after, limit)
            answers = await self._ask(session_id, asked)
            return page_of(session_id, answers, generation)
        if limit > _LISTED:
            replies = await self._list(_Page, session_id, keys, after, limit)
            found = pages(session_id, replies, after)
            if found is not None:
                return of_term(found, after.term)
        request = (b"XRANGE", keys.chunks, f"({after}", b"+", b"COUNT", limit)
        answers = await self._ask(session_id, [request])
        return of_term(entries(session_id, answers[0]), after.term)

    async def read_joined(
        self, session_id: str, keys: Keys, after: Cursor, limit: int
    ) -> list[Chunk]:
        replies = await self._list(_Row, session_id, keys, after, limit)
        return joined(session_id, replies, after)

    async def _list(
        self, kind: type[Listing], session_id: str, keys: Keys, after: Cursor, limit: int
    ) -> list[Any]:
        """The next ``limit`` places of a log, a part at a time."""
        term, end = after.term, after.offset + limit
        part = max(_LISTED, -(-limit // _LISTINGS))
        listings = [
            kind((b"XRANGE", keys.chunks, f"({term}-{at}", b"+", b"COUNT", min(part, end - at)))
            for at in range(after.offset, end, part)
        ]
        return await self._ask(session_id, listings)

    async def _ask(self, session_id: str, requests: Sequence[Any]) -> list[Any]:
        async with self._pages:
            answers = await self._reads.ask(requests, patient=True)
        self._check(answers, session_id)
        return answers
