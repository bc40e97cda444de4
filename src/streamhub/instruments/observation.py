"""What a hub tells its instruments of itself as a whole, and what they may ask of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from ..errors import StoreUnavailable
from ..statistics import HubStatistics
from ..stores.base import Store
from . import events
from .dispatch import new_number
from .events import Tell
from .lag import LoopLag

__all__ = ["Observation"]

# What is looked for where it matters only whether the store answers.
_NO_SESSION = "health"


class Spawn(Protocol):
    def __call__(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]: ...


class Observation:
    """Made only for a hub with instruments, in its event loop.

    :param spawn: runs what ends with the hub at the latest.
    :param is_ending: whether nothing is to be begun any more.
    """

    def __init__(
        self, tell: Tell, store: Store, *, spawn: Spawn, is_ending: Callable[[], bool]
    ) -> None:
        self._tell, self._store = tell, store
        self._spawn, self._is_ending = spawn, is_ending
        self._number = new_number()
        self._lag = LoopLag()
        self._asking: asyncio.Task[None] | None = None
        store.instrument(tell)

    @property
    def loop_lag(self) -> float:
        return self._lag.seconds

    def opened(self, statistics: Callable[[], HubStatistics]) -> None:
        store = repr(self._store)
        self._tell(
            events.Opened(hub=self._number, store=store, statistics=statistics, ask=self._ask)
        )

    def closed(self) -> None:
        self._lag.close()
        self._tell(events.Closed(hub=self._number, store=repr(self._store)))

    def _ask(self) -> None:
        """Have the store asked whether it is there, and the instruments told."""
        if self._asking is None and not self._is_ending():
            self._asking = self._spawn(self._ask_store(), "ask")

    async def _ask_store(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            (found,) = await self._store.look([_NO_SESSION])
            if isinstance(found, StoreUnavailable):
                raise found
        except Exception as error:  # whatever a store raises, it is not there
            self._tell(events.StoreFailed(doing="ask", count=1, reason=str(error), away=True))
        else:
            self._tell(events.StoreAnswered(seconds=loop.time() - began))
        finally:
            self._asking = None
