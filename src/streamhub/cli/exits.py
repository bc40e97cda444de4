"""How a command ends: refused, or with the exit code of what it did."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from enum import IntEnum
from typing import Any, NoReturn

import typer

from ..chunks import Status
from ..errors import (
    CursorExpired,
    InvalidChunk,
    InvalidCursor,
    InvalidMessage,
    InvalidMetadata,
    InvalidSessionId,
    InvalidStoreUrl,
    MessageTooLarge,
    ProducerFailed,
    ProducerLost,
    SessionNotFound,
    StoreUnavailable,
    StreamHubError,
    StreamReplaced,
)
from .terminal import Warnings, note, redacted

__all__ = ["Code", "RunCode", "code_of", "finish", "refuse"]


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
    (InvalidMessage, Code.USAGE),
    (MessageTooLarge, Code.USAGE),
    (InvalidMetadata, Code.USAGE),
    (InvalidSessionId, Code.USAGE),
    (InvalidStoreUrl, Code.USAGE),
)


def code_of(outcome: Status | StreamHubError) -> Code:
    """The exit code for how a stream ended, or for what went wrong."""
    if isinstance(outcome, Status):
        return _BY_STATUS[outcome]
    return next((code for kind, code in _BY_ERROR if isinstance(outcome, kind)), Code.OTHER)


def refuse(reason: str) -> NoReturn:
    note(reason, style="red")
    raise typer.Exit(int(Code.USAGE))


def finish(url: str, work: Callable[[], Coroutine[Any, Any, int]]) -> None:
    """Run the command to its end, and leave with its exit code."""
    logging.getLogger("streamhub").addHandler(Warnings(url))
    try:
        code = asyncio.run(work())
        sys.stdout.flush()
    except StreamHubError as error:
        note(redacted(str(error), url), style="red")
        code = code_of(error)
    except KeyboardInterrupt:
        code = Code.INTERRUPTED
    except BrokenPipeError:
        # What is still buffered must not be tried again on the way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = Code.INTERRUPTED
    raise typer.Exit(int(code))
