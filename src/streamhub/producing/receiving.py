"""How a producer receives what is sent to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from types import TracebackType

from ..errors import StoreUnavailable, StreamClosed
from ..signals import Signal
from ..stores.base import InboxMessage, LiveEvent, MessageSent, Store, Synced, Watch
from .inbox import HeldMessages
from .producer import Producer

__all__ = ["Inbox", "Message", "Receiver"]

# The inbox is looked into three times a lease, for messages whose news was lost.
_LOOKS_PER_LEASE = 3
# In how many seconds a store is asked again that could not be read.
_RETRY = 0.25


class Message:
    """What ``send`` has sent, as the producer receives it."""

    __slots__ = ("_message", "_receiver")

    def __init__(self, message: InboxMessage, receiver: Receiver) -> None:
        self._message = message
        self._receiver = receiver

    @property
    def data(self) -> str:
        """What was sent."""
        return self._message.data

    @property
    def event(self) -> str | None:
        """The event type that was given to ``send``, or None."""
        return self._message.event

    @property
    def id(self) -> str:
        """What ``send`` answered: the same however often the message comes."""
        return self._message.id

    def __repr__(self) -> str:
        return f"<Message {self.id} {self.event or 'without event type'} {self.data!r:.40}>"

    def done(self) -> None:
        """It is handled: no generation that continues gets it again.

        Stored in one step with the next chunk that is published, so that both are there or
        neither: call it right before the ``publish`` that shows what has come of it. Where no
        chunk follows, ``flush``, ``close`` and ``fail`` store it, and so does a closing hub; else
        it is stored within half a lease, or once the next message is waited for.
        Idempotent, and without effect on a stream that has ended.
        """
        self._receiver.handle(self.id)


class Receiver:
    """Brings messages from the store to their producer, for all who iterate.

    :param give_up_after: how many seconds a store is asked again that cannot be read.
    """

    def __init__(self, producer: Producer, store: Store, give_up_after: float) -> None:
        self._producer = producer
        self._store = store
        self._give_up_after = give_up_after
        self._interval = producer.claim.lease / _LOOKS_PER_LEASE
        self._failing_since: float | None = None
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._held = producer.inbox = HeldMessages(self.wake)
        #: Whether one of those who iterate waits for news, and reads for all.
        self._one_reads = False
        self._changed = Signal[None]()
        self._watch: Watch | None = None
        self._users = 0

    def enter(self) -> None:
        """One more iterates."""
        if self._watch is None:
            # What came before is found by a first look, what comes while it begins by another.
            self._watch = self._store.watch_inbox(self._producer.claim.session_id, self._on_event)
            self._news.set()
        self._users += 1

    def leave(self) -> None:
        self._users -= 1
        if not self._users and self._watch is not None:
            self._watch.close()
            self._watch = None

    def leave_soon(self) -> None:
        """The same in whichever thread the garbage collector runs."""
        with suppress(RuntimeError):  # the loop has ended, and the watch with it
            self._loop.call_soon_threadsafe(self.leave)

    def handle(self, message_id: str) -> None:
        """A message was handled: it leaves the store with the next chunk."""
        self._producer.check_place()
        self._held.mark(message_id, self._producer.last)
        self._producer.see_to_inbox()

    def wake(self) -> None:
        """Have all who wait look around."""
        self._news.set()
        self._changed.fire()

    async def next(self, is_wanted: Callable[[], bool]) -> Message | None:
        """The next message; None once the stream has ended or is to, or it is not wanted."""
        producer, held = self._producer, self._held
        asked = False
        while is_wanted():
            if not producer.receiving:
                with suppress(StreamClosed):
                    producer.raise_for_phase()
                break
            if (message := held.next()) is not None:
                if producer.observed is not None:
                    producer.observed.received(message)
                return Message(message, self)
            if not asked:
                # Whoever asks for the next message has published what came of the one before.
                asked = True
                held.hurry_unpublished(producer.last)
                producer.see_to_inbox()
            if self._one_reads:
                await self._changed.wait()
                continue
            self._one_reads = True
            try:
                await self._wait()
                if is_wanted() and producer.receiving:
                    await self._read()
            finally:
                self._one_reads = False
                self._changed.fire()
        return None

    async def _wait(self) -> None:
        """Until there is news, or may be some that was lost."""
        wait = self._interval if self._failing_since is None else _RETRY
        with suppress(TimeoutError):
            async with asyncio.timeout(min(wait, self._interval)):
                await self._news.wait()

    async def _read(self) -> None:
        self._news.clear()
        try:
            held = [message.id for message in self._held.held]
            page = await self._store.read_inbox(self._producer.claim, held)
        except StoreUnavailable:
            now = self._loop.time()
            if self._failing_since is None:
                self._failing_since = now
            elif now - self._failing_since > self._give_up_after:
                raise
            return
        except BaseException:
            self._news.set()
            raise
        self._failing_since = None
        if page.more:
            self._news.set()
        self._producer.see_to_inbox(lost=self._held.take_in(page))

    def _on_event(self, event: LiveEvent) -> None:
        if isinstance(event, MessageSent | Synced):
            self._news.set()


class Inbox(AsyncIterator[Message]):
    """The messages that are sent to a producer, in order, each of them once. Also a context
    manager. Made by ``stream.inbox()``.

    Ends quietly when the stream has ended, or is asked to by a cancel. It raises what ``publish``
    would raise where the session is another's (``ProducerFenced``), cannot be stored any more, or
    is left to others because the hub closes (``HubClosed``); and ``StoreUnavailable`` where the
    inbox could not be read for ``give_up_after``.

    Several may iterate at once, or one after the other: each message goes to one of them. Whoever
    leaves the loop and comes back goes on with the next message.
    """

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._entered = False
        self._closed = False

    def __aiter__(self) -> Inbox:
        return self

    async def __anext__(self) -> Message:
        if not self._closed and not self._entered:
            self._receiver.enter()
            self._entered = True
        message = await self._receiver.next(lambda: not self._closed)
        if message is None:
            await self.aclose()
            raise StopAsyncIteration
        return message

    async def aclose(self) -> None:
        """Iterate no more, wherever it is; messages stay for who iterates next. Idempotent."""
        if not self._closed:
            self._closed = True
            if self._entered:
                self._receiver.wake()
                self._receiver.leave()

    async def __aenter__(self) -> Inbox:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if self._entered and not self._closed:
            # Whoever breaks out of a loop lets go of it just so.
            self._closed = True
            self._receiver.leave_soon()
