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

__all__ = ["ending_of", "told_of"]

# In words for users, who are to hear nothing of what raised what, and of no generation.
_TOLD = {
    "failed": "The answer could not be finished: something went wrong.",
    "lost": "The answer broke off: what was producing it is gone.",
    "replaced": "The answer was replaced by a newer one.",
    "expired": "The beginning of the answer is not stored any more.",
    "gone": "The answer is not stored any more.",
    "unavailable": "The answer cannot be read right now.",
}


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


def told_of(status: str) -> str:
    """What somebody is told of an end who is not to see its reason."""
    return _TOLD.get(status, "The answer cannot be read.")
