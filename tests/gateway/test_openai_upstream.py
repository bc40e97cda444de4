"""The model's server behind the gateway of the tests: what the SDKs expect, failing as asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from streamhub.testing.waiting import patience, within

from ..support.openai_upstream import (
    STALL,
    BreakInside,
    Call,
    Fails,
    Gate,
    HangUp,
    Html,
    OpenAIUpstream,
    Redirect,
    Refused,
    SlowHeaders,
    Split,
    WrongLength,
    openai_upstream,
)

CHAT = {"model": "a-model", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
async def asking() -> AsyncIterator[tuple[OpenAIUpstream, httpx.AsyncClient]]:
    with openai_upstream() as upstream:
        headers = {"Authorization": "Bearer key"}
        # Each request on a connection of its own: what a fault leaves on one is not the next one's.
        alone = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(
            base_url=upstream.url, headers=headers, limits=alone
        ) as client:
            yield upstream, client


async def test_who_hangs_up_stops_it(asking: tuple[OpenAIUpstream, httpx.AsyncClient]) -> None:
    """It notices while it says nothing, and produces no more."""
    upstream, client = asking
    upstream.answers("one two three", STALL, "four")

    async with client.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as got:
        async for line in got.aiter_lines():
            if " three" in line:
                break

    asked = await asyncio.to_thread(upstream.wait_asked)
    assert await asyncio.to_thread(asked.hung_up.wait, patience())
    assert (3, "Bearer key") == (upstream.tokens, asked.authorization)


async def test_an_answer_of_the_background(
    asking: tuple[OpenAIUpstream, httpx.AsyncClient],
) -> None:
    """It goes on without its reader, is read from any number, and can be cancelled."""
    upstream, client = asking
    gate = Gate()
    upstream.answers("one", gate, " two", STALL)
    asks = {"model": "a-model", "input": "hi", "background": True, "stream": True}
    async with client.stream("POST", "/v1/responses", json=asks) as got:
        created = await anext(line async for line in got.aiter_lines() if "data:" in line)
    response_id = created.split('"id": "')[1].split('"')[0]
    gate.open()

    seen, cancelled = [], None
    query = {"stream": "true", "starting_after": "5"}
    async with client.stream("GET", f"/v1/responses/{response_id}", params=query) as got:
        async for line in got.aiter_lines():
            seen += [line] if line.startswith("event") else []
            if '" two"' in line:
                cancelled = await client.post(f"/v1/responses/{response_id}/cancel")

    assert ["event: response.output_text.delta"] == seen
    assert cancelled is not None
    assert "cancelled" == cancelled.json()["status"]


async def test_faults(asking: tuple[OpenAIUpstream, httpx.AsyncClient]) -> None:
    """Each strikes once; what it did not hear of is as ever."""
    upstream, client = asking

    async def ask(stream: bool = True) -> httpx.Response:
        return await client.post("/v1/chat/completions", json={**CHAT, "stream": stream})

    whole = await ask()
    upstream.strike(Refused(429, retry_after="3"))
    refused = await ask()
    upstream.strike(Html(502))
    page = await ask()
    upstream.strike(Redirect("/elsewhere"))
    moved = await ask()
    upstream.strike(Split(1))
    pieces = await ask()
    for fault in (HangUp(), BreakInside("three"), WrongLength(5)):
        upstream.strike(fault)
        with pytest.raises(httpx.RemoteProtocolError):
            await ask()
    upstream.strike(WrongLength(-5))
    short = await ask(stream=False)
    gate = Gate()
    upstream.strike(SlowHeaders(gate))
    slow = asyncio.create_task(ask())
    await within(gate.wait_reached())
    gate.open()

    assert (429, "3") == (refused.status_code, refused.headers["retry-after"])
    assert (502, "text/html") == (page.status_code, page.headers["content-type"])
    assert (307, "/elsewhere") == (moved.status_code, moved.headers["location"])
    assert len(whole.text) == len(pieces.text)
    assert not short.text.endswith("}")
    assert 200 == (await slow).status_code


@pytest.mark.integrations
async def test_what_the_sdk_makes_of_it() -> None:
    """Whole answers, their events, and failures in both dialects."""
    openai = pytest.importorskip("openai")
    with openai_upstream(says=["Hé", Call("weather", {"city": "Köln"})]) as upstream:
        async with openai.AsyncOpenAI(base_url=upstream.base_url, api_key="k") as client:
            async with client.responses.stream(model="a-model", input="hi") as events:
                response = await events.get_final_response()
            async with client.chat.completions.stream(
                model="a-model", messages=CHAT["messages"]
            ) as chunks:
                completion = await chunks.get_final_completion()
            upstream.answers("one", Fails(code="rate_limit_exceeded"))
            with pytest.raises(openai.APIError, match="crashed"):
                async for _ in await client.chat.completions.create(**CHAT, stream=True):
                    pass

    called = completion.choices[0].message.tool_calls[0].function
    assert "Hé" == response.output_text == completion.choices[0].message.content
    assert '{"city": "Köln"}' == response.output[1].arguments == called.arguments
