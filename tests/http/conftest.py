"""Servers and clients of one test."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Protocol

import httpx
import pytest
from starlette.types import ASGIApp

from streamhub import Hub
from streamhub.http import create_app
from streamhub.testing.waiting import patience

from ..support.backends import BACKENDS, NewHub
from .serving import served


@pytest.fixture(params=["memory", "redis"])
def new_hub(request: pytest.FixtureRequest) -> NewHub:
    """Without the other topologies: nothing here knows how many servers there are."""
    name: str = request.param
    return BACKENDS[name](request)


class Open(Protocol):
    """Serves an application for the length of the test, and gives a client of it."""

    async def __call__(self, app: ASGIApp, **options: Any) -> httpx.AsyncClient: ...


@pytest.fixture
async def open_client(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Open]:
    """Nothing that clients do may be logged as an error."""
    async with AsyncExitStack() as stack:

        async def serve(app: ASGIApp, **options: Any) -> httpx.AsyncClient:
            url = await stack.enter_async_context(served(app, **options))
            # A client that knows no TLS: to load the certificates takes longer than most tests.
            client = httpx.AsyncClient(base_url=url, timeout=patience(30), verify=False)
            return await stack.enter_async_context(client)

        yield serve
    records = caplog.get_records("call")
    assert [] == [one.getMessage() for one in records if one.levelno >= logging.ERROR]


@pytest.fixture
async def client(hub: Hub, open_client: Open) -> httpx.AsyncClient:
    """A client of ``create_app`` without any options."""
    return await open_client(create_app(hub))
