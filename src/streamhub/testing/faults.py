"""Stores that misbehave as a network does: calls fail, answers and messages get lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from ..chunks import Chunk, Cursor, SessionInfo
from ..errors import SessionCorrupted, StoreUnavailable
from ..stores.base import (
    Claim,
    InboxPage,
    LiveEvent,
    Renew,
    Store,
    Watch,
    WriteOp,
    WriteResult,
)
from ..stores.wrapped import WrappedStore

__all__ = ["Fails", "LosesAnswers", "LosesEvents", "Stalls"]


class Fails(WrappedStore):
    """While ``failing`` is True no write, renewal, look or read reaches the store.

    ``failed`` is set by each that does not.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.failing = False
        self.failed: asyncio.Event = asyncio.Event()

    async def write(self, ops: Sequence[WriteOp]) -> list[WriteResult | Exception]:
        return [self._fail() for _ in ops] if self.failing else await super().write(ops)

    async def renew(self, ops: Sequence[Renew]) -> list[WriteResult | Exception]:
        return [self._fail() for _ in ops] if self.failing else await super().renew(ops)

    async def look(
        self, session_ids: Sequence[str], *, metadata: bool = False
    ) -> Sequence[SessionInfo | SessionCorrupted | StoreUnavailable | None]:
        if self.failing:
            raise self._fail()
        return await super().look(session_ids, metadata=metadata)

    async def read(
        self, session_id: str, after: Cursor, limit: int, *, generation: str | None = None
    ) -> list[Chunk]:
        if self.failing:
            raise self._fail()
        return await super().read(session_id, after, limit, generation=generation)

    async def read_joined(self, session_id: str, after: Cursor, limit: int) -> list[Chunk]:
        if self.failing:
            raise self._fail()
        return await super().read_joined(session_id, after, limit)

    async def read_inbox(self, claim: Claim, held: Sequence[str]) -> InboxPage:
        if self.failing:
            raise self._fail()
        return await super().read_inbox(claim, held)

    def _fail(self) -> StoreUnavailable:
        self.failed.set()
        return _unavailable(self.store)


class LosesAnswers(WrappedStore):
    """Of every three writes one is answered, one is done but not answered, and one not done."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._calls = 0

    async def write(self, ops: Sequence[WriteOp]) -> list[WriteResult | Exception]:
        self._calls += 1
        if self._calls % 3 == 0:
            return [_unavailable(self.store) for _ in ops]
        answers = await super().write(ops)
        return answers if self._calls % 3 == 1 else [_unavailable(self.store) for _ in ops]


class LosesEvents(WrappedStore):
    """Live events for which ``lost`` holds never arrive."""

    def __init__(self, store: Store, lost: Callable[[LiveEvent], bool]) -> None:
        super().__init__(store)
        self._lost = lost

    def watch(
        self, session_id: str, sink: Callable[[LiveEvent], None], *, cancels: bool = False
    ) -> Watch:
        return super().watch(session_id, self._sieve(sink), cancels=cancels)

    def watch_inbox(self, session_id: str, sink: Callable[[LiveEvent], None]) -> Watch:
        return super().watch_inbox(session_id, self._sieve(sink))

    def _sieve(self, sink: Callable[[LiveEvent], None]) -> Callable[[LiveEvent], None]:
        def pass_on(event: LiveEvent) -> None:
            if not self._lost(event):
                sink(event)

        return pass_on


class Stalls(WrappedStore):
    """Writes wait until ``resume`` is set; ``stalled`` tells that one does."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.stalled: asyncio.Event = asyncio.Event()
        self.resume: asyncio.Event = asyncio.Event()

    async def write(self, ops: Sequence[WriteOp]) -> list[WriteResult | Exception]:
        self.stalled.set()
        await self.resume.wait()
        return await super().write(ops)


def _unavailable(store: Store) -> StoreUnavailable:
    return StoreUnavailable(repr(store), "the connection was lost")
