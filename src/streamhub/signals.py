"""How tasks wait for news and are woken together, and whether the current one was cancelled."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

__all__ = ["Signal", "is_cancelled"]

T = TypeVar("T")

_FEW = 16


class Signal(Generic[T]):
    """Wakes all who wait, with the same news.

    A task that is cancelled while it waits leaves its future behind. ``fire`` drops it; ``wait``
    drops all such futures whenever the list of them has doubled, so that it stays short without
    being searched each time.
    """

    # Most have one who waits, for whom a list would be more memory to fetch than all the rest.
    __slots__ = ("_first", "_loop", "_many", "_others")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._first: asyncio.Future[T | None] | None = None
        self._others: list[asyncio.Future[T | None]] | None = None
        self._many = _FEW

    def __bool__(self) -> bool:
        """Whether anybody is held."""
        return self._first is not None

    def wait(self) -> asyncio.Future[T | None]:
        """The next news, to be awaited at once."""
        waiter: asyncio.Future[T | None] = self._loop.create_future()
        if self._first is None:
            self._first = waiter
            return waiter
        others = self._others = self._others or []
        others.append(waiter)
        if len(others) > self._many:
            self._others = [one for one in others if not one.done()]
            self._many = max(_FEW, 2 * len(self._others))
        return waiter

    def fire(self, news: T | None = None) -> None:
        first, others = self._first, self._others
        if first is None:
            return
        self._first = self._others = None
        if not first.done():
            first.set_result(news)
        if others is not None:
            for waiter in others:
                if not waiter.done():
                    waiter.set_result(news)


def is_cancelled() -> bool:
    """Whether somebody has cancelled the current task. A ``CancelledError`` may also come of
    another task that was waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
