"""Responses in routes of FastAPI, and behind middleware that others bring."""

from __future__ import annotations

import pytest
from fastapi import FastAPI, HTTPException
from httpx import AsyncClient
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response

from streamhub import Hub
from streamhub.http import StreamResponse
from streamhub.testing.waiting import within

from .conftest import Open
from .serving import events, follow, nothing_is_held, stored


def fastapi_app(hub: Hub) -> FastAPI:
    app = FastAPI()

    @app.get("/events/{session_id}")
    async def follow_it(session_id: str) -> StreamResponse:
        stream = await hub.get(session_id)
        if stream is None:
            raise HTTPException(404)
        return StreamResponse(stream)

    return app


async def hands_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
    return await call_next(request)


@pytest.fixture(params=["bare", "base", "gzip"])
async def client(request: pytest.FixtureRequest, hub: Hub, open_client: Open) -> AsyncClient:
    app = fastapi_app(hub)
    if request.param == "base":
        app.add_middleware(BaseHTTPMiddleware, dispatch=hands_on)
    elif request.param == "gzip":
        app.add_middleware(GZipMiddleware, minimum_size=1)
    return await open_client(app)


async def test_chunks_are_not_held_back(hub: Hub, client: AsyncClient, session_id: str) -> None:
    """The headers before the first of them, each as it comes, the end; and one that resumes."""
    stream, _ = await hub.register(session_id)
    async with follow(client, f"/events/{session_id}") as response:
        assert 200 == response.response.status_code
        one = await stream.publish("a")
        assert "a" == (await response.next()).data
        await stream.publish("b")
        assert "b" == (await response.next()).data
        await stream.close()
        assert ["end"] == [event.event for event in await response.rest()]
    again = await client.get(f"/events/{session_id}", headers={"last-event-id": str(one)})
    assert ["b"] == [event.data for event in events(again.content)[:-1]]
    await nothing_is_held(hub)


@pytest.mark.parametrize("format_", ["ndjson", "text"])
async def test_other_formats_are_not_held_back(
    hub: Hub, client: AsyncClient, session_id: str, format_: str
) -> None:
    """Compressed or not, what was published can be read at once."""
    stream, _ = await hub.register(session_id)
    query = {"format": format_}
    async with client.stream("GET", f"/events/{session_id}", params=query) as response:
        await stored(stream, "hello")
        body = b""
        async for piece in response.aiter_bytes():
            body += piece
            if b"hello" in body:
                break
    await nothing_is_held(hub)


async def test_an_idle_client_that_leaves_is_noticed(
    hub: Hub, client: AsyncClient, session_id: str
) -> None:
    """At once, behind whatever middleware."""
    stream, _ = await hub.register(session_id)
    await stored(stream, "a")
    async with follow(client, f"/events/{session_id}") as response:
        await within(response.next())
    await nothing_is_held(hub)
