"""When it is found out whether a name still means what it meant."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any

__all__ = ["Confirming"]


class Confirming:
    """Has it found out once at a time for all who ask, and not more often than they need.

    :param confirm: finds it out; raises nothing.
    """

    def __init__(self, confirm: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._confirm = confirm
        self._task: asyncio.Task[None] | None = None
        #: When it was last seen, or begun to be, by the loop's clock.
        self._at = -inf

    def seen(self, at: float) -> None:
        """It has shown by itself, at this time."""
        self._at = max(self._at, at)

    @property
    def ever(self) -> bool:
        """Whether it has been seen at all."""
        return self._at > -inf

    def start(self, age: float) -> asyncio.Task[None] | None:
        """Who finds it out now; None if that was within the last ``age`` seconds."""
        if self._task is None:
            loop = asyncio.get_running_loop()
            if loop.time() - self._at <= age:
                return None
            self._at = loop.time()
            self._task = loop.create_task(self._confirm(), name="streamhub confirms a name")
            self._task.add_done_callback(self._on_done)
        return self._task

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._task = None
