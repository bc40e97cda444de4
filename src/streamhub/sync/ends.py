"""Feeds of ends for threads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from types import TracebackType

from ..end import End
from ..ends import dead, feed, taken
from ..errors import HubClosed
from .background import Background

__all__ = ["DeadEnd", "Ends", "TakenEnd"]

_DEAD_AT_ONCE = 64


class TakenEnd(End, frozen=True, kw_only=True, dict=True):
    """:class:`streamhub.TakenEnd` for threads."""

    #: The how manieth delivery of this end in this feed it is: 1, 2, …
    attempt: int

    def done(self) -> None:
        """The end is dealt with; see :meth:`streamhub.TakenEnd.done`."""
        self._background.call_last(self._end.done)

    def retry(self, after: float | None = None, *, reason: str = "") -> None:
        """Give the end back; see :meth:`streamhub.TakenEnd.retry`."""
        self._background.call_last(self._end.retry, after, reason=reason)

    def fail(self, reason: str) -> None:
        """Give the end up; see :meth:`streamhub.TakenEnd.fail`."""
        self._background.call_last(self._end.fail, reason)

    @property
    def _background(self) -> Background:
        background: Background = self.__dict__["_background"]
        return background

    @property
    def _end(self) -> taken.TakenEnd:
        end: taken.TakenEnd = self.__dict__["_end"]
        return end


class DeadEnd(dead.DeadEnd, frozen=True, kw_only=True, dict=True):
    """:class:`streamhub.DeadEnd` for threads."""

    def retry(self) -> bool:  # type: ignore[override] # in a thread nothing is awaited
        """Have it delivered again; see :meth:`streamhub.DeadEnd.retry`."""
        background: Background = self.__dict__["_background"]
        one: dead.DeadEnd = self.__dict__["_dead"]
        return background.call(one.retry)


class Ends(Iterator[TakenEnd]):
    """:class:`streamhub.Ends` for threads: a context manager, and in it an iterator of ends. What
    it promises and raises is said there.

    One thread iterates; open another for each that is to work beside it.
    """

    def __init__(self, background: Background, ends: feed.Ends) -> None:
        self._background = background
        self._ends = ends

    def __repr__(self) -> str:
        return repr(self._ends)

    def __enter__(self) -> Ends:
        self._background.call(self._ends.__aenter__)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(HubClosed):
            self._background.call_last(self._ends.__aexit__, kind, error, traceback)

    def __iter__(self) -> Ends:
        return self

    def __next__(self) -> TakenEnd:
        """The next end, as soon as there is one. The one before, if it was not done, comes again.

        :raises: as iteration does in :class:`streamhub.Ends`.
        """
        return _taken(self._background, self._background.call(self._ends.__anext__))

    def dead(self) -> Iterator[DeadEnd]:
        """The ends that were given up; see :meth:`streamhub.Ends.dead`."""
        ends: AsyncIterator[dead.DeadEnd] | None = None

        async def take() -> list[dead.DeadEnd]:
            nonlocal ends
            # Begun in the event loop of the hub, which it may start.
            ends = ends or self._ends.dead()
            batch: list[dead.DeadEnd] = []
            async for one in ends:
                batch.append(one)
                if len(batch) == _DEAD_AT_ONCE:
                    break
            return batch

        while batch := self._background.call(take):
            yield from [_dead(self._background, one) for one in batch]


def _taken(background: Background, end: taken.TakenEnd) -> TakenEnd:
    made = TakenEnd(**{name: getattr(end, name) for name in TakenEnd.__struct_fields__})
    made.__dict__.update(_background=background, _end=end)
    return made


def _dead(background: Background, one: dead.DeadEnd) -> DeadEnd:
    made = DeadEnd(**{name: getattr(one, name) for name in DeadEnd.__struct_fields__})
    made.__dict__.update(_background=background, _dead=one)
    return made
