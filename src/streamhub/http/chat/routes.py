"""The routes of chats, for Starlette."""

from __future__ import annotations

from collections.abc import Callable, Collection

from starlette.routing import BaseRoute, Route, WebSocketRoute

from ...producing.ending import OnEnd
from ...supervisor import Resume
from ..authorization import Authorize, UserOf
from ..late_hub import HubOf
from .answering import Answer
from .chats import Chats

__all__ = ["chat_routes"]


def chat_routes(
    hub: HubOf,
    answer: Answer,
    *,
    path: str = "/api/chat",
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
) -> list[BaseRoute]:
    """Routes for ``useChat({ resume: true })``, for ``Starlette(routes=…)`` or FastAPI's
    ``app.router.routes.extend(…)``; :func:`chat_router` makes a router for FastAPI of them.

    ============================  =================================================================
    ``POST {path}``               begins an answer and streams it; it goes on if the client leaves
    ``GET {path}/{chat}/stream``  resumes it: all of it from the start; 204 when none is running
    ``POST {path}/{chat}/stop``   stops the producer, wherever it runs
    WebSocket ``{path}``          all of that for ``WebSocketChatTransport``
    ``GET …/stream?startIndex=``  what comes after so many parts, for ``WorkflowChatTransport``
    ============================  =================================================================

    Of one chat one answer is written at a time: a second message meanwhile is answered with
    409 and ``Retry-After``, unless the first has been told to stop. The same message posted again
    follows the answer that is being written to it, unless that has been told to stop, too. Where
    the message that was posted last is the assistant's, because a tool has answered in the page,
    the answer goes on in it, under its id.

    :param hub: or a function that finds it, given the request if it takes one, as
        ``lambda request: request.app.state.hub``.
    :param answer: given the body of the request, and the request if it takes two; may be async. It
        is called once for an answer, by whoever has claimed the session. What it raises before
        it returns is the framework's to answer, as an ``HTTPException`` with its status; the
        session ends as failed by it.
    :param user: who sends a request: the owner of the session. Sessions are then kept apart by
        :func:`owned_by`, unless ``authorize`` says otherwise: a chat of somebody else's looks like
        one that is not there, and nothing is done to it.
    :param authorize: asked before anything is done or told. Without it and ``user`` everybody may
        read and stop every chat.
    :param origins: of which other sites pages may ask and stop, as ``https://example.org``; ``"*"``
        for all. Where a browser adds what authorises by itself, as cookies, others get 403.
    :param session_id: the session of a chat's id.
    :param takeover_wait: how many seconds to wait for an answer that was told to stop.
    :param restart_lost: whether a question waits, up to a lease, where nobody seems to write the
        answer before it any more, and takes its place as soon as that shows. Where somebody writes
        it, the 409 comes with the next sign of life, within a third of a lease.
    :param replay_ended: whether resuming also replays an answer that has ended, while it is stored,
        so that a page that was cut off before the end gets the rest. For applications that keep
        messages under the ids that the stream gave them: others would show such a message twice.
    :param error_text: as for :class:`UIMessageStreamResponse`.
    :param on_end: as for ``Hub.register``: told of each end, that of an answer that was stopped
        with what there is of it.
    :param resume: as for ``Hub.supervise``, which is called with it and ``on_end`` at the first
        request: an answer that loses its producer goes on in this process or another one, and its
        readers read on. It looks after *all* sessions that the store has under the hub's
        ``key_prefix``: where there are others than chats, have ``resume`` tell them apart.

    ::

        async def answer(body):
            async for token in model.stream(body["messages"]):
                yield token

        app = Starlette(routes=chat_routes(hub, answer))
    """
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
    unknown = [one.name for one in chats.call.wants if one.default is one.empty]
    if unknown:
        raise TypeError(
            f"answer must take (body) or (body, request), and wants {', '.join(unknown)}, too: "
            "chat_router gives it what FastAPI's dependencies are"
        )
    return [
        Route(path, chats.ask, methods=["POST"]),
        Route(f"{path}/{{chat:path}}/stream", chats.resume, methods=["GET"]),
        Route(f"{path}/{{chat:path}}/stop", chats.stop, methods=["POST"]),
        WebSocketRoute(path, chats.connect),
    ]
