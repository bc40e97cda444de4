"""Every error that streamhub raises: one tree, its facts as attributes and in the message."""

from __future__ import annotations

from typing import Any, Literal, get_args

from .chunks import Cursor, Status
from .wording import short

__all__ = [
    "ChunkTooLarge",
    "CursorExpired",
    "EndFenced",
    "FailureKind",
    "HubClosed",
    "HubInOtherLoop",
    "HubInOtherProcess",
    "InboxFull",
    "InvalidChunk",
    "InvalidCursor",
    "InvalidMessage",
    "InvalidMetadata",
    "InvalidPart",
    "InvalidSessionId",
    "InvalidStoreUrl",
    "MessageTooLarge",
    "NoInbox",
    "NotProducer",
    "NotSupervised",
    "ProducerFailed",
    "ProducerFenced",
    "ProducerLost",
    "ProviderFailed",
    "SessionCorrupted",
    "SessionNotFound",
    "StoreAuthenticationFailed",
    "StoreReadOnly",
    "StoreUnavailable",
    "StoreUnsupported",
    "StreamClosed",
    "StreamHubError",
    "StreamReplaced",
    "StreamTooLarge",
    "failure_kind",
]

#: What went wrong at a model's provider.
FailureKind = Literal[
    "authentication",
    "connection",
    "content_filter",
    "context_length",
    "invalid_request",
    "overloaded",
    "provider",
    "rate_limit",
]
_KINDS = get_args(FailureKind)


class StreamHubError(Exception):
    """The root of the tree. Catch it to catch all of them. Can be pickled, facts included."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class HubClosed(StreamHubError):
    """The hub was closed, so nothing can be read or written through it any more."""

    def __init__(self) -> None:
        super().__init__("the hub is closed")


class HubInOtherLoop(StreamHubError, RuntimeError):
    """A hub, or a handle of it, was used in another event loop than the one of its first use, or
    where none is running.

    ``thread`` is the name of the thread in which that one runs; None if it has ended.
    """

    def __init__(self, thread: str | None, *, in_none: bool = False) -> None:
        self.thread = thread
        if in_none:
            of = "has ended" if thread is None else f"runs in thread {thread!r}"
            said = (
                "this hub, or a handle of it, was used where no event loop is running. Use it in "
                f"coroutines of the event loop of its first use, which {of}: do all of it within "
                "one asyncio.run(), or use streamhub.sync, whose hubs need no event loop"
            )
        elif thread is None:
            said = (
                "this hub was first used in an event loop that has ended. A hub belongs to one "
                "event loop: open another in each asyncio.run(), in each test that has a loop of "
                "its own; with Starlette's TestClient, make all requests within "
                "`with TestClient(app)`"
            )
        else:
            said = (
                f"this hub belongs to the event loop of thread {thread!r}, and is used from "
                "another one. Call it there (asyncio.run_coroutine_threadsafe), open a hub in each "
                "event loop, or use streamhub.sync, whose hubs are for all threads"
            )
        super().__init__(said)


class HubInOtherProcess(StreamHubError, RuntimeError):
    """A hub, or a handle of it, was used in a process that was forked after its first use.

    ``process`` is the id of the process that it belongs to.
    """

    def __init__(self, process: int) -> None:
        self.process = process
        super().__init__(
            f"this hub was first used in process {process}, from which this one was forked: open "
            "a hub in each process, after the fork"
        )


class InvalidSessionId(StreamHubError, ValueError):
    """A session id is 1 to 512 bytes of UTF-8 without control characters."""

    def __init__(self, session_id: object, reason: str) -> None:
        self.session_id: object = session_id
        self.reason: str = reason
        super().__init__(
            f"session id {short(session_id)} {reason}; "
            "allowed are 1 to 512 bytes of UTF-8 without control characters"
        )


class InvalidCursor(StreamHubError, ValueError):
    """What was given is no cursor."""

    def __init__(self, cursor: object, reason: str, session_id: str | None = None) -> None:
        self.cursor: object = cursor
        self.reason: str = reason
        self.session_id: str | None = session_id
        where = "" if session_id is None else f" of session {session_id!r}"
        shown = str(cursor) if isinstance(cursor, Cursor) else short(cursor)
        super().__init__(f"cursor {shown}{where} {reason}")


class InvalidChunk(StreamHubError, ValueError):
    """A chunk, or its event type, is not text that can be stored as UTF-8."""

    def __init__(self, session_id: str, reason: str) -> None:
        self.session_id: str = session_id
        self.reason: str = reason
        super().__init__(f"session {session_id!r}: {reason}")


class InvalidMessage(StreamHubError, ValueError):
    """A message, its event type or its key is not text that can be stored as UTF-8."""

    def __init__(self, session_id: str, reason: str) -> None:
        self.session_id: str = session_id
        self.reason: str = reason
        super().__init__(f"session {session_id!r}: {reason}")


class InvalidPart(StreamHubError, ValueError):
    """What was given is no part of a message, or cannot be written as JSON."""


class InvalidMetadata(StreamHubError, ValueError):
    """The metadata is not JSON, is too large, or does not fit the type asked for."""

    def __init__(self, session_id: str, reason: str) -> None:
        self.session_id: str = session_id
        self.reason: str = reason
        super().__init__(f"session {session_id!r}: {reason}")


class InvalidStoreUrl(StreamHubError, ValueError):
    """The URL names no store that streamhub knows. Never shows the URL's password."""

    def __init__(self, url: str, reason: str) -> None:
        self.url: str = url
        self.reason: str = reason
        super().__init__(f"store URL {url!r}: {reason}")


