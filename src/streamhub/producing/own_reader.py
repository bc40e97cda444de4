"""What a producer has stored, for one reader in its own process: the store, which has answered
already, is not asked again."""

from __future__ import annotations

from ..chunks import Chunk, Cursor, Item, Status
from ..signals import Signal
from .phase import Phase
from .producer import Producer

__all__ = ["OwnReader"]

# How many bytes are held for a reader that is behind when the producer forgets what it has written.
_MOST_KEPT = 256 * 1024


class OwnReader:
    """Gets each chunk of the producer's own as soon as it is stored, and none before: what it tells
    its client no crash takes back. There is one of a producer at most, and it is to be closed.

    It hears what its producer hears: that others have taken the session, with the next write or
    renewal.
    """

    __slots__ = ("_kept", "_news", "_offset", "_producer", "_term", "_whole")

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._term = producer.claim.terms.current
        self._offset = producer.claim.base
        self._news = Signal[None]()
        #: What was stored and not taken when the producer was done, and whether that is all of it.
        self._kept: list[Item] = []
        self._whole = not producer.done
        producer.on_stored = self._on_stored

    @property
    def cursor(self) -> Cursor | None:
        """Of the last chunk that was taken."""
        taken = self._offset > self._producer.claim.base
        return Cursor(self._term, self._offset) if taken else None

    @property
    def end(self) -> tuple[Status, str] | None:
        """How the stream has ended, and its error, once all of it was taken; None where that is not
        known here: the store is to be asked for what follows ``cursor``."""
        state = self._producer.state
        status, error = state.outcome
        if not self._whole or state.phase is not Phase.ENDED or status is Status.LOST:
            return None
        return None if status is Status.FAILED and not error else (status, error)

    async def take(self) -> list[Chunk]:
        """All chunks that are ready at once, or some of many; none once there are no more here.
        Safe to cancel."""
        while not (items := self._ready()):
            if self._producer.done:
                return []
            await self._news.wait()
        first = self._offset + 1
        self._offset += len(items)
        return [
            Chunk(item, Cursor(self._term, offset))
            if isinstance(item, str)
            else Chunk(item[0], Cursor(self._term, offset), item[1])
            for offset, item in enumerate(items, first)
        ]

    def close(self) -> None:
        self._producer.on_stored = None
        self._kept, self._whole = [], False

    def _ready(self) -> list[Item]:
        if not self._producer.done:
            return self._producer.outbox.stored_after(self._offset)
        items, self._kept = self._kept, []
        return items

    def _on_stored(self) -> None:
        producer = self._producer
        if producer.done:
            outbox = producer.outbox
            size = outbox.sizes[outbox.stored] - outbox.sizes[min(self._offset, outbox.stored)]
            # A renewal may say that the session has ended before the last write is answered.
            self._whole = outbox.stored == outbox.last and size <= _MOST_KEPT
            if self._whole:
                self._kept = outbox.items[self._offset : outbox.stored]
        self._news.fire()
