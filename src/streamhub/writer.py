"""One per hub: gathers what is pending across all streams into one round trip to the store.

While a round trip is under way, chunks gather for the next: no delay when idle, batches under
load. Streams take turns, and each one's errors are its own. One whose chunks break the connection
each time would fail all of its round trip with it: whoever fails though the store takes renewals
goes alone.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from .producer import Producer
from .stores.base import Append, Store, WriteOp, WriteResult

__all__ = ["Writer"]

# What one round trip may carry. It bounds memory and how long a stream waits for its turn.
_ROUND_CHUNKS = 16 * 1024
_ROUND_BYTES = 8 * 1024 * 1024
_ROUND_OPS = 1024
# Many streams with a chunk now and then would keep both sides busy with round trips of one chunk.
_DISTANCE = 0.001
_FIRST_BACKOFF = 0.05
_LAST_BACKOFF = 1.0


class Writer:
    """``linger`` is for how many seconds chunks gather that nobody waits for."""

    def __init__(self, store: Store, linger: float = 0.0) -> None:
        self._store = store
        self._linger = linger
        self._ready: dict[Producer, None] = {}
        self._failed: dict[Producer, None] = {}
        self._alone: set[Producer] = set()
        self._work = asyncio.Event()
        self._urgent = asyncio.Event()
        # When the oldest chunk that is not written came at the earliest, and when a round began.
        self._since = self._began = 0.0
        self._backoff = _FIRST_BACKOFF
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None

    def mark(self, producer: Producer) -> None:
        """This producer has something to write."""
        if producer in self._failed:
            return
        if not self._ready:
            self._since = self._loop.time()
            self._work.set()
        self._ready[producer] = None
        if producer.urgent:
            self._urgent.set()

    async def run(self) -> None:
        try:
            while True:
                await self._work.wait()
                await self._let_gather()
                await self._round()
        finally:
            if self._retry is not None:
                self._retry.cancel()

    async def _let_gather(self) -> None:
        """Wait for more chunks, as long as they may wait themselves."""
        due = max(self._since + self._linger, self._began + _DISTANCE)
        if not self._urgent.is_set() and due > self._loop.time():
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._urgent.wait()

    async def _round(self) -> None:
        began = self._began = self._loop.time()
        work = self._gather()
        if not self._ready:
            self._work.clear()
            self._urgent.clear()
        if not work:
            return
        counts = {producer: producer.metadata_set for producer, _ in work}
        answers, broke_off = await self._write([op for _, op in work])
        if broke_off:
            self._alone.update(one for one in counts if one.renewed)
        failed = False
        for (producer, op), answer in zip(work, answers, strict=True):
            producer.apply(op, answer, counts[producer])
            if isinstance(answer, Exception):
                failed = True
                self._failed[producer] = None
        if failed and len(counts) == 1:
            self._alone.update(counts)
        if failed:
            self._back_off()
        elif not self._failed:
            self._backoff = _FIRST_BACKOFF
        for producer in counts:
            if producer.has_work:
                self.mark(producer)
        # What came during the round came at its beginning at the earliest.
        self._since = min(self._since, began)

    def _gather(self) -> list[tuple[Producer, WriteOp]]:
        work: list[tuple[Producer, WriteOp]] = []
        chunks = size = 0
        while (
            self._ready
            and chunks < _ROUND_CHUNKS
            and size < _ROUND_BYTES
            and len(work) < _ROUND_OPS
        ):
            producer = next(iter(self._ready))
            alone = producer in self._alone
            if alone and work:
                break
            del self._ready[producer]
            self._alone.discard(producer)
            size += producer.pending_bytes
            for op in producer.next_ops():
                work.append((producer, op))
                if isinstance(op, Append):
                    chunks += len(op.items)
            if alone:
                break
        return work

    async def _write(self, ops: list[WriteOp]) -> tuple[list[WriteResult | Exception], bool]:
        """The answers, and whether there is but one error for all of them."""
        try:
            return await self._store.write(ops), False
        except Exception as error:  # a store's error must reach its producers, not end the writer
            return [error] * len(ops), True

    def _back_off(self) -> None:
        if self._retry is None:
            loop = asyncio.get_running_loop()
            self._retry = loop.call_later(self._backoff, self._try_again)
            self._backoff = min(2 * self._backoff, _LAST_BACKOFF)

    def _try_again(self) -> None:
        self._retry = None
        failed, self._failed = self._failed, {}
        for producer in failed:
            if producer.has_work:
                self.mark(producer)
