"""What a chunk takes, and whether it is one. Sizes are UTF-8 bytes; a chunk has one at least."""

from __future__ import annotations

from ..errors import ChunkTooLarge, InvalidChunk, InvalidMessage, MessageTooLarge
from ..ids import is_text

__all__ = ["check_message", "measured", "plain"]


def measured(session_id: str, data: str, event: str | None, *, limit: int) -> int:
    """The size of what a user publishes, event type included.

    :raises InvalidChunk: it is not text that UTF-8 can hold, or the event type is none.
    :raises ChunkTooLarge: over ``limit``.
    """
    if type(data) is not str and not isinstance(data, str):
        raise InvalidChunk(session_id, f"a chunk must be str, not {type(data).__name__}")
    try:
        size = len(data) if data.isascii() else len(data.encode())
        if event is not None:
            size += _event_size(session_id, event)
    except UnicodeEncodeError as error:
        raise InvalidChunk(
            session_id,
            f"a chunk must be encodable as UTF-8, but holds a lone surrogate "
            f"({error.object[error.start]!r} at {error.start})",
        ) from None
    if size > limit:
        raise ChunkTooLarge(session_id, size, limit)
    return size or 1


def check_message(
    session_id: str, data: str, event: str | None, key: str | None, *, limit: int
) -> None:
    """The same for a message to a producer.

    :raises InvalidMessage: it, its event type or its key is not text that UTF-8 can hold.
    :raises MessageTooLarge: over ``limit``.
    """
    for name, text in (("a message", data), ("its event type", event), ("its key", key)):
        if text is None and name != "a message":
            continue
        if not isinstance(text, str):
            raise InvalidMessage(session_id, f"{name} must be str, not {type(text).__name__}")
        if not is_text(text):
            raise InvalidMessage(
                session_id, f"{name} must be encodable as UTF-8, but holds a lone surrogate"
            )
    if key == "":
        raise InvalidMessage(session_id, "its key must not be empty")
    size = len(data.encode())
    if event is not None:
        try:
            size += _event_size(session_id, event)
        except InvalidChunk as error:
            raise InvalidMessage(session_id, error.reason) from None
    if size > limit:
        raise MessageTooLarge(session_id, size, limit)


def plain(text: str) -> str:
    """The text itself, of a subclass too: stores know no other."""
    return str.__str__(text)


def _event_size(session_id: str, event: str) -> int:
    if not isinstance(event, str):
        raise InvalidChunk(session_id, f"an event type must be str, not {type(event).__name__}")
    if not event or any(sign in event for sign in "\r\n\0"):
        raise InvalidChunk(
            session_id, f"an event type must be text without line breaks and NUL, not {event!r}"
        )
    return len(event.encode())
