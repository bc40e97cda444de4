"""The gateway in front of a real model server: llama.cpp, with a model of a few words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from streamhub import Hub
from streamhub.gateway import create_gateway
from streamhub.testing.waiting import within

from ..http.serving import served
from ..support.tiny_model import WORDS, model_server
from .gateways import client_of, numbers, read

pytest.importorskip("xllamacpp")
pytest.importorskip("gguf")

pytestmark = pytest.mark.integrations

ASKED: dict[str, Any] = {"model": "tiny", "temperature": 0}


@pytest.fixture(scope="module")
async def model(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with model_server(tmp_path_factory.mktemp("model")) as url:
        yield url


@pytest.fixture
async def client(model: str) -> AsyncIterator[AsyncOpenAI]:
    async with Hub.from_url("memory://") as hub:
        # It has a Responses API, too, whose events the clients cannot read: that is found out.
        app = create_gateway(hub, upstream=model)
        async with served(app, lifespan="on") as url, client_of(f"{url}/v1") as client:
            yield client


async def test_responses(client: AsyncOpenAI, model: str) -> None:
    """What the server says as a chat is the text of a Response, token by token, which is resumed
    after every event; a second one goes on from the first, of which the server knows nothing."""
    chat = [{"role": "user", "content": "the words"}]
    async with httpx.AsyncClient(verify=False) as http:
        body = {**ASKED, "messages": chat, "max_tokens": 12}
        answer = (await http.post(f"{model}/chat/completions", json=body)).json()
    asked = {**ASKED, "input": "the words", "max_output_tokens": 12, "background": True}

    events = await within(read(await client.responses.create(**asked, stream=True)))
    response_id = events[0]["response"]["id"]
    rests = []
    for after in range(len(events) - 1):
        rest = await client.responses.retrieve(response_id, stream=True, starting_after=after)
        rests.append(await within(read(rest)))
    more = await within(
        client.responses.create(
            **ASKED, input="of", previous_response_id=response_id, max_output_tokens=3
        )
    )

    last = events[-1]["response"]
    deltas = [event["delta"] for event in events if event["type"].endswith("text.delta")]
    text = last["output"][0]["content"][0]["text"]
    assert answer["choices"][0]["message"]["content"].split() == text.split()
    assert ("".join(deltas), 12) == (text, len(text.split()))
    assert set(WORDS) >= set(text.split())
    assert ("incomplete", "max_output_tokens") == (
        last["status"],
        last["incomplete_details"]["reason"],
    )
    assert answer["usage"]["prompt_tokens"] == last["usage"]["input_tokens"]
    assert 12 == last["usage"]["output_tokens"]
    assert [*range(len(events))] == numbers(events)
    assert [events[after + 1 :] for after in range(len(events) - 1)] == rests
    assert more.usage is not None
    assert more.usage.input_tokens > last["usage"]["input_tokens"] + 12


async def test_chat_completions(client: AsyncOpenAI) -> None:
    """They come through the gateway as they do without one."""
    messages: Any = [{"role": "user", "content": "the words"}]
    asked = {**ASKED, "messages": messages, "max_tokens": 5}

    chunks = await within(read(await client.chat.completions.create(**asked, stream=True)))

    said = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert 5 == len(said.split())
    assert "length" == chunks[-1]["choices"][0]["finish_reason"]
