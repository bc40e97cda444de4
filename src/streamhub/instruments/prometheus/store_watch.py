"""Whether the store answers, and when it is to be asked."""

from __future__ import annotations

from math import inf
from typing import Final

__all__ = ["StoreWatch"]

# Seconds without news after which the store is asked, and without an answer after which it is away.
_SILENCE: Final = 5.0


class StoreWatch:
    """What was last heard of a store. Times are seconds of any clock that does not go back.

    | input                    | then                                                             |
    |--------------------------|------------------------------------------------------------------|
    | it has done something    | up; it is asked once nothing was heard for 5 s                   |
    | it could not             | down; it is asked at the next look at the time                   |
    | it was asked             | not again before it answers, or for 5 s: then it is down         |
    """

    __slots__ = ("_asked", "_heard", "_news", "up")

    def __init__(self) -> None:
        #: As long as nothing was heard, nothing is wrong.
        self.up: bool = True
        self._news = False
        self._heard = -inf
        self._asked: float | None = None

    def answers(self) -> None:
        self.up = self._news = True

    def fails(self) -> None:
        self.up = self._news = False
        self._asked = None

    def is_to_be_asked(self, now: float) -> bool:
        """Look at the time; whether the caller asks the store now."""
        if self._news:
            self._news, self._heard, self._asked = False, now, None
            return False
        if self._asked is not None:
            if now - self._asked < _SILENCE:
                return False
            self.up = False
        elif self.up and now - self._heard < _SILENCE:
            return False
        self._asked = now
        return True
