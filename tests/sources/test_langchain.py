"""LangChain and LangGraph, unchanged: models behind them speak OpenAI's wire format, or are
LangChain's own for tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streamhub import Hub, ProviderFailed, Status, parts, sources
from streamhub.testing.waiting import patience, within

from ..support.provider_server import CUT, STALL, ProviderServer
from ..support.provider_use import drawn
from .completions import answer, calls, chunk, finished

pytest.importorskip("langgraph")
pytest.importorskip("langchain_openai")

import httpx
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.output_parsers import StrOutputParser
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

pytestmark = pytest.mark.integrations

OSLO = '{"city": "Oslo"}'
ASKED: Any = {"messages": [{"role": "user", "content": "How is the weather?"}]}


def look(city: str) -> str:
    """The weather of a city."""
    get_stream_writer()({"looking": city})
    get_stream_writer()(parts.SourceUrl("s1", f"https://weather.example/{city}"))
    return "sunny"


weather = tool("weather")(look)


@pytest.fixture
async def model(provider: ProviderServer) -> AsyncIterator[ChatOpenAI]:
    # To read all certificates of the machine takes longer than a test.
    async with httpx.AsyncClient(verify=False) as client:
        with httpx.Client(verify=False) as sync_client:
            yield ChatOpenAI(
                model="a-model",
                base_url=f"{provider.url}/v1",
                api_key="sk-a-secret",
                max_retries=0,
                stream_usage=True,
                http_async_client=client,
                http_client=sync_client,
            )


async def test_a_chat_model(provider: ProviderServer, model: ChatOpenAI) -> None:
    """Its text, usage, finish reason and name; what a parser makes of it is text."""
    provider.answers(*answer("Hel", "lo"))
    provider.answers(*answer("Hel", "lo"))

    assert [parts.StartStep(), "Hel", "lo", parts.FinishStep(), finished()] == await drawn(
        sources.langchain(model.astream("Hi"))
    )
    assert ["Hel", "lo"] == [
        item
        for item in await drawn(sources.langchain((model | StrOutputParser()).astream("Hi")))
        if item
    ]


STEPS = [
    parts.StartStep(),
    parts.ToolInputStart("c1", "weather"),
    parts.ToolInputDelta("c1", OSLO[:3]),
    parts.ToolInputDelta("c1", OSLO[3:]),
    parts.ToolInputAvailable("c1", "weather", {"city": "Oslo"}),
]
GIVEN = parts.ToolOutputAvailable("c1", "sunny")
ANSWERED = [parts.FinishStep(), parts.StartStep(), "Sun", "ny", parts.FinishStep(), finished(2)]
TOLD = [
    parts.Data("custom", {"looking": "Oslo"}),
    parts.SourceUrl("s1", "https://weather.example/Oslo"),
]


async def test_an_agents_events(provider: ProviderServer, model: ChatOpenAI) -> None:
    """Each call of the model is a step, with what its tools give; usage adds up."""
    provider.answers(*calls(("c1", "weather", OSLO)))
    provider.answers(*answer("Sun", "ny"))
    agent = create_agent(model, [weather])

    told = await drawn(sources.langchain(agent.astream_events(ASKED, version="v2")))

    assert [*STEPS, GIVEN, *ANSWERED] == told


@pytest.mark.parametrize("subgraphs", [False, True])
async def test_a_graphs_modes(provider: ProviderServer, model: ChatOpenAI, subgraphs: bool) -> None:
    """The same of its messages, and what nodes write themselves: parts as they are."""
    provider.answers(*calls(("c1", "weather", OSLO)))
    provider.answers(*answer("Sun", "ny"))
    modes: Any = ["messages", "updates", "custom"]
    agent = create_agent(model, [weather])

    told = await drawn(
        sources.langgraph(agent.astream(ASKED, stream_mode=modes, subgraphs=subgraphs))
    )

    assert [*STEPS, *TOLD, GIVEN, *ANSWERED] == told


def whole(*messages: AIMessage) -> Any:
    """A model that does not stream."""

    class Model(FakeMessagesListChatModel):  # type: ignore[misc]
        def bind_tools(self, tools: Any, **options: Any) -> Model:
            return self

    return Model(responses=[*messages])


CALL: Any = {"name": "weather", "args": {"city": "Oslo"}, "id": "c1", "type": "tool_call"}


async def test_a_single_mode(provider: ProviderServer, model: ChatOpenAI) -> None:
    """Pairs of a message and its facts speak for themselves; of the others one says the mode."""
    provider.answers(*calls(("c1", "weather", OSLO)))
    provider.answers(*answer("Sun", "ny"))
    agent = create_agent(model, [weather])
    silent = create_agent(whole(AIMessage("", tool_calls=[CALL]), AIMessage("Sunny")), [weather])

    told = await drawn(sources.langgraph(agent.astream(ASKED, stream_mode="messages")))
    custom = await drawn(
        sources.langgraph(silent.astream(ASKED, stream_mode="custom"), stream_mode="custom")
    )

    assert [*STEPS, GIVEN, *ANSWERED] == told
    assert TOLD == custom


async def test_updates_alone() -> None:
    """Messages are told whole, and those that were there before are not."""
    agent = create_agent(whole(AIMessage("", tool_calls=[CALL]), AIMessage("Sunny")), [weather])
    # The update of a subgraph has all of its messages.
    outer = StateGraph(MessagesState).add_node("agent", agent).add_edge(START, "agent").compile()
    asked: Any = {"messages": [AIMessage("long ago"), {"role": "user", "content": "And now?"}]}

    told = await drawn(
        sources.langgraph(outer.astream(asked, stream_mode="updates"), stream_mode="updates")
    )

    assert [
        parts.StartStep(),
        parts.ToolInputStart("c1", "weather"),
        parts.ToolInputAvailable("c1", "weather", {"city": "Oslo"}),
        GIVEN,
        parts.FinishStep(),
        parts.StartStep(),
        "Sunny",
        parts.FinishStep(),
    ] == [one for one in told if not isinstance(one, parts.MessageMetadata)]


async def test_an_approval_is_asked_for(provider: ProviderServer, model: ChatOpenAI) -> None:
    """An interrupt is a data part; those of LangChain's middleware name the calls that wait. What
    is streamed when it is resumed goes on from there."""
    provider.answers(*calls(("c1", "weather", OSLO)))
    provider.answers(*answer("Sun", "ny"))
    agent = create_agent(
        model,
        [weather],
        middleware=[HumanInTheLoopMiddleware({"weather": True})],
        checkpointer=InMemorySaver(),
    )
    config: Any = {"configurable": {"thread_id": "1"}}
    modes: Any = ["messages", "updates"]

    told = await drawn(sources.langgraph(agent.astream(ASKED, config, stream_mode=modes)))
    answered: Any = Command(resume={"decisions": [{"type": "approve"}]})
    resumed = await drawn(sources.langgraph(agent.astream(answered, config, stream_mode=modes)))

    (asking,) = [one for one in told if isinstance(one, parts.Data)]
    (request,) = [one for one in told if isinstance(one, parts.ToolApprovalRequest)]
    assert "interrupt" == asking.name
    assert "weather" == asking.data["value"]["action_requests"][0]["name"]
    assert ("c1", f"{asking.data['id']}:0") == (request.tool_call_id, request.approval_id)
    assert "tool-calls" == told[-1].message_metadata["finishReason"]
    assert [GIVEN, parts.StartStep(), "Sun", "ny", parts.FinishStep(), finished()] == resumed


async def test_models_of_data_are_told_as_their_fields() -> None:
    """By a writer and by an interrupt: LangGraph's own clients see no more of them."""

    async def node(state: Any) -> Any:
        get_stream_writer()({"said": AIMessage("so")})
        return {"messages": [AIMessage(str(interrupt(AIMessage("sure?"))))]}

    graph = StateGraph(MessagesState).add_node("node", node).add_edge(START, "node")
    compiled = graph.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    modes: Any = ["custom", "updates"]

    told = await drawn(sources.langgraph(compiled.astream(ASKED, config, stream_mode=modes)))

    data = [json.loads(parts.encode(one))["data"] for one in told if isinstance(one, parts.Data)]
    assert ["so", "sure?"] == [data[0]["said"]["content"], data[1]["value"]["content"]]


