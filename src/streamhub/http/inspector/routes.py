"""The inspector's page, what it asks its server for, and what it has done."""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any, Literal, TypeAlias, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...board import Query, Sort
from ...errors import SessionCorrupted
from ...hub import Hub
from ...ids import check_session_id
from ...serving.answers import bad_request
from ...serving.origins import check_origins, refuse_from_elsewhere
from ...serving.queries import count_of
from ...stream import LiveStream
from ..problems import NOT_STORED, BadRequest, Problem, answers_errors, not_found
from ..responses import StreamResponse
from .event_stream import EventStream
from .telling import board_json, board_news, session_news

__all__ = ["PUBLIC", "Findings", "Operator", "inspector_routes"]

#: What is done: ``read`` sees all sessions, the others change one.
OperatorAction = Literal["read", "cancel", "hand_over", "remove"]
#: Whether a request may look at all sessions, or do something with any of them.
Operator: TypeAlias = Callable[[Request, OperatorAction], bool | Awaitable[bool]]
#: What the store's servers mean for the guarantees: values that JSON can hold.
Findings: TypeAlias = Callable[[], Awaitable[Sequence[Any]]]

_ASSETS = {
    "style.css": "text/css",
    **dict.fromkeys(
        (
            "app.js", "api.js", "board.js", "dialog.js", "parts.js", "server.js", "session.js",
            "timeline.js", "words.js",
        ),
        "text/javascript",
    ),
}  # fmt: skip
#: The paths that hold nothing of anybody's sessions, and so need no token.
PUBLIC = frozenset({"/", *(f"/inspector/{name}" for name in _ASSETS)})

_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'",
    "cache-control": "no-cache",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_LIMIT, _MOST_ROWS = 100, 500
_LONGEST_METADATA = 64 * 1024
#: For how many seconds a stop is waited for, and findings are kept.
_STOPPING = 3.0
_FRESH = 60.0
_REASON = "stopped in the inspector"


def inspector_routes(
    hub: Hub,
    *,
    authorize: Operator | None,
    origins: Collection[str] = (),
    findings: Findings | None = None,
) -> list[BaseRoute]:
    """The inspector: all sessions of ``hub`` on a page, for those who run it.

    ::

        async def operator(request, action):
            return request.session.get("role") == "operator"

        Mount("/inspector", routes=inspector_routes(hub, authorize=operator))

    The page itself holds nothing and is for everybody; what it asks for is what ``authorize`` lets.
    It shows what is in sessions as text only, takes everything from this server, and runs under a
    content security policy that allows no other.

    :param authorize: who may look at **all** sessions (``"read"``), and ``"cancel"``,
        ``"hand_over"`` and ``"remove"`` any: given the request and one of these words. None lets
        everybody. Who is refused gets 403; an application that answers 401 instead is asked for a
        token, which the page then sends as ``Authorization: Bearer``.
    :param origins: as for :func:`streamhub.http.create_app`.
    :param findings: what is to be told of the store's servers.
    """
    inspector = _Inspector(hub, authorize, check_origins(origins), findings)
    return [
        Route("/", _file("index.html", "text/html")),
        *(Route(f"/inspector/{name}", _file(name, kind)) for name, kind in _ASSETS.items()),
        Route("/inspector/board", inspector.board),
        Route("/inspector/session", inspector.session),
        Route("/inspector/text", inspector.text),
        Route("/inspector/metadata", inspector.metadata),
        Route("/inspector/server", inspector.server),
        Route("/inspector/stop", inspector.stop, methods=["POST"]),
        Route("/inspector/hand-over", inspector.hand_over, methods=["POST"]),
        Route("/inspector/remove", inspector.remove, methods=["POST"]),
    ]


