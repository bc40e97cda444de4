"""What programs are written with, unchanged, through gateways in processes of their own: OpenAI's
packages for Python and for Node.js, Pydantic AI and LangChain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from streamhub import Hub, HubConfig
from streamhub.testing.waiting import unhurried, within

from ..support.faulty_proxy import FaultyProxy
from ..support.http_server import Port
from ..support.node_clients import NodeClients
from ..support.openai_upstream import (
    STALL,
    Call,
    Gate,
    OpenAIUpstream,
    Thought,
    openai_upstream,
)
from .gateways import gateway

pytest.importorskip("pydantic_ai")
pytest.importorskip("langchain_openai")

import httpx
from langchain_core.messages import AIMessageChunk
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI
from pydantic_ai import Agent, ModelAPIError
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

pytestmark = pytest.mark.integrations

LEASE = unhurried(2)
#: Arguments: URL of the store, of the upstream, what that speaks, seconds of the lease.
GATEWAY = """
import sys
from streamhub import Hub, HubConfig
from streamhub.gateway import create_gateway
hub = Hub.from_url(sys.argv[1], config=HubConfig(lease=float(sys.argv[4])))
app = create_gateway(hub, upstream=sys.argv[2], upstream_api=sys.argv[3])
"""
SPEAKS = ["responses", "chat"]
NODE = ["openai-6", "openai-7"]


@pytest.fixture(scope="module")
def upstreams() -> Iterator[dict[str, OpenAIUpstream]]:
    with openai_upstream() as responses, openai_upstream(dialects=["chat"]) as chat:
        yield {"responses": responses, "chat": chat}


@pytest.fixture(scope="module")
async def processes(
    redis_server: Any, upstreams: dict[str, OpenAIUpstream], tmp_path_factory: Any
) -> AsyncIterator[dict[str, str]]:
    """A gateway in front of each upstream; its URL for SDKs."""
    errors = tmp_path_factory.mktemp("gateways")
    async with AsyncExitStack() as stack:
        urls = {}
        for speaks, upstream in upstreams.items():
            port = stack.enter_context(Port())
            process = await port.serve(
                GATEWAY, redis_server.url, upstream.base_url, speaks, str(LEASE),
                errors=errors / speaks,
            )  # fmt: skip
            await stack.enter_async_context(process)
            urls[speaks] = f"{process.url}/v1"
        yield urls


@pytest.fixture(scope="module")
def node() -> Iterator[NodeClients]:
    with NodeClients("openai_clients.mjs") as clients:
        yield clients


@pytest.fixture(params=SPEAKS)
def speaks(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def upstream(upstreams: dict[str, OpenAIUpstream], speaks: str) -> Iterator[OpenAIUpstream]:
    """With nothing of another test's."""
    upstream = upstreams[speaks]
    upstream.asked.clear()
    yield upstream
    try:
        upstream.check_used()
    finally:
        upstream.forget()


@pytest.fixture
def url(processes: dict[str, str], speaks: str) -> str:
    return processes[speaks]


@pytest.fixture
async def other(redis_server: Any, upstream: OpenAIUpstream, speaks: Any) -> AsyncIterator[str]:
    """Another instance of the gateway."""
    hub = Hub.from_url(redis_server.url, config=HubConfig(lease=LEASE))
    async with hub, gateway(hub, upstream, upstream_api=speaks) as url:
        yield url


@pytest.fixture
async def client(url: str) -> AsyncIterator[AsyncOpenAI]:
    # To read all certificates of the machine takes longer than a test.
    async with httpx.AsyncClient(verify=False) as http:
        yield AsyncOpenAI(base_url=url, api_key="sk-one", max_retries=0, http_client=http)


