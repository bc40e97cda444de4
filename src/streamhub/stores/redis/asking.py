"""Asking several servers for what any of them can tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from redis.exceptions import RedisError

__all__ = ["first_answer"]

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

# How long a server is waited for before the next one is asked as well, in seconds.
_STAGGER = 0.25


async def first_answer(
    asked: Iterable[Asked], ask: Callable[[Asked], Coroutine[Any, Any, Answer]]
) -> Answer:
    """What the first of them says, in their order: one that is slow keeps the next one waiting a
    moment only, one that fails does not at all.

    :raises RedisError, OSError: all failed; this is what the first one said.
    """
    waiting = list(asked)
    asking: set[asyncio.Task[Answer]] = set()
    errors: list[BaseException] = []
    try:
        while waiting or asking:
            if waiting:
                asking.add(asyncio.create_task(ask(waiting.pop(0))))
            done, asking = await asyncio.wait(
                asking,
                timeout=_STAGGER if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                error = task.exception()
                if error is None:
                    return task.result()
                if not isinstance(error, RedisError | OSError):
                    raise error
                errors.append(error)
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    raise errors[0]
