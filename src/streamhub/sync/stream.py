"""The handle on one session for threads: the producer's, or a reader's."""

from __future__ import annotations

from collections.abc import Collection
from types import TracebackType
from typing import Any, TypeVar, overload

from .. import stream
from ..chunks import Cursor, SessionInfo, Status
from ..errors import HubClosed, NotProducer
from ..parts import AnyPart, Message
from ..producing import receiving
from ..producing.phase import Stopping
from ..reading import subscription
from .background import Background
from .inbox import Inbox
from .subscription import Subscription

__all__ = ["LiveStream"]

T = TypeVar("T")


class LiveStream:
    """:class:`streamhub.LiveStream` for threads: a session, as seen by its producer or by
    anybody else. Arguments, results and errors are those of the methods there.
    """

    def __init__(self, background: Background, stream: stream.LiveStream) -> None:
        self._background = background
        self._call = background.call
        self._stream = stream

    def __repr__(self) -> str:
        return repr(self._stream)

    @property
    def session_id(self) -> str:
        """The name that clients resume."""
        return self._stream.session_id

    @property
    def stream_id(self) -> str:
        """What tells this stream from the others that have the session before or after it."""
        return self._stream.stream_id

    @property
    def generation(self) -> str | None:
        """The fencing token of this producer (a UUIDv7); None on a reader's handle."""
        return self._stream.generation

    @property
    def stopping(self) -> Stopping | None:
        """Why this producer is to come to an end: ``"cancelled"``, ``"handover"`` or ``"fenced"``;
        see :attr:`streamhub.LiveStream.stopping`."""
        return self._stream.stopping

    def publish(self, chunk: str | AnyPart, *, event: str | None = None) -> Cursor:
        """Accept ``chunk``, text or a part, as the next of the stream and return its cursor.

        It is stored in the background; see :meth:`streamhub.LiveStream.publish`. Each call
        changes threads and back, about 0.1 ms: ``Hub.run`` with an iterable does not.

        :raises StreamClosed: the stream has ended, by ``close`` or by a cancel.
        """
        return self._call(self._stream.publish, chunk, event=event)

    def flush(self) -> None:
        """Wait until everything published so far is in the store."""
        self._call(self._stream.flush)

    def set_metadata(self, value: object) -> None:
        """Replace the session's metadata, and wait until that is stored."""
        self._call(self._stream.set_metadata, value)

    def close(self) -> None:
        """Store what is pending and end the stream as ``finished``. Idempotent."""
        self._call(self._stream.close)

    def fail(self, error: BaseException | str) -> None:
        """Store what is pending and end the stream as ``failed``. Idempotent."""
        self._call(self._stream.fail, error)

    def release(self) -> None:
        """Store what is pending and give the session up, for others to continue. Idempotent."""
        self._call(self._stream.release)

    def __enter__(self) -> LiveStream:
        """Produce in this block: leaving it ends the stream, ``finished`` or (on an exception,
        which passes on) ``failed``.

        A thread cannot be interrupted. A cancel ends the stream at once, as ``cancelled``: the
        next ``publish``, ``flush`` or ``set_metadata`` raises ``StreamClosed``, and by that the
        block ends quietly. With ``on_cancel`` given, the block first has a third of the lease to
        end by itself.
        """
        if self._stream.generation is None:
            raise NotProducer(self._stream.session_id, "enter the stream")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        try:
            return self._call(self._stream.__aexit__, kind, error, traceback)
        except HubClosed:
            # It has stored what was published, and left the session to others: not an end, and
            # no failure of this block.
            return False

    def subscribe(
        self,
        *,
        after: Cursor | str | None = None,
        last: int | None = None,
        events: Collection[str | None] | None = None,
        batch_replay: bool = False,
        buffer: int = 256,
    ) -> Subscription:
        """Read the session: replay what is stored after ``after``, or the ``last`` chunks, then
        follow live; only chunks of the types in ``events``, if these are given."""

        async def subscribe() -> subscription.Subscription:
            return self._stream.subscribe(
                after=after, last=last, events=events, batch_replay=batch_replay, buffer=buffer
            )

        return Subscription(self._background, self._call(subscribe))

    def cancel(self, *, wait: float | None = None, reason: str | None = None) -> Status:
        """Ask the producer to stop, wherever it runs; the answer is the status reached.

        :param wait: wait up to so many seconds for the end; without, return at once.
        :param reason: kept as ``info().error`` of a stream that ends as cancelled.
        """
        return self._call(self._stream.cancel, wait=wait, reason=reason)

    def hand_over(self) -> Status:
        """Take the session from its producer, for a supervisor to go on with."""
        return self._call(self._stream.hand_over)

    def send(self, data: str, event: str | None = None, *, key: str | None = None) -> str:
        """Send a message to the producer, wherever it runs; the answer is its id."""
        return self._call(self._stream.send, data, event, key=key)

    def inbox(self) -> Inbox:
        """The messages that are sent to this stream: those that wait, then those that come."""

        async def inbox() -> receiving.Inbox:
            return self._stream.inbox()

        return Inbox(self._background, self._call(inbox))

    def wait(self, timeout: float | None = None) -> Status:
        """Wait until the stream has ended or is lost, or for ``timeout`` seconds."""
        return self._call(self._stream.wait, timeout)

    def wait_replaced(self, stream_id: str | None = None) -> None:
        """Wait until the session holds another stream; see
        :meth:`streamhub.LiveStream.wait_replaced`.
        """
        self._call(self._stream.wait_replaced, stream_id)

    def done(self) -> bool:
        """Whether the stream has ended or is lost."""
        return self._call(self._stream.done)

    def info(self) -> SessionInfo:
        """How the session stands, with its metadata."""
        return self._call(self._stream.info)

    @overload
    def metadata(self) -> Any: ...
    @overload
    def metadata(self, type: type[T]) -> T | None: ...
    def metadata(self, type: Any = None) -> Any:  # noqa: A002 - the name in the contract
        """The session's metadata, loaded as ``type``; None if none was set."""
        return self._call(self._stream.metadata, type)

    def text(self) -> str:
        """What is stored now, joined: chunks without an event type, and deltas of text among the
        parts."""
        return self._call(self._stream.text)

    def message(self) -> Message:
        """The message that is stored now; see :meth:`streamhub.LiveStream.message`."""
        return self._call(self._stream.message)