@pytest.mark.parametrize("version", NODE)
async def test_node_resumes_after_every_event(
    node: NodeClients, url: str, other: str, upstream: OpenAIUpstream, version: str
) -> None:
    """A client that hangs up reads what follows from another instance, after any event; what its
    package makes of the whole is the Response that is kept. The upstream was asked once."""
    gate = Gate()
    upstream.answers("Hé", gate, " llo", Call("weather", {"city": "Köln"}))
    asked = {"model": "m", "input": "hi", "background": True}
    here: dict[str, Any] = {"version": version, "url": url}
    there: dict[str, Any] = {"version": version, "url": other}
    first = await node.call("responses/events", asked=asked, take=5, **here)
    response = first[0]["response"]["id"]
    gate.open()

    whole = await node.call("responses/accumulated", asked={"response_id": response}, **there)
    length = len(whole["events"])
    rests = []
    for after in range(length - 1):
        rest = await node.call("responses/resumed", response=response, after=after, **there)
        rests.append([event["sequence_number"] for event in rest])
    kept = await node.call("responses/retrieve", response=response, **here)

    assert first == whole["events"][:5]
    assert [[*range(after + 1, length)] for after in range(length - 1)] == rests
    assert kept["output"] == [
        without(item, "parsed", "parsed_arguments") for item in whole["final"]["output"]
    ]
    assert "Hé llo" == kept["output_text"]
    assert 1 == upstream.count()


@pytest.mark.parametrize("version", NODE)
async def test_node_cancels_and_chats(
    node: NodeClients, url: str, upstream: OpenAIUpstream, version: str
) -> None:
    """A cancel stops the upstream; an error has the status and the code that the package knows; a
    chat completion comes as it always did."""
    to: dict[str, Any] = {"version": version, "url": url}
    upstream.answers("one", STALL)
    asked = {"model": "m", "input": "hi", "background": True}
    events = await node.call("responses/events", asked=asked, take=3, **to)
    cancelled = await node.call("responses/cancel", response=events[0]["response"]["id"], **to)
    again = await node.call("responses/cancel", response=events[0]["response"]["id"], **to)
    upstream.answers(Thought("Hm"), "Hé", Call("f", {"a": 1}))
    messages = [{"role": "user", "content": "hi"}]
    chat = await node.call("chat/accumulated", asked={"model": "m", "messages": messages}, **to)
    with pytest.raises(RuntimeError, match=r'"status":404.*"code":"response_not_found"'):
        await node.call("responses/retrieve", response="resp_" + 32 * "0", **to)

    assert "cancelled" == cancelled["status"] == again["status"]
    message = chat["choices"][0]["message"]
    assert ("Hé", '{"a": 1}') == (
        message["content"],
        message["tool_calls"][0]["function"]["arguments"],
    )


def weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


@pytest.mark.parametrize("api", ["responses", "chat"])
async def test_pydantic_ai(client: AsyncOpenAI, upstream: OpenAIUpstream, api: str) -> None:
    """A run with a tool, streamed, then its next turn: with the Responses API that goes on from the
    id of the answer alone."""
    upstream.answers(Thought("Hm"), Call("weather", {"city": "Oslo"}))
    upstream.answers("It is sunny.")
    upstream.answers("Bye.")
    provider = OpenAIProvider(openai_client=client)
    model = {"responses": OpenAIResponsesModel, "chat": OpenAIChatModel}[api](
        "m", provider=provider
    )
    settings: Any = {"openai_previous_response_id": "auto"} if api == "responses" else {}
    agent = Agent(model, tools=[weather], model_settings=settings)

    async with agent.run_stream("How is it?") as run:
        said = [piece async for piece in run.stream_text(delta=True)]
    ended = await within(agent.run("Thanks.", message_history=run.all_messages()))

    assert "It is sunny." == "".join(said)
    assert "Bye." == ended.output
    assert 3 == upstream.count()
    tool_result = upstream.asked[1].body
    assert "sunny in Oslo" in str(tool_result)
    # Whoever speaks chat alone is told all of it.
    told = str(upstream.asked[2].body)
    assert ("It is sunny." in told) == (upstream.asked[2].path == "/v1/chat/completions")


async def test_pydantic_ai_comes_back_to_the_background(
    client: AsyncOpenAI, upstream: OpenAIUpstream
) -> None:
    """A run that was told only that its answer is under way asks for it until it is there."""
    gate = Gate()
    upstream.answers("one", gate, " two")
    model = OpenAIResponsesModel("m", provider=OpenAIProvider(openai_client=client))
    settings: Any = {"openai_background": True}
    running = asyncio.ensure_future(Agent(model, model_settings=settings).run("hi"))
    await within(gate.wait_reached())
    gate.open()

    assert "one two" == (await within(running)).output
    assert 1 == upstream.count()


