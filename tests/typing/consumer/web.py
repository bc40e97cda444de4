"""Sessions over HTTP: FastAPI and Starlette, and what needs neither."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, assert_type

from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from streamhub import Hub, asgi, sync, wsgi
from streamhub.formats import SSE
from streamhub.gateway import Limits, create_gateway
from streamhub.http import (
    MESSAGE_EVENT,
    PART_EVENT,
    Action,
    Answer,
    Authorize,
    Face,
    SSEResponse,
    StreamResponse,
    UIMessageStreamResponse,
    UserOf,
    agui_routes,
    chat_router,
    chat_routes,
    create_app,
    durable_stream_url,
    durable_streams_routes,
    error_handlers,
    inspector_routes,
    langgraph_routes,
    lifespan,
    message_id_of,
    owned_by,
)

hub = Hub.from_url("memory://")
threads = sync.Hub()
app = FastAPI(lifespan=lifespan(hub, drain=5.0), exception_handlers=error_handlers())


async def answer(body: dict[str, Any]) -> AsyncIterator[str]:
    yield str(body["id"])


def user(request: Request) -> str | None:
    return request.headers.get("x-user")


async def authorize(request: Request, session_id: str, action: Action) -> bool:
    return action == "read" and session_id.startswith("chat:")


async def operator(request: Request, action: str) -> bool:
    return action == "read"


@app.get("/chat/{chat}/events")
async def events(chat: str) -> Response:
    return SSEResponse(hub.get(f"chat:{chat}", wait=5), after="now", retry=1.0)


@app.get("/chat/{chat}/ui")
async def ui(chat: str) -> Response:
    stream = await hub.get(f"chat:{chat}")
    if stream is not None:
        assert_type(message_id_of(await stream.info()), str)
        assert_type(durable_stream_url(stream), str)
    return UIMessageStreamResponse(stream, resume=True, replay_ended=True)


@app.get("/chat/{chat}/raw")
async def raw(chat: str) -> Response:
    return StreamResponse(hub.get(chat), face=Face(format=lambda asked: SSE), headers={"x": "y"})


def mounted() -> Starlette:
    allowed: Authorize = authorize
    who: UserOf = user
    told: Answer = answer
    router = chat_router(hub, told, user=who)
    assert_type(router, APIRouter)
    app.include_router(router)
    routes: list[BaseRoute] = [
        *chat_routes(hub, told, authorize=allowed),
        *agui_routes(hub, told, user=user),
        *durable_streams_routes(hub, authorize=authorize),
        *inspector_routes(hub, authorize=operator),
        *langgraph_routes(hub, object(), user=user),
    ]
    names: tuple[str, str] = (MESSAGE_EVENT, PART_EVENT)
    sessions = create_app(hub, authorize=owned_by(hub, user), max_wait=5.0)
    assert_type(sessions, Starlette)
    app.mount("/sessions", sessions)
    gateway = create_gateway(
        hub, upstream="http://localhost:11434/v1", limits=Limits(max_answers_per_key=2)
    )
    assert_type(gateway, Starlette)
    return Starlette(debug=bool(names), routes=routes, lifespan=lifespan(threads))


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    await asgi.StreamResponse(hub.get("chat:1", wait=5), face="ndjson")(scope, receive, send)
    await asgi.CancelResponse(hub.get("chat:1"), wait=1.0)(scope, receive, send)


async def framework() -> asgi.Reply:
    reply = await asgi.open_reply(hub.get("chat:1"), {"accept": "text/plain"}, "after=now")
    assert_type(reply, asgi.Reply)
    assert_type(reply.status_code, int)
    return reply


application = asgi.with_lifespan(bare, hub, drain=1.0)
blocking = wsgi.StreamResponse
