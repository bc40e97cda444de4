"""Google's client for Gemini, unchanged, against a server that speaks its wire format."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from streamhub import Hub, Status, parts, sources
from streamhub.errors import FailureKind
from streamhub.testing.waiting import patience

from ..support.page_source import names_of
from ..support.provider_server import CUT, STALL, ProviderServer, event
from ..support.provider_use import drawn, failure, hung_up, stalled, told

pytestmark = [
    pytest.mark.integrations,
    # It makes itself a class of aiohttp's, which aiohttp wants nobody to do.
    pytest.mark.filterwarnings("ignore:Inheritance class Aiohttp:DeprecationWarning"),
]
genai = pytest.importorskip("google.genai")

KEY = "AIza-a-secret-of-ours"
WAYS = ["async", "async httpx", "sync", "called"]


class Clients:
    """Of aiohttp, which it takes where it is installed, and of HTTPX."""

    def __init__(self, provider: ProviderServer) -> None:
        # To read all certificates of the machine takes longer than a test.
        none: Any = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        options: Any = {
            "base_url": provider.url,
            "client_args": {"verify": none},
            "async_client_args": {"ssl": none},
        }
        module = genai._api_client
        httpx = getattr(module, "httpx2", None) or module.httpx
        self.client = genai.Client(api_key=KEY, http_options=options)
        self.httpx = httpx.AsyncClient(verify=none)
        self.of_httpx = genai.Client(
            api_key=KEY, http_options={"base_url": provider.url, "httpx_async_client": self.httpx}
        )


@pytest.fixture
async def clients(provider: ProviderServer) -> AsyncIterator[Clients]:
    opened = Clients(provider)
    yield opened
    for client in (opened.client, opened.of_httpx):
        client.close()
        await client.aio.aclose()
    await opened.httpx.aclose()


def ask(clients: Clients, way: str = "async", **more: Any) -> sources.ProviderStream:
    client, of_httpx = clients.client, clients.of_httpx
    asked: Any = {"model": "a-model", "contents": "Hi", **more}
    ways: dict[str, Callable[[], Any]] = {
        "async": lambda: client.aio.models.generate_content_stream(**asked),
        "async httpx": lambda: of_httpx.aio.models.generate_content_stream(**asked),
        "sync": lambda: client.models.generate_content_stream(**asked),
        "called": lambda: lambda: client.models.generate_content_stream(**asked),
    }
    return sources.google_genai(ways[way]())


def says(*said: dict[str, Any], reason: str | None = None, **more: Any) -> str:
    """One response, with a piece of the answer."""
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": [*said]}, **more}
    if reason is not None:
        candidate["finishReason"] = reason
    usage = {
        "promptTokenCount": 3,
        "candidatesTokenCount": 2,
        "thoughtsTokenCount": 4,
        "cachedContentTokenCount": 1,
        "totalTokenCount": 9,
    }
    return event({"candidates": [candidate], "modelVersion": "a-model-1", "usageMetadata": usage})


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": arguments}}


def finished(reason: parts.FinishReason = "stop") -> parts.MessageMetadata:
    usage = {
        "inputTokens": 3,
        "outputTokens": 6,
        "totalTokens": 9,
        "reasoningTokens": 4,
        "cachedInputTokens": 1,
    }
    return parts.finished(usage=usage, finish_reason=reason, model="a-model-1")


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer(provider: ProviderServer, clients: Clients, way: str) -> None:
    """What the model thought, its text, usage and finish reason."""
    provider.answers(
        says({"text": "Let me", "thought": True}),
        says({"text": " see", "thought": True}),
        says({"text": "Hel"}),
        says({"text": "lo"}, reason="STOP"),
    )

    assert [
        parts.StartStep(),
        parts.ReasoningStart("reasoning"),
        parts.ReasoningDelta("reasoning", "Let me"),
        parts.ReasoningDelta("reasoning", " see"),
        parts.ReasoningEnd("reasoning"),
        "Hel",
        "lo",
        parts.FinishStep(),
        finished(),
    ] == await drawn(ask(clients, way))


async def test_calls_code_files_and_sources(provider: ProviderServer, clients: Clients) -> None:
    """Calls come whole, and those without an id get one; the rest is told as it is."""
    web = {"web": {"uri": "http://a/", "title": "A"}}
    document = {"retrievedContext": {"uri": "gs://b/tea.md", "title": "tea.md"}}
    provider.answers(
        says({**call("add", x=1), "thoughtSignature": "aGk="}),
        says({"executableCode": {"language": "PYTHON", "code": "print(1)"}}),
        says({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}),
        says({"inlineData": {"mimeType": "image/png", "data": "aGk="}}),
        says(
            {"text": "Tea"},
            reason="STOP",
            groundingMetadata={"groundingChunks": [web, web, document]},
        ),
    )
    signed = {"google": {"thoughtSignature": "aGk="}}
    code = {"toolCallId": "call", "providerExecuted": True}

    assert [
        {"type": "start-step"},
        {"type": "tool-input-start", "toolCallId": "call", "toolName": "add",
         "providerMetadata": signed},
        {"type": "tool-input-available", "toolCallId": "call", "toolName": "add",
         "input": {"x": 1}, "providerMetadata": signed},
        {"type": "tool-input-start", "toolName": "code_execution", **code},
        {"type": "tool-input-available", "toolName": "code_execution", **code,
         "input": {"language": "PYTHON", "code": "print(1)"}},
        {"type": "tool-output-available", **code,
         "output": {"outcome": "OUTCOME_OK", "output": "1"}},
        {"type": "file", "mediaType": "image/png", "url": "data:image/png;base64,aGk="},
        "Tea",
        {"type": "source-url", "url": "http://a/", "title": "A"},
        {"type": "source-document", "mediaType": "text/plain", "title": "tea.md"},
        {"type": "finish-step"},
        json.loads(parts.encode(finished("tool-calls"))),
    ] == await told(ask(clients))  # fmt: skip


async def test_a_call_that_is_written_piece_by_piece(
    provider: ProviderServer, clients: Clients
) -> None:
    """It is told when it is whole."""

    def piece(goes_on: bool, *partial: dict[str, Any], name: str | None = None) -> str:
        named = {"name": name} if name else {}
        return says({"functionCall": {**named, "partialArgs": [*partial], "willContinue": goes_on}})

    provider.answers(
        piece(True, name="go"),
        piece(True, {"jsonPath": "$.places[0].name", "stringValue": "Ber", "willContinue": True}),
        piece(True, {"jsonPath": "$.places[0].name", "stringValue": "lin"}),
        piece(True, {"jsonPath": "$.places[1].name", "stringValue": "Rom"}),
        piece(False, {"jsonPath": "$.fast", "boolValue": False}),
        says(reason="STOP"),
    )

    (ready,) = [
        one for one in await drawn(ask(clients)) if isinstance(one, parts.ToolInputAvailable)
    ]

    assert ("go", {"places": [{"name": "Berlin"}, {"name": "Rom"}], "fast": False}) == (
        ready.tool_name,
        ready.input,
    )


@pytest.mark.parametrize("way", ["async", "sync"])
async def test_functions_that_the_client_calls(
    provider: ProviderServer, clients: Clients, way: str
) -> None:
    """What they gave is told, and the model goes on in another step."""

    def add(x: int) -> int:
        """Add one."""
        return x + 1

    provider.answers(says(call("add", x=1), reason="STOP"))
    provider.answers(says({"text": "Two"}, reason="STOP"))

    assert [
        {"type": "start-step"},
        {"type": "tool-input-start", "toolCallId": "call", "toolName": "add"},
        {"type": "tool-input-available", "toolCallId": "call", "toolName": "add",
         "input": {"x": 1}},
        {"type": "tool-output-available", "toolCallId": "call", "output": {"result": 2}},
        {"type": "finish-step"},
        {"type": "start-step"},
        "Two",
        {"type": "finish-step"},
        json.loads(parts.encode(finished())),
    ] == await told(ask(clients, way, config={"tools": [add]}))  # fmt: skip


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content-filter"),
        ("MALFORMED_FUNCTION_CALL", "error"),
        ("OTHER", "other"),
    ],
)
async def test_why_the_model_stopped(
    provider: ProviderServer, clients: Clients, said: str, reason: parts.FinishReason
) -> None:
    """An answer that a filter has cut is an answer, and says so."""
    provider.answers(says({"text": "Hi"}), says(reason=said))

    assert [parts.StartStep(), "Hi", parts.FinishStep(), finished(reason)] == (
        await drawn(ask(clients))
    )


REFUSALS: list[tuple[int, dict[str, Any], FailureKind]] = [
    (429, {"status": "RESOURCE_EXHAUSTED", "message": f"slow down {KEY}"}, "rate_limit"),
    (401, {"status": "UNAUTHENTICATED", "message": KEY}, "authentication"),
    (403, {"status": "PERMISSION_DENIED", "message": "no"}, "authentication"),
    (
        400,
        {"status": "INVALID_ARGUMENT", "message": f"API key {KEY} not valid.",
         "details": [{"reason": "API_KEY_INVALID"}]},
        "authentication",
    ),
    (
        400,
        {"status": "INVALID_ARGUMENT",
         "message": "The input token count (9) exceeds the maximum number of tokens allowed (8)."},
        "context_length",
    ),
    (400, {"status": "INVALID_ARGUMENT", "message": f"?key={KEY}"}, "invalid_request"),
    (404, {"status": "NOT_FOUND", "message": "no such model"}, "invalid_request"),
    (500, {"status": "INTERNAL", "message": "oops"}, "provider"),
    (503, {"status": "UNAVAILABLE", "message": "The model is overloaded."}, "overloaded"),
]  # fmt: skip


@pytest.mark.parametrize("way", ["async", "called"])
async def test_a_refusal_has_a_kind(provider: ProviderServer, clients: Clients, way: str) -> None:
    """And never says the key that it was asked with."""
    for status, error, _ in REFUSALS:
        provider.answers(json.dumps({"error": {"code": status, **error}}), status=status)
    kinds = []
    for _ in REFUSALS:
        _, failed = await failure(ask(clients, way))
        assert KEY not in str(failed)
        kinds.append(failed.kind)

    assert [kind for _, _, kind in REFUSALS] == kinds


async def test_a_blocked_prompt_failed(provider: ProviderServer, clients: Clients) -> None:
    """It has no answer at all."""
    provider.answers(event({"promptFeedback": {"blockReason": "SAFETY"}}))

    items, failed = await failure(ask(clients))

    assert [] == items
    assert "content_filter: the prompt was blocked: SAFETY" == str(failed)


@pytest.mark.parametrize("way", ["async", "async httpx", "sync"])
@pytest.mark.parametrize(
    ("last", "kind"), [(CUT, "connection"), ("", "connection"), (event("{no json"), "provider")]
)
async def test_an_answer_that_breaks_off_failed(
    provider: ProviderServer, clients: Clients, last: Any, kind: str, way: str
) -> None:
    """What came before it is there; no step is finished that was not."""
    provider.answers(says({"text": "Hi"}), *([last] if last else []))

    items, failed = await failure(ask(clients, way))

    assert kind == failed.kind
    assert [parts.StartStep(), "Hi"] == items


@pytest.mark.parametrize("steps", [(says({"text": "Hi"}), STALL), (STALL,)])
@pytest.mark.parametrize("way", WAYS)
async def test_a_cancel_hangs_up(
    provider: ProviderServer, clients: Clients, session_id: str, way: str, steps: tuple[Any, ...]
) -> None:
    """At once, though the provider says nothing more, in the middle of an answer and before it."""
    provider.answers(*steps)
    async with Hub() as hub:
        stream = await hub.run(session_id, ask(clients, way))
        asked = await stalled(provider)
        assert Status.CANCELLED is await stream.cancel(wait=patience())
        assert await hung_up(asked)


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_that_nobody_takes_any_more_is_hung_up_on(
    provider: ProviderServer, clients: Clients, way: str
) -> None:
    """Between two pieces of it."""
    provider.answers(says({"text": "Hi"}), STALL)
    source = ask(clients, way)
    assert [parts.StartStep(), "Hi"] == [await anext(source), await anext(source)]
    asked = await stalled(provider)

    await source.aclose()

    assert await hung_up(asked)


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_for_nobody_is_not_asked_for(
    provider: ProviderServer, clients: Clients, session_id: str, way: str
) -> None:
    """The session is somebody else's, and no request is made."""
    async with Hub() as hub, (await hub.register(session_id))[0]:
        stream = await hub.run(session_id, await asyncio.to_thread(ask, clients, way))

    assert stream.generation is None
    assert [] == provider.asked


async def test_the_page_on_sources(provider: ProviderServer, clients: Clients) -> None:
    """Its example."""
    provider.answers(says({"text": "Hi"}, reason="STOP"))
    async with Hub() as hub:
        stream = await names_of("sources.md")["with_gemini"](hub, clients.client, "Hi")
        assert Status.FINISHED is await stream.wait(patience())
        assert "Hi" == await stream.text()
