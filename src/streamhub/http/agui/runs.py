"""The runs of an agent over HTTP: begin one, follow it, stop it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from ...chunks import Status
from ...errors import SessionNotFound
from ...formats.agui import AGUI, EventId
from ...hub import Hub
from ...ids import check_session_id
from ...producing.ending import OnEnd
from ...serving.faces import Face
from ...serving.origins import check_origins, refuse_from_elsewhere
from ...stream import LiveStream
from ..authorization import Access, Authorize, UserOf, outlast, patience_for
from ..chat.answering import Answer, Answering, Call
from ..late_hub import HubOf, hub_of
from ..problems import Problem, answers_errors, not_found, nothing
from ..responses import StreamResponse
from .asked import Asked, after_of, asked_of, lines_of, run_of
from .socket import RunSocket

__all__ = ["Runs"]


class Runs:
    """See :func:`streamhub.http.agui_routes` for the parameters."""

    def __init__(
        self,
        hub: HubOf,
        agent: Answer,
        *,
        user: UserOf | None,
        authorize: Authorize | None,
        session_id: Callable[[str], str],
        error_text: Callable[[str, str], str] | None,
        origins: Collection[str],
        on_end: OnEnd | None,
    ) -> None:
        self._hub_of = hub_of(hub)
        self.call: Call = Call(agent, "agent")
        self._access = Access(hub, user, authorize)
        self._session_id = session_id
        self._error_text = error_text
        self._origins = check_origins(origins)
        self._on_end = on_end

    @answers_errors
    async def run(self, request: Request) -> Response:
        """Begin a run and follow it; or follow it only, from where the client stands.

        :raises Exception: what ``agent`` raises before it has said what to draw from.
        """
        refuse_from_elsewhere(request, self._origins)
        after = after_of(request)
        asked = await asked_of(request)
        session_id = self._session_id(asked.run)
        check_session_id(session_id)
        begun: LiveStream | Response | None
        if after is not None:
            # Whoever has an event knows that there is a run: it is never begun anew.
            begun = await self._found(request, session_id, after)
        elif await self._access.allows(request, session_id, "produce"):
            begun = await self._begun(self._hub_of(request), request, session_id, asked)
        else:
            begun = None
        if begun is None:
            return not_found()
        if isinstance(begun, Response):
            return begun
        return self._response(request, begun, asked.run, asked.thread, after)

    @answers_errors
    async def follow(self, request: Request) -> Response:
        run, after = run_of(request), after_of(request)
        stream = await self._found(request, self._session_id(run), after)
        if stream is None:
            return not_found()
        return self._response(request, stream, run, request.query_params.get("threadId"), after)

    @answers_errors
    async def stop(self, request: Request) -> Response:
        session_id = self._session_id(request.path_params["run"])
        refuse_from_elsewhere(request, self._origins)
        if not await self._access.allows(request, session_id, "cancel"):
            return not_found()
        stream = await self._hub_of(request).get(session_id)
        if stream is None:
            return not_found()
        await stream.cancel()
        return nothing()

    async def connect(self, websocket: WebSocket) -> None:
        await RunSocket.connect(websocket, self._origins)

    async def _found(
        self, request: Request, session_id: str, after: EventId | None
    ) -> LiveStream | None:
        """The run, if there is one that may be read."""
        hub, began = self._hub_of(request), asyncio.get_running_loop().time()
        cursor = None if after is None else after.cursor
        # In this order: what is not there all may look for, and is somebody's a moment later.
        stream = await hub.get(session_id, after=cursor)
        if stream is not None and not await self._access.allows(request, session_id, "read"):
            await outlast(began, patience_for(hub, cursor))
            return None
        return stream

    async def _begun(
        self, hub: Hub, request: Request, session_id: str, asked: Asked
    ) -> LiveStream | Response:
        owner = await self._access.owner(request)
        stream = await hub.get(session_id)
        while True:
            with suppress(SessionNotFound):
                if stream is not None:
                    info = await stream.info()
                    if self._access.keeps_out(owner, info):
                        return not_found()
                    # A run that was asked for twice is one run, whether or not it has ended.
                    if info.request == asked.key and info.status is not Status.LOST:
                        return stream
                    if info.status is Status.ACTIVE:
                        return _taken(asked.run)
            answering = Answering(partial(self.call, asked.body, request, {}))
            stream = await hub.run(
                session_id,
                answering.produce,
                owner=owner,
                request=asked.key,
                same_owner=self._access.own_alone,
                on_end=self._on_end,
            )
            if stream.generation is not None:
                await answering.made(stream)
                return stream

    def _response(
        self,
        request: Request,
        stream: LiveStream,
        run: str,
        thread: str | None,
        after: EventId | None,
    ) -> Response:
        lines = lines_of(request)
        face = Face(
            format=lambda asked: AGUI(
                run, thread=thread, after=after, lines=lines, error_text=self._error_text
            ),
            # All of it is read, to know what is open where the client stands.
            cursor=lambda asked: None,
            batch=lambda asked: False,
        )
        shown = self._error_text is not None
        return StreamResponse(stream, face=face, show_errors=shown)


def _taken(run: str) -> Problem:
    detail = f"the run {run[:80]!r} is being produced from another input"
    return Problem(409, "busy", detail, {"retry-after": "1"})
