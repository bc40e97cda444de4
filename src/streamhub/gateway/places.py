"""How many answers each key may have under way at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from .errors import GatewayError

__all__ = ["Places", "too_many"]


class Places:
    """Of one instance of the gateway.

    :param most: for each key; None for as many as it likes.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()

    def take(self, key_hash: str) -> Callable[[], None] | None:
        """What gives the place back, to be called once; None if all of this key are taken."""
        if self._most is not None and self._taken[key_hash] >= self._most:
            return None
        self._taken[key_hash] += 1

        def give_back() -> None:
            self._taken[key_hash] -= 1
            if not self._taken[key_hash]:
                del self._taken[key_hash]

        return give_back


def too_many(most: int | None) -> GatewayError:
    message = f"this key has {most} answers under way already, which is as many as it may: wait"
    return GatewayError(429, "too_many_answers", message, headers={"retry-after": "1"})
