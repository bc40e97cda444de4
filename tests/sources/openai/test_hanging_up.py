"""When the connection to the provider ends, and that no request is made for nobody."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from streamhub import Hub, Status, sources
from streamhub.http import chat_routes
from streamhub.sync import Hub as SyncHub
from streamhub.testing.waiting import patience

from ...support.certificates import Certificates
from ...support.page_source import names_of
from ...support.provider_server import STALL, ProviderServer, provider_server
from ...support.provider_use import drawn, failure, hung_up, stalled
from ..completions import DONE, chunk
from .asking import Clients, chat, respond
from .shapes import COMPLETED, TEXT, response

openai = pytest.importorskip("openai")

pytestmark = pytest.mark.integrations


@pytest.mark.parametrize("steps", [(chunk({"content": "Hi"}), STALL), (STALL,)])
async def test_a_client_that_waits_no_longer(
    provider: ProviderServer, clients: Clients, steps: tuple[Any, ...]
) -> None:
    """How long it waits is its own affair: then the connection is no good."""
    provider.answers(*steps)
    asked: Any = {"model": "a-model", "messages": [], "stream": True, "timeout": 0.1}

    _, failed = await failure(sources.openai(clients.aclient.chat.completions.create(**asked)))

    assert "connection" == failed.kind


@pytest.mark.parametrize("steps", [(chunk({"content": "Hi"}), STALL), (STALL,)])
@pytest.mark.parametrize("way", ["async", "called", "sync helper"])
async def test_a_cancel_hangs_up(
    provider: ProviderServer, clients: Clients, session_id: str, way: str, steps: tuple[Any, ...]
) -> None:
    """At once, though the provider says nothing more: the server sees the end of the connection, in
    the middle of an answer and before it begins."""
    provider.answers(*steps)
    async with Hub() as hub:
        stream = await hub.run(session_id, chat(clients, way))
        asked = await stalled(provider)
        assert Status.CANCELLED is await stream.cancel(wait=patience())
        assert await hung_up(asked)


@pytest.mark.parametrize("way", ["async", "called"])
async def test_a_cancel_hangs_up_over_tls(
    certificates: Certificates, session_id: str, way: str
) -> None:
    """As with every real provider."""
    with provider_server(certificates) as provider:
        clients = Clients(provider)
        provider.answers(chunk({"content": "Hi"}), STALL)
        async with Hub() as hub, clients.aclient:
            stream = await hub.run(session_id, chat(clients, way))
            asked = await stalled(provider)
            assert Status.CANCELLED is await stream.cancel(wait=patience())
            assert await hung_up(asked)
        clients.client.close()


@pytest.mark.parametrize("way", ["async", "sync"])
async def test_a_handover_hangs_up(
    provider: ProviderServer, clients: Clients, session_id: str, way: str
) -> None:
    """Who continues asks anew; while the answer goes on, nobody reads it."""
    provider.answers(chunk({"content": "Hi"}), STALL)
    hub = Hub()
    await hub.run(session_id, await asyncio.to_thread(chat, clients, way))
    asked = await stalled(provider)
    await hub.aclose()
    assert await hung_up(asked)


@pytest.mark.parametrize("way", ["sync", "async", "called", "async helper", "sync helper"])
async def test_an_answer_for_nobody_is_not_asked_for(
    provider: ProviderServer, clients: Clients, session_id: str, way: str
) -> None:
    """The session is somebody else's: no request is made, and one that was is hung up on."""
    provider.answers(chunk({"content": "Hi"}), STALL)
    async with Hub() as hub, (await hub.register(session_id))[0]:
        stream = await hub.run(session_id, await asyncio.to_thread(chat, clients, way))

        assert stream.generation is None
        assert (1 if way == "sync" else 0) == len(provider.asked)
        for asked in provider.asked:
            assert await hung_up(asked)


async def test_an_answer_of_a_chat(provider: ProviderServer, clients: Clients) -> None:
    """What ``answer`` of ``chat_routes`` returns."""
    provider.answers(chunk({"content": "Hi"}), *DONE)
    async with Hub() as hub:
        app = Starlette(routes=chat_routes(hub, lambda body: chat(clients)))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            body = {"id": "1", "messages": [{"id": "q", "role": "user", "parts": []}]}
            answer = await client.post("/api/chat", json=body)

    assert '"delta":"Hi"' in answer.text
    assert '"finishReason":"stop"' in answer.text


def test_a_hub_for_threads(provider: ProviderServer, session_id: str) -> None:
    """There, a cancel hangs up, too."""
    clients = Clients(provider)
    provider.answers(chunk({"content": "Hi"}), STALL)
    provider.answers(chunk({"content": "Hi"}), *DONE)
    with SyncHub() as hub, clients.client:
        stream = hub.run(session_id, chat(clients, "sync"))
        assert provider.wait_asked().stalled.wait(patience())
        assert Status.CANCELLED is stream.cancel(wait=patience())
        assert provider.asked[0].hung_up.wait(patience())
        again = hub.run(f"{session_id}:2", chat(clients, "called"))
        assert ["Hi"] == [one.data for one in again.subscribe() if one.event is None]


async def test_what_was_not_asked_to_stream_is_refused(
    provider: ProviderServer, clients: Clients
) -> None:
    """It names what is wrong, and is no failure of the provider."""
    message = {"role": "assistant", "content": "Hi"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    provider.answers(json.dumps(body), headers={"content-type": "application/json"})

    with pytest.raises(TypeError, match="ChatCompletion is no stream"):
        await drawn(sources.openai(clients.aclient.chat.completions.create(model="m", messages=[])))


async def test_a_response_is_cancelled(
    provider: ProviderServer, clients: Clients, session_id: str
) -> None:
    """In the middle of what a helper reads."""
    provider.answers(response("created"), *TEXT, STALL)
    async with Hub() as hub:
        stream = await hub.run(session_id, respond(clients, "async helper"))
        asked = await stalled(provider)
        assert Status.CANCELLED is await stream.cancel(wait=patience())
        assert await hung_up(asked)


async def test_the_page_on_sources(provider: ProviderServer, clients: Clients) -> None:
    """Its examples with either client, and what a reader makes of a failure."""
    names = names_of("sources.md")
    provider.answers(chunk({"content": "Hi"}), *DONE)
    provider.answers(response("created"), *TEXT, COMPLETED)
    provider.answers(json.dumps({"error": {"message": "slow down"}}), status=429)
    async with Hub() as hub:
        stream = await names["with_openai"](hub, clients.aclient, "Hi")
        assert "Hi" == await names["read"](stream)
        stream = await names["with_a_sync_client"](hub, clients.client, "Hi")
        assert "Hello" == await names["read"](stream)
        stream = await names["with_openai"](hub, clients.aclient, "Hi")
        assert "Try again in a minute." == await names["read"](stream)
        assert "Try again in a minute." == names["error_text"](
            "failed", str((await stream.info()).error)
        )

    assert {"include_usage": True} == provider.asked[0].body["stream_options"]
