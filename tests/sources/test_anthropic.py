"""Anthropic's client, unchanged, against a server that speaks its wire format."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from streamhub import Hub, Status, parts, sources
from streamhub.errors import FailureKind
from streamhub.testing.waiting import patience

from ..support.page_source import names_of
from ..support.provider_server import CUT, STALL, ProviderServer, event
from ..support.provider_use import drawn, failure, hung_up, stalled, told

pytestmark = pytest.mark.integrations
anthropic = pytest.importorskip("anthropic")

#: One that does not look like any.
KEY = "a-secret-of-ours"


class Clients:
    """Both of them, asking one server."""

    def __init__(self, provider: ProviderServer) -> None:
        facts: Any = {"api_key": KEY, "base_url": provider.url, "max_retries": 0}
        # To read all certificates of the machine takes longer than a test.
        quick: Any = anthropic.DefaultHttpxClient(verify=False)
        aquick: Any = anthropic.DefaultAsyncHttpxClient(verify=False)
        self.client = anthropic.Anthropic(**facts, http_client=quick)
        self.aclient = anthropic.AsyncAnthropic(**facts, http_client=aquick)


@pytest.fixture
async def clients(provider: ProviderServer) -> AsyncIterator[Clients]:
    opened = Clients(provider)
    yield opened
    opened.client.close()
    await opened.aclient.close()


def ask(clients: Clients, way: str = "async") -> sources.ProviderStream:
    aclient, client = clients.aclient, clients.client
    asked: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    ways: dict[str, Callable[[], Any]] = {
        "async": lambda: aclient.messages.create(**asked, stream=True),
        "sync": lambda: client.messages.create(**asked, stream=True),
        "called": lambda: lambda: client.messages.create(**asked, stream=True),
        "async helper": lambda: aclient.messages.stream(**asked),
        "sync helper": lambda: client.messages.stream(**asked),
    }
    return sources.anthropic(ways[way]())


def says(kind: str, **facts: Any) -> str:
    return event({"type": kind, **facts}, kind)


def block(index: int, *deltas: dict[str, Any], **begin: Any) -> str:
    """One block of the content, from its start to its stop."""
    return (
        says("content_block_start", index=index, content_block=begin)
        + "".join(says("content_block_delta", index=index, delta=delta) for delta in deltas)
        + says("content_block_stop", index=index)
    )


def text(index: int, *deltas: str) -> str:
    said = [{"type": "text_delta", "text": delta} for delta in deltas]
    return block(index, *said, type="text", text="")


def written(*pieces: str) -> list[dict[str, Any]]:
    return [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]


def over(reason: str = "end_turn") -> str:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return says("message_delta", delta=delta, usage={"output_tokens": 9}) + says("message_stop")


USAGE = {
    "input_tokens": 3,
    "output_tokens": 1,
    "cache_read_input_tokens": 2,
    "cache_creation_input_tokens": 1,
}
MESSAGE = {"id": "m1", "type": "message", "role": "assistant", "model": "a-model", "content": []}
START = says(
    "message_start",
    message={**MESSAGE, "stop_reason": None, "stop_sequence": None, "usage": USAGE},
)
PING = says("ping")


def finished(reason: parts.FinishReason = "stop") -> parts.MessageMetadata:
    usage = {"inputTokens": 6, "outputTokens": 9, "totalTokens": 15, "cachedInputTokens": 2}
    return parts.finished(usage=usage, finish_reason=reason, model="a-model")


@pytest.mark.parametrize("way", ["async", "sync", "called", "async helper", "sync helper"])
async def test_a_message(provider: ProviderServer, clients: Clients, way: str) -> None:
    """What the model thought, with the signature that it wants to see again, its text, and a call
    of a tool."""
    thought = [
        {"type": "thinking_delta", "thinking": "Let me"},
        {"type": "thinking_delta", "thinking": " see"},
        {"type": "signature_delta", "signature": "abc"},
    ]
    provider.answers(
        START,
        PING,
        block(0, *thought, type="thinking", thinking="", signature=""),
        block(1, type="redacted_thinking", data="zzz"),
        text(2, "Hel", "lo"),
        block(3, *written("", '{"x":', " 1}"), type="tool_use", id="a", name="add", input={}),
        block(4, *written(""), type="tool_use", id="b", name="now", input={}),
        over("tool_use"),
    )
    hidden = {"anthropic": {"redactedData": "zzz"}}

    assert [
        parts.StartStep(),
        parts.ReasoningStart("reasoning-0"),
        parts.ReasoningDelta("reasoning-0", "Let me"),
        parts.ReasoningDelta("reasoning-0", " see"),
        parts.ReasoningEnd("reasoning-0", provider_metadata={"anthropic": {"signature": "abc"}}),
        parts.ReasoningStart("reasoning-1", provider_metadata=hidden),
        parts.ReasoningEnd("reasoning-1", provider_metadata=hidden),
        "Hel",
        "lo",
        parts.ToolInputStart("a", "add"),
        parts.ToolInputDelta("a", '{"x":'),
        parts.ToolInputDelta("a", " 1}"),
        parts.ToolInputAvailable("a", "add", {"x": 1}),
        parts.ToolInputStart("b", "now"),
        parts.ToolInputAvailable("b", "now", {}),
        parts.FinishStep(),
        finished("tool-calls"),
    ] == await drawn(ask(clients, way))


async def test_tools_that_the_provider_runs(provider: ProviderServer, clients: Clients) -> None:
    """Their input, what came of them, and the sources of the answer, each once."""
    page = {"type": "web_search_result", "url": "http://a/", "title": "A", "encrypted_content": "e"}
    broken = {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}
    cited: list[dict[str, Any]] = [
        {"type": "web_search_result_location", "url": "http://a/", "title": "A", "cited_text": "x",
         "encrypted_index": "e"},
        {"type": "web_search_result_location", "url": "http://b/", "title": "B", "cited_text": "y",
         "encrypted_index": "e"},
        {"type": "page_location", "document_index": 0, "document_title": "Tea", "cited_text": "z",
         "start_page_number": 1, "end_page_number": 2},
    ]  # fmt: skip
    notes = [{"type": "citations_delta", "citation": one} for one in cited]
    call = {"type": "server_tool_use", "name": "web_search", "input": {}}
    provider.answers(
        START,
        block(0, *written('{"query": "tea"}'), **call, id="s1"),
        block(1, type="web_search_tool_result", tool_use_id="s1", content=[page]),
        block(2, *written("{}"), **call, id="s2"),
        block(3, type="web_search_tool_result", tool_use_id="s2", content=broken),
        block(4, {"type": "text_delta", "text": "Tea"}, *notes, type="text", text=""),
        over(),
    )

    assert [
        {"type": "start-step"},
        {"type": "tool-input-start", "toolCallId": "s1", "toolName": "web_search",
         "providerExecuted": True},
        {"type": "tool-input-delta", "toolCallId": "s1", "inputTextDelta": '{"query": "tea"}'},
        {"type": "tool-input-available", "toolCallId": "s1", "toolName": "web_search",
         "input": {"query": "tea"}, "providerExecuted": True},
        {"type": "tool-output-available", "toolCallId": "s1", "output": [page],
         "providerExecuted": True},
        {"type": "source-url", "url": "http://a/", "title": "A"},
        {"type": "tool-input-start", "toolCallId": "s2", "toolName": "web_search",
         "providerExecuted": True},
        {"type": "tool-input-delta", "toolCallId": "s2", "inputTextDelta": "{}"},
        {"type": "tool-input-available", "toolCallId": "s2", "toolName": "web_search", "input": {},
         "providerExecuted": True},
        {"type": "tool-output-error", "toolCallId": "s2", "errorText": "max_uses_exceeded",
         "providerExecuted": True},
        "Tea",
        {"type": "source-url", "url": "http://b/", "title": "B",
         "providerMetadata": {"anthropic": {"citedText": "y"}}},
        {"type": "source-document", "mediaType": "application/pdf", "title": "Tea",
         "providerMetadata": {"anthropic": {"citedText": "z"}}},
        {"type": "finish-step"},
        json.loads(parts.encode(finished())),
    ] == await told(ask(clients))  # fmt: skip


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content-filter"),
        ("pause_turn", "stop"),
        ("strange", "other"),
    ],
)
async def test_why_the_model_stopped(
    provider: ProviderServer, clients: Clients, said: str, reason: parts.FinishReason
) -> None:
    """A refusal in the middle of an answer is how that ends."""
    provider.answers(START, text(0, "Hi"), over(said))

    assert [parts.StartStep(), "Hi", parts.FinishStep(), finished(reason)] == (
        await drawn(ask(clients))
    )


async def test_broken_input_is_told_as_such(provider: ProviderServer, clients: Clients) -> None:
    """What the model wrote is there; ids that are repeated are told apart."""
    call = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    provider.answers(
        START,
        block(0, *written('{"x":'), **call),
        block(1, *written("[1]"), **call),
        over("max_tokens"),
    )

    items = await drawn(ask(clients))

    (broken,) = [one for one in items if isinstance(one, parts.ToolInputError)]
    (ready,) = [one for one in items if isinstance(one, parts.ToolInputAvailable)]
    assert ("a", '{"x":') == (broken.tool_call_id, broken.input)
    assert [1] == ready.input
    assert broken.tool_call_id != ready.tool_call_id


REFUSALS: list[tuple[int, str, str, FailureKind]] = [
    (429, "rate_limit_error", "slow down", "rate_limit"),
    (401, "authentication_error", f"invalid x-api-key {KEY}", "authentication"),
    (403, "permission_error", "not for you", "authentication"),
    (400, "invalid_request_error", "prompt is too long: 3 tokens > 2 maximum", "context_length"),
    (400, "invalid_request_error", "max_tokens: 9 > 8, the maximum allowed", "invalid_request"),
    (413, "request_too_large", "too many bytes", "context_length"),
    (404, "not_found_error", f"model {KEY}", "invalid_request"),
    (500, "api_error", "oops", "provider"),
    (529, "overloaded_error", "Overloaded", "overloaded"),
]


async def test_a_refusal_has_a_kind(provider: ProviderServer, clients: Clients) -> None:
    """And never says the key that it was asked with."""
    for status, kind, message, _ in REFUSALS:
        body = {"type": "error", "error": {"type": kind, "message": message}}
        provider.answers(json.dumps(body), status=status, headers={"retry-after": "7"})
    kinds = []
    for _ in REFUSALS:
        _, failed = await failure(ask(clients))
        assert KEY not in str(failed)
        assert 7.0 == failed.retry_after
        kinds.append(failed.kind)

    assert [kind for *_, kind in REFUSALS] == kinds


@pytest.mark.parametrize("way", ["async", "sync helper"])
@pytest.mark.parametrize(
    ("last", "kind"),
    [
        (CUT, "connection"),
        ("", "connection"),
        (says("content_block_start", index=1,
              content_block={"type": "tool_use", "id": "a", "name": "f", "input": {}})
         + says("content_block_delta", index=1, delta=written('{"x')[0]), "connection"),
        (says("error", error={"type": "overloaded_error", "message": "Overloaded"}), "overloaded"),
        (says("error", error={"type": "api_error", "message": "oops"}), "provider"),
        (event("{no json", "content_block_delta"), "provider"),
    ],
)  # fmt: skip
async def test_an_answer_that_breaks_off_failed(
    provider: ProviderServer, clients: Clients, last: Any, kind: str, way: str
) -> None:
    """In each of the ways in which the provider says so, or does not."""
    provider.answers(START, text(0, "Hi"), *([last] if last else []))

    items, failed = await failure(ask(clients, way))

    assert kind == failed.kind
    assert [parts.StartStep(), "Hi"] == items[:2]
    assert not any(isinstance(one, parts.FinishStep | parts.ToolInputAvailable) for one in items)


@pytest.mark.parametrize("way", ["async", "async helper", "sync", "called", "sync helper"])
async def test_a_cancel_hangs_up(
    provider: ProviderServer, clients: Clients, session_id: str, way: str
) -> None:
    """At once, though the provider says nothing more."""
    provider.answers(START, text(0, "Hi"), STALL)
    async with Hub() as hub:
        stream = await hub.run(session_id, await asyncio.to_thread(ask, clients, way))
        asked = await stalled(provider)
        assert Status.CANCELLED is await stream.cancel(wait=patience())
        assert await hung_up(asked)


@pytest.mark.parametrize("way", ["async", "async helper", "called", "sync helper"])
async def test_an_answer_for_nobody_is_not_asked_for(
    provider: ProviderServer, clients: Clients, session_id: str, way: str
) -> None:
    """The session is somebody else's, and no request is made."""
    async with Hub() as hub, (await hub.register(session_id))[0]:
        stream = await hub.run(session_id, ask(clients, way))

    assert stream.generation is None
    assert [] == provider.asked


async def test_the_page_on_sources(provider: ProviderServer, clients: Clients) -> None:
    """Its example."""
    provider.answers(START, text(0, "Hi"), over())
    async with Hub() as hub:
        stream = await names_of("sources.md")["with_anthropic"](hub, clients.aclient, "Hi")
        assert Status.FINISHED is await stream.wait(patience())
        assert "Hi" == await stream.text()
