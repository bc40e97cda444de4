"""Answers as Starlette's responses."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from ..errors import StreamHubError
from ..serving import answers
from ..serving.answers import NOT_STORED, Answered, BadRequest
from ..serving.disconnects import ClientGone

__all__ = [
    "NOT_STORED",
    "BadRequest",
    "Problem",
    "answers_errors",
    "not_found",
    "nothing",
    "problem_of",
    "response_of",
]


H = TypeVar("H", bound=Callable[..., Awaitable[Response]])


class Problem(Response):
    """``application/problem+json``; see :func:`streamhub.serving.answers.problem`."""

    def __init__(
        self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        answer = answers.problem(status, code, detail, headers)
        super().__init__(answer.body, answer.status_code, answer.headers)


def response_of(answer: Answered) -> Response:
    if isinstance(answer, Response):
        return answer
    return Response(bytes(answer.body), answer.status_code, dict(answer.headers.items()))


def problem_of(error: StreamHubError) -> Response:
    """See :func:`streamhub.serving.answers.problem_of`."""
    return response_of(answers.problem_of(error))


def not_found() -> Response:
    return response_of(answers.not_found())


def nothing() -> Response:
    return response_of(answers.nothing())


def answers_errors(handle: H) -> H:
    """A method that answers a request, and the errors of the request and of the store too."""

    @functools.wraps(handle)
    async def handled(*args: Any, **given: Any) -> Response:
        try:
            return await handle(*args, **given)
        except (ClientDisconnect, ClientGone):
            return nothing()
        except BadRequest as error:
            return response_of(error.problem)
        except StreamHubError as error:
            return problem_of(error)

    return cast("H", handled)
