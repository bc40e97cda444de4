"""The messages of an inbox, each a field of the meta hash, and what its scripts answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....chunks import Cursor
from ....errors import (
    InboxFull,
    NoInbox,
    SessionCorrupted,
    SessionNotFound,
    StreamClosed,
    StreamHubError,
    StreamReplaced,
)
from ...base import InboxMessage, InboxPage
from .record import outcome_status

__all__ = ["page_of_inbox", "refused_message", "written_message"]


def written_message(data: str, event: str | None) -> str:
    """An event type holds no NUL, and is not empty."""
    return f"{event or ''}\0{data}"


def page_of_inbox(answer: Any) -> InboxPage:
    found, missing, more = answer
    messages = [
        _read_message(name.decode(), written)
        for name, written in zip(found[::2], found[1::2], strict=True)
    ]
    return InboxPage(messages, [name.decode(errors="replace") for name in missing], more > 0)


def _read_message(name: str, written: bytes) -> InboxMessage:
    event, _, data = written.decode(errors="replace").partition("\0")
    return InboxMessage(name, data, event or None)


def refused_message(
    session_id: str, epoch: int | None, answer: Sequence[bytes], max_messages: int, max_bytes: int
) -> StreamHubError:
    """Why a message was not sent."""
    match answer:
        case [b"none"]:
            return SessionNotFound(session_id)
        case [b"foreign"]:
            return NoInbox(session_id, "the Go library writes it")
        case [b"replaced", now]:
            return StreamReplaced(session_id, Cursor(epoch or 0, 0), int(now))
        case [b"over", outcome]:
            return StreamClosed(session_id, outcome_status(session_id, outcome))
        case [b"full", messages, size]:
            return InboxFull(
                session_id,
                int(messages),
                int(size),
                max_messages=max_messages,
                max_bytes=max_bytes,
            )
    return SessionCorrupted(session_id, f"a script answered {answer!r}")
