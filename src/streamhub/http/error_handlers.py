"""What a route of the application's own answers where streamhub has raised something."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from ..errors import (
    CursorExpired,
    HubClosed,
    InvalidCursor,
    InvalidSessionId,
    SessionCorrupted,
    SessionNotFound,
    StoreUnavailable,
    StreamHubError,
)
from .problems import problem_of

__all__ = ["error_handlers"]

# What comes of the request or of the store. All else is a mistake of the program's, which a server
# is to log.
_ANSWERED: tuple[type[StreamHubError], ...] = (
    CursorExpired,
    HubClosed,
    InvalidCursor,
    InvalidSessionId,
    SessionCorrupted,
    SessionNotFound,
    StoreUnavailable,
)

# As FastAPI wants them.
_Handler: TypeAlias = Callable[[Request, Any], Coroutine[Any, Any, Response]]


def error_handlers() -> dict[int | type[Exception], _Handler]:
    """For ``FastAPI(exception_handlers=…)`` and Starlette's: a route that meets one of streamhub's
    errors then answers as ours do, with a JSON problem.

    503 with ``Retry-After`` while the store cannot be used or the hub is closed, 404 for a session
    that is gone, 410 where chunks have expired, 400 for what no session id or cursor can be. What
    is a mistake of the program stays one.

    ::

        app = FastAPI(lifespan=lifespan(hub), exception_handlers=error_handlers())
    """
    return dict.fromkeys(_ANSWERED, _answer)


async def _answer(request: Request, error: Any) -> Response:
    assert isinstance(error, StreamHubError)
    return problem_of(error)
