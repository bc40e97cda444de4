"""Asking several servers for what any of them can tell."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from redis.exceptions import RedisError

__all__ = ["first_answer"]

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

# How long a server is waited for before the next one is asked as well, in seconds.
_STAGGER = 0.25


async def first_answer(
    asked: Iterable[Asked],
    ask: Callable[[Asked], Awaitable[Answer]],
    *,
    timeout: float,
    discard: Callable[[Answer], Awaitable[None]] | None = None,
) -> Answer:
    """What the first of them says, in their order: one that is slow keeps the next one waiting a
    moment only, one that fails does not at all.

    :param timeout: how long each is waited for, in seconds.
    :param discard: what to do with an answer that comes too late.
    :raises RedisError, OSError: all failed; this is what the first one said.
    """

    async def ask_in_time(one: Asked) -> Answer:
        async with asyncio.timeout(timeout):
            return await ask(one)

    waiting = list(asked)
    asking: set[asyncio.Task[Answer]] = set()
    errors: list[BaseException] = []
    try:
        while waiting or asking:
            if waiting:
                asking.add(asyncio.create_task(ask_in_time(waiting.pop(0))))
            done, _ = await asyncio.wait(
                asking,
                timeout=_STAGGER if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                asking.remove(task)
                error = task.exception()
                if error is None:
                    return task.result()
                if not isinstance(error, RedisError | OSError):
                    raise error
                errors.append(error)
    finally:
        for task in asking:
            task.cancel()
        for late in await asyncio.gather(*asking, return_exceptions=True):
            if discard is not None and not isinstance(late, BaseException):
                await discard(late)
    raise errors[0]
