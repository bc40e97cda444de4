"""The ends that were given up: listed, and handed out again if somebody wants it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import msgspec

from ..chunks import SessionInfo
from ..stores import feeds

__all__ = ["DeadEnd", "dead_ends"]


class DeadEnd(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """An end that was given up in a feed, and is still stored."""

    key: str
    session_id: str
    #: How often it was delivered.
    attempts: int
    #: What went wrong at the last delivery.
    error: str
    #: Seconds since 1970 by the store's clock.
    ended: float
    #: How the stream stands, with its metadata.
    info: SessionInfo

    async def retry(self) -> bool:
        """Have it delivered again, soon and as if for the first time; False if it is not there
        any more, or not dead.

        :raises StoreUnavailable: the store cannot be reached.
        """
        again: Any = self.__dict__["_again"]
        revived: bool = await again()
        return revived


async def dead_ends(store: feeds.Feeds, feed: str) -> AsyncIterator[DeadEnd]:
    async for one in store.dead(feed):
        dead = DeadEnd(
            key=one.info.generation,
            session_id=one.info.session_id,
            attempts=one.attempts,
            error=one.error,
            ended=one.ended,
            info=one.info,
        )
        dead.__dict__["_again"] = partial(store.revive, one.due, feed)
        yield dead
