"""OpenAI's client, unchanged, against a server that speaks its wire format."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from streamhub import Hub, ProviderFailed, Status, parts, sources
from streamhub.errors import FailureKind
from streamhub.http import chat_routes
from streamhub.sources.chat_completions import ChatCompletions
from streamhub.sync import Hub as SyncHub

from ..support.certificates import Certificates
from ..support.page_source import names_of
from ..support.provider_server import CUT, STALL, ProviderServer, event, provider_server
from ..support.provider_use import drawn, failure, hung_up, stalled, told

pytestmark = pytest.mark.integrations
openai = pytest.importorskip("openai")

KEY = "sk-a-secret-of-ours"
USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 5,
    "total_tokens": 12,
    "completion_tokens_details": {"reasoning_tokens": 3},
    "prompt_tokens_details": {"cached_tokens": 2},
}
FINISHED = parts.finished(
    usage={
        "inputTokens": 7,
        "outputTokens": 5,
        "totalTokens": 12,
        "reasoningTokens": 3,
        "cachedInputTokens": 2,
    },
    finish_reason="stop",
    model="a-model",
)
#: How an application may hand in what it gets of the client.
WAYS = ["async", "sync", "called", "async helper", "sync helper"]


def chunk(delta: dict[str, Any] | None, reason: str | None = None, **more: Any) -> str:
    """One event of a chat completion."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    facts = {"id": "c1", "object": "chat.completion.chunk", "created": 0, "model": "a-model"}
    return event({**facts, "choices": [] if delta is None else [choice], **more})


def called(**call: Any) -> str:
    """A piece of a tool call."""
    return chunk({"tool_calls": [call]})


DONE = [chunk({}, "stop"), chunk(None, usage=USAGE), event("[DONE]")]


class Clients:
    """Both of them, asking one server."""

    def __init__(self, provider: ProviderServer) -> None:
        facts: Any = {"api_key": KEY, "base_url": f"{provider.url}/v1", "max_retries": 0}
        # To read all certificates of the machine takes longer than a test.
        quick: Any = openai.DefaultHttpxClient(verify=False)
        aquick: Any = openai.DefaultAsyncHttpxClient(verify=False)
        self.client = openai.OpenAI(**facts, http_client=quick)
        self.aclient = openai.AsyncOpenAI(**facts, http_client=aquick)


@pytest.fixture
async def clients(provider: ProviderServer) -> AsyncIterator[Clients]:
    opened = Clients(provider)
    yield opened
    opened.client.close()
    await opened.aclient.close()


def chat(clients: Clients, way: str = "async") -> sources.ProviderStream:
    aclient, client = clients.aclient, clients.client
    asked: dict[str, Any] = {"model": "a-model", "messages": [{"role": "user", "content": "Hi"}]}
    ways: dict[str, Callable[[], Any]] = {
        "async": lambda: aclient.chat.completions.create(**asked, stream=True),
        "sync": lambda: client.chat.completions.create(**asked, stream=True),
        "called": lambda: lambda: client.chat.completions.create(**asked, stream=True),
        "async helper": lambda: aclient.chat.completions.stream(**asked),
        "sync helper": lambda: client.chat.completions.stream(**asked),
    }
    return sources.openai(ways[way]())


def respond(clients: Clients, way: str = "async") -> sources.ProviderStream:
    aclient, client = clients.aclient, clients.client
    asked: dict[str, Any] = {"model": "a-model", "input": "Hi"}
    ways: dict[str, Callable[[], Any]] = {
        "async": lambda: aclient.responses.create(**asked, stream=True),
        "sync": lambda: client.responses.create(**asked, stream=True),
        "called": lambda: lambda: client.responses.create(**asked, stream=True),
        "async helper": lambda: aclient.responses.stream(**asked),
        "sync helper": lambda: client.responses.stream(**asked),
    }
    return sources.openai(ways[way]())


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

    assert [parts.StartStep(), "Hel", "lo", "!", parts.FinishStep(), FINISHED] == items


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
        FINISHED,
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
        FINISHED,
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
        assert Status.FAILED is await stream.wait(20)
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


@pytest.mark.parametrize("steps", [(chunk({"content": "Hi"}), STALL), (STALL,)])
async def test_a_client_that_waits_no_longer(
    provider: ProviderServer, clients: Clients, steps: tuple[Any, ...]
) -> None:
    """How long it waits is its own affair: then the connection is no good."""
    provider.answers(*steps)
    asked: Any = {"model": "a-model", "messages": [], "stream": True, "timeout": 0.1}

    _, failed = await failure(sources.openai(clients.aclient.chat.completions.create(**asked)))

    assert "connection" == failed.kind


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
        assert Status.CANCELLED is await stream.cancel(wait=20)
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
            assert Status.CANCELLED is await stream.cancel(wait=20)
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
        assert provider.wait_asked().stalled.wait(20)
        assert Status.CANCELLED is stream.cancel(wait=20)
        assert provider.asked[0].hung_up.wait(20)
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


# The Responses API


def response(kind: str, status: str = "in_progress", **facts: Any) -> str:
    """An event about the response as a whole."""
    whole = {
        "id": "r1", "object": "response", "created_at": 0, "status": status, "model": "a-model",
        "output": [], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], **facts,
    }  # fmt: skip
    return event({"type": f"response.{kind}", "sequence_number": 0, "response": whole}, kind)


def of(kind: str, item_id: str = "i1", **facts: Any) -> str:
    """An event about one item."""
    place = {"item_id": item_id, "output_index": 0, "content_index": 0, "sequence_number": 1}
    return event({"type": f"response.{kind}", **place, **facts})


def item(kind: str, **facts: Any) -> str:
    """The begin or the end of an item."""
    place = {"output_index": 0, "sequence_number": 1}
    return event({"type": f"response.output_item.{kind}", **place, "item": facts})


MESSAGE: dict[str, Any] = {"type": "message", "id": "m1", "role": "assistant"}
TEXT = [
    item("added", **MESSAGE, status="in_progress", content=[]),
    of("content_part.added", "m1", part={"type": "output_text", "text": "", "annotations": []}),
    of("output_text.delta", "m1", delta="Hel", logprobs=[]),
    of("output_text.delta", "m1", delta="lo", logprobs=[]),
    of("output_text.done", "m1", text="Hello", logprobs=[]),
    of("content_part.done", "m1", part={"type": "output_text", "text": "Hello", "annotations": []}),
    item("done", **MESSAGE, status="completed", content=[]),
]
COMPLETED = response(
    "completed",
    "completed",
    usage={
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 12,
    },
)


@pytest.mark.parametrize("way", WAYS)
async def test_a_response(provider: ProviderServer, clients: Clients, way: str) -> None:
    """Text, usage and finish reason."""
    provider.answers(response("created"), *TEXT, COMPLETED)

    items = await drawn(respond(clients, way))

    assert [parts.StartStep(), "Hel", "lo", parts.FinishStep(), FINISHED] == items


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
        FINISHED,
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
        json.loads(parts.encode(FINISHED)),
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


async def test_a_response_is_cancelled(
    provider: ProviderServer, clients: Clients, session_id: str
) -> None:
    """In the middle of what a helper reads."""
    provider.answers(response("created"), *TEXT, STALL)
    async with Hub() as hub:
        stream = await hub.run(session_id, respond(clients, "async helper"))
        asked = await stalled(provider)
        assert Status.CANCELLED is await stream.cancel(wait=20)
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
