"""The routes of chats, as FastAPI has them: in its description, with its dependencies."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from enum import Enum
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import WebSocketRoute

from ...hub import Hub
from ...producing.ending import OnEnd
from ...supervisor import Resume
from ..authorization import Authorize, UserOf
from ..late_hub import HubOf
from .answering import Answer
from .chats import Chats

if TYPE_CHECKING:
    from fastapi import APIRouter

__all__ = ["chat_router"]

_STREAM = {"description": "The answer", "content": {"text/event-stream": {}}}
_NOTHING = {"description": "There is nothing to stream"}
_PROBLEM: dict[str, Any] = {"content": {"application/problem+json": {}}}
_NOT_FOUND = {"description": "No such chat, or not one of this user's", **_PROBLEM}
_FORBIDDEN = {"description": "A page of another site", **_PROBLEM}
_BUSY = {"description": "Another answer is being written", **_PROBLEM}
_AWAY = {"description": "The store cannot be used right now", **_PROBLEM}
_ASKED = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "string", "description": "The chat's id"},
        "messages": {"type": "array", "items": {"type": "object"}},
        "trigger": {"type": "string"},
        "messageId": {"type": "string"},
    },
}
_STOPPED = {
    "type": "object",
    "properties": {
        "activeStreamId": {
            "type": ["string", "null"],
            "description": "The message's id: another answer than that is not stopped",
        },
        "assistantMessage": {"type": "object"},
    },
}


def chat_router(
    hub: HubOf,
    answer: Answer,
    *,
    path: str = "/api/chat",
    dependencies: Sequence[Any] = (),
    tags: Sequence[str | Enum] = (),
    user: UserOf | None = None,
    authorize: Authorize | None = None,
    origins: Collection[str] = (),
    session_id: Callable[[str], str] = "chat:{}".format,
    takeover_wait: float = 5.0,
    restart_lost: bool = False,
    replay_ended: bool = False,
    error_text: Callable[[str, str], str] | None = None,
    on_end: OnEnd | None = None,
    resume: Resume | None = None,
) -> APIRouter:
    """The routes of :func:`chat_routes` as a router for FastAPI's ``app.include_router(…)``, which
    describes them in OpenAPI. Needs FastAPI: ``pip install "streamhub-llm[fastapi]"``.

    :param answer: as for :func:`chat_routes`; what it wants beside the body and the request is
        FastAPI's to give: ``async def answer(body, user: Annotated[User, Depends(user_of)])``.
        An answer outlives its request: what a dependency closes then, as a session with a
        database, is closed under it.
    :param dependencies: of all routes: ``[Depends(signed_in)]``.
    :param tags: of all routes.
    :raises ModuleNotFoundError: FastAPI is not installed.

    The rest is as for :func:`chat_routes`; with ``resume`` it looks after lost answers from the
    start of the application on, unless ``hub`` is found late.
    """
    try:
        from fastapi import APIRouter
    except ModuleNotFoundError as missing:
        if missing.name != "fastapi":
            raise
        raise ModuleNotFoundError(
            'streamhub.http.chat_router needs fastapi: pip install "streamhub-llm[fastapi]"',
            name="fastapi",
        ) from None
    chats = Chats(
        hub,
        answer,
        user=user,
        authorize=authorize,
        origins=origins,
        session_id=session_id,
        takeover_wait=takeover_wait,
        restart_lost=restart_lost,
        replay_ended=replay_ended,
        error_text=error_text,
        on_end=on_end,
        resume=resume,
    )

    async def follow(request: Request, chat: str) -> Response:
        return await chats.resume(request)

    async def stop(request: Request, chat: str) -> Response:
        return await chats.stop(request)

    @asynccontextmanager
    async def supervising(app: Any) -> AsyncIterator[None]:
        if isinstance(hub, Hub):
            chats.supervise(hub)
        yield

    router = APIRouter(dependencies=list(dependencies), tags=list(tags), lifespan=supervising)
    refused: dict[int | str, dict[str, Any]] = {404: _NOT_FOUND, 403: _FORBIDDEN, 503: _AWAY}
    router.add_api_route(
        path,
        _wanting(chats.call.wants, chats.ask),
        methods=["POST"],
        name="ask",
        summary="Ask, and follow the answer",
        response_class=Response,
        responses={200: _STREAM, 409: _BUSY, **refused},
        openapi_extra=_body(_ASKED, required=True),
    )
    router.add_api_route(
        f"{path}/{{chat:path}}/stream",
        follow,
        methods=["GET"],
        name="resume",
        summary="Follow the answer that is being written, from its start",
        response_class=Response,
        responses={200: _STREAM, 204: _NOTHING, 503: _AWAY},
    )
    router.add_api_route(
        f"{path}/{{chat:path}}/stop",
        stop,
        methods=["POST"],
        name="stop",
        summary="Stop the answer that is being written",
        status_code=204,
        response_class=Response,
        responses={204: {"description": "It was told to stop"}, **refused},
        openapi_extra=_body(_STOPPED, required=False),
    )
    # Without dependencies: each frame is asked for them, as the request that it stands for.
    router.routes.append(WebSocketRoute(path, chats.connect, name="connect"))
    return router


def _wanting(wants: list[inspect.Parameter], ask: Callable[..., Any]) -> Callable[..., Any]:
    """``ask`` as a function that FastAPI gives what the application's ``answer`` wants."""

    async def endpoint(request: Request, **given: Any) -> Response:
        response: Response = await ask(request, **given)
        return response

    ours = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Request)
    theirs = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in wants]
    endpoint.__signature__ = inspect.Signature([ours, *theirs])  # type: ignore[attr-defined]
    return endpoint


def _body(schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    return {
        "requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}
    }
