"""Errors as HTTP answers: a status, and a JSON body as RFC 9457 describes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

import msgspec

from ..errors import (
    CursorExpired,
    HubClosed,
    HubInOtherLoop,
    HubInOtherProcess,
    InboxFull,
    InvalidCursor,
    InvalidMessage,
    InvalidSessionId,
    MessageTooLarge,
    NoInbox,
    NotSupervised,
    SessionCorrupted,
    SessionNotFound,
    StoreUnavailable,
    StreamClosed,
    StreamHubError,
)

__all__ = [
    "NOT_STORED",
    "STORE_AWAY",
    "Answer",
    "Answered",
    "BadRequest",
    "Headers",
    "bad_request",
    "not_found",
    "nothing",
    "problem",
    "problem_of",
    "unavailable",
]

#: For answers that are true at the moment only.
NOT_STORED = {"cache-control": "no-store"}

#: What clients are told of a store that cannot be reached; its address is none of their business.
STORE_AWAY = "the store of the sessions cannot be used right now"

_RETRY_AFTER = "1"


class Headers(Protocol):
    """Of an answer."""

    def items(self) -> Iterable[tuple[str, str]]: ...


class Answered(Protocol):
    """A whole answer. Starlette's responses are such as they are; :class:`Answer` is for all."""

    status_code: int

    @property
    def body(self) -> bytes | memoryview: ...

    @property
    def headers(self) -> Headers: ...


@dataclass
class Answer:
    """A whole answer that is no stream."""

    status_code: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class BadRequest(Exception):
    """A request that cannot be served as it is; carries its answer."""

    def __init__(self, problem: Answered) -> None:
        self.problem = problem
        super().__init__(problem.body)


def problem(
    status: int, code: str, detail: str, headers: Mapping[str, str] | None = None
) -> Answer:
    """``application/problem+json``: type, title, status, detail; and ``code``, for programs."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }
    kept = {**NOT_STORED, **(headers or {}), "content-type": "application/problem+json"}
    return Answer(status, msgspec.json.encode(body), kept)


def bad_request(code: str, detail: str, status: int = 400) -> BadRequest:
    return BadRequest(problem(status, code, detail))


def problem_of(error: StreamHubError) -> Answer:
    """The answer to a request that met ``error``. Says nothing of servers behind this one.

    :raises HubInOtherLoop, HubInOtherProcess: it was that, a mistake of the program.
    """
    match error:
        case InvalidSessionId():
            return problem(400, "invalid_session_id", str(error))
        case InvalidCursor():
            return problem(400, "invalid_cursor", str(error))
        case SessionNotFound():
            return not_found()
        case CursorExpired():
            return problem(410, "cursor_expired", str(error))
        case InvalidMessage():
            return problem(400, "invalid_message", str(error))
        case MessageTooLarge():
            return problem(413, "message_too_large", str(error))
        case InboxFull():
            return problem(429, "inbox_full", str(error), {"retry-after": _RETRY_AFTER})
        case NoInbox():
            return problem(409, "no_inbox", str(error))
        case NotSupervised():
            return problem(409, "not_supervised", str(error))
        case StreamClosed():
            return problem(409, "stream_closed", str(error))
        case HubInOtherLoop() | HubInOtherProcess():
            raise error
        case HubClosed():
            return unavailable("this server is shutting down")
        case StoreUnavailable():
            return unavailable(STORE_AWAY)
        case SessionCorrupted():
            return problem(502, "session_corrupted", "the stored data of the session is damaged")
    return problem(502, "error", "the session cannot be read")


def not_found() -> Answer:
    """The same for what is not there and for what the client may not see."""
    return problem(404, "session_not_found", "there is no such session")


def nothing() -> Answer:
    """The answer to who has everything already, or is to get no more."""
    return Answer(204, headers=NOT_STORED)


def unavailable(detail: str) -> Answer:
    return problem(503, "unavailable", detail, {"retry-after": _RETRY_AFTER})
