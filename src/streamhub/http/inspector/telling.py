"""What the page is told of the board: of a page of it, and of one session, as it changes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from ...board import Board, Look, Page, Query
from ...board.history import timeline
from ...chunks import SessionInfo
from ...formats.sse import HEARTBEAT
from .event_stream import event

__all__ = ["board_json", "board_news", "session_news"]

# A comment goes out after so many seconds of silence.
_HEARTBEAT = 15.0
# What a session needs of the store's memory is asked once in so many seconds.
_WEIGHED_EVERY = 5.0


def board_json(page: Page, before: Page | None = None) -> dict[str, Any]:
    """A page of the board, or what is new in it since the one ``before``: rows that are new there
    or have changed, and the order of all where it is another."""
    shown = [] if before is None else [row.session_id for row in before.rows]
    order = [row.session_id for row in page.rows]
    known = {} if before is None else {row.session_id: row.version for row in before.rows}
    told: dict[str, Any] = {
        "now": time.time(),
        "rows": [row for row in page.rows if known.get(row.session_id) != row.version],
        "found": page.found,
        "counts": page.counts,
        "rate": page.rate,
        "bytes": page.bytes,
        "total": page.total,
        "left_out": page.left_out,
        "away": page.away,
        "complete": page.complete,
    }
    if before is None or order != shown:
        told["order"] = order
    if before is None or page.owners != before.owners:
        told["owners"] = page.owners
    return told


async def board_news(board: Board, query: Query) -> AsyncGenerator[bytes]:
    """The page of the query, then what becomes of it: ``page`` events."""
    before: Page | None = None
    async with board.look() as look:
        while True:
            page = look.page(query)
            told = board_json(page, before)
            if before is None or _differs(page, before):
                yield event("page", told)
            before = page
            while not await _news(look):
                yield HEARTBEAT


async def session_news(board: Board, session_id: str) -> AsyncGenerator[bytes]:
    """One session, then what becomes of it: ``session`` events."""
    before: object = None
    memory: int | None = None
    weighed = -_WEIGHED_EVERY
    async with board.look() as look:
        while True:
            if time.monotonic() - weighed >= _WEIGHED_EVERY:
                memory, weighed = await board.memory(session_id), time.monotonic()
            row, info = look.row(session_id), board.info(session_id)
            history = timeline(info, board.history(session_id))
            told = (row, None if info is None else _facts(info), history, memory)
            if told != before and (row is not None or board.complete):
                before = told
                yield event(
                    "session",
                    {
                        "now": time.time(),
                        "row": row,
                        "facts": told[1],
                        "timeline": history,
                        "memory": memory,
                    },
                )
            while not await _news(look):
                yield HEARTBEAT


async def _news(look: Look) -> bool:
    """Whether there are any, within some seconds."""
    try:
        async with asyncio.timeout(_HEARTBEAT):
            await look.wait_news()
    except TimeoutError:
        return False
    return True


def _differs(page: Page, before: Page) -> bool:
    kept = {"version": 0, "rows": ()}
    return [(row.session_id, row.version) for row in page.rows] != [
        (row.session_id, row.version) for row in before.rows
    ] or msgspec.structs.replace(page, **kept) != msgspec.structs.replace(before, **kept)


def _facts(info: SessionInfo) -> dict[str, Any]:
    """What a row has no room for."""
    return {
        "stream_id": info.stream_id,
        "cursor": str(info.last),
        "epoch": None if info.epoch is None else str(info.epoch),
        "replaced": info.replaced,
        "request": info.request,
        "feeds": info.feeds,
        "error": info.error,
        "owner": info.owner,
        "foreign": info.is_foreign,
    }