async def test_pydantic_ai_goes_on_after_a_cut(url: str, upstream: OpenAIUpstream) -> None:
    """A streamed run whose connection breaks has a response that is suspended: from that it goes
    on, to the whole answer, and the upstream is asked once."""
    gate = Gate()
    upstream.answers("one", gate, " two")
    settings: Any = {"openai_background": True}
    async with (
        FaultyProxy(httpx.URL(url).port or 0) as proxy,
        httpx.AsyncClient(verify=False) as http,
    ):
        through = f"http://127.0.0.1:{proxy.port}/v1"
        asks: dict[str, Any] = {"api_key": "sk-one", "max_retries": 0, "http_client": http}
        provider = OpenAIProvider(openai_client=AsyncOpenAI(base_url=through, **asks))
        agent = Agent(OpenAIResponsesModel("m", provider=provider), model_settings=settings)
        async with agent.run_stream("hi") as run:
            with pytest.raises(ModelAPIError):
                async for _ in run.stream_text(delta=True):
                    proxy.cut()
        gate.open()
        async with agent.run_stream(message_history=[*run.all_messages(), run.response]) as again:
            output = await within(again.get_output())

    assert ("suspended", "one two") == (run.response.state, output)
    assert 1 == upstream.count()


@pytest.mark.parametrize("responses", [True, False])
async def test_langchain(url: str, upstream: OpenAIUpstream, responses: bool) -> None:
    """A streamed call of a tool, its result, and an answer that goes on from it."""
    upstream.answers("Let me see.", Call("weather", {"city": "Oslo"}))
    upstream.answers("It is sunny.")
    async with httpx.AsyncClient(verify=False) as http:
        model = ChatOpenAI(
            model="m",
            base_url=url,
            api_key="sk-one",
            max_retries=0,
            use_responses_api=responses,
            use_previous_response_id=responses,
            http_async_client=http,
        ).bind_tools([tool(weather)])
        chunks: list[Any] = [chunk async for chunk in model.astream("How is it?")]
        called: AIMessageChunk = sum(chunks[1:], chunks[0])
        (call,) = called.tool_calls
        result = await tool(weather).ainvoke(call)
        ended = await within(model.ainvoke([("user", "How is it?"), called, result]))

    assert ({"city": "Oslo"}, "sunny in Oslo") == (call["args"], result.content)
    assert ("Let me see.", "It is sunny.") == (called.text, ended.text)
    assert "sunny in Oslo" in str(upstream.asked[1].body)
    assert 2 == upstream.count()
    assert ended.usage_metadata is not None


@pytest.mark.parametrize("speaks", ["chat"])
async def test_a_translated_answer_whose_gateway_is_killed(
    redis_server: Any, upstream: OpenAIUpstream, other: str, tmp_path: Any
) -> None:
    """At another instance the same client learns that it has failed, by an event that follows on
    those that it has; what came before stays, and nothing is paid twice."""
    upstream.answers("one", STALL)
    with Port() as port:
        errors = tmp_path / "errors"
        process = await port.serve(
            GATEWAY, redis_server.url, upstream.base_url, "chat", str(LEASE), errors=errors
        )
        async with httpx.AsyncClient(verify=False) as http:
            asks: dict[str, Any] = {"api_key": "sk-one", "max_retries": 0, "http_client": http}
            first = AsyncOpenAI(base_url=f"{process.url}/v1", **asks)
            second = AsyncOpenAI(base_url=other, **asks)
            asked: Any = {"model": "m", "input": "hi", "background": True}
            seen = []
            async for event in await first.responses.create(**asked, stream=True):
                seen.append(event)
                if event.type == "response.output_text.delta":
                    break
            await process.kill()
            async for event in await second.responses.retrieve(
                seen[0].response.id, stream=True, starting_after=seen[-1].sequence_number
            ):
                seen.append(event)

    assert [*range(len(seen))] == [event.sequence_number for event in seen]
    assert ["error", "response.failed"] == [event.type for event in seen[-2:]]
    assert ("failed", "one") == (seen[-1].response.status, seen[-1].response.output_text)
    assert 1 == upstream.count()


def without(item: dict[str, Any], *names: str) -> dict[str, Any]:
    """An item, without what the package adds to it."""
    kept = {name: value for name, value in item.items() if name not in names}
    if isinstance(kept.get("content"), list):
        kept["content"] = [without(part, *names) for part in kept["content"]]
    return kept
