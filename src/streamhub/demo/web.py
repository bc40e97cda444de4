"""The chat page and what it asks its server for."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from importlib.resources import files
from itertools import count
from typing import Any
from weakref import WeakValueDictionary

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from streamhub import Hub, SessionInfo, StreamHubError
from streamhub.http import create_app

from . import essence
from .answer import session_of
from .connections import Connections, Cuttable
from .documentation import Documentation
from .producers import ProducerGone, Producers

__all__ = ["Site"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CURSOR = re.compile(r"\d{1,20}-(\d{1,20})\b")
_PAGE = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/answer.js": ("answer.js", "text/javascript"),
    "/markdown.js": ("markdown.js", "text/javascript"),
    "/docs.css": ("docs.css", "text/css"),
}
_HEADERS = {
    # Everything on the page comes from here; a browser would refuse anything else.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "cache-control": "no-cache",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_LONGEST_QUESTION = 8_000
#: Of how many chats the number of turns is remembered.
_CHATS = 1_000


class Site:
    """The demo's web server, on a hub that only reads.

    :param about: what the page shows of how the demo runs.
    :param model_api: is mounted at ``/v1``, if given.
    """

    def __init__(
        self,
        hub: Hub,
        producers: Producers,
        about: Mapping[str, Any],
        *,
        model_api: ASGIApp | None = None,
    ) -> None:
        self.connections: Connections = Connections()
        self._hub = hub
        self._producers = producers
        documentation = Documentation.found()
        self._about = {
            **about,
            "code": inspect.getsource(essence),
            "documentation": documentation.links(),
        }
        self._asked: OrderedDict[str, int] = OrderedDict()
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        routes = [
            *(Route(path, _file(*content)) for path, content in _PAGE.items()),
            Route("/about", self._tell_about),
            Route("/chats/{chat}", self._tell_chat),
            Route("/chats/{chat}/ask", _json_only(self._ask), methods=["POST"]),
            Route("/answers/{session}/stream", self._follow),
            Route("/answers/{session}/stop", _json_only(self._stop), methods=["POST"]),
            Route("/tabs/{tab}/cut", _json_only(self._cut), methods=["POST"]),
            Route("/producer/crash", _json_only(self._crash), methods=["POST"]),
            Route("/docs/{path:path}", partial(_show_page, documentation)),
            # The same sessions, for curl and for whoever is curious.
            Mount("/api", create_app(hub)),
        ]
        if model_api is not None:
            routes.append(Mount("/", model_api))
        self.app: Starlette = Starlette(
            routes=routes,
            # Another site's name that points here would be a way in for its scripts.
            middleware=[Middleware(TrustedHostMiddleware, ["127.0.0.1", "localhost"])],
            exception_handlers={StreamHubError: _refused},
        )

    async def _tell_about(self, request: Request) -> Response:
        return JSONResponse(self._about)

    async def _tell_chat(self, request: Request) -> Response:
        """The turns of a chat, and how this tab and the producer stand."""
        tab = self.connections.tab(_name_in(request.query_params.get("tab", "")))
        infos = await self._turns(_name_in(request.path_params["chat"]))
        dead = self._producers.dead
        turns = [_facts(info, tab.resumed.get(info.session_id), dead) for info in infos]
        facts = {"turns": turns, "producer": self._producers.current, "connects": tab.connects}
        return JSONResponse(facts, headers={"cache-control": "no-store"})

    async def _ask(self, request: Request) -> Response:
        chat = _name_in(request.path_params["chat"])
        question = (await _object_in(request)).get("question")
        if not isinstance(question, str) or not question.strip():
            raise HTTPException(400, "a question is expected")
        if len(question) > _LONGEST_QUESTION:
            raise HTTPException(413, f"a question may have {_LONGEST_QUESTION:,} characters")
        # JSON can hold half a character, which no text can.
        question = question.encode(errors="replace").decode()
        # Two tabs must not take the same turn.
        async with self._asking.setdefault(chat, asyncio.Lock()):
            await self._turns(chat)
            session = session_of(chat, self._asked.get(chat, 0) + 1)
            await self._begin(session, question.strip())
        return JSONResponse({"session": session}, status_code=201)

    async def _begin(self, session: str, question: str) -> None:
        """Have a question answered: by one producer after the other, until one has claimed the
        session. What it leaves behind is resumed by the next."""
        while True:
            try:
                await self._producers.produce(session, question)
            except ProducerGone:
                # It may have claimed before it died; the lease then tells.
                stream = await self._hub.get(session)
                if stream is None:
                    continue
            return

    async def _follow(self, request: Request) -> Response | Cuttable:
        session = request.path_params["session"]
        stream = await self._hub.get(session)
        if stream is None:
            raise _no_such_answer()
        tab = self.connections.tab(_name_in(request.query_params.get("tab", "")))
        tab.connects += 1
        after = request.headers.get("last-event-id") or request.query_params.get("after")
        tab.resumed[session] = (after, (await stream.info()).last.offset)
        return Cuttable(essence.follow(self._hub, session), tab)

    async def _stop(self, request: Request) -> Response:
        status = await essence.stop(self._hub, request.path_params["session"])
        if status is None:
            raise _no_such_answer()
        return JSONResponse({"status": status})

    async def _cut(self, request: Request) -> Response:
        return JSONResponse({"cut": self.connections.cut(_name_in(request.path_params["tab"]))})

    async def _crash(self, request: Request) -> Response:
        return JSONResponse({**self._producers.crash(), "how": self._producers.crash_kind})

    async def _turns(self, chat: str) -> list[SessionInfo]:
        """Those that the store has: it may have lost some, and may have more than we know of."""
        turns: list[SessionInfo] = []
        for turn in count(1):
            stream = await self._hub.get(session_of(chat, turn))
            if stream is not None:
                turns.append(await stream.info())
                self._asked[chat] = max(turn, self._asked.get(chat, 0))
            elif turn > self._asked.get(chat, 0):
                break
        if chat in self._asked:
            self._asked.move_to_end(chat)
        if len(self._asked) > _CHATS:
            self._asked.popitem(last=False)
        return turns


def _facts(
    info: SessionInfo, resumed: tuple[str | None, int] | None, dead: Collection[str]
) -> dict[str, Any]:
    about = info.metadata or {}
    producers = about.get("producers", [])
    after, stored = resumed or (None, 0)
    return {
        "session": info.session_id,
        "question": about.get("question", ""),
        "model": about.get("model", ""),
        "producers": producers,
        "status": info.status,
        # Its lease still runs, so that nobody but who has seen it die can know.
        "dead": info.status == "active" and bool(producers) and producers[-1]["name"] in dead,
        "generation": info.generation,
        "epoch": str(info.epoch),
        "chunks": info.last.offset,
        "bytes": info.bytes,
        "lease": info.lease,
        "cancelling": info.cancelling,
        "error": info.error,
        # Where this tab's newest connection began, and how much was stored by then.
        "resumed": {"after": _offset(after), "stored": stored},
    }


def _offset(event_id: str | None) -> int:
    """Of the cursor with which an event id begins: that of a loss has a word behind it."""
    found = _CURSOR.match(event_id or "")
    return int(found[1]) if found else 0


def _no_such_answer() -> HTTPException:
    return HTTPException(404, "there is no such answer (any more)")


def _name_in(text: str) -> str:
    if _NAME.fullmatch(text) is None:
        raise HTTPException(400, "a name of 1 to 64 letters, digits, - and _ is expected")
    return text


async def _object_in(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise HTTPException(400, "a JSON object is expected")
    return body


def _json_only(
    endpoint: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """Refuse what a page of another site could send without asking first."""

    async def checked(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise HTTPException(415, "content-type application/json is expected")
        return await endpoint(request)

    return checked


async def _show_page(documentation: Documentation, request: Request) -> Response:
    found = documentation.page(request.path_params["path"])
    if found is None:
        raise HTTPException(404, "there is no such page")
    content, media_type = found
    return Response(content, media_type=media_type, headers=_HEADERS)


def _file(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    content = (files(__package__) / "page" / name).read_bytes()

    async def send(request: Request) -> Response:
        return Response(content, media_type=media_type, headers=_HEADERS)

    return send


async def _refused(request: Request, error: Exception) -> Response:
    status = 400 if isinstance(error, ValueError) else 503
    return Response(str(error), status_code=status, media_type="text/plain")
