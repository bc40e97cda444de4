"""OpenAI's own client through the gateway: what it reads, resumes, cancels and raises."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from streamhub import Hub
from streamhub.gateway import Limits
from streamhub.testing.waiting import patience, within

from ..http.serving import served
from ..support.openai_upstream import (
    STALL,
    BreakInside,
    Call,
    Fails,
    OpenAIUpstream,
    Refused,
    Thought,
    openai_upstream,
)
from .chatting import COMPLETION_ID, chat, gateway

pytestmark = pytest.mark.integrations

PAGE = Path(__file__).parents[2] / "docs" / "gateway.md"
ASKS: Any = {key: value for key, value in chat().items() if key != "stream"}


@pytest.fixture
def upstream() -> Iterator[OpenAIUpstream]:
    with openai_upstream(says=(Thought("Hm."), "Hé 世界", Call("f", {"x": "Köln"}))) as upstream:
        yield upstream


@pytest.fixture
async def client(upstream: OpenAIUpstream) -> AsyncIterator[openai.AsyncOpenAI]:
    limits = Limits(max_body_bytes=1_000_000)
    async with Hub() as hub, gateway(upstream, hub, limits=limits) as [plain]:
        base_url = str(plain.base_url.join("/v1"))
        async with openai.AsyncOpenAI(
            base_url=base_url, api_key="sk-one", timeout=patience(30)
        ) as client:
            yield client


async def test_it_reads_what_it_would_without(
    client: openai.AsyncOpenAI, upstream: OpenAIUpstream
) -> None:
    """Its chunks, its helper's events, and whole answers; in threads, too."""
    async with openai.AsyncOpenAI(base_url=upstream.base_url, api_key="sk-one") as direct:
        chunks, completions, whole = [], [], []
        for one in (direct, client):
            stream = await one.chat.completions.create(**ASKS, stream=True)
            chunks.append([chunk.to_dict() async for chunk in stream])
            async with one.chat.completions.stream(**ASKS) as events:
                completions.append((await events.get_final_completion()).to_dict())
            whole.append((await one.chat.completions.create(**ASKS)).to_dict())

    def in_thread() -> list[Any]:
        with openai.OpenAI(base_url=client.base_url, api_key="sk-one") as one:
            return [chunk.to_dict() for chunk in one.chat.completions.create(**ASKS, stream=True)]

    chunks.append(await asyncio.to_thread(in_thread))

    for answers in (completions, whole):
        first, second = ({**one, "id": ""} for one in answers)
        assert first == second
    told = [[{**one, "id": ""} for one in answer] for answer in chunks]
    assert [told[0]] * 3 == told


async def test_it_comes_again_after_any_chunk(
    client: openai.AsyncOpenAI, upstream: OpenAIUpstream
) -> None:
    """The same request with the same key is the same answer, which was paid for once; by its id it
    is there as a whole."""
    whole = [one async for one in await client.chat.completions.create(**ASKS, stream=True)]
    for cut in range(1, len(whole) + 1):
        before = upstream.tokens, upstream.count()
        named: Any = {"extra_headers": {"Idempotency-Key": f"k{cut}"}, "stream": True}
        begun = await client.chat.completions.create(**ASKS, **named)
        seen = [await anext(begun) for _ in range(cut)]
        await begun.close()
        stream = await client.chat.completions.create(**ASKS, **named)
        again = [one async for one in stream]
        completion_id = stream.response.headers[COMPLETION_ID]
        folded = await client.chat.completions.retrieve(completion_id)

        assert seen == again[:cut]
        assert len(whole) == len(again)
        assert [call.function.arguments for call in folded.choices[0].message.tool_calls or []] == [
            '{"x": "Köln"}'
        ]
        after = upstream.tokens, upstream.count()
        assert (7, 1) == (after[0] - before[0], after[1] - before[1])