class ChunkTooLarge(StreamHubError, ValueError):
    """The chunk is over ``max_chunk_bytes``. It was not stored; the stream goes on."""

    def __init__(self, session_id: str, size: int, limit: int) -> None:
        self.session_id: str = session_id
        self.size: int = size
        self.limit: int = limit
        super().__init__(
            f"session {session_id!r}: a chunk of {size:,} bytes is over max_chunk_bytes ({limit:,})"
        )


class StreamTooLarge(StreamHubError):
    """The chunk would take the stream over ``max_stream_bytes``. What was stored stays."""

    def __init__(self, session_id: str, size: int, limit: int) -> None:
        self.session_id: str = session_id
        self.size: int = size
        self.limit: int = limit
        super().__init__(
            f"session {session_id!r}: the stream would grow to {size:,} bytes, "
            f"over max_stream_bytes ({limit:,})"
        )


class MessageTooLarge(StreamHubError, ValueError):
    """The message is over ``max_chunk_bytes``, or over all that an inbox may hold. It was not sent.

    ``limit`` is the smaller of the two.
    """

    def __init__(self, session_id: str, size: int, limit: int) -> None:
        self.session_id: str = session_id
        self.size: int = size
        self.limit: int = limit
        super().__init__(
            f"session {session_id!r}: a message of {size:,} bytes is over {limit:,}, the smaller "
            "of max_chunk_bytes and max_inbox_bytes"
        )


class InboxFull(StreamHubError):
    """Too many messages wait for the producer already. This one was not sent; try again later.

    ``messages`` and ``bytes`` are what waits, ``max_messages`` and ``max_bytes`` what may.
    """

    def __init__(
        self, session_id: str, messages: int, size: int, *, max_messages: int, max_bytes: int
    ) -> None:
        self.session_id: str = session_id
        self.messages: int = messages
        self.bytes: int = size
        self.max_messages: int = max_messages
        self.max_bytes: int = max_bytes
        super().__init__(
            f"session {session_id!r}: its inbox is full: {messages:,} of {max_messages:,} messages "
            f"(max_inbox_messages) and {size:,} of {max_bytes:,} bytes (max_inbox_bytes) wait"
        )


class NoInbox(StreamHubError):
    """Nothing can be sent to the session's producer."""

    def __init__(self, session_id: str, reason: str) -> None:
        self.session_id: str = session_id
        self.reason: str = reason
        super().__init__(f"session {session_id!r} has no inbox: {reason}")


class NotSupervised(StreamHubError):
    """Nobody would go on with the session, were it taken from its producer."""

    def __init__(self, session_id: str, reason: str) -> None:
        self.session_id: str = session_id
        self.reason: str = reason
        super().__init__(f"session {session_id!r} cannot be handed over: {reason}")


class NotProducer(StreamHubError):
    """Something that only the producer may do was tried on a reader's handle."""

    def __init__(self, session_id: str, action: str) -> None:
        self.session_id: str = session_id
        self.action: str = action
        super().__init__(
            f"session {session_id!r}: only its producer may {action}; this handle is a reader's "
            "(register() answered created=False, or it came from get())"
        )


class ProducerFenced(StreamHubError):
    """This producer's generation is stale: the session was claimed by another, or removed.

    ``current`` is the generation that owns the session now, None if it was removed.
    """

    def __init__(self, session_id: str, generation: str, current: str | None) -> None:
        self.session_id: str = session_id
        self.generation: str = generation
        self.current: str | None = current
        why = "the session was removed" if current is None else f"it now belongs to {current}"
        super().__init__(f"session {session_id!r}: generation {generation} is fenced, {why}")


class StreamClosed(StreamHubError):
    """The producer wrote to a stream that it had ended, or that was cancelled; or somebody sent a
    message to one.

    ``status`` is how the stream ended.
    """

    def __init__(self, session_id: str, status: Status) -> None:
        self.session_id: str = session_id
        self.status: Status = status
        why = (
            ": its producer gave no sign of life for longer than its lease and the grace of a feed "
            "of ends; takeover='continue' goes on with it"
            if status is Status.LOST
            else ""
        )
        super().__init__(f"session {session_id!r}: the stream has ended ({status}){why}")


