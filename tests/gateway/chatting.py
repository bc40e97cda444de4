"""Gateways before one upstream, and what a client of chat completions sends and reads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx

from streamhub import Hub
from streamhub.formats.sse import Event
from streamhub.gateway import create_gateway
from streamhub.testing.waiting import patience

from ..http.serving import Followed, served
from ..support.openai_upstream import OpenAIUpstream

__all__ = ["COMPLETION_ID", "KEY", "PATH", "chat", "data_of", "gateway", "opened"]

PATH = "/v1/chat/completions"
COMPLETION_ID = "x-streamhub-completion-id"
KEY = {"authorization": "Bearer sk-one"}


def chat(says: str = "hi", *, stream: bool = True, **more: Any) -> dict[str, Any]:
    """The body of a request."""
    messages = [{"role": "user", "content": says}]
    return {"model": "a-model", "messages": messages, "stream": stream, **more}


@asynccontextmanager
async def gateway(
    upstream: OpenAIUpstream | str, *hubs: Hub, **options: Any
) -> AsyncIterator[list[httpx.AsyncClient]]:
    """A client of a gateway on each of ``hubs``."""
    url = upstream if isinstance(upstream, str) else upstream.base_url
    async with AsyncExitStack() as stack:
        clients = []
        for hub in hubs:
            app = create_gateway(hub, upstream=url, **options)
            where = await stack.enter_async_context(served(app, lifespan="on"))
            client = httpx.AsyncClient(
                base_url=where, headers=KEY, timeout=patience(30), verify=False
            )
            clients.append(await stack.enter_async_context(client))
        yield clients


@asynccontextmanager
async def opened(
    client: httpx.AsyncClient,
    body: dict[str, Any] | None = None,
    *,
    key: str | None = None,
    after: str | None = None,
    completion_id: str | None = None,
) -> AsyncIterator[Followed]:
    """An answer that is being read: asked for with ``body``, or of an id."""
    headers = {} if key is None else {"idempotency-key": key}
    if after is not None:
        headers["last-event-id"] = after
    asks: dict[str, Any] = {"headers": headers}
    if body is None:
        method, path = "GET", f"{PATH}/{completion_id}?stream=true"
    else:
        method, path, asks["json"] = "POST", PATH, body
    async with client.stream(method, path, **asks) as response:
        yield Followed(response)


def data_of(events: list[Event]) -> list[str]:
    return [event.data for event in events]
