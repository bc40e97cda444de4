"""How late an event loop runs what is due: code that blocks it keeps every stream waiting."""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["LoopLag"]

_EVERY = 0.5
_REMEMBERED = 20


class LoopLag:
    """Looks twice a second, until it is closed."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._late: deque[float] = deque(maxlen=_REMEMBERED)
        self._timer = self._next()

    @property
    def seconds(self) -> float:
        """The longest of the last ten seconds. May be asked in any thread."""
        return max([*self._late], default=0.0)

    def close(self) -> None:
        self._timer.cancel()

    def _next(self) -> asyncio.TimerHandle:
        due = self._loop.time() + _EVERY
        return self._loop.call_at(due, self._on_time, due)

    def _on_time(self, due: float) -> None:
        self._late.append(max(0.0, self._loop.time() - due))
        self._timer = self._next()
