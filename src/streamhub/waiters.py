"""Tasks that wait for the next news of something, and are woken together."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

__all__ = ["Waiters"]

T = TypeVar("T")

_FEW = 16


class Waiters(Generic[T]):
    """Holds those who wait. Who was cancelled is forgotten with the next news, or when twice as
    many are held as waited when that was last seen to."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: list[asyncio.Future[T | None]] = []
        self._many = _FEW

    def join(self) -> asyncio.Future[T | None]:
        """The next news, to be awaited at once."""
        waiter: asyncio.Future[T | None] = self._loop.create_future()
        self._waiting.append(waiter)
        if len(self._waiting) > self._many:
            self._waiting = [one for one in self._waiting if not one.done()]
            self._many = max(_FEW, 2 * len(self._waiting))
        return waiter

    def wake(self, news: T | None = None) -> None:
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(news)
