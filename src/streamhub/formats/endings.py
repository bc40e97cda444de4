"""How reading ends, in words that every dialect shares."""

from __future__ import annotations

from ..chunks import Status
from ..errors import (
    CursorExpired,
    ProducerFailed,
    ProducerLost,
    SessionNotFound,
    StoreUnavailable,
    StreamHubError,
    StreamReplaced,
)

__all__ = ["ending_of"]


def ending_of(error: StreamHubError) -> tuple[str, str]:
    """What readers are told where no end was read: a word in the place of the status, and why."""
    match error:
        case ProducerFailed():
            return Status.FAILED.value, error.error
        case ProducerLost():
            return Status.LOST.value, str(error)
    words = {
        StreamReplaced: "replaced",
        CursorExpired: "expired",
        SessionNotFound: "gone",
        StoreUnavailable: "unavailable",
    }
    word = next((word for kind, word in words.items() if isinstance(error, kind)), "error")
    return word, str(error)
