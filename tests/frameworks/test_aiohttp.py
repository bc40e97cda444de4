"""aiohttp's server where it does not tell a handler that its client has gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from streamhub import Hub
from streamhub.testing.waiting import within

from ..http.serving import events, nothing_is_held, raw_request

pytestmark = pytest.mark.integrations


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with Hub() as hub:
        yield hub


@pytest.fixture
async def url(hub: Hub) -> AsyncIterator[str]:
    """Of an application whose responses say every few milliseconds that they are there."""
    from aiohttp import web

    from streamhub.aiohttp import StreamResponse, setup

    async def answer(request: Any) -> Any:
        return StreamResponse(hub.get("1"), heartbeat=0.02)

    app = web.Application()
    app.router.add_get("/events", answer)
    setup(app, hub)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await within(runner.cleanup())


async def test_a_query_is_decoded_once(hub: Hub, url: str) -> None:
    """An event type that looks encoded is asked for as it is."""
    stream, _ = await hub.register("1")
    await stream.publish("a")
    await stream.publish("b", event="50%25")
    await stream.close()
    async with httpx.AsyncClient(base_url=url) as client:
        answer = await client.get("/events?events=50%2525")
    assert [("b", "50%25")] == [(one.data, one.event) for one in events(answer.content)[:-1]]


@pytest.mark.parametrize("name", ["sse", "text"])
async def test_an_idle_client_that_leaves_is_noticed(hub: Hub, url: str, name: str) -> None:
    """With the next heartbeat, also where the format has none to send."""
    stream, _ = await hub.register("1")
    await stream.publish("a")
    reader, writer = await raw_request(url, f"/events?format={name}")
    await within(reader.readuntil(b"a"))
    writer.transport.abort()
    await nothing_is_held(hub)
