"""Tasks that wait for the next news of something, and are woken together."""

from __future__ import annotations

import asyncio

__all__ = ["Waiters"]


class Waiters:
    """Holds exactly those who wait: who is cancelled is not kept until the next news."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], None] = {}

    async def wait(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = None
        try:
            await waiter
        except asyncio.CancelledError:
            self._waiting.pop(waiter, None)
            raise

    def wake(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)
