"""All of a hub's sessions over HTTP, as an application to serve or to mount."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..chunks import SessionInfo, Status
from ..errors import StreamHubError, StreamReplaced
from ..formats.endings import told_of
from ..formats.info_json import info_json
from ..hub import Hub
from ..serving.cancelling import answer_of
from ..serving.disconnects import ClientGone, unless_gone
from ..serving.origins import check_origins, refuse_from_elsewhere
from ..serving.queries import count_of, held_cursor, seconds_of, status_of
from ..stream import LiveStream
from .authorization import Action, Authorize, OwnedBy, is_allowed, outlast, patience_for
from .durable_streams.streams import DurableStreams
from .listing import ListingResponse
from .messages import sent_message
from .problems import NOT_STORED, BadRequest, Problem, not_found, nothing, problem_of, response_of
from .responses import StreamResponse

__all__ = ["create_app"]

_LONGEST_WAIT = 30.0
# Less than what the stock clients of Durable Streams wait for an answer.
_LONG_POLL = 20.0
_LISTED = 100
_MOST_LISTED = 1000


def create_app(
    hub: Hub,
    *,
    authorize: Authorize | None = None,
    max_wait: float = _LONGEST_WAIT,
    heartbeat: float = 15.0,
    show_errors: bool = False,
    origins: Collection[str] = (),
) -> Starlette:
    """The sessions of ``hub`` over HTTP. Mount it, or serve it; the hub is yours to close.

    ====================================  =======================================================
    ``GET /sessions``                     list them; ``?owner=``, ``?status=``, ``?limit=``
    ``GET /sessions/{session}``           how one stands, with its metadata
    ``GET /sessions/{session}/stream``    follow it, see :class:`StreamResponse`; ``?wait=`` for one
                                          that is not there yet
    ``POST /sessions/{session}/cancel``   stop its producer; ``?wait=`` for the end; ``?reason=``
    ``POST /sessions/{session}/inbox``    send its producer a message: ``{"data": …, "event": …}``
    ``DELETE /sessions/{session}``        remove it
    ``GET /streams/{session}``            the same for clients of Durable Streams, see
                                          :func:`durable_streams_routes`
    ``GET /health``                       200 while the store answers, else 503
    ``GET /openapi.json``                 the description of all this
    ====================================  =======================================================

    A session's id is one segment of the path, percent-encoded. Errors are JSON problems (RFC 9457).

    :param authorize: asked before anything is done or told; what it refuses is answered with 404.
        **Without it everybody may read, cancel and remove every session, and send to it.** See
        :func:`owned_by`.
    :param max_wait: the longest ``?wait=``, in seconds.
    :param heartbeat: as for :class:`StreamResponse`.
    :param show_errors: whether clients are told why a session has failed, which is the text of the
        producer's exception as a rule; for those who run the producers.
    :param origins: of which other sites pages may stop, send to and remove sessions, as
        ``https://example.org``; ``"*"`` means all. Such a request from elsewhere is answered with
        403 where it carries cookies, or a password that the browser keeps.
    """
    api = _Api(
        hub, authorize, max_wait, heartbeat, show_errors=show_errors, origins=check_origins(origins)
    )
    streams = DurableStreams(
        hub,
        authorize=authorize,
        session_of=_session_of,
        shape="ui",
        public=False,
        long_poll=min(max_wait, _LONG_POLL),
        heartbeat=heartbeat,
        error_text=_reason if show_errors else None,
    )
    one = "/sessions/{session}"
    app = Starlette(
        routes=[
            Route("/sessions", api.list, methods=["GET"]),
            Route(one, api.one, methods=["GET", "DELETE"]),
            Route(f"{one}/stream", api.stream, methods=["GET"]),
            Route(f"{one}/cancel", api.cancel, methods=["POST"]),
            Route(f"{one}/inbox", api.send, methods=["POST"]),
            Route("/streams/{session}", streams.answer, methods=["GET"]),
            Route("/health", api.health, methods=["GET"]),
            Route("/openapi.json", api.describe, methods=["GET"]),
        ],
        middleware=[Middleware(_EncodedPath)],
        exception_handlers={
            BadRequest: _on_bad_request,
            StreamHubError: _on_error,
            HTTPException: _on_http_exception,
            ClientDisconnect: _on_gone,
            ClientGone: _on_gone,
        },
    )
    app.router.redirect_slashes = False
    return app


class _Api:
    def __init__(
        self,
        hub: Hub,
        authorize: Authorize | None,
        max_wait: float,
        heartbeat: float,
        *,
        show_errors: bool,
        origins: frozenset[str],
    ) -> None:
        self._hub = hub
        self._authorize = authorize
        self._max_wait = max_wait
        self._heartbeat = heartbeat
        self._show_errors = show_errors
        self._origins = origins

    async def list(self, request: Request) -> Response:
        owner = request.query_params.get("owner")
        status = status_of(request)
        limit = count_of(request, "limit", _LISTED, _MOST_LISTED)
        found = self._found(request, owner, status, limit)
        # That the store cannot be reached is said before anything else is.
        return ListingResponse(found, await anext(found, None))

    async def one(self, request: Request) -> Response:
        # One route, so that it can tell all of its methods.
        return await (self._remove if request.method == "DELETE" else self._info)(request)

    async def _info(self, request: Request) -> Response:
        stream = await self._find(request, "read")
        return not_found() if stream is None else _json(self._seen(await stream.info()))

    async def _remove(self, request: Request) -> Response:
        refuse_from_elsewhere(request, self._origins)
        if not await self._is_allowed(request, "remove"):
            return not_found()
        removed = await self._hub.remove(_session_of(request))
        return Response(status_code=204) if removed else not_found()

    async def stream(self, request: Request) -> Response:
        wait = seconds_of(request, "wait", self._max_wait)
        return StreamResponse(
            self._readable(request, wait),
            heartbeat=self._heartbeat,
            on_reset=lambda: self._is_allowed(request, "read"),
            show_errors=self._show_errors,
        )

    async def cancel(self, request: Request) -> Response:
        refuse_from_elsewhere(request, self._origins)
        wait = seconds_of(request, "wait", self._max_wait)
        reason = request.query_params.get("reason")
        stream = await self._find(request, "cancel")
        if stream is None:
            return not_found()
        status = await unless_gone(request.receive, stream.cancel(wait=wait, reason=reason))
        return response_of(answer_of(stream.session_id, status))

    async def send(self, request: Request) -> Response:
        refuse_from_elsewhere(request, self._origins)
        stream = await self._find(request, "send")
        if stream is None:
            return not_found()
        sent = await sent_message(request, self._hub.config.max_chunk_bytes)
        try:
            message_id = await stream.send(sent.data, sent.event, key=sent.key)
        except StreamReplaced:
            # The one that was found has ended since.
            return Problem(409, "stream_closed", "the stream has ended, and another has begun")
        return _json({"session_id": stream.session_id, "id": message_id}, 202)

    async def health(self, request: Request) -> Response:
        # Any question will do: what counts is that the store answers.
        await self._hub.active(["health"])
        return _json({"status": "ok"})

    async def describe(self, request: Request) -> Response:
        description = msgspec.json.decode(_description())
        description["servers"] = [{"url": quote(request.scope.get("root_path", "")) or "/"}]
        description["components"]["parameters"]["wait"]["schema"]["maximum"] = self._max_wait
        return _json(description)

    async def _found(
        self, request: Request, owner: str | None, status: Status | None, limit: int
    ) -> AsyncGenerator[bytes]:
        """The sessions that the request may see, each as JSON."""
        # An async generator, which is to be closed when enough are found.
        listed = self._hub.sessions(owner=owner, status=status)
        async with aclosing(listed) as infos:  # type: ignore[type-var]
            async for info in infos:
                if await self._may_see(request, info):
                    yield msgspec.json.encode(self._seen(info))
                    limit -= 1
                    if not limit:
                        return

    async def _find(self, request: Request, action: Action) -> LiveStream | None:
        # In this order: what is not there all may look for, and is somebody's a moment later.
        stream = await self._hub.get(_session_of(request))
        return stream if await self._is_allowed(request, action) else None

    async def _readable(self, request: Request, wait: float | None) -> LiveStream | None:
        cursor = held_cursor(request)
        patience = patience_for(self._hub, cursor, wait)
        if not patience:
            return await self._find(request, "read")
        began = asyncio.get_running_loop().time()
        # In this order, as in ``_find``.
        stream = await self._hub.get(_session_of(request), wait=wait, after=cursor)
        if stream is not None and not await self._is_allowed(request, "read"):
            await outlast(began, patience)
            return None
        return stream

    def _seen(self, info: SessionInfo) -> dict[str, Any]:
        """What a client is told of a session."""
        seen = info_json(info)
        if info.status is Status.FAILED and not self._show_errors:
            seen["error"] = told_of(info.status.value)
        return seen

    async def _is_allowed(self, request: Request, action: Action) -> bool:
        return await is_allowed(self._authorize, request, _session_of(request), action)

    async def _may_see(self, request: Request, info: SessionInfo) -> bool:
        if isinstance(self._authorize, OwnedBy):
            return await self._authorize.allows(request, info)
        return await is_allowed(self._authorize, request, info.session_id, "read")


class _EncodedPath:
    """Routes by the path as it was sent: a slash in a session's id must not divide it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = scope.get("raw_path")
        if scope["type"] == "http" and raw:
            sent = raw.partition(b"?")[0].decode("latin-1")
            scope = {**scope, "path": _as_sent(scope["path"], sent, scope.get("root_path", ""))}
        await self._app(scope, receive, send)


