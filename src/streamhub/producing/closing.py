"""What a hub that closes makes of the errors of those that it stops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from ..errors import HubClosed

__all__ = ["comes_of_closing"]


def comes_of_closing(error: BaseException) -> bool:
    """Whether a hub that closes has caused the error: it has cancelled the task, or refused a call
    of it, be that where the task was about to clean up."""
    return any(isinstance(one, HubClosed | asyncio.CancelledError) for one in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, all that led to it, and the errors of a group."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        left += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            left += one.exceptions
