"""LiteLLM, unchanged, against a server that speaks the wire format of the model's provider."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest

from streamhub import Hub, Status, parts, sources
from streamhub.errors import FailureKind
from streamhub.testing.waiting import patience, within

from ..support.page_source import names_of
from ..support.provider_server import CUT, STALL, ProviderServer, event
from ..support.provider_use import drawn, failure, hung_up, stalled

pytestmark = [
    pytest.mark.integrations,
    # It warns of what it does itself.
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

KEY = "sk-a-secret-of-ours"
WAYS = ["async", "awaited", "sync", "called"]


@pytest.fixture(scope="module")
def litellm() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        # Else it asks a server of its authors what models cost.
        patch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        module = pytest.importorskip("litellm")
    module.suppress_debug_info = True
    return module


Ask = Callable[..., Any]


@pytest.fixture
async def ask(litellm: Any, provider: ProviderServer) -> AsyncIterator[Ask]:
    async def ask(way: str = "async", model: str = "openai/a-model") -> sources.ProviderStream:
        asked: Any = {
            "model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": True,
            "api_base": provider.url, "api_key": KEY, "max_retries": 0, "num_retries": 0,
            "stream_options": {"include_usage": True}, "timeout": 60,
        }  # fmt: skip
        match way:
            case "async":
                return sources.litellm(litellm.acompletion(**asked))
            case "awaited":
                return sources.litellm(await litellm.acompletion(**asked))
            case "sync":
                return sources.litellm(await asyncio.to_thread(litellm.completion, **asked))
        return sources.litellm(lambda: litellm.completion(**asked))

    yield ask
    await litellm.close_litellm_async_clients()
    held = litellm.in_memory_llm_clients_cache
    for client in {id(one): one for one in held.cache_dict.values()}.values():
        with suppress(AttributeError):
            closing = client.close()
            if inspect.isawaitable(closing):
                await closing
    held.flush_cache()


def chunk(delta: dict[str, Any] | None, reason: str | None = None, **more: Any) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    facts = {"id": "c1", "object": "chat.completion.chunk", "created": 0, "model": "a-model"}
    return event({**facts, "choices": [] if delta is None else [choice], **more})


USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
DONE = [chunk(None, usage=USAGE), event("[DONE]")]


async def test_the_page_on_sources(
    litellm: Any, provider: ProviderServer, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its example asks the provider that the environment names."""
    monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    provider.answers(chunk({"content": "Hi"}), chunk({}, "stop"), event("[DONE]"))
    async with Hub() as hub:
        stream = await names_of("sources.md")["with_litellm"](hub, litellm, "Why?")
        assert Status.FINISHED is await within(stream.wait())
        assert "Hi" == await stream.text()


