"""A hub's way to its store, which the machine opens and shuts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from streamhub import StoreUnavailable
from streamhub.stores.base import (
    CancelRequested,
    Fenced,
    LiveEvent,
    Renew,
    Store,
    Watch,
    WriteOp,
    WriteResult,
)
from streamhub.stores.wrapped import WrappedStore

__all__ = ["Gate"]


class Gate(WrappedStore):
    """Lets writes through unless it is shut; carries no message of a cancel.

    So nothing happens by itself: a producer hears of a cancel, of a loss, and of whoever replaced
    it with its next write, or when ``knock`` has it renew its lease.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        #: How many writes are on their way.
        self.under_way = 0
        self.renewals = 0
        self.loses_next_answer = False
        self._open = asyncio.Event()
        self._open.set()
        self._cut = False
        self._ears: dict[_Ear, None] = {}

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    def shut(self) -> None:
        """What is written from now on arrives when the gate opens, however late that is: the
        process stands still."""
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def cut(self) -> None:
        """Nothing arrives any more: the process is dead."""
        self._cut = True
        self._open.set()

    def knock(self) -> None:
        """Have every producer of the hub renew its lease, as it does each quarter of one."""
        for ear in list(self._ears):
            ear.sink(CancelRequested())

    async def write(self, ops: Sequence[WriteOp]) -> list[WriteResult | Exception]:
        self.under_way += 1
        try:
            await self._open.wait()
            if self._cut:
                return [Fenced(None) for _ in ops]
            answers = await super().write(ops)
            if self.loses_next_answer:
                self.loses_next_answer = False
                return [StoreUnavailable(repr(self.store), "the answer was lost") for _ in ops]
            return answers
        finally:
            self.under_way -= 1

    async def renew(self, ops: Sequence[Renew]) -> list[WriteResult | Exception]:
        self.under_way += 1
        try:
            await self._open.wait()
            return [Fenced(None) for _ in ops] if self._cut else await super().renew(ops)
        finally:
            self.under_way -= 1
            self.renewals += 1

    def watch(
        self, session_id: str, sink: Callable[[LiveEvent], None], *, cancels: bool = False
    ) -> Watch:
        return _Ear(self._ears, sink) if cancels else super().watch(session_id, sink)


class _Ear:
    """A watch for cancels, of which it hears only by a knock."""

    def __init__(self, ears: dict[_Ear, None], sink: Callable[[LiveEvent], None]) -> None:
        self._ears = ears
        self.sink = sink
        ears[self] = None

    def close(self) -> None:
        self._ears.pop(self, None)
