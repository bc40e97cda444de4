"""The chats of an application over HTTP: begin an answer, follow it, stop it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from ...chunks import SessionInfo, Status
from ...errors import HubClosed, SessionNotFound, StoreUnsupported
from ...hub import Hub
from ...ids import check_session_id
from ...parts import ToolApprovalResponse, message_id_of
from ...producing.ending import OnEnd
from ...serving.disconnects import unless_gone
from ...serving.faces import Face, ui_message_face
from ...serving.origins import check_origins, refuse_from_elsewhere
from ...stream import LiveStream
from ...supervisor import Resume, Supervisor
from ..authorization import Access, Authorize, UserOf
from ..late_hub import HubOf, hub_of
from ..problems import Problem, answers_errors, not_found, nothing
from ..responses import StreamResponse
from .answering import Answer, Answering, Call
from .approving import approvals_in, approved
from .questions import Question, question_of, stated_in
from .reconnecting import Reconnecting, nothing_more, place_of
from .runs import RUN_HEADER, is_run_of, named_by, run_id_of
from .socket import ChatSocket

__all__ = ["Chats"]

# How often in a lease a producer renews it, and then some.
_LOOKS_PER_LEASE = 6


class Chats:
    """See :func:`streamhub.http.chat_routes` for the parameters."""

    def __init__(
        self,
        hub: HubOf,
        answer: Answer,
        *,
        user: UserOf | None,
        authorize: Authorize | None,
        session_id: Callable[[str], str],
        takeover_wait: float,
        restart_lost: bool,
        replay_ended: bool,
        error_text: Callable[[str, str], str] | None,
        origins: Collection[str],
        on_end: OnEnd | None,
        resume: Resume | None,
    ) -> None:
        self._hub_of = hub_of(hub)
        self.call: Call = Call(answer)
        self._access = Access(hub, user, authorize)
        self._session_id = session_id
        self._takeover_wait = takeover_wait
        self._restart_lost = restart_lost
        self._replay_ended = replay_ended
        self._error_text = error_text
        self._origins = check_origins(origins)
        if on_end is not None and not callable(on_end):
            raise TypeError(f"on_end must be a function of the end, not {type(on_end).__name__}")
        self._on_end = on_end
        if resume is not None and not callable(resume):
            kind = type(resume).__name__
            raise TypeError(f"resume must be an async function of the lost session, not {kind}")
        self._resume = resume
        #: Of each hub that was found: it begins with the first request, in the event loop.
        self._supervisors: WeakKeyDictionary[Hub, Supervisor] = WeakKeyDictionary()

    def supervise(self, hub: Hub) -> None:
        """See to it that what is lost on ``hub`` is resumed, if anybody says how.

        :raises RuntimeError: its store cannot: no outage, which a client is told to wait for.
        """
        if self._resume is not None and hub not in self._supervisors:
            try:
                supervisor = hub.supervise(self._resume, on_end=self._on_end)
            except HubClosed:
                return
            except StoreUnsupported as error:
                raise RuntimeError(f"resume cannot be used here: {error}") from error
            self._supervisors[hub] = supervisor

    @answers_errors
    async def ask(self, request: Request, **given: Any) -> Response:
        """Begin an answer.

        :param given: what ``answer`` gets by name.
        :raises Exception: what ``answer`` raises before it has said what to draw from.
        """
        self._check_origin(request)
        question = await question_of(request)
        session_id = self._session_id(question.chat)
        check_session_id(session_id)
        if not await self._access.allows(question.request, session_id, "produce"):
            return not_found()
        approvals = approvals_in(question.message)
        since = 0
        begun: LiveStream | Response | None = None
        if approvals:
            begun, since = await self._approved(question, session_id, approvals)
        if begun is None:
            begun = await self._begun(request, session_id, question, given)
        if isinstance(begun, Response):
            return begun
        return self._followed(
            begun,
            ui_message_face(
                error_text=self._error_text,
                since=since,
                answered=approvals if since else (),
                pausing=True,
            ),
            {RUN_HEADER: run_id_of(begun, question.chat, since)},
        )

    async def resume(self, request: Request) -> Response:
        chat = request.path_params["chat"]
        if "startIndex" in request.query_params:
            return await self._reconnected(request, chat)

        async def found() -> LiveStream | None:
            stream = await self._readable(request, self._session_id(chat))
            if stream is not None:
                response.headers[RUN_HEADER] = run_id_of(stream, chat)
            return stream

        face = ui_message_face(
            resume=True,
            replay_ended=self._replay_ended,
            error_text=self._error_text,
            pausing=True,
        )
        response = self._followed(found(), face)
        return response

    def _followed(
        self,
        stream: LiveStream | Awaitable[LiveStream | None],
        face: Face,
        headers: dict[str, str] | None = None,
    ) -> Response:
        shown = self._error_text is not None
        return StreamResponse(stream, face=face, show_errors=shown, headers=headers)

    async def _approved(
        self,
        question: Question,
        session_id: str,
        approvals: dict[str, ToolApprovalResponse],
    ) -> tuple[LiveStream | None, int]:
        """The answer that has waited for them, and where it goes on; None if none has."""
        stream = await self._hub(question.request).get(session_id)
        if stream is not None:
            with suppress(SessionNotFound):
                info = await stream.info()
                owner = await self._access.owner(question.request)
                if not self._access.keeps_out(owner, info):
                    since = await approved(stream, info, approvals)
                    if since is not None:
                        return stream, since
        return None, 0

    @answers_errors
    async def _reconnected(self, request: Request, name: str) -> Response:
        chat, mark, since = named_by(name)
        place = place_of(request)
        assert place is not None
        stream = await self._readable(request, self._session_id(chat))
        if mark is not None and (stream is None or not is_run_of(stream, mark)):
            return not_found()
        if stream is None:
            return nothing_more()
        if mark is None and place == 0 and not self._replay_ended:
            info = await stream.info()
            if info.status not in (Status.ACTIVE, Status.LOST):
                return nothing_more()
        # Who knows the answer's name has asked for it, and has what its message held before.
        reconnecting = Reconnecting(self._error_text, replay=mark is None, since=since)
        run_id = run_id_of(stream, chat, since)
        return await reconnecting.response(stream, run_id, place)

    async def connect(self, websocket: WebSocket) -> None:
        """Serve many chats on one connection."""
        await ChatSocket.connect(websocket, self._origins)

    @answers_errors
    async def stop(self, request: Request) -> Response:
        chat, mark, _ = named_by(request.path_params["chat"])
        session_id = self._session_id(chat)
        self._check_origin(request)
        if not await self._access.allows(request, session_id, "cancel"):
            return not_found()
        named = (await stated_in(request)).get("activeStreamId")
        stream = await self._hub(request).get(session_id)
        if stream is None:
            return not_found()
        # A page that does not know yet that a new answer has begun must not stop that.
        if mark is not None and not is_run_of(stream, mark):
            return nothing()
        if named is None or _is_named(await stream.info(), named):
            await stream.cancel()
        return nothing()

    async def _begun(
        self, request: Request, session_id: str, question: Question, given: dict[str, Any]
    ) -> LiveStream | Response:
        """The answer to the question, or why there is none."""
        hub = self._hub(request)
        owner = await self._access.owner(question.request)
        going_on = await self._resumed(hub, session_id, owner, question)
        if going_on is not None:
            return going_on
        waited = False
        while True:
            make = partial(self.call, question.body, question.request, given)
            answering = Answering(make, question.message)
            stream = await hub.run(
                session_id,
                answering.produce,
                owner=owner,
                request=question.key,
                same_owner=self._access.own_alone,
                on_end=self._on_end,
            )
            if stream.generation is not None:
                await answering.made(stream)
                return stream
            try:
                info = await stream.info()
            except SessionNotFound:
                continue
            if self._access.keeps_out(owner, info):
                return not_found()
            stops = info.cancelling or info.status is Status.CANCELLED
            if info.request == question.key and not stops:
                return stream
            # Somebody who has gone does not ask any more.
            with suppress(SessionNotFound):  # removed, or forgotten, meanwhile
                if waited or not await unless_gone(
                    request.receive, self._becomes_free(hub, stream, info)
                ):
                    return _busy(info)
            waited = True

    async def _resumed(
        self, hub: Hub, session_id: str, owner: str | None, question: Question
    ) -> LiveStream | None:
        """The answer to this question, if that was lost and is about to be resumed."""
        stream = None if self._resume is None else await hub.get(session_id)
        if stream is None:
            return None
        with suppress(SessionNotFound):
            info = await stream.info()
            if info.status is Status.LOST and info.request == question.key:
                return None if self._access.keeps_out(owner, info) else stream
        return None

    async def _becomes_free(self, hub: Hub, stream: LiveStream, info: SessionInfo) -> bool:
        """Whether the session of another question may be asked for again, after waiting for what
        can be waited for: an answer that stops, or one that seems to have lost its producer."""
        if info.cancelling:
            status = await stream.wait(self._takeover_wait)
            if status is not Status.ACTIVE or not self._restart_lost:
                return True
        if not self._restart_lost:
            return info.status is not Status.ACTIVE
        pause = hub.config.lease / _LOOKS_PER_LEASE
        left, mark = info.lease or 0.0, (info.generation, info.lease_mark)
        while await stream.wait(min(pause, left + pause / 2)) is Status.ACTIVE:
            info = await stream.info()
            renewed = (info.lease or 0.0) > left or (info.generation, info.lease_mark) != mark
            if renewed:
                return False
            left = info.lease or 0.0
        return True

    async def _readable(self, request: Request, session_id: str) -> LiveStream | None:
        # In this order: what is not there all may look for, and is somebody's a moment later.
        stream = await self._hub(request).get(session_id)
        # Who may not read it is answered as if there was nothing, and nothing is no error.
        return stream if await self._access.allows(request, session_id, "read") else None

    def _hub(self, request: Request) -> Hub:
        hub = self._hub_of(request)
        self.supervise(hub)
        return hub

    def _check_origin(self, request: Request) -> None:
        refuse_from_elsewhere(request, self._origins)


def _busy(info: SessionInfo) -> Problem:
    detail = "an answer in this chat is still being written; stop it, or wait for its end"
    # If nobody writes it any more, this is when that shows.
    seconds = max(1, math.ceil(info.lease or 0.0))
    return Problem(409, "busy", detail, {"retry-after": str(seconds)})


def _is_named(info: SessionInfo, name: object) -> bool:
    """Whether a page may call the answer that is being written so; it may post anything."""
    continued = (info.request or "").partition(":")[2]
    if not isinstance(name, str) or not name:
        return False
    mark = named_by(name).mark
    return name in (info.generation, message_id_of(info), continued) or (
        mark is not None and is_run_of(info, mark)
    )
