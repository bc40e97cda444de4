"""The routes of chats as FastAPI's own: described, with dependencies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Header, HTTPException
from openapi_spec_validator import validate
from starlette.requests import Request

from streamhub import Hub, Status
from streamhub.http import chat_router
from streamhub.testing.waiting import patience, within

from .chatting import Model, begun, question, text_of
from .conftest import Open

if TYPE_CHECKING:
    # As applications import what they name in annotations alone.
    Body = dict[str, Any]

pytestmark = pytest.mark.parametrize("new_hub", ["memory"], indirect=True)


def signed_in(x_user: Annotated[str, Header()] = "") -> str:
    if not x_user:
        raise HTTPException(401, "sign in first")
    return x_user


async def answer(
    body: Body,
    request: Request,
    user: Annotated[str, Depends(signed_in)],
    model: str = "small",
) -> AsyncIterator[str]:
    yield f"{user} asks {model} {request.url.path}: {body['messages'][-1]['text']}"


async def test_answer_is_given_what_it_depends_on(hub: Hub, open_client: Open) -> None:
    """By FastAPI, beside the body and the request; what a dependency raises is answered before
    anything is claimed."""
    app = FastAPI()
    app.include_router(chat_router(hub, answer))
    client = await open_client(app)
    refused = await client.post("/api/chat", json=question("one"))
    claimed = await hub.get("chat:c")
    answered = await client.post(
        "/api/chat?model=large", json=question("one"), headers={"x-user": "alice"}
    )

    assert (401, "sign in first") == (refused.status_code, refused.json()["detail"])
    assert claimed is None
    assert "alice asks large /api/chat: one" == text_of(answered.text)


async def test_dependencies_guard_every_route(hub: Hub, open_client: Open) -> None:
    """Beside the checks that the routes have themselves; all three work as in Starlette, chat ids
    with a slash, too."""
    model = Model()
    app = FastAPI()
    router = chat_router(hub, model, path="/chats", dependencies=[Depends(signed_in)])
    app.include_router(router, prefix="/v1")
    client = await open_client(app)
    user = {"x-user": "alice"}
    body = question("one", chat="a/b")
    statuses = [(await client.post("/v1/chats", json=body)).status_code]
    async with client.stream("POST", "/v1/chats", json=body, headers=user) as asked:
        await anext(asked.aiter_raw())
    statuses += [
        (await client.get("/v1/chats/a%2Fb/stream")).status_code,
        (await client.post("/v1/chats/a%2Fb/stop")).status_code,
        (await client.post("/v1/chats/a%2Fb/stop", headers=user)).status_code,
        (await client.get("/v1/chats/other/stream", headers=user)).status_code,
    ]
    stream = await hub.get("chat:a/b")
    assert stream is not None

    assert [401, 401, 401, 204, 204] == statuses
    assert Status.CANCELLED is await within(stream.wait(patience()))


async def test_the_routes_are_described(hub: Hub) -> None:
    """In the application's OpenAPI: what is posted, what comes back, and what ``answer`` wants."""
    app = FastAPI()
    app.include_router(chat_router(hub, answer, tags=["chats"]))
    described = app.openapi()
    validate(described)
    paths = described["paths"]
    ask = paths["/api/chat"]["post"]

    assert ["/api/chat", "/api/chat/{chat}/stream", "/api/chat/{chat}/stop"] == list(paths)
    assert ["chats"] == ask["tags"]
    assert {"x-user", "model"} == {one["name"] for one in ask["parameters"]}
    assert ["id"] == ask["requestBody"]["content"]["application/json"]["schema"]["required"]
    assert ["text/event-stream"] == list(ask["responses"]["200"]["content"])
    assert "activeStreamId" in str(paths["/api/chat/{chat}/stop"]["post"]["requestBody"])


async def test_bad_bodies_are_problems_there_as_well(hub: Hub, open_client: Open) -> None:
    """Not FastAPI's own kind of answer: a page meets one kind only."""
    app = FastAPI()
    app.include_router(chat_router(hub, lambda body: ["a"]))
    client = await open_client(app)
    answer = await client.post("/api/chat", content=b"{")

    assert (400, "invalid_body") == (answer.status_code, answer.json()["code"])
    assert 200 == await begun(client, question("one"))