async def test_a_broken_call_without_an_id_gets_one() -> None:
    """No client takes a part that has none."""
    broken: Any = {"id": None, "name": None, "args": "{", "error": None}
    message = AIMessage("", invalid_tool_calls=[{**broken, "type": "invalid_tool_call"}])

    async def said() -> AsyncIterator[AIMessage]:
        yield message

    (told,) = [
        json.loads(parts.encode(one))
        for one in await drawn(sources.langchain(said()))
        if isinstance(one, parts.ToolInputError)
    ]

    assert told["toolCallId"].startswith("call_")
    assert ("", "{") == (told["toolName"], told["input"])


async def test_a_graph_that_says_no_mode_is_refused() -> None:
    """Nothing is guessed; and what is no stream is refused at once."""
    agent = create_agent(whole(AIMessage("x")), [])

    with pytest.raises(TypeError, match="stream_mode"):
        await drawn(sources.langgraph(agent.astream(ASKED, stream_mode="updates")))
    with pytest.raises(TypeError, match="astream_events"):
        await drawn(sources.langchain(agent.astream(ASKED, stream_mode="updates")))
    for source in (sources.langchain, sources.langgraph):
        with pytest.raises(TypeError, match="not coroutine"):
            asking = agent.ainvoke(ASKED)
            try:
                source(asking)
            finally:
                asking.close()


