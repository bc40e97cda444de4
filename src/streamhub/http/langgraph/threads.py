"""The threads of a graph over HTTP: begin a run, follow it, stop it, see what is stored."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import quote

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from ...chunks import SessionInfo, Status
from ...errors import HubClosed
from ...formats.langgraph import RunEvents
from ...ids import check_session_id, new_generation
from ...producing.ending import OnEnd
from ...serving.asked import Asked as Question
from ...serving.faces import Face
from ...serving.origins import check_origins, refuse_from_elsewhere
from ...serving.queries import count_of, cursor_of, flag_of, held_cursor
from ...stream import LiveStream
from ...wording import short
from ..authorization import Action, Authorize, UserOf, outlast, patience_for
from ..json_bodies import json_object, raw_body
from ..late_hub import HubOf, hub_of
from ..problems import BadRequest, Problem, answers_errors, not_found, nothing
from ..responses import StreamResponse
from .asked import Asked, asked_of, modes_of, unsupported
from .checkpoints import history_of, metadata_of, state_of
from .claiming import claimed, run_session, runs_of
from .owning import Owning, info_of
from .running import Run, Running
from .showing import answered, run_json, state_json, thread_json

__all__ = ["Threads"]

_MOST_STATES = 1000
_RUN_ID = re.compile(r"[0-9a-f-]{36}")
# In seconds, how long a request waits for the end of a run that it has cancelled.
_LONGEST_WAIT = 60.0


class Thread(NamedTuple):
    """What the hub and a graph's checkpointer have of one."""

    id: str
    graph: Any
    #: Of who asks.
    owner: str | None
    #: Of its session; None where it had no run of late.
    info: SessionInfo | None
    #: Of its last checkpoint; None where there is none.
    metadata: Mapping[str, Any] | None

    @property
    def is_stored(self) -> bool:
        return self.info is not None or self.metadata is not None


