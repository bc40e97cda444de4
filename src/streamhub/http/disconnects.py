"""Work that is given up as soon as nobody waits for it any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import anyio
from starlette.requests import ClientDisconnect
from starlette.types import Receive

__all__ = ["unless_gone"]

T = TypeVar("T")


async def _cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    """Wait for the client to go, then cancel ``scope``. What it still sends is dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def unless_gone(receive: Receive, work: Awaitable[T]) -> T:
    """What ``work`` comes to.

    :raises ClientDisconnect: the client went away first.
    """
    outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    async with anyio.create_task_group() as group:
        group.start_soon(_cancel_when_gone, receive, group.cancel_scope)
        try:
            outcome.set_result(await work)
        except Exception as error:
            outcome.set_exception(error)
        group.cancel_scope.cancel()
    if not outcome.done():
        raise ClientDisconnect
    return outcome.result()
