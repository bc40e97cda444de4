"""Work that is given up as soon as nobody waits for it any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

import anyio

__all__ = ["ClientGone", "Receive", "unless_gone"]

T = TypeVar("T")

#: ASGI's.
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class ClientGone(Exception):
    """Nobody is there any more to whom an answer could be sent."""


async def unless_gone(receive: Receive, work: Awaitable[T]) -> T:
    """What ``work`` comes to, in a task of its own.

    :raises ClientGone: the client went away first.
    """
    outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    async with anyio.create_task_group() as group:
        # Not the other way round: whatever wakes a task passes through all that called it, which is
        # a dozen coroutines of servers and frameworks here, and the work is woken for each chunk.
        group.start_soon(_finish, work, outcome, group.cancel_scope)
        # What the client still sends is dropped.
        while (await receive())["type"] != "http.disconnect":
            pass
        group.cancel_scope.cancel()
    if not outcome.done():
        raise ClientGone
    return outcome.result()


async def _finish(
    work: Awaitable[T], outcome: asyncio.Future[T], waiting: anyio.CancelScope
) -> None:
    """Do ``work``, then end the waiting for the client to go."""
    try:
        outcome.set_result(await work)
    except Exception as error:
        outcome.set_exception(error)
    waiting.cancel()