def _as_sent(path: str, sent: str, root: str) -> str:
    """``path`` with the part below ``root``, where the routes are, as it was sent."""
    if not path.startswith(f"{root}/"):
        # A proxy has taken the root away.
        root = ""
    below = path[len(root) :]
    # What is above may have been encoded in any way, or be the server's own.
    starts = (place for place, sign in enumerate(sent) if sign == "/")
    encoded = (sent[place:] for place in starts if unquote(sent[place:]) == below)
    return root + next(encoded, below)


def _session_of(request: Request) -> str:
    """:raises BadRequest: the id is not UTF-8."""
    try:
        return unquote_to_bytes(request.path_params["session"]).decode()
    except UnicodeDecodeError:
        detail = "the session's id must be percent-encoded UTF-8"
        raise BadRequest(Problem(400, "invalid_session_id", detail)) from None


def _reason(status: str, reason: str) -> str:
    return reason


def _json(value: object, status: int = 200) -> Response:
    return Response(
        msgspec.json.encode(value), status, headers=NOT_STORED, media_type="application/json"
    )


@cache
def _description() -> bytes:
    return (files(__package__) / "openapi.json").read_bytes()


async def _on_bad_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, BadRequest)
    return response_of(error.problem)


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, StreamHubError)
    return problem_of(error)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = error.detail.lower().replace(" ", "_") if error.status_code < 500 else "error"
    return Problem(error.status_code, code, error.detail, error.headers)


async def _on_gone(request: Request, error: Exception) -> Response:
    return nothing()
