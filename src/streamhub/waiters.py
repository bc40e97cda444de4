"""Tasks that wait for the next news of something, and are woken together."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

__all__ = ["Waiters"]

T = TypeVar("T")


class Waiters(Generic[T]):
    """Holds exactly those who wait: who is cancelled is not kept until the next news."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[asyncio.Future[T | None], None] = {}

    async def wait(self) -> T | None:
        """The next news."""
        waiter = self.join()
        try:
            return await waiter
        except asyncio.CancelledError:
            self.leave(waiter)
            raise

    def join(self) -> asyncio.Future[T | None]:
        """What to await, and to ``leave`` if it is cancelled: ``wait`` for who cannot afford it."""
        waiter: asyncio.Future[T | None] = self._loop.create_future()
        self._waiting[waiter] = None
        return waiter

    def leave(self, waiter: asyncio.Future[T | None]) -> None:
        self._waiting.pop(waiter, None)

    def wake(self, news: T | None = None) -> None:
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(news)