class SessionNotFound(StreamHubError, LookupError):
    """There is no such session: never registered, removed, or past its retention."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        super().__init__(f"there is no session {session_id!r} (never begun, removed or expired)")


class ProducerFailed(StreamHubError):
    """The producer ended the stream with an error; ``error`` is its message.

    ``kind`` says what went wrong at the model's provider, if that was it; else it is None.
    """

    def __init__(self, session_id: str, error: str) -> None:
        self.session_id: str = session_id
        self.error: str = error
        self.kind: FailureKind | None = failure_kind(error)
        super().__init__(f"session {session_id!r}: the producer failed: {error}")


class ProviderFailed(StreamHubError):
    """A model's provider refused a request, or broke off its answer.

    A stream whose source raises it ends with the reason ``<kind>: <message>``. ``retry_after`` is
    for how many seconds the provider wants to be left alone; None if it says nothing of that.

    :raises ValueError: ``kind`` is none of ``streamhub.errors.FailureKind``.
    """

    def __init__(
        self, kind: FailureKind, message: str, *, retry_after: float | None = None
    ) -> None:
        if kind not in _KINDS:
            raise ValueError(f"kind must be one of {', '.join(_KINDS)}, not {kind!r}")
        self.kind = kind
        self.message: str = message
        self.retry_after: float | None = retry_after
        super().__init__(f"{kind}: {message}")


class ProducerLost(StreamHubError):
    """The producer gave no sign of life for longer than its lease.

    Everything stored was delivered up to ``cursor``; resume there once somebody continues.
    """

    def __init__(self, session_id: str, generation: str, cursor: Cursor | None) -> None:
        self.session_id: str = session_id
        self.generation: str = generation
        self.cursor: Cursor | None = cursor
        super().__init__(
            f"session {session_id!r}: producer {generation} is lost: its lease lapsed after "
            f"cursor {cursor}"
        )


class StreamReplaced(StreamHubError):
    """What was read so far is not what the session holds now; read again from the start.

    The log has no chunk ``cursor`` (any more): a new epoch began, or the store lost it and another
    term has taken its place. ``epoch`` is the log's now, None in a session of the Go library.
    """

    def __init__(self, session_id: str, cursor: Cursor, epoch: int | None) -> None:
        self.session_id: str = session_id
        self.cursor: Cursor = cursor
        self.epoch: int | None = epoch
        now = "" if epoch is None else f" (its epoch is {epoch} now)"
        super().__init__(
            f"session {session_id!r}: the stream was replaced; it has no chunk {cursor}{now}"
        )


class CursorExpired(StreamHubError):
    """The chunks after ``cursor`` are no longer in the store."""

    def __init__(self, session_id: str, cursor: Cursor) -> None:
        self.session_id: str = session_id
        self.cursor: Cursor = cursor
        super().__init__(f"session {session_id!r}: the chunks after cursor {cursor} are gone")


class StoreUnavailable(StreamHubError):
    """The store cannot be used right now; ``store`` names it, without any password."""

    def __init__(self, store: str, reason: str) -> None:
        self.store: str = store
        self.reason: str = reason
        super().__init__(f"{store}: {reason}")


class StoreAuthenticationFailed(StoreUnavailable):
    """The store refuses the user, the password, or the rights that they carry."""


class StoreReadOnly(StoreUnavailable):
    """The server takes no writes: a read-only replica."""


class StoreUnsupported(StoreUnavailable):
    """What answers there is no Redis, or one that lacks what streamhub needs."""


class EndFenced(StreamHubError):
    """The end is not this worker's to settle (any more): it comes, or came, to another as well.

    ``key`` names the end, ``feed`` the feed that it was taken from.
    """

    def __init__(self, session_id: str, key: str, feed: str, reason: str) -> None:
        self.session_id: str = session_id
        self.key: str = key
        self.feed: str = feed
        self.reason: str = reason
        super().__init__(
            f"session {session_id!r}: its end {key} in feed {feed!r} is not this worker's: {reason}"
        )


class SessionCorrupted(StreamHubError):
    """The keys of the session hold something that streamhub did not write."""

    def __init__(self, session_id: str, reason: str) -> None:
        self.session_id: str = session_id
        self.reason: str = reason
        super().__init__(f"session {session_id!r}: its stored data is damaged: {reason}")


def failure_kind(reason: str | None) -> FailureKind | None:
    """What went wrong at a model's provider, by the reason of an end; None of any other reason."""
    kind, parted, _ = (reason or "").partition(": ")
    return kind if parted and kind in _KINDS else None  # type: ignore[return-value]


def _rebuild(
    kind: type[StreamHubError], args: tuple[object, ...], facts: dict[str, object]
) -> StreamHubError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(facts)
    return error
