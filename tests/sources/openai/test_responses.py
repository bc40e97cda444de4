"""What responses of the Responses API become."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamhub import parts

from ...support.provider_server import CUT, ProviderServer, event
from ...support.provider_use import drawn, failure, told
from ..completions import finished
from .asking import WAYS, Clients, respond
from .shapes import COMPLETED, TEXT, item, of, response

openai = pytest.importorskip("openai")

pytestmark = pytest.mark.integrations


@pytest.mark.parametrize("way", WAYS)
async def test_a_response(provider: ProviderServer, clients: Clients, way: str) -> None:
    """Text, usage and finish reason."""
    provider.answers(response("created"), *TEXT, COMPLETED)

    items = await drawn(respond(clients, way))

    assert [parts.StartStep(), "Hel", "lo", parts.FinishStep(), finished()] == items


async def test_summaries_of_what_a_model_thinks(provider: ProviderServer, clients: Clients) -> None:
    """Each is a reasoning of its own; what only the model can read is kept for it."""
    thought = {"type": "reasoning", "id": "i1", "summary": []}
    provider.answers(
        response("created"),
        item("added", **thought),
        of("reasoning_summary_text.delta", summary_index=0, delta="First"),
        of("reasoning_summary_text.done", summary_index=0, text="First"),
        of("reasoning_summary_text.delta", summary_index=1, delta="Then"),
        item("done", **thought, encrypted_content="zzz"),
        *TEXT,
        COMPLETED,
    )
    kept = {"openai": {"itemId": "i1", "reasoningEncryptedContent": "zzz"}}

    assert [
        parts.StartStep(),
        parts.ReasoningStart("i1:summary-0"),
        parts.ReasoningDelta("i1:summary-0", "First"),
        parts.ReasoningEnd("i1:summary-0"),
        parts.ReasoningStart("i1:summary-1"),
        parts.ReasoningDelta("i1:summary-1", "Then"),
        parts.ReasoningEnd("i1:summary-1"),
        parts.ReasoningStart("i1:encrypted", provider_metadata=kept),
        parts.ReasoningEnd("i1:encrypted", provider_metadata=kept),
        "Hel",
        "lo",
        parts.FinishStep(),
        finished(),
    ] == await drawn(respond(clients))


async def test_calls_of_functions(provider: ProviderServer, clients: Clients) -> None:
    """Of functions with JSON, and of tools that take a text."""
    call = {"type": "function_call", "id": "i1", "call_id": "a", "name": "add"}
    custom = {"type": "custom_tool_call", "id": "i2", "call_id": "b", "name": "run"}
    provider.answers(
        response("created"),
        item("added", **call, arguments="", status="in_progress"),
        of("function_call_arguments.delta", delta='{"x":'),
        of("function_call_arguments.delta", delta="1}"),
        of("function_call_arguments.done", arguments='{"x":1}', name="add"),
        item("done", **call, arguments='{"x":1}', status="completed"),
        item("added", **custom, input=""),
        of("custom_tool_call_input.delta", "i2", delta="print"),
        item("done", **custom, input="print"),
        COMPLETED,
    )

    items = await drawn(respond(clients))

    assert [
        parts.StartStep(),
        parts.ToolInputStart("a", "add"),
        parts.ToolInputDelta("a", '{"x":'),
        parts.ToolInputDelta("a", "1}"),
        parts.ToolInputAvailable(
            "a", "add", {"x": 1}, provider_metadata={"openai": {"itemId": "i1"}}
        ),
        parts.ToolInputStart("b", "run", input_encoding="text"),
        parts.ToolInputDelta("b", "print"),
        parts.ToolInputAvailable(
            "b", "run", "print", provider_metadata={"openai": {"itemId": "i2"}}
        ),
        parts.FinishStep(),
    ] == items[:-1]
    assert isinstance(items[-1], parts.MessageMetadata)
    assert "tool-calls" == items[-1].message_metadata["finishReason"]


async def test_tools_that_the_provider_runs(provider: ProviderServer, clients: Clients) -> None:
    """Their input, what came of them, and the sources of the answer, each once."""
    search = {"type": "web_search_call", "id": "w1"}
    action = {"type": "search", "query": "tea", "sources": [{"type": "url", "url": "http://a/"}]}
    files = {"type": "file_search_call", "id": "f1", "queries": ["tea"]}
    found = [{"file_id": "file-1", "filename": "tea.md", "score": 1, "text": "…", "attributes": {}}]
    cited = {"type": "url_citation", "url": "http://a/", "title": "A"}
    other = {"type": "url_citation", "url": "http://b/", "title": "B"}
    place = {"start_index": 0, "end_index": 1}
    provider.answers(
        response("created"),
        item("added", **search, status="in_progress", action={"type": "search", "query": ""}),
        of("web_search_call.searching", "w1"),
        item("done", **search, status="completed", action=action),
        item("added", **files, status="in_progress"),
        item("done", **files, status="completed", results=found),
        *TEXT,
        of("output_text.annotation.added", "m1", annotation_index=0, annotation={**cited, **place}),
        of("output_text.annotation.added", "m1", annotation_index=1, annotation={**other, **place}),
        COMPLETED,
    )

    assert [
        {"type": "start-step"},
        {"type": "tool-input-start", "toolCallId": "w1", "toolName": "web_search",
         "providerExecuted": True},
        {"type": "tool-input-available", "toolCallId": "w1", "toolName": "web_search",
         "input": {"action": action}, "providerExecuted": True},
        {"type": "tool-output-available", "toolCallId": "w1", "output": {"status": "completed"},
         "providerExecuted": True},
        {"type": "source-url", "url": "http://a/"},
        {"type": "tool-input-start", "toolCallId": "f1", "toolName": "file_search",
         "providerExecuted": True},
        {"type": "tool-input-available", "toolCallId": "f1", "toolName": "file_search",
         "input": {"queries": ["tea"]}, "providerExecuted": True},
        {"type": "tool-output-available", "toolCallId": "f1",
         "output": {"status": "completed", "results": found}, "providerExecuted": True},
        {"type": "source-document", "mediaType": "text/plain", "title": "tea.md",
         "filename": "tea.md", "providerMetadata": {"openai": {"fileId": "file-1"}}},
        "Hel", "lo",
        {"type": "source-url", "url": "http://b/", "title": "B"},
        {"type": "finish-step"},
        json.loads(parts.encode(finished())),
    ] == await told(respond(clients))  # fmt: skip


@pytest.mark.parametrize(
    ("why", "reason"), [("max_output_tokens", "length"), ("content_filter", "content-filter")]
)
async def test_an_incomplete_response(
    provider: ProviderServer, clients: Clients, why: str, reason: str
) -> None:
    """Is one with a reason."""
    incomplete = response("incomplete", "incomplete", incomplete_details={"reason": why})
    provider.answers(response("created"), *TEXT, incomplete)

    items = await told(respond(clients))

    assert reason == items[-1]["messageMetadata"]["finishReason"]


@pytest.mark.parametrize("way", ["async", "sync helper"])
@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (
            response("failed", "failed", error={"code": "rate_limit_exceeded", "message": "slow"}),
            "rate_limit: slow",
        ),
        (
            response("failed", "failed", error={"code": "server_error", "message": "oops"}),
            "provider: oops",
        ),
        (
            event({"type": "error", "code": "invalid_prompt", "message": "no", "param": None,
                   "sequence_number": 2}),
            "content_filter: no",
        ),
        (CUT, "connection: "),
        ("", "connection: the provider's stream ended before its answer did"),
    ],
)  # fmt: skip
async def test_a_response_that_fails(
    provider: ProviderServer, clients: Clients, last: Any, reason: str, way: str
) -> None:
    """In each of the ways in which the provider says so, or does not."""
    provider.answers(response("created"), *TEXT, *([last] if last else []))

    _, failed = await failure(respond(clients, way))

    # Clients of different ages have different words for a broken connection.
    assert str(failed).startswith(reason)