class Threads:
    """See :func:`streamhub.http.langgraph_routes` for the parameters."""

    def __init__(
        self,
        hub: HubOf,
        graphs: Mapping[str | None, Any],
        *,
        user: UserOf | None,
        authorize: Authorize | None,
        origins: Collection[str],
        session_id: Callable[[str], str],
        takeover_wait: float,
        show_errors: bool,
        on_end: OnEnd | None,
    ) -> None:
        for graph in graphs.values():
            if not callable(getattr(graph, "astream", None)):
                kind = type(graph).__name__
                raise TypeError(f"graph must be a compiled graph (or several by name), not {kind}")
        if not graphs:
            raise TypeError("graph must be a compiled graph, or several by name, not none at all")
        if on_end is not None and not callable(on_end):
            raise TypeError(f"on_end must be a function of the end, not {type(on_end).__name__}")
        self._hub_of = hub_of(hub)
        self._graphs = graphs
        self._owning = Owning(user, authorize)
        self._origins = check_origins(origins)
        self._session_id = session_id
        self._takeover_wait = takeover_wait
        self._show_errors = show_errors
        self._on_end = on_end

    @answers_errors
    async def stream(self, request: Request) -> Response:
        """Begin a run and follow it."""
        asked, run, stream = await self._begun(request)
        where = _place(run.thread_id, run.run_id)
        return self._followed(
            stream,
            run.run_id,
            where=f"{where}/stream",
            headers={"content-location": where},
            cancels=asked.cancel_on_disconnect,
            # Whatever header a proxy adds: what begins here has no past.
            begins=True,
        )

    @answers_errors
    async def begin(self, request: Request) -> Response:
        """Begin a run."""
        _, run, stream = await self._begun(request)
        where = _place(run.thread_id, run.run_id)
        shown = run_json(run.thread_id, run.run_id, await stream.info())
        return answered(shown, headers={"content-location": where})

    @answers_errors
    async def follow(self, request: Request) -> Response:
        thread_id, run_id = request.path_params["thread"], request.path_params["run"]
        stream = await self._run(request, "read")
        stated = request.query_params.getlist("stream_mode")
        query = f"?{request.url.query}" if request.url.query else ""
        return self._followed(
            stream,
            run_id,
            # With its query, which the clients leave out when they come again.
            where=f"{_place(thread_id, run_id)}/stream{query}",
            modes=modes_of(stated) if stated else None,
            cancels=flag_of(request, "cancel_on_disconnect"),
        )

    @answers_errors
    async def run(self, request: Request) -> Response:
        stream = await self._run(request, "read")
        path = request.path_params
        return answered(run_json(path["thread"], path["run"], await stream.info()))

    @answers_errors
    async def cancel(self, request: Request) -> Response:
        refuse_from_elsewhere(request, self._origins)
        action = request.query_params.get("action", "interrupt")
        if action != "interrupt":
            unsupported("action", action, "interrupt: what a run has stored is not taken back")
        waits = flag_of(request, "wait")
        stream = await self._run(request, "cancel")
        status = await stream.cancel(wait=_LONGEST_WAIT if waits else None)
        ended = waits and status is not Status.ACTIVE
        return nothing() if ended else Response(status_code=202)

    @answers_errors
    async def runs(self, request: Request) -> Response:
        most = count_of(request, "limit", 10, 1000)
        offset = request.query_params.get("offset", "0")
        start = int(offset) if offset.isascii() and offset.isdigit() and len(offset) < 10 else 0
        thread = await self._thread(request)
        hub, shown = self._hub_of(request), []
        for run_id in runs_of(thread.info):
            stream = await hub.get(run_session(thread.id, run_id))
            if stream is None:
                continue
            one = await stream.info()
            if not self._owning.alone or one.owner == thread.owner:
                shown.append(run_json(thread.id, run_id, one))
        status = request.query_params.get("status")
        shown = [one for one in shown if status in (None, one["status"])]
        return answered(shown[start : start + most])

    @answers_errors
    async def create(self, request: Request) -> Response:
        """Name a thread. What is known of it begins with its first run."""
        refuse_from_elsewhere(request, self._origins)
        raw = await raw_body(request)
        body = json_object(raw) if raw else {}
        thread_id = body.get("thread_id")
        if body.get("supersteps"):
            unsupported("supersteps", body["supersteps"], "nothing: threads begin empty")
        if body.get("ttl") is not None:
            unsupported("ttl", body["ttl"], "nothing: the checkpointer keeps threads")
        if thread_id is None:
            thread_id = new_generation()
        elif not isinstance(thread_id, str) or not thread_id:
            unsupported("thread_id", thread_id, "some text")
        thread = await self._thread(request, "produce", thread_id)
        if thread.is_stored and body.get("if_exists", "raise") in (None, "raise"):
            raise BadRequest(Problem(409, "exists", f"there is a thread {short(thread_id)}"))
        metadata = body.get("metadata")
        stated = metadata if isinstance(metadata, dict) else None
        state = await self._readable(thread)
        return answered(thread_json(thread_id, thread.info, state, stated))

    @answers_errors
    async def thread(self, request: Request) -> Response:
        thread = await self._thread(request)
        if not thread.is_stored:
            raise BadRequest(not_found())
        return answered(thread_json(thread.id, thread.info, await self._readable(thread)))

    @answers_errors
    async def state(self, request: Request) -> Response:
        """What the checkpointer has of a thread; an empty state where it has nothing."""
        thread = await self._thread(request)
        checkpoint = request.path_params.get("checkpoint")
        subgraphs = flag_of(request, "subgraphs")
        state = await state_of(thread.graph, thread.id, checkpoint, subgraphs=subgraphs)
        return answered(state_json(state))

    @answers_errors
    async def history(self, request: Request) -> Response:
        """The states of a thread, the newest first."""
        raw = await raw_body(request)
        body = json_object(raw) if raw else {}
        limit = body.get("limit", 10)
        if isinstance(limit, bool) or not isinstance(limit, int) or not 0 < limit <= _MOST_STATES:
            unsupported("limit", limit, f"a whole number from 1 to {_MOST_STATES}")
        thread = await self._thread(request)
        states = await history_of(thread.graph, thread.id, body, limit=limit)
        return answered([state_json(one) for one in states])

    async def _begun(self, request: Request) -> tuple[Asked, Run, LiveStream]:
        refuse_from_elsewhere(request, self._origins)
        asked = await asked_of(request)
        graph = self._graph(asked.assistant_id)
        thread_id = request.path_params.get("thread")
        alone = thread_id is None
        if thread_id is None:
            thread_id = new_generation()
        owner = (await self._thread(request, "produce", thread_id, graph)).owner
        run_id = new_generation()
        run = Run(run_id, thread_id, run_session(thread_id, run_id), owner, alone)
        check_session_id(run.session_id)
        hub = self._hub_of(request)
        running = Running(hub, graph, asked, run, self._on_end)
        thread = await claimed(
            hub,
            running,
            self._session_id(thread_id),
            interrupts=asked.strategy == "interrupt",
            wait=self._takeover_wait,
            owning=self._owning,
        )
        return asked, run, await running.begun(thread)

    def _followed(
        self,
        stream: LiveStream,
        run_id: str,
        *,
        where: str,
        cancels: bool,
        begins: bool = False,
        modes: Collection[str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        return StreamResponse(
            stream,
            face=Face(
                format=lambda request: RunEvents(run_id, modes),
                cursor=_from_the_start if begins else _after,
                batch=lambda request: False,
            ),
            show_errors=self._show_errors,
            # Both clients put it behind the address of the server that they were given.
            headers={"location": where, **(headers or {})},
            background=BackgroundTask(_cancel, stream) if cancels else None,
        )

    def _graph(self, assistant_id: str) -> Any:
        """:raises BadRequest: there is no such assistant."""
        if None in self._graphs:
            return self._graphs[None]
        if assistant_id not in self._graphs:
            named = ", ".join(map(str, self._graphs))
            detail = f"assistant_id must be one of {named}, not {short(assistant_id)}"
            raise BadRequest(Problem(404, "assistant_not_found", detail))
        return self._graphs[assistant_id]

    async def _thread(
        self,
        request: Request,
        action: Action = "read",
        thread_id: str | None = None,
        graph: Any | None = None,
    ) -> Thread:
        """
        :param thread_id: by default that of the request's path.
        :param graph: by default that of its last run.
        :raises BadRequest: it is not for who asks.
        """
        thread_id = request.path_params["thread"] if thread_id is None else thread_id
        session_id = self._session_id(thread_id)
        check_session_id(session_id)
        owner = await self._owning.owner(request, session_id, action)
        info = await info_of(await self._hub_of(request).get(session_id))
        if info is not None:
            self._owning.check_stream(info, owner)
        graph = await self._graph_of(thread_id) if graph is None else graph
        metadata = await metadata_of(graph, thread_id)
        self._owning.check_stored(metadata, owner)
        return Thread(thread_id, graph, owner, info, metadata)

    async def _readable(self, thread: Thread) -> Any | None:
        """The thread's state; None where there is none that can be read."""
        with suppress(BadRequest):
            return await state_of(thread.graph, thread.id)
        return None

    async def _graph_of(self, thread_id: str) -> Any:
        """That of the assistant whose run was the thread's last one; the first one where none
        was."""
        for graph in self._graphs.values():
            metadata = await metadata_of(graph, thread_id)
            if metadata is not None:
                return self._graphs.get(metadata.get("assistant_id"), graph)
        return next(iter(self._graphs.values()))

    async def _run(self, request: Request, action: Action) -> LiveStream:
        """:raises BadRequest: there is none, or it is not for who asks."""
        thread_id, run_id = request.path_params["thread"], request.path_params["run"]
        owner = await self._owning.owner(request, self._session_id(thread_id), action)
        if not _RUN_ID.fullmatch(run_id):  # it may not name a run of another thread
            raise BadRequest(not_found())
        hub, began = self._hub_of(request), asyncio.get_running_loop().time()
        cursor = held_cursor(request, _after)
        stream = await hub.get(run_session(thread_id, run_id), after=cursor)
        if stream is None:
            raise BadRequest(not_found())
        if self._owning.alone:
            try:
                self._owning.check_stream(await stream.info(), owner)
            except BadRequest:
                await outlast(began, patience_for(hub, cursor))
                raise
        return stream


def _place(thread_id: str, run_id: str) -> str:
    return f"/threads/{quote(thread_id, safe='')}/runs/{quote(run_id, safe='')}"


def _after(request: Question) -> str | None:
    """Where the client stands; ``-1`` is how it asks for all."""
    cursor = cursor_of(request)
    return None if cursor == "-1" else cursor


def _from_the_start(request: Question) -> str | None:
    return None


async def _cancel(stream: LiveStream) -> None:
    """The client has gone, or has had the end: to one that has ended this does nothing. A server
    that shuts down breaks off, too: that is no wish of the client's."""
    if stream.stopping != "handover":
        with suppress(HubClosed):
            await stream.cancel(reason="its client has disconnected")
