"""What chat completions become, and what of them fails."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streamhub import Hub, ProviderFailed, Status, parts, sources
from streamhub.errors import FailureKind
from streamhub.sources.chat_completions import ChatCompletions
from streamhub.testing.waiting import patience

from ...support.provider_server import CUT, ProviderServer, event
from ...support.provider_use import drawn, failure, told
from ..completions import DONE, chunk, finished
from .asking import KEY, WAYS, Clients, chat
from .shapes import COMPLETED, of

openai = pytest.importorskip("openai")

pytestmark = pytest.mark.integrations


def called(**call: Any) -> str:
    """A piece of a tool call."""
    return chunk({"tool_calls": [call]})


@pytest.mark.parametrize("way", WAYS)
async def test_a_chat_completion(provider: ProviderServer, clients: Clients, way: str) -> None:
    """Text, a refusal, usage and finish reason; of several choices the first."""
    other = {"index": 1, "delta": {"content": "No"}, "finish_reason": "length"}
    provider.answers(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        chunk(None, choices=[other]),
        chunk({"refusal": "!"}),
        *DONE,
    )

    items = await drawn(chat(clients, way))

    assert [parts.StartStep(), "Hel", "lo", "!", parts.FinishStep(), finished()] == items


async def test_what_a_model_thinks(provider: ProviderServer, clients: Clients) -> None:
    """As DeepSeek and vLLM stream it, under two names; it ends where the answer begins."""
    provider.answers(
        chunk({"reasoning_content": "Let me", "content": None}),
        chunk({"reasoning": " see"}),
        chunk({"content": "Hi"}),
        *DONE,
    )

    assert [
        parts.StartStep(),
        parts.ReasoningStart("reasoning"),
        parts.ReasoningDelta("reasoning", "Let me"),
        parts.ReasoningDelta("reasoning", " see"),
        parts.ReasoningEnd("reasoning"),
        "Hi",
        parts.FinishStep(),
        finished(),
    ] == await drawn(chat(clients))


async def test_content_in_blocks(provider: ProviderServer, clients: Clients) -> None:
    """As Mistral's models stream it that think: thoughts and text in lists."""
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Let me see"}]}
    provider.answers(
        chunk({"content": [thought]}), chunk({"content": [{"type": "text", "text": "Hi"}]}), *DONE
    )

    assert [
        parts.StartStep(),
        parts.ReasoningStart("reasoning"),
        parts.ReasoningDelta("reasoning", "Let me see"),
        parts.ReasoningEnd("reasoning"),
        "Hi",
        parts.FinishStep(),
        finished(),
    ] == await drawn(chat(clients))


async def test_tool_calls(provider: ProviderServer, clients: Clients) -> None:
    """Two at once, written in turns; each is complete when the model stops."""
    provider.answers(
        called(index=0, id="a", type="function", function={"name": "add", "arguments": ""}),
        called(index=1, id="b", type="function", function={"name": "now", "arguments": ""}),
        called(index=0, function={"arguments": '{"x":'}),
        called(index=1, function={"arguments": ""}),
        called(index=0, id="a", function={"arguments": " 1}"}),
        chunk({}, "tool_calls"),
        event("[DONE]"),
    )

    assert [
        parts.StartStep(),
        parts.ToolInputStart("a", "add"),
        parts.ToolInputStart("b", "now"),
        parts.ToolInputDelta("a", '{"x":'),
        parts.ToolInputDelta("a", " 1}"),
        parts.ToolInputAvailable("a", "add", {"x": 1}),
        parts.ToolInputAvailable("b", "now", {}),
        parts.FinishStep(),
        parts.finished(finish_reason="tool-calls", model="a-model"),
    ] == await drawn(chat(clients))


