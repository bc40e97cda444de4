"""Routes of the application's own that meet an error of streamhub's."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streamhub import (
    Cursor,
    CursorExpired,
    Hub,
    HubClosed,
    InvalidCursor,
    NotProducer,
    SessionCorrupted,
    SessionNotFound,
    StoreReadOnly,
    StoreUnavailable,
)
from streamhub.http import error_handlers

from .conftest import Open
from .serving import HOST

AWAY = f"redis://{HOST}:1/0"


@pytest.mark.parametrize("framework", [Starlette, FastAPI])
async def test_a_store_that_is_away_is_a_503(open_client: Open, framework: Any) -> None:
    """With ``Retry-After``, as our own responses have it, and without its address."""

    async def look(request: Request) -> Response:
        return Response(str(await hub.get("chat:1")))

    app = framework(exception_handlers=error_handlers())
    app.router.routes.append(Route("/look", look))
    client = await open_client(app)
    async with Hub.from_url(AWAY) as hub:
        answer = await client.get("/look")

    assert (503, "1") == (answer.status_code, answer.headers["retry-after"])
    assert ("unavailable", "application/problem+json") == (
        answer.json()["code"],
        answer.headers["content-type"],
    )
    assert HOST not in answer.text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StoreUnavailable("redis://secret", "x"), 503),
        (StoreReadOnly("redis://secret", "x"), 503),
        (HubClosed(), 503),
        (SessionNotFound("secret"), 404),
        (InvalidCursor("x", "is none"), 400),
        (CursorExpired("secret", Cursor(1, 2)), 410),
        (SessionCorrupted("secret", "x"), 502),
        (NotProducer("secret", "publish"), 500),
    ],
)
async def test_each_error_has_its_status(
    open_client: Open, caplog: pytest.LogCaptureFixture, error: Exception, status: int
) -> None:
    """A mistake of the program's stays one, which the server logs."""
    caplog.set_level("CRITICAL", "uvicorn.error")

    async def fail(request: Request) -> Response:
        raise error

    client = await open_client(
        Starlette(routes=[Route("/", fail)], exception_handlers=error_handlers())
    )

    assert status == (await client.get("/")).status_code
