"""What the command line's exit codes mean, and which error has which."""

from __future__ import annotations

from enum import IntEnum

from ..chunks import Status
from ..errors import (
    CursorExpired,
    InvalidChunk,
    InvalidCursor,
    InvalidMetadata,
    InvalidSessionId,
    InvalidStoreUrl,
    ProducerFailed,
    ProducerLost,
    SessionNotFound,
    StoreUnavailable,
    StreamHubError,
    StreamReplaced,
)

__all__ = ["Code", "RunCode", "code_of"]


class Code(IntEnum):
    """The exit codes of every command but ``run``."""

    FINISHED = 0
    FAILED = 1
    USAGE = 2
    CANCELLED = 3
    LOST = 4
    NOT_FOUND = 5
    REPLACED = 6
    UNAVAILABLE = 7
    ACTIVE = 8
    OTHER = 9
    INTERRUPTED = 130


class RunCode(IntEnum):
    """What ``run`` exits with when it does not pass on its command's own exit code.

    They lie where ``env``, ``timeout`` and the shells put theirs, out of most commands' way.
    """

    NOT_CLAIMED = 123
    CANCELLED = 124
    STREAM_BROKEN = 125
    CANNOT_EXECUTE = 126
    COMMAND_NOT_FOUND = 127
    #: Plus the number of the signal that ended the command, or us.
    SIGNALLED = 128


_BY_STATUS = {
    Status.ACTIVE: Code.ACTIVE,
    Status.FINISHED: Code.FINISHED,
    Status.FAILED: Code.FAILED,
    Status.CANCELLED: Code.CANCELLED,
    Status.LOST: Code.LOST,
}

_BY_ERROR: tuple[tuple[type[StreamHubError], Code], ...] = (
    (ProducerFailed, Code.FAILED),
    (ProducerLost, Code.LOST),
    (SessionNotFound, Code.NOT_FOUND),
    (StreamReplaced, Code.REPLACED),
    (CursorExpired, Code.REPLACED),
    (StoreUnavailable, Code.UNAVAILABLE),
    (InvalidChunk, Code.USAGE),
    (InvalidCursor, Code.USAGE),
    (InvalidMetadata, Code.USAGE),
    (InvalidSessionId, Code.USAGE),
    (InvalidStoreUrl, Code.USAGE),
)


def code_of(outcome: Status | StreamHubError) -> Code:
    """The exit code for how a stream ended, or for what went wrong."""
    if isinstance(outcome, Status):
        return _BY_STATUS[outcome]
    return next((code for kind, code in _BY_ERROR if isinstance(outcome, kind)), Code.OTHER)