@pytest.mark.parametrize("indexes", [(0, 1), (0, 0), (None, None)])
async def test_calls_are_told_apart(
    provider: ProviderServer, clients: Clients, indexes: tuple[int | None, int | None]
) -> None:
    """By index or, where a server counts all as the first or none, by id; a name may come late."""
    pieces = [
        called(index=index, id=call_id, function={"name": "f", "arguments": "{}"})
        for index, call_id in zip(indexes, "ab", strict=True)
    ]
    provider.answers(*pieces, chunk({}, "stop"), event("[DONE]"))

    items = await drawn(chat(clients))

    assert ["a", "b"] == [
        one.tool_call_id for one in items if isinstance(one, parts.ToolInputAvailable)
    ]
    assert parts.finished(finish_reason="tool-calls", model="a-model") == items[-1]


@pytest.mark.parametrize("given", ["same", "", None])
async def test_ids_are_made_unique(
    provider: ProviderServer, clients: Clients, given: str | None
) -> None:
    """Two calls of one id, or of none, would be one to all who read them."""
    provider.answers(
        called(index=0, id=given, function={"name": "f", "arguments": "{}"}),
        called(index=1, id=given, function={"name": "g", "arguments": "{}"}),
        chunk({}, "tool_calls"),
        event("[DONE]"),
    )

    items = await drawn(chat(clients))

    started = {one.tool_call_id: one for one in items if isinstance(one, parts.ToolInputStart)}
    ready = {one.tool_call_id: one for one in items if isinstance(one, parts.ToolInputAvailable)}
    assert 2 == len(started)
    assert {*started} == {*ready}
    assert all(started)


@pytest.mark.parametrize(
    ("written", "function"),
    [('{"x": ', {"name": "f"}), ("{}", {"name": ""}), ('{"x": NaN}', {"name": "f"})],
)
async def test_broken_input_is_told_as_such(
    provider: ProviderServer, clients: Clients, written: str, function: dict[str, str]
) -> None:
    """What the model wrote is there, and so is what is wrong with it."""
    provider.answers(
        called(index=0, id="a", function={**function, "arguments": written}),
        chunk({}, "tool_calls"),
        event("[DONE]"),
    )

    (error,) = [one for one in await drawn(chat(clients)) if isinstance(one, parts.ToolInputError)]

    assert ("a", function["name"], written) == (error.tool_call_id, error.tool_name, error.input)


async def test_a_function_call_of_the_old_kind(provider: ProviderServer, clients: Clients) -> None:
    """It has no id."""
    provider.answers(
        chunk({"function_call": {"name": "f", "arguments": ""}}),
        chunk({"function_call": {"arguments": "[1]"}}),
        chunk({}, "function_call"),
        event("[DONE]"),
    )

    (ready,) = [
        one for one in await drawn(chat(clients)) if isinstance(one, parts.ToolInputAvailable)
    ]

    assert ("f", [1]) == (ready.tool_name, ready.input)


@pytest.mark.parametrize(
    ("said", "reason"),
    [("length", "length"), ("content_filter", "content-filter"), ("strange", "other")],
)
async def test_why_the_model_stopped(
    provider: ProviderServer, clients: Clients, said: str, reason: str
) -> None:
    """An answer that a filter has cut is an answer, and says so."""
    provider.answers(chunk({"content": "Hi"}), chunk({}, said), event("[DONE]"))

    (*_, finished) = await told(chat(clients))

    assert {"finishReason": reason, "model": "a-model"} == finished["messageMetadata"]


REFUSALS: list[tuple[int, dict[str, Any], FailureKind]] = [
    (429, {"code": "rate_limit_exceeded", "type": "tokens"}, "rate_limit"),
    (429, {"code": "insufficient_quota"}, "rate_limit"),
    (401, {"code": "invalid_api_key", "message": f"Incorrect API key: {KEY}"}, "authentication"),
    (403, {"code": None}, "authentication"),
    (400, {"code": "context_length_exceeded"}, "context_length"),
    (400, {"message": "This model's maximum context length is 8192 tokens"}, "context_length"),
    (400, {"code": "content_filter", "message": "flagged"}, "content_filter"),
    (400, {"code": "invalid_value", "message": f"No. Bearer {KEY}"}, "invalid_request"),
    (404, {"code": "model_not_found"}, "invalid_request"),
    (500, {"type": "server_error"}, "provider"),
    (503, {"message": "try later"}, "overloaded"),
]