class _Inspector:
    def __init__(
        self,
        hub: Hub,
        authorize: Operator | None,
        origins: frozenset[str],
        findings: Findings | None,
    ) -> None:
        self._hub = hub
        self._authorize = authorize
        self._origins = origins
        self._findings = findings
        self._finding = asyncio.Lock()
        #: What was found last, and when.
        self._found: tuple[float, Sequence[Any]] | None = None

    @answers_errors
    async def board(self, request: Request) -> Response:
        """A page of the board; for an EventSource, or whoever else wants events, as it changes."""
        await self._allow(request, "read")
        query, board = _query(request), self._hub.board()
        if "text/event-stream" in request.headers.get("accept", ""):
            return EventStream(board_news(board, query))
        async with board.look() as look:
            while not (page := look.page(query)).complete and page.away is None:
                await look.wait_news()
        return _json(board_json(page))

    @answers_errors
    async def session(self, request: Request) -> Response:
        """How one stands, and what has happened to it, as that changes."""
        await self._allow(request, "read")
        session_id = _id(request)
        check_session_id(session_id)
        return EventStream(session_news(self._hub.board(), session_id))

    @answers_errors
    async def text(self, request: Request) -> Response:
        """What it says: see :class:`streamhub.http.StreamResponse`."""
        await self._allow(request, "read")
        return StreamResponse(
            self._hub.get(_id(request)), face="sse", show_errors=True, follow_next=True
        )

    @answers_errors
    async def metadata(self, request: Request) -> Response:
        await self._allow(request, "read")
        stream = await self._hub.get(_id(request))
        if stream is None:
            return not_found()
        text = json.dumps(await stream.metadata(), ensure_ascii=False, indent=2)
        return _json({"text": text[:_LONGEST_METADATA], "size": len(text)})

    @answers_errors
    async def server(self, request: Request) -> Response:
        """What the server is: its store, what that means, and what this process holds."""
        await self._allow(request, "read")
        findings = None if self._findings is None else await self._fresh(self._findings)
        return _json(
            {
                "hub": repr(self._hub).strip("<>").removeprefix("Hub "),
                "statistics": self._hub.statistics(),
                "findings": findings,
            }
        )

    async def _fresh(self, findings: Findings) -> Sequence[Any]:
        """What was found, asked for once for all who want it."""
        async with self._finding:
            if self._found is None or time.monotonic() - self._found[0] > _FRESH:
                self._found = (time.monotonic(), await findings())
            return self._found[1]

    @answers_errors
    async def stop(self, request: Request) -> Response:
        stream = await self._chosen(request, "cancel")
        if stream is None:
            return not_found()
        return _json({"status": await stream.cancel(wait=_STOPPING, reason=_REASON)})

    @answers_errors
    async def hand_over(self, request: Request) -> Response:
        stream = await self._chosen(request, "hand_over")
        return not_found() if stream is None else _json({"status": await stream.hand_over()})

    @answers_errors
    async def remove(self, request: Request) -> Response:
        # One that is damaged cannot be looked at, and may be removed all the same.
        with suppress(SessionCorrupted):
            await self._chosen(request, "remove")
        return _json({"status": "removed"}) if await self._hub.remove(_id(request)) else not_found()

    async def _chosen(self, request: Request, action: OperatorAction) -> LiveStream | None:
        """The stream that somebody saw when it was decided what is to become of it."""
        refuse_from_elsewhere(request, self._origins)
        await self._allow(request, action)
        stream = await self._hub.get(_id(request))
        if stream is not None and stream.stream_id != request.query_params.get("stream"):
            detail = "another stream has begun in the session since: look at it first"
            raise BadRequest(Problem(409, "stream_replaced", detail))
        return stream

    async def _allow(self, request: Request, action: OperatorAction) -> None:
        """:raises BadRequest: the request may not."""
        if self._authorize is None:
            return
        answer = self._authorize(request, action)
        if not (await answer if inspect.isawaitable(answer) else answer):
            raise bad_request("forbidden", f"the inspector may not be used to {action}", 403)


def _query(request: Request) -> Query:
    """:raises BadRequest: it asks for what no board has."""
    given = request.query_params
    limit = count_of(request, "limit", _LIMIT, _MOST_ROWS)
    try:
        return Query(
            text=given.get("text", "")[:200],
            statuses=frozenset(given.get("status", "").split(",")) - {""},
            owner=given.get("owner"),
            sort=msgspec.convert(given.get("sort", "created"), Sort),
            descending=given.get("order", "down") != "up",
            offset=(count_of(request, "page", 1, 100_000) - 1) * limit,
            limit=limit,
        )
    except msgspec.ValidationError:
        detail = f"sort must be one of {', '.join(get_args(Sort))}"
    except ValueError as error:
        detail = str(error)
    raise bad_request("invalid_query", detail)


def _id(request: Request) -> str:
    """In the query: an id is any text, and a path may be changed on its way."""
    return request.query_params.get("id", "")


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), headers=NOT_STORED, media_type="application/json")


def _file(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        content, tag = _content(name)
        headers = {**_HEADERS, "etag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=f"{kind}; charset=utf-8")

    return answer


@cache
def _content(name: str) -> tuple[bytes, str]:
    content = (files(__package__) / "page" / name).read_bytes()
    return content, f'"{sha256(content).hexdigest()[:16]}"'
