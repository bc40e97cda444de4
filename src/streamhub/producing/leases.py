"""One per hub: renews all its claims in one call, and so notices fencing, loss and cancels."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from ..errors import SessionCorrupted
from ..instruments import events
from ..instruments.events import Tell
from ..stores.base import Store, WriteResult
from .producer import Producer

__all__ = ["Leases"]

logger: logging.Logger = logging.getLogger("streamhub")

# Four renewals a lease: one may fail and the claim still holds, and a cancel whose message was
# lost is noticed within a third of the lease, delays included.
_RENEWALS_PER_LEASE = 4
# Soon enough that no reader takes a lease for lapsed that could not be renewed for a while.
_LONGEST_RETRY = 0.25


class Leases:
    def __init__(self, store: Store, lease: float, *, tell: Tell | None = None) -> None:
        self._store = store
        self._tell = tell
        #: Whether the last renewal has failed, of any.
        self.failing: bool = False
        self._lease = lease
        self._interval = lease / _RENEWALS_PER_LEASE
        self._producers: dict[Producer, None] = {}
        self._nudged: dict[Producer, None] = {}
        # Whose failing renewal stands in the log, and from when on it is news again.
        self._logged: set[Producer] = set()
        self._news_at = 0.0
        self._wake = asyncio.Event()

    def add(self, producer: Producer) -> None:
        self._producers[producer] = None

    def discard(self, producer: Producer) -> None:
        self._producers.pop(producer, None)
        self._nudged.pop(producer, None)
        self._logged.discard(producer)

    def nudge(self, producer: Producer) -> None:
        """Renew this one now: there may be news of it."""
        if producer in self._producers:
            self._nudged[producer] = None
            self._wake.set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._interval
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._wake.wait()
            self._wake.clear()
            everybody = loop.time() >= due
            if everybody:
                due = loop.time() + self._interval
            nudged, self._nudged = self._nudged, {}
            if not await self._renew([*self._producers] if everybody else [*nudged]):
                # A transient error must cost no producer its claim: all are tried again soon.
                due = min(due, loop.time() + min(self._interval / 2, _LONGEST_RETRY))

    async def _renew(self, producers: list[Producer]) -> bool:
        producers = [producer for producer in producers if not producer.done]
        if not producers:
            return True
        ops = [producer.next_renewal() for producer in producers]
        answers: Sequence[WriteResult | Exception]
        try:
            answers = await self._store.renew(ops)
        except Exception as error:  # renewing goes on whatever the store does
            answers = [error] * len(ops)
            self._say_failed(len(ops), error)
        else:
            for answer in answers:
                if isinstance(answer, Exception):
                    self._say_failed(1, answer)
        failed: dict[Producer, Exception] = {}
        for producer, op, answer in zip(producers, ops, answers, strict=True):
            if isinstance(answer, Exception):
                failed[producer] = answer
                continue
            producer.apply(op, answer)
            if producer.has_work:
                producer.on_work(producer)
        self._logged.difference_update(producer for producer in producers if producer not in failed)
        if failed:
            self._log(failed)
        self.failing = bool(failed)
        return not failed

    def _log(self, failed: dict[Producer, Exception]) -> None:
        """In one line, when another one fails and then once a lease, however often it is tried."""
        now = asyncio.get_running_loop().time()
        new = failed.keys() - self._logged
        self._logged |= new & self._producers.keys()
        if not new and now < self._news_at:
            return
        self._news_at = now + self._lease
        producer = next(one for one in failed if not new or one in new)
        more = f", and {len(failed) - 1} others" if len(failed) > 1 else ""
        name = producer.claim.session_id
        logger.warning("renewing the lease of %r%s failed: %s", name, more, failed[producer])

    def _say_failed(self, count: int, error: Exception) -> None:
        if self._tell is not None:
            away = not isinstance(error, SessionCorrupted)
            self._tell(events.StoreFailed(doing="renew", count=count, reason=str(error), away=away))