@pytest.mark.parametrize("way", ["async", "called"])
async def test_a_refusal_has_a_kind(provider: ProviderServer, clients: Clients, way: str) -> None:
    """And never says the key that it was asked with."""
    for status, error, _ in REFUSALS:
        body = json.dumps({"error": {"message": "no", **error}})
        provider.answers(body, status=status, headers={"retry-after": "7"})
    kinds = []
    for _ in REFUSALS:
        _, failed = await failure(chat(clients, way))
        assert KEY not in str(failed)
        assert 7.0 == failed.retry_after
        kinds.append(failed.kind)

    assert [kind for _, _, kind in REFUSALS] == kinds


async def test_an_error_that_the_application_raises_has_a_kind_too(
    provider: ProviderServer, clients: Clients, session_id: str
) -> None:
    """It called the client itself."""
    provider.answers(json.dumps({"error": {"message": f"slow down, {KEY}"}}), status=429)

    async def answer() -> AsyncIterator[str]:
        yield "Well"
        await clients.aclient.chat.completions.create(model="a-model", messages=[])

    async with Hub() as hub:
        stream = await hub.run(session_id, answer())
        assert Status.FAILED is await stream.wait(patience())
        assert "rate_limit: slow down, …" == (await stream.info()).error


@pytest.mark.parametrize("way", ["async", "sync"])
@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        ([CUT], "connection"),
        ([], "connection"),
        ([event("[DONE]")], "connection"),
        ([called(index=0, id="a", function={"name": "f", "arguments": '{"x'}), CUT], "connection"),
        ([event({"error": {"message": "busy", "code": "overloaded"}})], "overloaded"),
        ([event("{no json")], "provider"),
    ],
)
async def test_an_answer_that_breaks_off_failed(
    provider: ProviderServer, clients: Clients, steps: list[Any], kind: str, way: str
) -> None:
    """What came before it is there; no step is finished that was not."""
    provider.answers(chunk({"content": "Hi"}), *steps)
    items, failed = await failure(chat(clients, way))

    assert kind == failed.kind
    assert [parts.StartStep(), "Hi"] == items[:2]
    assert not any(isinstance(one, parts.FinishStep | parts.ToolInputAvailable) for one in items)


@pytest.mark.parametrize("api", ["completion", "response"])
async def test_what_is_of_neither_api_is_passed_over(
    provider: ProviderServer, clients: Clients, api: str
) -> None:
    """A sign of life may come before anything else, and what no client knows yet at any time."""
    unknown = event({"type": "keepalive", "sequence_number": 0})
    asked: Any = {"model": "a-model", "stream": True}
    if api == "completion":
        provider.answers(unknown, chunk({"content": "Hi"}), unknown, *DONE)
        answer = clients.aclient.chat.completions.create(**asked, messages=[])
    else:
        provider.answers(unknown, of("output_text.delta", delta="Hi"), unknown, COMPLETED)
        answer = clients.aclient.responses.create(**asked, input="Hi")

    items = await drawn(sources.openai(answer))

    assert [parts.StartStep(), "Hi", parts.FinishStep()] == items[:-1]


@pytest.mark.parametrize("told", [f"{KEY} is busy", "gsk_abcdefgh is busy", "http://u:p@h is busy"])
def test_an_error_in_the_place_of_a_chunk_has_a_kind(told: str) -> None:
    """Some clients hand it on as it came; what is secret in it is left out here, too."""
    said = {"error": {"code": 429, "message": told}}
    with pytest.raises(ProviderFailed, match=r"^rate_limit: (http://)?…(@h)? is busy$"):
        [*ChatCompletions().translate(said)]


async def test_nobody_there_is_a_connection() -> None:
    """Refused before anything was sent."""
    asked: Any = {"model": "a-model", "input": "Hi", "stream": True}
    options: Any = {"api_key": KEY, "base_url": "http://127.0.0.1:1", "max_retries": 0}
    async with openai.AsyncOpenAI(**options) as client:
        _, failed = await failure(sources.openai(client.responses.create(**asked)))

    assert "connection" == failed.kind
