"""What a session holds now, read once and not followed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from ..chunks import Chunk, Cursor, SessionInfo, Status
from ..errors import CursorExpired
from ..stores.base import Store
from .foreign_log import whole_foreign_log

__all__ = ["stored", "whole_log"]

_READ_AT_ONCE = 2048
# How often a log with holes is read again while its producer may mend it, spread over a lease.
_ATTEMPTS = 5


async def stored(
    store: Store, session_id: str, info_now: Callable[[], Awaitable[SessionInfo]], *, lease: float
) -> tuple[SessionInfo, list[Chunk]]:
    """How a session stands, and all that it holds then.

    :param info_now: how the session stands at the moment.
    :raises CursorExpired: a part of it is not in the store any more.
    """
    before: SessionInfo | None = None
    attempts = 0
    while True:
        info = await info_now()
        whole = whole_foreign_log if info.is_foreign else whole_log
        chunks = await whole(partial(store.read, session_id), info)
        if chunks is not None:
            return info, chunks
        if before is not None and before.generation == info.generation:
            attempts += 1
            if info.status is not Status.ACTIVE or attempts == _ATTEMPTS:
                raise CursorExpired(session_id, Cursor(info.epoch or 0, 0))
            # Its producer lives, and puts back what the store has lost.
            await asyncio.sleep(lease / _ATTEMPTS)
        before = info


async def whole_log(
    read: Callable[[Cursor, int], Awaitable[list[Chunk]]], info: SessionInfo
) -> list[Chunk] | None:
    """The log as ``info`` found it; None if it has holes, or is another's by now.

    :param read: reads so many chunks after a place of it.
    """
    assert info.terms is not None
    chunks: list[Chunk] = []
    while len(chunks) < info.last.offset:
        limit = min(info.last.offset - len(chunks), _READ_AT_ONCE)
        page = await read(info.terms.place(len(chunks)), limit)
        chunks += page
        if not page or page[-1].cursor.offset != len(chunks):
            return None
    return chunks
