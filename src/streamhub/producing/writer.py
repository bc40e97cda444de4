"""One per hub: gathers what is pending across all streams into one round trip to the store.

When it may go is decided in ``pacing``. Streams take turns, and each one's errors are its own. One
whose chunks break the connection each time would fail all that is under way with it: whoever fails
though the store takes renewals goes alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from itertools import islice
from math import inf
from typing import NamedTuple

from ..errors import StoreUnavailable
from ..instruments.events import Tell
from ..stores.base import Append, Store, WriteOp, WriteResult
from .pacing import Pacing
from .producer import Producer
from .rounds import Expect, ObservedRound, expect_nothing

__all__ = ["Writer"]

# What one round trip may carry. It bounds memory and how long a stream waits for its turn.
_ROUND_CHUNKS = 16 * 1024
_ROUND_BYTES = 8 * 1024 * 1024
_ROUND_OPS = 1024
# What is under way at the same time at most.
_ROUNDS = 2


class _Round(NamedTuple):
    began: float
    #: Whose operation each is.
    producers: list[Producer]
    ops: list[WriteOp]
    writing: Awaitable[list[WriteResult | Exception]]
    #: What is told of it to instruments, if there are any.
    observed: ObservedRound | None


class Writer:
    """``linger`` is for how many seconds chunks gather that nobody waits for."""

    def __init__(self, store: Store, linger: float = 0.0, *, tell: Tell | None = None) -> None:
        self._store = store
        self._tell = tell
        #: Told of a chunk that is on its way, for who reads it here.
        self.expect: Expect = expect_nothing
        self._pacing = Pacing(linger)
        self._ready: dict[Producer, None] = {}
        self._failed: dict[Producer, None] = {}
        self._alone: set[Producer] = set()
        #: Carriers that wait for a round to be due; whether one was called that has not run yet.
        self._idle: list[asyncio.Future[None]] = []
        self._called = False
        #: A round that was begun for the carrier that was called.
        self._begun: _Round | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None

    def mark(self, producer: Producer, came: float | None = None) -> None:
        """This producer has something to write, which came then (or now) at the earliest."""
        if self._failed and producer in self._failed:
            return
        if came is None:
            # What is ready already came before.
            came = inf if self._ready else self._loop.time()
        self._ready[producer] = None
        if self._pacing.mark(came, producer.urgent):
            self._see_to_it()

    async def run(self) -> None:
        """Until it is cancelled. Begun again, it goes on with what is pending."""
        self._try_again()
        try:
            async with asyncio.TaskGroup() as carriers:
                for _ in range(_ROUNDS):
                    carriers.create_task(self._carry(), name="streamhub writer")
        finally:
            self._idle.clear()
            self._called = False
            begun, self._begun = self._begun, None
            if begun is not None:
                match begun.writing:
                    case Coroutine() as writing:
                        writing.close()
                    case asyncio.Future() as writing:
                        writing.cancel()
                self._pacing.end()
                self._break_off(begun)
            for timer in (self._timer, self._retry):
                if timer is not None:
                    timer.cancel()
            self._timer = self._retry = None

    async def _carry(self) -> None:
        while True:
            while self._begun is None and self._due() > self._loop.time():
                idle = self._loop.create_future()
                self._idle.append(idle)
                self._see_to_it()
                await idle
                self._called = False
            begun, self._begun = self._begun or self._begin(), None
            if begun is not None:
                await self._finish(begun)

    def _see_to_it(self, *, due: bool = False) -> None:
        """Have a round begin as soon as it may; ``due``: what was to gather for it has."""
        if self._called:
            return
        at = self._due()
        if at == inf:
            return
        if at <= self._loop.time():
            # A carrier that is being cancelled stands here until all of them have ended.
            if self._idle and not (idle := self._idle.pop()).done():
                self._called = True
                # Fast path of _carry: saves a lone stream's chunk a turn of the event loop.
                if due or self._pacing.lone:
                    # Others have gathered, or there are none: the carrier's turn may come later.
                    self._begun = self._begin()
                idle.set_result(None)
        elif self._timer is None:
            self._timer = self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._see_to_it(due=True)

    @property
    def failing(self) -> bool:
        """Whether something could not be written, and was not since."""
        return self._pacing.strained

    def _due(self) -> float:
        alone = bool(self._alone) and next(iter(self._ready), None) in self._alone
        return self._pacing.due(alone=alone)

    def _begin(self) -> _Round | None:
        # The round counts before it is written: a store may have its sinks publish at once.
        since = self._pacing.since
        producers, ops = self._gather()
        if not ops:
            return None
        observed: ObservedRound | None = None
        if self._tell is not None:
            observed = ObservedRound(producers, ops, self._tell, since)
            observed.announce(self.expect)
        try:
            writing = self._store.write(ops)
        except Exception as error:  # as one that comes with the answers
            writing = _failed(error)
        began = self._loop.time()
        if observed is not None:
            observed.sets_out(began)
        self._pacing.gone(began, len(set(producers)))
        return _Round(began, producers, ops, writing, observed)

    async def _finish(self, begun: _Round) -> None:
        began, producers, ops, writing, observed = begun
        if self._ready:
            # Perhaps enough for the other carrier.
            self._see_to_it()
        broke_off = False
        try:
            answers = await writing
        except Exception as error:  # a store's error must reach its producers, not end the writer
            answers, broke_off = [error] * len(ops), True
        except asyncio.CancelledError:
            self._break_off(begun)
            raise
        finally:
            self._pacing.end()
        if broke_off:
            self._alone.update(one for one in producers if one.renewed)
        if observed is not None:
            observed.answered(answers, self._loop.time())
        failed = False
        for producer, op, answer in zip(producers, ops, answers, strict=True):
            producer.apply(op, answer)
            if isinstance(answer, Exception):
                failed = True
                self._failed[producer] = None
        if failed:
            if len(set(producers)) == 1:
                self._alone.update(producers)
            self._back_off()
        elif self._pacing.strained and not self._failed:
            self._pacing.recover()
        wrote = dict.fromkeys(producers)
        try:
            if any(one.on_stored is not None for one in wrote):
                # Who reads it here has its turn before the next round is made ready.
                await asyncio.sleep(0)
        finally:
            for producer in wrote:
                if producer.has_work:
                    # It came during the round.
                    self.mark(producer, began)

    def _break_off(self, begun: _Round) -> None:
        """Nobody waits for the answers any more: what they were for is written again, if at all."""
        error = StoreUnavailable(repr(self._store), "the write was broken off")
        for producer, op in zip(begun.producers, begun.ops, strict=True):
            producer.apply(op, error)
            self._failed[producer] = None

    def _gather(self) -> tuple[list[Producer], list[WriteOp]]:
        """The operations of the next round, and whose each is."""
        producers: list[Producer] = []
        work: list[WriteOp] = []
        more: list[Producer] = []
        taken = chunks = size = 0
        alone = False
        for producer in self._ready:
            if self._alone and producer in self._alone:
                if work:
                    break
                alone = True
                self._alone.remove(producer)
            taken += 1
            size += producer.pending_bytes
            ops = producer.next_ops()
            for op in ops:
                producers.append(producer)
                work.append(op)
                if isinstance(op, Append):
                    chunks += len(op.items)
            # One that has more than it may send at a time has made several appends of it.
            if len(ops) > 1 and isinstance(ops[-1], Append) and producer.pending_bytes:
                more.append(producer)
            if alone or chunks >= _ROUND_CHUNKS or size >= _ROUND_BYTES or len(work) >= _ROUND_OPS:
                break
        self._ready = dict.fromkeys([*islice(self._ready, taken, None), *more])
        self._pacing.begin(len(self._ready), more=bool(more), carries=bool(work), alone=alone)
        return producers, work

    def _back_off(self) -> None:
        if (pause := self._pacing.fail()) is not None:
            self._retry = self._loop.call_later(pause, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self._pacing.retry()
        failed, self._failed = self._failed, {}
        for producer in failed:
            if producer.has_work:
                self.mark(producer)


async def _failed(error: Exception) -> list[WriteResult | Exception]:
    raise error