async def test_what_a_model_thinks_and_cites() -> None:
    """Blocks of content as LangChain has them, whoever the provider is."""

    async def thinking() -> AsyncIterator[AIMessageChunk]:
        blocks: list[list[Any]] = [
            [{"type": "thinking", "thinking": "Let me", "index": 0}],
            [{"type": "thinking", "thinking": " see", "index": 0}],
            [{"type": "text", "text": "Hi", "index": 1}],
        ]
        for content in blocks:
            facts = {"model_provider": "anthropic"}
            yield AIMessageChunk(content=content, id="m", response_metadata=facts)
        cited: Any = {"type": "citation", "url": "https://a.example", "title": "A"}
        text: Any = [{"type": "text", "text": "", "annotations": [cited], "index": 1}]
        yield AIMessageChunk(content=text, id="m", response_metadata={"output_version": "v1"})
        image: Any = [{"type": "image", "base64": "AA==", "mime_type": "image/png"}]
        yield AIMessageChunk(content=image, id="m", response_metadata={"output_version": "v1"})

    told = await drawn(sources.langchain(thinking()))

    cited = told.pop(6)
    assert [
        parts.StartStep(),
        parts.ReasoningStart("reasoning-1"),
        parts.ReasoningDelta("reasoning-1", "Let me"),
        parts.ReasoningDelta("reasoning-1", " see"),
        parts.ReasoningEnd("reasoning-1"),
        "Hi",
        parts.File("image/png", "data:image/png;base64,AA=="),
        parts.FinishStep(),
    ] == told
    assert ("https://a.example", "A") == (cited.url, cited.title)


async def test_an_id_that_comes_twice(provider: ProviderServer, model: ChatOpenAI) -> None:
    """Of two calls, one after the other, each is told with what it gave."""
    for _ in range(2):
        provider.answers(*calls(("c1", "weather", OSLO)))
    provider.answers(*answer("Sun", "ny"))
    agent = create_agent(model, [weather])

    told = await drawn(sources.langgraph(agent.astream(ASKED, stream_mode=["messages"])))

    assert 2 == told.count(STEPS[-1])
    assert 2 == told.count(GIVEN)


async def test_input_that_is_no_json(provider: ProviderServer, model: ChatOpenAI) -> None:
    """It is told as such, with what the model wrote."""
    provider.answers(*calls(("c1", "weather", '{"city": ')))
    provider.answers(*answer("Sorry"))
    agent = create_agent(model, [weather])
    told = await drawn(sources.langchain(agent.astream_events(ASKED, version="v2")))
    (error,) = [one for one in told if isinstance(one, parts.ToolInputError)]

    assert ("c1", '{"city": ') == (error.tool_call_id, error.input)


@pytest.mark.parametrize("way", ["model", "events", "graph", "graph, closed"])
async def test_a_cancel_hangs_up_on_the_provider(
    provider: ProviderServer, model: ChatOpenAI, session_id: str, way: str
) -> None:
    """And so does a hub that closes: nobody pays for what nobody reads."""
    provider.answers(chunk({"role": "assistant", "content": "Hel"}), STALL)
    agent = create_agent(model, [weather])
    source = {
        "model": lambda: sources.langchain(model.astream("Hi")),
        "events": lambda: sources.langchain(agent.astream_events(ASKED, version="v2")),
        "graph": lambda: sources.langgraph(agent.astream(ASKED, stream_mode=["messages"])),
    }[way.partition(",")[0]]()
    async with Hub() as hub:
        stream = await hub.run(session_id, source)
        async with stream.subscribe() as chunks:
            await within(anext(chunks))
            await within(anext(chunks))
        if way.endswith("closed"):
            await hub.aclose()
        else:
            assert Status.CANCELLED is await stream.cancel(wait=5)
        assert await asyncio.to_thread(provider.wait_asked().hung_up.wait, patience())


@pytest.mark.parametrize("way", ["model", "events", "graph"])
async def test_a_providers_error_has_its_kind(
    provider: ProviderServer, model: ChatOpenAI, way: str
) -> None:
    """Through all that is around its client."""
    agent = create_agent(model, [weather])

    def source() -> Any:
        return {
            "model": lambda: sources.langchain(model.astream("Hi")),
            "events": lambda: sources.langchain(agent.astream_events(ASKED, version="v2")),
            "graph": lambda: sources.langgraph(agent.astream(ASKED, stream_mode=["messages"])),
        }[way]()

    limited = '{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}'
    provider.answers(limited, status=429)
    with pytest.raises(ProviderFailed, match="slow down") as refused:
        await drawn(source())
    provider.answers(chunk({"role": "assistant", "content": "Hel"}), CUT)
    with pytest.raises(ProviderFailed) as broken:
        await drawn(source())

    assert ("rate_limit", "connection") == (refused.value.kind, broken.value.kind)


async def test_an_error_of_the_application_stays_one(
    provider: ProviderServer, model: ChatOpenAI
) -> None:
    """It is no failure of the provider."""

    def fail(city: str) -> str:
        """Fails."""
        raise LookupError(f"no {city}")

    provider.answers(*calls(("c1", "broken", OSLO)))
    agent = create_agent(model, [tool("broken")(fail)])

    with pytest.raises(LookupError, match="no Oslo"):
        await drawn(sources.langgraph(agent.astream(ASKED, stream_mode=["messages"])))
