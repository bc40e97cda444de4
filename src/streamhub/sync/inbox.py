"""What is sent to a producer, for threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType

from ..errors import HubClosed
from ..producing import receiving
from .background import Background

__all__ = ["Inbox", "Message"]


class Message:
    """:class:`streamhub.Message` for threads."""

    def __init__(self, background: Background, message: receiving.Message) -> None:
        self._background = background
        self._message = message

    def __repr__(self) -> str:
        return repr(self._message)

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

    def done(self) -> None:
        """It is handled; see :meth:`streamhub.Message.done`. Stored in one step with the chunk that
        this thread publishes right after it, as a rule: where the two are more than a quarter of a
        lease apart, or another thread asks for the next message between them, it may be stored
        alone."""

        async def done() -> None:
            self._message.done()

        with suppress(HubClosed):
            # It was handled all the same: who continues gets it again.
            self._background.call(done)


class Inbox(Iterator[Message]):
    """:class:`streamhub.Inbox` for threads: an iterator of messages, and a context manager. What it
    promises and raises is said there. Any thread may call ``close``, which ends the iteration."""

    def __init__(self, background: Background, inbox: receiving.Inbox) -> None:
        self._background = background
        self._inbox = inbox
        self._ready: deque[receiving.Message] = deque()

    def __iter__(self) -> Inbox:
        return self

    def __next__(self) -> Message:
        if not self._ready:
            self._background.call(self._receive)
        if not self._ready:
            raise StopIteration
        return Message(self._background, self._ready.popleft())

    async def _receive(self) -> None:
        # Kept here rather than returned: whose wait is interrupted finds it next time.
        async for message in self._inbox:
            self._ready.append(message)
            return

    def close(self) -> None:
        """Iterate no more, in whichever thread it is. Idempotent."""
        with suppress(HubClosed):
            self._background.call(self._inbox.aclose)

    def __enter__(self) -> Inbox:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
