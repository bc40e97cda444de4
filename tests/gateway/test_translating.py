"""The Responses API through a gateway whose upstream speaks Chat Completions alone, by the official
client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streamhub import Hub
from streamhub.gateway import create_gateway
from streamhub.testing.waiting import patience, within

from ..http.serving import served
from ..support.openai_upstream import (
    STALL,
    BreakInside,
    Call,
    Fails,
    Finish,
    Gate,
    OpenAIUpstream,
    Raw,
    Refusal,
    Refused,
    Split,
    Thought,
    Whole,
    openai_upstream,
)
from .gateways import client_of, gateway, numbers, read

pytestmark = pytest.mark.parametrize("new_hub", ["memory"], indirect=True)

TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}


@pytest.fixture
def upstream() -> Iterator[OpenAIUpstream]:
    with openai_upstream(dialects=["chat"]) as upstream:
        yield upstream


@pytest.fixture
async def client(hub: Hub, upstream: OpenAIUpstream) -> AsyncIterator[AsyncOpenAI]:
    async with gateway(hub, upstream, upstream_api="chat") as url, client_of(url) as client:
        yield client


async def create(client: AsyncOpenAI, **options: Any) -> Any:
    return await within(client.responses.create(**{"model": "m", "input": "hi", **options}))


async def test_a_stream_of_everything(client: AsyncOpenAI, upstream: OpenAIUpstream) -> None:
    """Thoughts, text, a call of a tool and the usage, in whatever pieces they come; the package's
    accumulator makes the same Response of it that is kept."""
    said = (Thought("Hm so"), "Hé llo", Call("f", {"città": "Köln"}))
    upstream.answers(*said)
    upstream.strike(Split(1))

    async with client.responses.stream(model="m", input="hi", tools=[TOOL]) as stream:
        told = [(event.sequence_number, event.type) async for event in stream]
        final = await stream.get_final_response()

    kept = await client.responses.retrieve(final.id)
    assert [*range(len(told))] == [number for number, _ in told]
    assert "response.completed" == told[-1][1]
    assert "Hé llo" == final.output_text == kept.output_text
    thought, message, call = kept.output
    assert ["Hm so"] == [part.text for part in thought.content or ()]
    assert ("call_1", "f", '{"città": "Köln"}') == (call.call_id, call.name, call.arguments)
    assert ("completed", "completed") == (kept.status, message.status)
    assert (8, 2) == (kept.usage.output_tokens, kept.usage.output_tokens_details.reasoning_tokens)
    assert {"path": "/v1/chat/completions", "tools": 1, "count": 1} == {
        "path": upstream.asked[0].path,
        "tools": len(upstream.asked[0].body["tools"]),
        "count": len(upstream.asked),
    }


@pytest.mark.parametrize("streams", [True, False])
async def test_ends(client: AsyncOpenAI, upstream: OpenAIUpstream, streams: bool) -> None:
    """Whatever stops a model is the status of the Response, for who streams and who does not."""
    upstream.answers("one two", Finish("length"))
    upstream.answers(Refusal("No."), Finish("content_filter"))
    upstream.answers("one", Fails(code="rate_limit_exceeded"))
    upstream.answers("one", Raw(b"data: {\n\n"))

    found = []
    for _ in range(4):
        if streams:
            last = (await read(await create(client, stream=True)))[-1]["response"]
        else:
            try:
                last = (await create(client)).to_dict()
            except openai.APIStatusError as error:
                last = {"status": "failed", "error": {"code": error.code}}
        why = last.get("incomplete_details") or {}
        found.append((last["status"], why.get("reason") or last["error"]["code"]))

    assert [
        ("incomplete", "max_output_tokens"),
        ("incomplete", "content_filter"),
        ("failed", "rate_limit_exceeded"),
        ("failed", "server_error" if streams else "upstream_unexpected"),
    ] == found


async def test_a_conversation(client: AsyncOpenAI, upstream: OpenAIUpstream) -> None:
    """``previous_response_id`` brings what was asked and answered before, calls and their results
    among it; instructions are those of one request."""
    upstream.answers("one", Call("f", {}, "c1"))
    upstream.answers("two")
    first = await create(client, input="1", instructions="Be brief.", tools=[TOOL])
    result = {"type": "function_call_output", "call_id": "c1", "output": "r"}
    second = await create(client, input=[result], previous_response_id=first.id)

    third = await create(client, input="3", previous_response_id=second.id)

    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert second.id == third.previous_response_id
    assert [
        {"role": "user", "content": "1"},
        {"role": "assistant", "content": "one", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "r"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "3"},
    ] == upstream.asked[-1].body["messages"]


@pytest.mark.parametrize("streams", [True, False])
async def test_an_upstream_that_does_not_stream(
    client: AsyncOpenAI, upstream: OpenAIUpstream, streams: bool
) -> None:
    """Its completion is told all at once, by the same events."""
    upstream.answers("Hé llo", Call("f", {"a": 1}))
    upstream.strike(Whole())

    if streams:
        response = (await read(await create(client, stream=True)))[-1]["response"]
    else:
        response = (await create(client)).to_dict()

    message, call = response["output"]
    assert ("completed", "Hé llo", '{"a": 1}') == (
        response["status"],
        message["content"][0]["text"],
        call["arguments"],
    )
    assert 6 == response["usage"]["output_tokens"]


async def test_half_a_character_is_no_end(client: AsyncOpenAI, upstream: OpenAIUpstream) -> None:
    """Both are one in the whole answer."""
    said = b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n'
    upstream.answers("a", Raw(said % b"\\ud83d"), Raw(said % b"\\ude00"), "b")

    assert "a😀b" == (await create(client)).output_text


class City(BaseModel):
    name: str


async def test_an_answer_in_a_schema(client: AsyncOpenAI, upstream: OpenAIUpstream) -> None:
    """The upstream is asked for it in its dialect; the package makes its object of what comes."""
    upstream.answers('{"name": "Köln"}')

    response = await within(client.responses.parse(model="m", input="hi", text_format=City))

    asked = upstream.asked[0].body["response_format"]["json_schema"]
    assert City(name="Köln") == response.output_parsed
    assert ("City", True, ["name"]) == (asked["name"], asked["strict"], asked["schema"]["required"])


async def test_a_call_that_was_cut_short(client: AsyncOpenAI, upstream: OpenAIUpstream) -> None:
    """Nobody can have answered it, so that a conversation goes on without it."""
    upstream.answers("one", Call("f", {"a": 1}), Finish("length"))
    first = await create(client, tools=[TOOL])

    await create(client, input="2", previous_response_id=first.id)

    told = upstream.asked[-1].body["messages"]
    assert ["message", "function_call"] == [item.type for item in first.output]
    assert {"role": "assistant", "content": "one"} == told[1]


@pytest.mark.parametrize("completion", ["[]", '{"choices": 5}', '{"choices": [{"message": 5}]}'])
async def test_what_is_no_completion(hub: Hub, completion: str) -> None:
    """Is the upstream's fault, and told as that."""

    async def answer(request: Request) -> Response:
        return Response(completion, media_type="application/json")

    async with served(Starlette(routes=[Route("/{path:path}", answer, methods=["POST"])])) as where:
        app = create_gateway(hub, upstream=where, upstream_api="chat")
        async with served(app, lifespan="on") as url, client_of(f"{url}/v1") as client:
            with pytest.raises(openai.InternalServerError) as failed:
                await create(client)

    assert (502, "upstream_unexpected") == (failed.value.status_code, failed.value.code)


