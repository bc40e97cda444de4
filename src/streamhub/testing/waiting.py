"""Bounded waits: for an awaitable, for a condition, for a live event.

What is too long depends on the machine and on what else it does. Every bound is given in seconds of
a quiet machine, and follows the time that a reference step takes here: that is measured once, and
again before a wait is given up, as the machine may have become slow meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from ..stores.base import LiveEvent

__all__ = [
    "PATIENCE",
    "Recorder",
    "bounded",
    "patience",
    "slowness",
    "unhurried",
    "until",
    "within",
]

#: Seconds after which a wait has failed on a quiet machine: far beyond what any test needs there.
PATIENCE = 20.0
#: How long the reference step takes on a quiet machine, in seconds.
_QUIET = 0.05
#: How many times longer it takes while the tests themselves keep the machine busy.
_BUSY = 4.0

T = TypeVar("T")
E = TypeVar("E", bound=LiveEvent)


class _Machine:
    """Measures how many times longer work takes here than on a quiet machine."""

    def __init__(self) -> None:
        self._slowness: float | None = None

    @property
    def slowness(self) -> float:
        return self.measure() if self._slowness is None else self._slowness

    def measure(self) -> float:
        """Do the reference step again. The slowest counts: it may become as slow again."""
        began = time.perf_counter()
        for _ in range(20):
            sum(range(100_000))
        took = time.perf_counter() - began
        self._slowness = max(1.0, took / _QUIET, self._slowness or 0.0)
        return self._slowness


_machine = _Machine()


def slowness() -> float:
    """How many times longer work takes here than on a quiet machine, measured now; at least 1, and
    never less than it was."""
    return _machine.measure()


def patience(seconds: float = PATIENCE) -> float:
    """The seconds that take the place of so many on a quiet machine, as far as is known."""
    return seconds * _machine.slowness


def unhurried(seconds: float) -> float:
    """A lease, or another time that tests wait for to pass: the seconds that are not too few for
    what has to be done within. Those of a quiet machine are enough while tests keep it busy.

    In hundredths: stores count milliseconds, and tests compare what they have counted.
    """
    return round(seconds * max(1.0, _machine.slowness / _BUSY), 2)


@asynccontextmanager
async def bounded(seconds: float = PATIENCE) -> AsyncIterator[None]:
    """What is done within may take so many seconds of a quiet machine.

    :raises TimeoutError: it took longer.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    timer: asyncio.TimerHandle

    def look_again() -> None:
        nonlocal timer
        end = began + seconds * _machine.measure()
        if end > loop.time():
            timer = loop.call_at(end, look_again)
        else:
            limit.reschedule(end)

    timer = loop.call_at(began + patience(seconds), look_again)
    try:
        async with asyncio.timeout(None) as limit:
            yield
    finally:
        timer.cancel()


async def within(awaitable: Awaitable[T], seconds: float = PATIENCE) -> T:
    """Await, but no longer than so many seconds of a quiet machine.

    :raises TimeoutError: it took longer.
    """
    async with bounded(seconds):
        return await awaitable


async def until(check: Callable[[], Awaitable[bool]], seconds: float = PATIENCE) -> None:
    """Ask ``check`` again until it holds. For what nothing announces, such as an expiry.

    :raises TimeoutError: it did not hold within so many seconds of a quiet machine.
    """
    async with bounded(seconds):
        while not await check():  # noqa: ASYNC110 - a store has no event for this
            await asyncio.sleep(0.01)


class Recorder:
    """A sink for :meth:`streamhub.stores.base.Store.watch` that keeps what it was given."""

    def __init__(self) -> None:
        self.events: list[LiveEvent] = []
        self._arrival = asyncio.Event()

    def __call__(self, event: LiveEvent) -> None:
        self.events.append(event)
        self._arrival.set()

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind, in the order in which they came."""
        return [event for event in self.events if isinstance(event, kind)]

    async def wait(self, kind: type[E], count: int = 1) -> E:
        """Wait for the ``count``-th event of a kind.

        :raises TimeoutError: it did not come.
        """
        async with bounded():
            while len(self.of(kind)) < count:
                self._arrival.clear()
                await self._arrival.wait()
        return self.of(kind)[count - 1]
