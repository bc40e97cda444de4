"""The three routes that ``useChat({ resume: true })`` of the Vercel AI SDK talks to."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from ..chunks import SessionInfo, Status
from ..errors import StreamHubError
from ..formats.ui_messages import message_id_of
from ..hub import Hub, Source
from ..ids import check_session_id
from ..stream import LiveStream
from .authorization import Action, Authorize, UserOf, is_allowed, owned_by, user_of
from .problems import BadRequest, Problem, not_found, nothing, problem_of
from .responses import UIMessageStreamResponse

__all__ = ["Answer", "chat_routes"]

#: Makes what ``hub.run`` draws the answer from; of the body that ``useChat`` posts: ``id``,
#: ``messages``, ``trigger``, ``messageId``, and what else the page adds to it.
Answer = Callable[[dict[str, Any]], Source | Awaitable[Source]]

# How long an answer that was told to stop may take before a new one cannot begin.
_STOPPING = 5.0
_LARGEST_BODY = 16 * 1024 * 1024


def chat_routes(
    hub: Hub,
    answer: Answer,
    *,
    path: str = "/api/chat",
    user: UserOf | None = None,
    authorize: Authorize | None = None,
    session_id: Callable[[str], str] = "chat:{}".format,
    takeover_wait: float = _STOPPING,
    replay_ended: bool = False,
    error_text: Callable[[str, str], str] | None = None,
) -> list[Route]:
    """Routes for ``useChat({ resume: true })``, for ``Starlette(routes=…)`` or FastAPI's
    ``app.router.routes.extend(…)``.

    ============================  =================================================================
    ``POST {path}``               begins an answer and streams it; it goes on if the client leaves
    ``GET {path}/{chat}/stream``  resumes it: all of it from the start; 204 when none is running
    ``POST {path}/{chat}/stop``   stops the producer, wherever it runs
    ============================  =================================================================

    Of one chat one answer is written at a time: a second message meanwhile is answered with
    409, unless the first has been told to stop. The same message posted again follows the
    answer that is being written to it.

    :param answer: given the body of the request; may be async.
    :param user: who sends a request: the owner of the session. Sessions are then kept apart by
        :func:`owned_by`, unless ``authorize`` says otherwise.
    :param authorize: asked before anything else. Without it and ``user`` everybody may read and
        stop every chat.
    :param session_id: the session of a chat's id.
    :param takeover_wait: how many seconds to wait for an answer that was told to stop.
    :param replay_ended: whether resuming also replays an answer that has ended, while it is stored,
        so that a page that was cut off before the end gets the rest. For applications that keep
        messages under the ids that the stream gave them: others would show such a message twice.
    :param error_text: as for :class:`UIMessageStreamResponse`.

    ::

        async def answer(body):
            async for token in model.stream(body["messages"]):
                yield token

        app = Starlette(routes=chat_routes(hub, answer))
    """
    if authorize is None and user is not None:
        authorize = owned_by(hub, user)
    chat = _Chat(hub, answer, user, authorize, session_id, takeover_wait, replay_ended, error_text)
    return [
        Route(path, chat.ask, methods=["POST"]),
        Route(f"{path}/{{chat:path}}/stream", chat.resume, methods=["GET"]),
        Route(f"{path}/{{chat:path}}/stop", chat.stop, methods=["POST"]),
    ]


class _Chat:
    def __init__(
        self,
        hub: Hub,
        answer: Answer,
        user: UserOf | None,
        authorize: Authorize | None,
        session_id: Callable[[str], str],
        takeover_wait: float,
        replay_ended: bool,
        error_text: Callable[[str, str], str] | None,
    ) -> None:
        self._hub = hub
        self._answer = answer
        self._user = user
        self._authorize = authorize
        self._session_id = session_id
        self._takeover_wait = takeover_wait
        self._only_active = not replay_ended
        self._error_text = error_text

    async def ask(self, request: Request) -> Response:
        try:
            body = await _body(request)
            chat = body.get("id")
            if not isinstance(chat, str) or not chat:
                detail = f"id must be the chat's id, some text, not {_short(chat)}"
                raise BadRequest(Problem(400, "invalid_body", detail))
            session_id = self._session_id(chat)
            check_session_id(session_id)
            if not await self._is_allowed(request, session_id, "produce"):
                return not_found()
            stream = await self._begun(request, session_id, body)
        except ClientDisconnect:
            return nothing()
        except BadRequest as error:
            return error.problem
        except StreamHubError as error:
            return problem_of(error)
        if stream is None:
            detail = "an answer in this chat is still being written; stop it, or wait for its end"
            return Problem(409, "busy", detail)
        return UIMessageStreamResponse(stream, error_text=self._error_text)

    async def resume(self, request: Request) -> Response:
        session_id = self._session_id(request.path_params["chat"])
        return UIMessageStreamResponse(
            self._readable(request, session_id),
            resume=self._only_active,
            error_text=self._error_text,
        )

    async def stop(self, request: Request) -> Response:
        session_id = self._session_id(request.path_params["chat"])
        try:
            if not await self._is_allowed(request, session_id, "cancel"):
                return not_found()
            named = (await _body(request, optional=True)).get("activeStreamId")
            stream = await self._hub.get(session_id)
            if stream is None:
                return not_found()
            # A page that does not know yet that a new answer has begun must not stop that.
            if named is None or named in _names(await stream.info()):
                await stream.cancel()
        except ClientDisconnect:
            return nothing()
        except BadRequest as error:
            return error.problem
        except StreamHubError as error:
            return problem_of(error)
        return nothing()

    async def _begun(
        self, request: Request, session_id: str, body: dict[str, Any]
    ) -> LiveStream | None:
        """The answer to ``body``; None if another is being written."""
        owner = None if self._user is None else await user_of(self._user, request)
        asked = _asked(body)
        for _ in range(2):
            source = self._answer(body)
            if inspect.isawaitable(source):
                source = await source
            stream = await self._hub.run(session_id, source, owner=owner, metadata={"asked": asked})
            if stream.generation is not None:
                return stream
            info = await stream.info()
            if isinstance(info.metadata, dict) and info.metadata.get("asked") == asked:
                return stream
            if info.status is Status.ACTIVE:
                if not info.cancelling:
                    return None
                await stream.wait(self._takeover_wait)
        return None

    async def _readable(self, request: Request, session_id: str) -> LiveStream | None:
        # Who may not read it is answered as if there was nothing, and nothing is no error.
        allowed = await self._is_allowed(request, session_id, "read")
        return await self._hub.get(session_id) if allowed else None

    async def _is_allowed(self, request: Request, session_id: str, action: Action) -> bool:
        return await is_allowed(self._authorize, request, session_id, action)


async def _body(request: Request, *, optional: bool = False) -> dict[str, Any]:
    """:raises BadRequest: it is no JSON object, or too large."""
    pieces = bytearray()
    async for piece in request.stream():
        pieces += piece
        if len(pieces) > _LARGEST_BODY:
            detail = f"the body must be at most {_LARGEST_BODY:,} bytes long"
            raise BadRequest(Problem(413, "body_too_large", detail))
    if optional and not pieces.strip():
        return {}
    try:
        body = msgspec.json.decode(pieces)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if optional:
            return {}
        raise BadRequest(Problem(400, "invalid_body", f"the body must be JSON: {error}")) from None
    if not isinstance(body, dict):
        if optional:
            return {}
        detail = f"the body must be a JSON object, not {_short(body)}"
        raise BadRequest(Problem(400, "invalid_body", detail))
    return body


def _asked(body: dict[str, Any]) -> str:
    """What tells one question of a chat from another; ids alone do not where a message is edited,
    or where a client gives none."""
    messages = body.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    question = [body.get("trigger"), body.get("messageId"), last]
    return sha256(msgspec.json.encode(question, order="sorted")).hexdigest()


def _names(info: SessionInfo) -> tuple[str, str]:
    """What a page may call the answer that is being written."""
    return info.generation, message_id_of(info)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