async def test_a_server_that_does_not_end_its_stream(
    client: AsyncOpenAI, upstream: OpenAIUpstream
) -> None:
    """When it has said why it stops and what it has cost, nothing more is waited for."""
    finish = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    cost = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    said = [Raw(f"data: {json.dumps(one)}\n\n".encode()) for one in (finish, cost)]
    upstream.answers("one", *said, STALL)

    events = await within(read(await create(client, stream=True)))

    assert ("response.completed", 2) == (
        events[-1]["type"],
        events[-1]["response"]["usage"]["total_tokens"],
    )


async def test_an_item_that_is_only_named(client: AsyncOpenAI, upstream: OpenAIUpstream) -> None:
    """It is looked up among the client's own answers."""
    first = await create(client)
    name = {"type": "item_reference", "id": first.output[0].id}

    await create(client, input=[name, {"role": "user", "content": "2"}])

    said = [message["content"] for message in upstream.asked[-1].body["messages"]]
    assert ["One two three four five.", "2"] == said


async def test_a_conversation_that_cannot_be_gone_on_with(
    hub: Hub, upstream: OpenAIUpstream
) -> None:
    """What is unknown, another's, not kept, deleted or still in progress is refused by its code,
    and asks nothing of the upstream."""
    async with (
        gateway(hub, upstream, upstream_api="chat") as url,
        client_of(url) as client,
        client_of(url, "another") as other,
    ):
        first = await create(client)
        second = await create(client, previous_response_id=first.id)
        unkept = await create(client, store=False)
        theirs = await create(other)
        upstream.answers("one", STALL)
        active = await create(client, background=True)
        await within(client.responses.delete(first.id))
        asked = upstream.count()
        refused = []
        for previous in ("resp_0", unkept.id, theirs.id, first.id, second.id, active.id):
            with pytest.raises(openai.BadRequestError) as error:
                await create(client, previous_response_id=previous)
            refused.append((error.value.code, error.value.param))

    missing = ("previous_response_not_found", "previous_response_id")
    assert [missing] * 5 == refused[:5]
    assert ("previous_response_in_progress", "previous_response_id") == refused[5]
    assert asked == upstream.count()


