"""A store that goes away while it is followed, and that is away when it is asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streamhub import HubConfig
from streamhub.http import SSEResponse, UIMessageStreamResponse, create_app
from streamhub.testing.waiting import unhurried, until, within

from ..support.redis_server import RedisServer
from ..support.redis_stage import Stage, claimed
from .conftest import Open
from .serving import events, follow, lines, path_of, stored

IMPATIENT = HubConfig(lease=unhurried(0.5), give_up_after=0.5)
AWAY = "the store of the sessions cannot be used right now"

pytestmark = pytest.mark.slow


async def test_a_store_that_goes_away(
    make_redis: Callable[..., RedisServer],
    open_client: Open,
    session_id: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Who follows is told after ``give_up_after``, and is not told where the store is. Who asks is
    answered with 503, but for an EventSource, which is to come back; health says so, too. All is
    well again when the store is back."""
    caplog.set_level("CRITICAL", "uvicorn.error")
    server = make_redis()
    async with Stage(server) as stage:
        hub = stage.hub(IMPATIENT)
        stream, _ = await hub.register(session_id)
        (one,) = await stored(stream, "a")
        client = await open_client(create_app(hub))
        path = path_of(session_id)
        async with (
            follow(client, path) as response,
            follow(client, path, params={"format": "ndjson"}) as other,
        ):
            await response.next()
            await other.until_raw(b"a")
            server.kill()
            error = await response.next()
            await response.until_closed()
            await other.until_closed()
        assert ("error", one) == (error.event, error.id)
        facts = {"status": "unavailable", "error": AWAY, "cursor": one}
        assert facts == json.loads(error.data) == lines(other.raw)[-1]

        asked = await client.get(path, headers={"last-event-id": one})
        assert (200, "text/event-stream; charset=utf-8") == (
            asked.status_code,
            asked.headers["content-type"],
        )
        (said,) = events(asked.content)
        assert ("error", "", {**facts, "cursor": None}) == (
            said.event,
            said.id,
            json.loads(said.data),
        )
        for answer in (
            await client.get(path, params={"format": "ndjson"}),
            await client.get(path, params={"format": "text"}),
            await client.get(path_of(session_id, "")),
            await client.get("/sessions"),
            await client.post(path_of(session_id, "/cancel")),
            await client.delete(path_of(session_id, "")),
            await client.get("/health"),
        ):
            assert (503, "unavailable", AWAY) == (
                answer.status_code,
                answer.json()["code"],
                answer.json()["detail"],
            )
            assert "1" == answer.headers["retry-after"]
            assert str(server.port) not in answer.text

        server.start()
        assert 200 == (await client.get("/health")).status_code
        assert 404 == (await client.get(path_of("unknown"))).status_code


async def test_a_route_of_ones_own_while_the_store_is_away(
    make_redis: Callable[..., RedisServer], open_client: Open
) -> None:
    """It need not look after that: an EventSource comes back, and so does useChat."""
    server = make_redis()
    async with Stage(server) as stage:
        hub = stage.hub(IMPATIENT)

        async def events_of_a_chat(request: Request) -> Response:
            return SSEResponse(hub.get("chat:1", wait=5))

        async def answer(request: Request) -> Response:
            return UIMessageStreamResponse(hub.get("chat:1", wait=5), resume=True)

        client = await open_client(
            Starlette(routes=[Route("/events", events_of_a_chat), Route("/answer", answer)])
        )
        server.kill()
        asked = await client.get("/events")
        chat = await client.get("/answer")

    (said,) = events(asked.content)
    assert (200, "error", "unavailable") == (
        asked.status_code,
        said.event,
        json.loads(said.data)["status"],
    )
    assert (503, "unavailable") == (chat.status_code, chat.json()["code"])


async def test_a_session_that_is_resumed_before_it_was_put_back(
    make_redis: Callable[..., RedisServer], open_client: Open, session_id: str
) -> None:
    """Whoever comes back after the store has lost all and before the producer has mended that is
    not sent away; the stream goes on without a gap."""
    server = make_redis()
    async with Stage(server) as stage:
        hub, web = stage.hub(), stage.hub()
        stream = await claimed(hub, session_id)
        (one,) = await stored(stream, "a")
        client = await open_client(create_app(web))
        await stage.client.flushall()
        resuming = asyncio.create_task(
            client.get(path_of(session_id), headers={"last-event-id": one})
        )

        async def waits() -> bool:
            return web.statistics().sessions_followed == 1

        await until(waits)
        await stored(stream, "b")
        await stream.close()
        resumed = await within(resuming)

    assert ["b"] == [event.data for event in events(resumed.content)[:-1]]