async def test_it_raises(client: openai.AsyncOpenAI, upstream: OpenAIUpstream) -> None:
    """What it raises without a gateway, and where an answer breaks off; it tries again by itself
    what may succeed then, with the same key, and nothing else."""
    named: Any = {"extra_headers": {"Idempotency-Key": "k"}}
    upstream.strike(Refused(429, code="rate_limit_exceeded", retry_after="0"))
    upstream.strike(Refused(500))
    tried = await client.chat.completions.create(**ASKS, **named)
    assert (True, 3) == (bool(tried.choices), upstream.count())

    with pytest.raises(openai.ConflictError) as reused:
        await client.chat.completions.create(**ASKS, **named, temperature=1)
    assert "idempotency_key_reuse" == reused.value.code
    with pytest.raises(openai.APIStatusError) as large:
        await client.chat.completions.create(model="m", messages=[], user="x" * 1_000_000)
    assert (413, "request_too_large") == (large.value.status_code, large.value.code)
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.retrieve("chatcmpl-hub-none")
    assert 3 == upstream.count()

    upstream.strike(BreakInside("世"))
    for code, says in (("upstream_broke_off", "Hé 世界"), ("overloaded", Fails(code="overloaded"))):
        upstream.answers("one", says)
        stream = await client.chat.completions.create(**ASKS, stream=True)
        with pytest.raises(openai.APIError) as broken:
            async for _ in stream:
                pass
        assert code == broken.value.code


async def test_it_cancels(client: openai.AsyncOpenAI, upstream: OpenAIUpstream) -> None:
    """Another one of its clients, too; who reads is told."""
    upstream.answers("one", STALL)
    stream = await client.chat.completions.create(**ASKS, stream=True)
    await anext(stream)
    path = f"/chat/completions/{stream.response.headers[COMPLETION_ID]}/cancel"
    cancelled: Any = await client.post(path, cast_to=object)
    with pytest.raises(openai.APIError) as told:
        async for _ in stream:
            pass

    assert ("cancelled", "cancelled") == (cancelled["status"], told.value.code)
    assert await asyncio.to_thread(upstream.asked[0].hung_up.wait, patience())


async def test_everything_else_is_there(client: openai.AsyncOpenAI) -> None:
    """Models, also with slashes in their names; embeddings; files up and down."""
    models = [model.id async for model in client.models.list()]
    model = await client.models.retrieve("team/b")
    vector = await client.embeddings.create(model="a/b", input="hi", encoding_format="float")
    file = await client.files.create(file=("a.txt", b"x" * 100_000), purpose="user_data")
    content = await client.files.content(file.id)

    assert ["a-model", "team/b"] == models
    assert "b" in model.id
    assert [0.5, -1.0, 0.25] == vector.data[0].embedding
    assert file.bytes is not None
    assert file.bytes > 100_000
    assert bytes(range(256)) * 64 == content.content


async def test_the_page_of_the_documentation(upstream: OpenAIUpstream) -> None:
    """Its application is mounted, with all that is passed on; its question follows one answer,
    however often it is asked; a Response is resumed, and a conversation goes on, over a
    WebSocket as well."""
    application, *blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    code = application.replace("redis://localhost:6379/0", "memory://")
    exec(code.replace("http://localhost:11434/v1", upstream.base_url), names)
    async with served(names["app"], lifespan="on") as url:
        for block in blocks:
            exec(block.replace('"http://localhost:8080/v1"', f'"{url}/llm/v1", api_key="k"'), names)
        client = names["client"]

        def ask() -> list[Any]:
            return [chunk.to_dict() for chunk in names["ask"]("Why?", "key")]

        def resume() -> list[int]:
            whole = list(client.responses.create(model="llama3.2", input="Why?", stream=True))
            followed = names["resume"](whole[0].response.id, whole[2].sequence_number)
            assert [one.type for one in whole[3:]] == [one.type for one in followed]
            return [one.sequence_number for one in whole]

        first, second = [await within(asyncio.to_thread(ask)) for _ in range(2)]
        asked = upstream.count()
        numbers = await within(asyncio.to_thread(resume))
        told = await within(asyncio.to_thread(lambda: list(names["converse"]("Why?", "And how?"))))
        spoken = [text async for text in names["talk"](["Why?", "And how?"])]
        model = await within(asyncio.to_thread(client.models.retrieve, "team/b"))
        client.close()

    assert first == second
    assert (1, "team%2Fb") == (asked, model.id)
    assert sorted(numbers) == numbers
    assert ["Hé 世界"] * 2 == told == spoken
