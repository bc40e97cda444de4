"""A clock that stands still until it is told to move."""

from __future__ import annotations

__all__ = ["FakeClock"]


class FakeClock:
    """Gives seconds since 1970, for a store that takes its time from a function.

    Example::

        clock = FakeClock()
        store = MemoryStore(clock=clock)
        clock.advance(15.0)  # every lease of 15 s has lapsed now
    """

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the time by ``seconds``."""
        self._now += seconds
