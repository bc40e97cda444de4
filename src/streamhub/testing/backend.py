"""What the conformance suite has to know about the store under test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ..stores.base import Store

__all__ = ["Backend"]


class Backend:
    """One body of data, on which a test opens as many stores as it needs.

    Each store stands for an instance of the application, so two of them share nothing but the
    data. A store that lives in one process may hand out the same object every time.
    Only ``open`` is needed; the other methods are for what not every store can do.
    """

    def open(self) -> Store:
        """Open another store on the same data. The suite closes it."""
        raise NotImplementedError(f"{type(self).__name__} must say how to open a store")

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass by the store's clock. A fake clock moves, a real one is awaited."""
        await asyncio.sleep(seconds)

    async def wipe(self) -> None:
        """Lose all data, as a server does that restarts without persistence."""
        raise NotImplementedError(f"{type(self).__name__} cannot lose its data")

    async def snapshot(self) -> Callable[[], Awaitable[None]]:
        """Remember the data; the function that is returned goes back to it.

        This is what a failover does that loses the newest writes.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot go back to older data")

    async def drop_chunk(self, session_id: str, offset: int) -> None:
        """Lose one chunk of the session's log and nothing else."""
        raise NotImplementedError(f"{type(self).__name__} cannot lose a single chunk")
