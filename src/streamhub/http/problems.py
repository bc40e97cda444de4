"""Errors as HTTP answers: a status, and a JSON body as RFC 9457 describes it."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from starlette.responses import Response

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
    SessionCorrupted,
    SessionNotFound,
    StoreUnavailable,
    StreamClosed,
    StreamHubError,
)

__all__ = [
    "NOT_STORED",
    "STORE_AWAY",
    "BadRequest",
    "Problem",
    "not_found",
    "nothing",
    "problem_of",
]

#: For answers that are true at the moment only.
NOT_STORED = {"cache-control": "no-store"}

#: What clients are told of a store that cannot be reached; its address is none of their business.
STORE_AWAY = "the store of the sessions cannot be used right now"

_RETRY_AFTER = "1"


class Problem(Response):
    """``application/problem+json``: type, title, status, detail; and ``code``, for programs."""

    media_type = "application/problem+json"

    def __init__(
        self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        body = {
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
            "code": code,
        }
        super().__init__(
            msgspec.json.encode(body), status_code=status, headers={**NOT_STORED, **(headers or {})}
        )


class BadRequest(Exception):
    """A request that cannot be served as it is; carries its answer."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.body)


def problem_of(error: StreamHubError) -> Problem:
    """The answer to a request that met ``error``. Says nothing of servers behind this one.

    :raises HubInOtherLoop, HubInOtherProcess: it was that, a mistake of the program.
    """
    match error:
        case InvalidSessionId():
            return Problem(400, "invalid_session_id", str(error))
        case InvalidCursor():
            return Problem(400, "invalid_cursor", str(error))
        case SessionNotFound():
            return not_found()
        case CursorExpired():
            return Problem(410, "cursor_expired", str(error))
        case InvalidMessage():
            return Problem(400, "invalid_message", str(error))
        case MessageTooLarge():
            return Problem(413, "message_too_large", str(error))
        case InboxFull():
            return Problem(429, "inbox_full", str(error), {"retry-after": _RETRY_AFTER})
        case NoInbox():
            return Problem(409, "no_inbox", str(error))
        case StreamClosed():
            return Problem(409, "stream_closed", str(error))
        case HubInOtherLoop() | HubInOtherProcess():
            raise error
        case HubClosed():
            return unavailable("this server is shutting down")
        case StoreUnavailable():
            return unavailable(STORE_AWAY)
        case SessionCorrupted():
            return Problem(502, "session_corrupted", "the stored data of the session is damaged")
    return Problem(502, "error", "the session cannot be read")


def not_found() -> Problem:
    """The same for what is not there and for what the client may not see."""
    return Problem(404, "session_not_found", "there is no such session")


def nothing() -> Response:
    """The answer to who has everything already, or is to get no more."""
    return Response(status_code=204, headers=NOT_STORED)


def unavailable(detail: str) -> Problem:
    return Problem(503, "unavailable", detail, {"retry-after": _RETRY_AFTER})