@pytest.mark.parametrize("way", WAYS)
async def test_a_chat_completion(provider: ProviderServer, ask: Ask, way: str) -> None:
    """What the model thinks, its text, a call, usage and finish reason; one class is both what an
    async call gives and what a sync one does."""
    called = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
    provider.answers(
        chunk({"role": "assistant", "reasoning_content": "Hm"}),
        chunk({"content": "Hi"}),
        chunk({"tool_calls": [called]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"x": 1}'}}]}),
        chunk({}, "tool_calls"),
        *DONE,
    )

    items = await drawn(await ask(way))

    assert [
        parts.StartStep(),
        parts.ReasoningStart("reasoning"),
        parts.ReasoningDelta("reasoning", "Hm"),
        parts.ReasoningEnd("reasoning"),
        "Hi",
        parts.ToolInputStart("a", "f"),
        parts.ToolInputDelta("a", '{"x": 1}'),
        parts.ToolInputAvailable("a", "f", {"x": 1}),
        parts.FinishStep(),
    ] == items[:-1]
    last = items[-1]
    assert isinstance(last, parts.MessageMetadata)
    assert {"finishReason": "tool-calls", "model": "a-model"} == {
        name: last.message_metadata[name] for name in ("finishReason", "model")
    }
    assert 12 == last.message_metadata["usage"]["totalTokens"]


async def test_what_a_model_wants_to_see_again(provider: ProviderServer, ask: Ask) -> None:
    """The signature of what a model of Anthropic thought."""

    def says(kind: str, **facts: Any) -> str:
        return event({"type": kind, **facts}, kind)

    def delta(index: int, **facts: Any) -> str:
        return says("content_block_delta", index=index, delta=facts)

    message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [],
               "usage": {"input_tokens": 1, "output_tokens": 1}}  # fmt: skip
    thinking = {"type": "thinking", "thinking": "", "signature": ""}
    provider.answers(
        says("message_start", message=message),
        says("content_block_start", index=0, content_block=thinking),
        delta(0, type="thinking_delta", thinking="Hm"),
        delta(0, type="signature_delta", signature="abc"),
        says("content_block_stop", index=0),
        says("content_block_start", index=1, content_block={"type": "text", "text": ""}),
        delta(1, type="text_delta", text="Hi"),
        says("content_block_stop", index=1),
        says("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2}),
        says("message_stop"),
    )

    items = await drawn(await ask(model="anthropic/a-model"))

    assert [
        parts.StartStep(),
        parts.ReasoningStart("reasoning"),
        parts.ReasoningDelta("reasoning", "Hm"),
        parts.ReasoningEnd("reasoning", provider_metadata={"litellm": {"signature": "abc"}}),
        "Hi",
        parts.FinishStep(),
    ] == items[:-1]


@pytest.mark.parametrize("way", ["async", "called"])
async def test_a_response(litellm: Any, provider: ProviderServer, ask: Ask, way: str) -> None:
    """Of the Responses API, by ``aresponses`` and by ``responses``."""

    def says(kind: str, **facts: Any) -> str:
        return event({"type": f"response.{kind}", "sequence_number": 0, **facts})

    whole = {"id": "r1", "object": "response", "created_at": 0, "model": "a-model", "output": [],
             "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}  # fmt: skip
    place = {"item_id": "m1", "output_index": 0, "content_index": 0}
    provider.answers(
        says("created", response={**whole, "status": "in_progress"}),
        says("output_text.delta", **place, delta="Hi"),
        says("completed", response={**whole, "status": "completed"}),
    )
    # Of a model that it does not know, it streams nothing.
    asked: Any = {"model": "openai/gpt-5", "input": "Hi", "stream": True,
                  "api_base": provider.url, "api_key": KEY}  # fmt: skip
    ways: dict[str, Callable[[], Any]] = {
        "async": lambda: litellm.aresponses(**asked),
        "called": lambda: lambda: litellm.responses(**asked),
    }

    items = await drawn(sources.litellm(ways[way]()))

    # It counts the tokens itself, where the provider has not.
    *said, finished = items
    assert [parts.StartStep(), "Hi", parts.FinishStep()] == said
    assert isinstance(finished, parts.MessageMetadata)
    assert "stop" == finished.message_metadata["finishReason"]


REFUSALS: list[tuple[int, dict[str, Any], FailureKind]] = [
    (429, {"code": "rate_limit_exceeded"}, "rate_limit"),
    (401, {"code": "invalid_api_key", "message": f"Incorrect API key: {KEY}"}, "authentication"),
    (400, {"message": "This model's maximum context length is 8 tokens"}, "context_length"),
    (400, {"code": "content_policy_violation", "message": "no"}, "content_filter"),
    (400, {"message": f"No. {KEY}"}, "invalid_request"),
    (500, {"message": "oops"}, "provider"),
    (503, {"message": "later"}, "overloaded"),
]


async def test_a_refusal_has_a_kind(provider: ProviderServer, ask: Ask) -> None:
    """And never says the key that it was asked with."""
    for status, error, _ in REFUSALS:
        provider.answers(json.dumps({"error": {"message": "no", **error}}), status=status)
    kinds = []
    for _ in REFUSALS:
        _, failed = await failure(await ask())
        assert KEY not in str(failed)
        kinds.append(failed.kind)

    assert [kind for _, _, kind in REFUSALS] == kinds


@pytest.mark.parametrize("way", ["async", "called"])
@pytest.mark.parametrize("last", [CUT, ""])
async def test_an_answer_that_breaks_off_failed(
    provider: ProviderServer, ask: Ask, last: Any, way: str
) -> None:
    """What came before it is there; no step is finished that was not."""
    provider.answers(chunk({"role": "assistant", "content": "Hi"}), *([last] if last else []))

    items, failed = await failure(await ask(way))

    assert "connection" == failed.kind
    assert [parts.StartStep(), "Hi"] == items


@pytest.mark.parametrize("way", WAYS)
async def test_a_cancel_hangs_up(
    provider: ProviderServer, ask: Ask, session_id: str, way: str
) -> None:
    """At once, though the provider says nothing more."""
    provider.answers(chunk({"role": "assistant", "content": "Hi"}), STALL)
    async with Hub() as hub:
        stream = await hub.run(session_id, await ask(way))
        asked = await stalled(provider)
        assert Status.CANCELLED is await stream.cancel(wait=patience(20))
        assert await hung_up(asked)


async def test_an_answer_for_nobody_is_not_asked_for(
    provider: ProviderServer, ask: Ask, session_id: str
) -> None:
    """The session is somebody else's, and no request is made."""
    async with Hub() as hub, (await hub.register(session_id))[0]:
        stream = await hub.run(session_id, await ask())

    assert stream.generation is None
    assert [] == provider.asked
