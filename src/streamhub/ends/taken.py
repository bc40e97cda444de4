"""What a worker gets of a feed: an end, and what may become of it."""

from __future__ import annotations

import math
from typing import Any

from ..chunks import Item
from ..end import End
from .hold import Hold, backoff

__all__ = ["TakenEnd", "taken_end"]


class TakenEnd(End, frozen=True, kw_only=True, dict=True):
    """An :class:`End` that this worker has, under a lease that is renewed meanwhile.

    It comes again, to whichever worker is free, unless ``done`` was called: with the same ``key``.
    """

    #: The how manieth delivery of this end in this feed it is: 1, 2, …
    attempt: int

    @property
    def _held(self) -> Hold:
        hold: Hold = self.__dict__["_hold"]
        return hold

    async def done(self) -> None:
        """The end is dealt with: nobody gets it any more. Idempotent.

        A store that is away is waited for, up to ``give_up_after``.

        :raises EndFenced: it is not this worker's any more, because that took too long, or was
            given back: it comes, or came, to another as well.
        :raises StoreUnavailable: the store was away all the time. The end may come again.
        :raises HubClosed: the hub was closed meanwhile, and has given the end back.
        """
        await self._held.settle("done")

    async def retry(self, after: float | None = None, *, reason: str = "") -> None:
        """Give the end back: it comes again after so many seconds. At the last of
        ``max_attempts`` it is given up instead.

        :param after: by default a time that grows with ``attempt``: 1, 2, 4 … seconds, at most 300.
        :param reason: what ``dead`` shows.
        :raises: as ``done``.
        """
        if after is None:
            after = backoff(self.attempt)
        check_seconds("after", after, least=0.0)
        await self._held.again(after, reason)

    async def fail(self, reason: str) -> None:
        """Give the end up: it comes again only if somebody finds it in ``dead`` and has it retried.

        :raises: as ``done``.
        """
        await self._held.settle("dead", error=reason)


def check_seconds(name: str, value: Any, *, least: float) -> None:
    """:raises ValueError: it is no number of seconds, or less than ``least``."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not least <= value < math.inf
    ):
        raise ValueError(f"{name} must be a number of seconds of at least {least:g}, not {value!r}")


def taken_end(hold: Hold, items: list[Item]) -> TakenEnd:
    """What a worker gets of the end that it holds."""
    # Loaded with the first end, as the engine does.
    from ..parts.folding import message_of

    info, ended, attempt = hold.taken.info, hold.taken.ended, hold.taken.attempt
    message = message_of(info, items)
    end = TakenEnd.of(info, items, message=message, ended=ended, attempt=attempt)
    # No field: it is neither compared nor written out with the others.
    end.__dict__["_hold"] = hold
    return end
