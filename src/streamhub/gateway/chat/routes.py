"""Where chat completions are asked for, followed and stopped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..context import Gateway
from .asked import PREFIX
from .completions import ChatCompletions

__all__ = ["chat_routes"]

_ALL = "/v1/chat/completions"


def chat_routes(
    gateway: Gateway, pass_on: Callable[[Request], Awaitable[Response]]
) -> list[BaseRoute]:
    """
    ==================================================  ===========================================
    ``POST /v1/chat/completions``                       ask; with an ``Idempotency-Key`` again for
                                                        the same answer
    ``GET /v1/chat/completions/{id}``                   the answer, once it is whole;
                                                        ``?stream=true`` follows it, after
                                                        ``Last-Event-ID``
    ``POST /v1/chat/completions/{id}/cancel``           stop it
    ==================================================  ===========================================

    :param pass_on: for ids of the upstream's own: OpenAI keeps completions that were asked for with
        ``store``.
    """
    chat = ChatCompletions(gateway)

    async def retrieve(request: Request) -> Response:
        ours = request.path_params["completion"].startswith(PREFIX)
        return await (chat.retrieve if ours else pass_on)(request)

    return [
        Route(_ALL, chat.create, methods=["POST"]),
        Route(f"{_ALL}/{{completion}}", retrieve, methods=["GET"]),
        Route(f"{_ALL}/{{completion}}/cancel", chat.cancel, methods=["POST"]),
    ]