async def test_what_cannot_be_asked(client: AsyncOpenAI, upstream: OpenAIUpstream) -> None:
    """A 400 that names the parameter; the upstream is not asked."""
    with pytest.raises(openai.BadRequestError) as refused:
        await create(client, tools=[{"type": "web_search"}])

    assert ("tools[0].type", "unsupported_value") == (refused.value.param, refused.value.code)
    assert 0 == upstream.count()


async def test_an_upstream_that_refuses(client: AsyncOpenAI, upstream: OpenAIUpstream) -> None:
    """Its status, its error and when to come again are passed on."""
    upstream.strike(Refused(429, message="Slow down.", code="rate_limit_exceeded", retry_after="7"))

    with pytest.raises(openai.RateLimitError) as refused:
        await create(client, stream=True)

    assert "7" == refused.value.response.headers["retry-after"]
    assert ("rate_limit_exceeded", "Slow down.") == (
        refused.value.code,
        refused.value.body["message"],
    )


@pytest.mark.parametrize("inside", ["é", '{\\"a'], ids=["a character", "a call"])
async def test_an_upstream_that_breaks_off(
    client: AsyncOpenAI, upstream: OpenAIUpstream, inside: str
) -> None:
    """What has come stays; the Response is failed, and ends the stream with an error's code."""
    upstream.answers("one é", Call("f", {"a": 1}, deltas=1))
    upstream.strike(BreakInside(inside))

    events = await read(await create(client, stream=True))

    kept = await client.responses.retrieve(events[0]["response"]["id"])
    assert ["error", "response.failed"] == [event["type"] for event in events[-2:]]
    assert "upstream_broke_off" == events[-2]["code"]
    assert "failed" == kept.status
    assert [*range(len(events))] == numbers(events)
    assert "one" == kept.output_text[:3]


