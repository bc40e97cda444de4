"""A request that is sent before it is known whether somebody reads its answer."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Generic, TypeVar

__all__ = ["Ahead"]

T = TypeVar("T")


class Ahead(Generic[T]):
    """A request that is under way before it is known whether somebody reads its answer, as an async
    context manager of that. To be entered, or dropped.

    :param asking: what is entered now.
    """

    def __init__(self, asking: AbstractAsyncContextManager[T]) -> None:
        self._asking = asking
        self._entering: asyncio.Task[T] | None = asyncio.ensure_future(self._enter())

    async def __aenter__(self) -> T:
        assert self._entering is not None
        try:
            answer = await self._entering
        except BaseException:
            await self.drop()
            raise
        self._entering = None
        return answer

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._asking.__aexit__(kind, error, traceback)

    async def _enter(self) -> T:
        # What has this request asked for ahead sets out first: it takes longer to come back.
        await asyncio.sleep(0)
        return await self._asking.__aenter__()

    async def drop(self) -> None:
        """Close the request at once, unless somebody reads its answer, or has. Idempotent."""
        entering, self._entering = self._entering, None
        if entering is None:
            return
        entering.cancel()
        await asyncio.wait([entering])
        if not entering.cancelled() and entering.exception() is None:
            await self._asking.__aexit__(None, None, None)
