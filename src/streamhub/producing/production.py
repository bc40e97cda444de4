"""What surrounds a producer in this process: its lease, the ears for cancels, the task to stop."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

from ..chunks import Status
from ..errors import HubClosed, StreamClosed, StreamHubError
from ..instruments.events import Tell
from ..reasons import describe
from ..signals import is_cancelled
from ..stores.base import CancelRequested, LiveEvent, Store, Synced
from .closing import comes_of_closing
from .ending import OnEnd, tell, tell_instruments
from .leases import Leases
from .observing import Observed
from .phase import Stopping
from .producer import Producer

__all__ = ["OnCancel", "Production"]

logger: logging.Logger = logging.getLogger("streamhub")

OnCancel = Callable[[], object] | Callable[[], Awaitable[object]]

# How long a producer that was asked to stop may take to do so by itself: a third of its lease, and
# less than the few seconds that somebody waits for a Stop button.
_LONGEST_GRACE = 3.0


class Spawn(Protocol):
    """Runs something that ends with the hub at the latest."""

    def __call__(self, work: Coroutine[Any, Any, None], name: str) -> object: ...


class Production:
    """One producer at work. Ends by itself when the producer is done.

    :param on_end: told of the end, if this producer ends the stream.
    :param spawn_last: runs what a hub that closes waits for.
    :param is_ending: whether the hub is closing, or its event loop shuts down.
    :param is_draining: whether it is going to, and waits for its sources to end.
    :param on_done: called once, when the producer is done.
    :param tell: tells instruments, if there are any.
    """

    def __init__(
        self,
        producer: Producer,
        on_cancel: OnCancel | None,
        on_end: OnEnd | None,
        *,
        store: Store,
        leases: Leases,
        spawn: Spawn,
        spawn_last: Spawn,
        is_ending: Callable[[], bool],
        is_draining: Callable[[], bool],
        on_done: Callable[[Production], object],
        tell: Tell | None,
    ) -> None:
        self.producer = producer
        #: Whether a cancel was noticed.
        self.cancelling: bool = False
        #: Whether the hub runs the body, and may stop it when there is nobody to produce for.
        self.owned = False
        self._on_cancel = on_cancel
        self._on_end = on_end
        self._store = store
        self._leases = leases
        self._spawn = spawn
        self._spawn_last = spawn_last
        self._is_ending = is_ending
        self._is_draining = is_draining
        self._on_done = on_done
        self._body: asyncio.Task[object] | None = None
        self._interrupted = False
        # First: if it fails, nothing else has begun.
        self._watch = store.watch(producer.claim.session_id, self._on_event, cancels=True)
        producer.on_cancelling = self._on_cancelling
        producer.on_done = self._on_producer_done
        if tell is not None:
            producer.observed = Observed(producer.claim, tell)
        leases.add(producer)

    @property
    def stopping(self) -> Stopping | None:
        """Why the producer is to come to an end; None while it may go on."""
        if self.producer.open and (self._is_ending() or self._is_draining()):
            return self.producer.state.stopping or "handover"
        return self.producer.state.stopping

    def enter(self) -> None:
        """The current task produces, in its ``async with stream``: a cancel may interrupt it."""
        self._body = asyncio.current_task()
        if self.cancelling and self._on_cancel is None:
            self._interrupt()

    async def exit(self, error: BaseException | None) -> bool:
        """The body has ended, with ``error``: end the stream, or leave it to others where that is
        what ended the body. True if the error has done what it was for, and does not pass on."""
        producer = self.producer
        interrupted = self._leave_body()
        if error is None:
            if producer.open or not self._is_ending():
                await producer.finish(Status.FINISHED)
            return False
        if self._hands_over(error) and not interrupted:
            await producer.release()
            return False
        try:
            await producer.finish(Status.FAILED, describe(_reason(error)))
        except StreamHubError as failure:
            if type(failure) is not type(error):
                error.add_note(f"streamhub: the stream could not be ended as failed: {failure}")
        if not self.cancelling:
            return False
        stopped = isinstance(error, StreamClosed) and error.status is Status.CANCELLED
        return stopped or (interrupted and isinstance(error, asyncio.CancelledError))

    async def put_back(self) -> None:
        """The body could not begin: leave the session to who tries next."""
        self._body = None
        await self.producer.release(in_vain=True)

    async def give_up(self, reason: str) -> None:
        """The body could not begin, and nobody is to try again."""
        self._body = None
        await self.fail(reason)

    async def fail(self, error: BaseException | str) -> None:
        """End the stream as failed; an error that comes of a hub that closes is no failure.

        :raises HubClosed: it was that.
        """
        if not isinstance(error, str) and self._hands_over(error):
            await self.producer.release()
            raise HubClosed
        reason = error if isinstance(error, str) else _reason(error)
        await self.producer.finish(Status.FAILED, describe(reason))

    async def release(self) -> None:
        """Store what is pending and give the lease up, so that others can continue."""
        await self.producer.release()

    def _hands_over(self, error: BaseException) -> bool:
        """Whether the session is left to others, because its hub closes or is about to."""
        return (self._is_ending() or self._is_draining()) and comes_of_closing(error)

    def _leave_body(self) -> bool:
        """True if the body was interrupted by us, and nobody else cancelled its task."""
        body, self._body = self._body, None
        return self._interrupted and body is not None and body.uncancel() == 0

    def _on_event(self, event: LiveEvent) -> None:
        # A cancel may have come before this watch began, or while it was broken: look then too.
        if isinstance(event, CancelRequested | Synced):
            self._leases.nudge(self.producer)

    def _on_cancelling(self) -> None:
        self.cancelling = True
        self._spawn(self._stop(), f"cancel {self.producer.claim.session_id}")

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
        except asyncio.CancelledError:
            # As a rule of a task that it has cancelled, and waited for.
            if is_cancelled():
                raise
        except Exception:
            logger.exception("on_cancel of session %r failed", self.producer.claim.session_id)
            return False
        return True

    def _interrupt(self) -> None:
        if self._body is not None and not self._interrupted:
            self._interrupted = True
            self._body.cancel(self.stopping)

    async def _end(self) -> None:
        # It has ended in another way: all who produce have heard how.
        with suppress(StreamHubError):
            await self.producer.finish(Status.CANCELLED)

    def _on_producer_done(self) -> None:
        ended_here = self.producer.finishing or self._is_ending()
        if self.owned and self._body is not None and not ended_here:
            logger.warning("session %r is lost to this producer", self.producer.claim.session_id)
            self._interrupt()
        self._watch.close()
        self._leases.discard(self.producer)
        self._on_done(self)
        if self.producer.observed is not None:
            tell_instruments(self.producer, self.producer.observed)
            # A round that is under way may be answered yet.
            self.producer.observed = None
        if self._on_end is not None and (telling := tell(self._on_end, self.producer, self._store)):
            self._spawn_last(telling, f"on_end of {self.producer.claim.session_id}")


def _reason(error: BaseException) -> BaseException:
    from .provider_errors import as_provider_failed  # only what fails waits for its expressions

    return as_provider_failed(error)
