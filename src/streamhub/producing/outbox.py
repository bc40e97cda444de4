"""What one producer has written: what waits to be stored, and what is kept to be put back.

Every chunk of the epoch is kept until the end, because a store that loses data gets them again
under the same cursors. ``max_stream_bytes`` bounds them.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence

from ..chunks import Item, size_of
from ..config import HubConfig
from ..errors import StreamTooLarge
from ..stores.base import Append, Claim, WriteOp

__all__ = ["FULL_APPEND", "MetadataBox", "Outbox"]

# One call must not hold the store for much longer than a millisecond.
FULL_APPEND = 512
_APPEND_BYTES = 256 * 1024
# How much of one stream may travel in one round trip: the rest waits, so that others get theirs.
_APPENDS_PER_ROUND = 8


class Outbox:
    """Chunks by their offsets: ``stored`` ≤ ``sent`` ≤ ``last``."""

    # In the order in which a chunk needs them: of a thousand producers little is in a processor's
    # cache.
    __slots__ = (  # noqa: RUF023
        "items", "sizes", "full_at", "sent", "stored", "_own", "_term", "_claim", "_max_pending",
        "_max_stream",
    )  # fmt: skip

    def __init__(self, claim: Claim, config: HubConfig, past: Sequence[Item]) -> None:
        self._claim = claim
        #: After how many chunks those of this claim begin, and under which term they are stored.
        self._own, self._term = claim.base, claim.terms.current
        self._max_pending = config.max_pending_bytes
        self._max_stream = config.max_stream_bytes
        self.items: list[Item] = list(past)
        #: ``sizes[n]`` is what the first ``n`` chunks take together.
        self.sizes: array[int] = array("Q", [0])
        for item in past:
            self.sizes.append(self.sizes[-1] + size_of(item))
        #: How many chunks are stored, and how many are stored or on their way to the store.
        self.stored: int = len(self.items)
        self.sent: int = self.stored
        #: Up to this size of the stream a chunk may be added; beyond it, ``has_room`` knows.
        self.full_at: int = 0

    @property
    def last(self) -> int:
        return len(self.items)

    @property
    def unstored_bytes(self) -> int:
        """The size of what is not in the store yet."""
        return self.sizes[-1] - self.sizes[self.stored]

    def has_room(self, total: int) -> bool:
        """Whether a chunk may be added that makes the stream ``total`` bytes long. One that is
        larger than all that may wait does so alone.

        :raises StreamTooLarge: it may not become so long.
        """
        most = self.sizes[self.stored] + self._max_pending
        if total > most and self.stored < len(self.items):
            return False
        if total > self._max_stream:
            raise StreamTooLarge(self._claim.session_id, total, self._max_stream)
        self.full_at = min(most, self._max_stream)
        return True

    def take_appends(self) -> list[WriteOp]:
        """What may go to the store now of what is not on its way, in order; bounded. Each append is
        of one term."""
        base, last = self.sent, len(self.items)
        # Fast path of the loop below: saves a twelfth of a chunk's whole way where each stream has
        # one in a round, as at the pace of a model.
        if base + 1 == last and base >= self._own:
            self.sent = last
            return [Append(self._claim, base, self.items[base:], self.sizes[last], self._term)]
        appends: list[WriteOp] = []
        while base < last and len(appends) < _APPENDS_PER_ROUND:
            end = self._batch_end(base)
            term = self._term if base >= self._own else self._claim.terms.place(base).term
            appends.append(Append(self._claim, base, self.items[base:end], self.sizes[end], term))
            base = self.sent = end
        return appends

    def stored_after(self, offset: int) -> list[Item]:
        """What is stored right after so many chunks; bounded."""
        end = self.stored
        if end - offset > 1:
            end = min(end, self._batch_end(offset))
        return self.items[offset:end]

    def no_chunks(self) -> Append:
        """An append of none, for what goes along with one, after all that is on its way."""
        at = self.sent
        return Append(self._claim, at, (), self.sizes[at], self._claim.terms.place(at).term)

    def go_on_after(self, last: int) -> None:
        """The store has the first ``last`` chunks, and no more."""
        self.stored = self.sent = min(last, len(self.items))
        self.full_at = 0

    def clear(self) -> None:
        """Nothing is written any more."""
        self.items, self.sizes = [], array("Q", [0])
        self.stored = self.sent = self.full_at = 0

    def _batch_end(self, base: int) -> int:
        """The offset up to which chunks after ``base`` fit into one append; at least one does."""
        end = min(base + FULL_APPEND, len(self.items))
        if base < self._own:
            end = int(min(end, self._claim.terms.end_of_span(base)))
        limit = self.sizes[base] + _APPEND_BYTES
        if self.sizes[end] <= limit:
            return end
        return max(base + 1, bisect_right(self.sizes, limit, base, end + 1) - 1)


class MetadataBox:
    """The newest metadata. Values that were set meanwhile are counted, not kept."""

    __slots__ = ("_sent", "_set", "_stored", "value")

    def __init__(self, value: str | None) -> None:
        self.value = value
        #: How often it was set, and which of these is on its way and which is stored.
        self._set = self._sent = self._stored = 0

    @property
    def waits(self) -> bool:
        """Whether the newest is not stored."""
        return self._stored < self._set

    def set(self, value: str) -> int:
        """Its number, which ``is_stored`` is asked for."""
        self.value = value
        self._set += 1
        return self._set

    def is_stored(self, number: int) -> bool:
        return self._stored >= number

    def send(self) -> str | None:
        """The newest, which is on its way now."""
        self._sent = self._set
        return self.value

    def arrived(self) -> None:
        """What is on its way is stored."""
        self._stored = self._sent
