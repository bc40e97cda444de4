"""Bounded waits: for an awaitable, for a condition, for a live event."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..stores.base import LiveEvent

__all__ = ["PATIENCE", "Recorder", "until", "within"]

#: Seconds after which a wait has failed. Far beyond what any test needs on a busy machine.
PATIENCE = 20.0

T = TypeVar("T")
E = TypeVar("E", bound=LiveEvent)


async def within(awaitable: Awaitable[T], seconds: float = PATIENCE) -> T:
    """Await, but no longer than ``seconds``.

    :raises TimeoutError: it took longer.
    """
    async with asyncio.timeout(seconds):
        return await awaitable


async def until(check: Callable[[], Awaitable[bool]], seconds: float = PATIENCE) -> None:
    """Ask ``check`` again until it holds. For what nothing announces, such as an expiry.

    :raises TimeoutError: it did not hold within ``seconds``.
    """
    async with asyncio.timeout(seconds):
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
        async with asyncio.timeout(PATIENCE):
            while len(self.of(kind)) < count:
                self._arrival.clear()
                await self._arrival.wait()
        return self.of(kind)[count - 1]