async def test_who_leaves_and_who_cancels(client: AsyncOpenAI, upstream: OpenAIUpstream) -> None:
    """An answer in the background goes on without its reader until it is cancelled; then the
    upstream's request is closed at once."""
    gate = Gate()
    upstream.answers("one", gate, " two", STALL)
    begun = await read(await create(client, stream=True, background=True), 3)
    response_id = begun[0]["response"]["id"]
    gate.open()

    rest = await client.responses.retrieve(response_id, stream=True, starting_after=2)
    seen: list[dict[str, Any]] = []
    cancelled: Any = None
    async for event in rest:
        seen.append(event.to_dict())
        if seen[-1].get("delta") == " two":
            cancelled = await within(client.responses.cancel(response_id))

    assert "cancelled" == cancelled.status == seen[-1]["response"]["status"]
    assert "one two" == cancelled.output_text
    assert await asyncio.to_thread(upstream.asked[0].hung_up.wait, patience())
    assert (1, 2) == (upstream.count(), upstream.tokens)


async def test_either(hub: Hub) -> None:
    """By itself the gateway finds out which dialect an upstream speaks, once; one that speaks the
    Responses API is asked nothing else, and alone is told that an answer is deleted."""
    with openai_upstream(dialects=["chat"]) as chat, openai_upstream() as both:
        for upstream in (chat, both):
            async with gateway(hub, upstream) as url, client_of(url) as client:
                for _ in range(2):
                    answer = await create(client)
                    assert "One two three four five." == answer.output_text
                    await within(client.responses.delete(answer.id))
        with openai_upstream(dialects=[]) as neither:
            async with gateway(hub, neither) as url, client_of(url) as client:
                with pytest.raises(openai.NotFoundError):
                    await create(client)

    asked = [[one.path.removeprefix("/v1/") for one in up.asked] for up in (chat, both)]
    assert ["responses", "chat/completions", "chat/completions"] == asked[0]
    assert ["responses", "responses/"] * 2 == [path[:10] for path in asked[1]]


async def test_a_model_that_is_not_there(hub: Hub) -> None:
    """An upstream that refuses one request does not count as one without a Responses API."""
    with openai_upstream() as both:
        for path in ("/v1/responses", "/v1/chat"):
            both.strike(Refused(404, code="model_not_found"), path=path)
        async with gateway(hub, both) as url, client_of(url) as client:
            with pytest.raises(openai.NotFoundError) as refused:
                await create(client)
            # Nor does one of a model that speaks chat alone.
            both.strike(Refused(404, code="model_not_found"), path="/v1/responses")
            await create(client)
            await create(client)

    assert "model_not_found" == refused.value.code
    assert ["/v1/responses", "/v1/chat/completions"] * 2 + ["/v1/responses"] == [
        one.path for one in both.asked
    ]


async def test_a_response_that_the_upstream_has_lost(hub: Hub) -> None:
    """An upstream that has forgotten one does not count as one without a Responses API either; what
    was said before is here."""
    with openai_upstream() as both:
        async with gateway(hub, both) as url, client_of(url) as client:
            first = await create(client, input="1")
        async with gateway(hub, both) as url, client_of(url) as client:
            both.strike(Refused(404), path="/v1/responses")
            await create(client, input="2", previous_response_id=first.id)
            await create(client)

    said = [message["content"] for message in both.asked[2].body["messages"]]
    assert ["1", "One two three four five.", "2"] == said
    assert "/v1/responses" == both.asked[3].path


@pytest.mark.parametrize("refuses", [True, False])
async def test_an_upstream_that_keeps_no_responses(hub: Hub, refuses: bool) -> None:
    """It says so, or does not look at the id of the one before; then it is told what was said."""
    with openai_upstream(keeps=False) as upstream:
        async with gateway(hub, upstream) as url, client_of(url) as client:
            first = await create(client, input="1")
            if refuses:
                no = "previous_response_id is not supported"
                upstream.strike(Refused(400, message=no), path="/v1/responses")
            else:
                upstream.answers(STALL)
            second = await create(client, input="2", previous_response_id=first.id)
            with pytest.raises(openai.BadRequestError, match="not found"):
                await create(client, previous_response_id="resp_" + 32 * "0")

    asked = upstream.asked[-1].body
    said = [item["content"][0]["text"] for item in asked["input"]]
    assert ["1", "One two three four five.", "2"] == said
    assert "previous_response_id" not in asked
    assert first.id == second.previous_response_id
    assert 3 == upstream.count()
