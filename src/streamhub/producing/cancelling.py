"""What surrounds a producer in this process: its lease, the ears for cancels, the task to stop."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ..chunks import Status
from ..errors import StreamHubError
from ..stores.base import CancelRequested, LiveEvent, Synced
from .producer import Producer

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = ["OnCancel", "Production"]

logger = logging.getLogger("streamhub")

OnCancel = Callable[[], object] | Callable[[], Awaitable[object]]

# How long a producer that was asked to stop may take to do so by itself: a third of its lease, and
# less than the few seconds that somebody waits for a Stop button.
_LONGEST_GRACE = 3.0


class Production:
    """One producer at work. Ends by itself when the producer is done."""

    def __init__(self, engine: Engine, producer: Producer, on_cancel: OnCancel | None) -> None:
        self.producer = producer
        #: Whether a cancel was noticed.
        self.cancelling = False
        #: Whether the hub is closing and the session is to be left to others.
        self.releasing = False
        #: Whether the hub runs the body, and may stop it when there is nobody to produce for.
        self.owned = False
        self._engine = engine
        self._on_cancel = on_cancel
        self._body: asyncio.Task[object] | None = None
        self._interrupted = False
        # First: if it fails, nothing else has begun.
        self._watch = engine.store.watch(producer.claim.session_id, self._on_event, cancels=True)
        producer.on_work = engine.writer.mark
        producer.on_cancelling = self._on_cancelling
        producer.on_done = self._on_done
        engine.leases.add(producer)
        engine.productions[self] = None

    # -- the body: what the task inside ``async with stream`` does --------------------------------

    def enter(self) -> None:
        """The current task produces; a cancel may interrupt it."""
        self._body = asyncio.current_task()
        if self.cancelling and self._on_cancel is None:
            self._interrupt()

    def exit(self) -> bool:
        """The body ends. True if it was interrupted by us, and nobody else cancelled its task."""
        body, self._body = self._body, None
        return self._interrupted and body is not None and body.uncancel() == 0

    async def release(self) -> None:
        """Store what is pending and give the lease up, so that others can continue."""
        self.releasing = True
        await self.producer.release()

    # -- cancels -----------------------------------------------------------------------------

    def _on_event(self, event: LiveEvent) -> None:
        # A cancel may have come before this watch began, or while it was broken: look then too.
        if isinstance(event, CancelRequested | Synced):
            self._engine.leases.nudge(self.producer)

    def _on_cancelling(self) -> None:
        self.cancelling = True
        self._engine.spawn(self._stop(), f"cancel {self.producer.claim.session_id}")

    async def _stop(self) -> None:
        """Tell the producer, give it a chance to end by itself, then end the stream for it."""
        grace = min(self.producer.claim.lease / 3, _LONGEST_GRACE)
        try:
            async with asyncio.timeout(grace):
                if self._on_cancel is not None and await self._call(self._on_cancel):
                    pass  # it stops the producer in its own way
                elif self._body is not None:
                    self._interrupt()
                else:
                    await self._end()
                while not self.producer.done:
                    await self.producer.changed()
        except TimeoutError:
            self._interrupt()
            await self._end()

    async def _call(self, on_cancel: OnCancel) -> bool:
        """Whether ``on_cancel`` did what it does."""
        try:
            result = on_cancel()
            if inspect.isawaitable(result):
                await result
        except Exception:
            logger.exception("on_cancel of session %r failed", self.producer.claim.session_id)
            return False
        return True

    def _interrupt(self) -> None:
        if self._body is not None and not self._interrupted:
            self._interrupted = True
            self._body.cancel("the stream was cancelled")

    async def _end(self) -> None:
        try:
            await self.producer.finish(Status.CANCELLED)
        except StreamHubError as error:
            logger.info("%s", error)

    def _on_done(self) -> None:
        if self.owned and self._body is not None and not self.producer.finishing:
            logger.warning("session %r is lost to this producer", self.producer.claim.session_id)
            self._interrupt()
        self._watch.close()
        self._engine.leases.discard(self.producer)
        self._engine.productions.pop(self, None)
