"""The examples of docs/agents.md and docs/langgraph.md, run as they stand there."""

from __future__ import annotations

from typing import Any

import pytest

from streamhub import Hub

pytest.importorskip("langgraph")
pytest.importorskip("pydantic_ai")

from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langgraph.graph import START, MessagesState, StateGraph
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel

from ..http.serving import served
from ..support.page_source import names_of

pytestmark = pytest.mark.integrations

ANSWER = "The lamp turns."


async def test_agents_are_sources() -> None:
    """Each of them in one line, and a node that writes a part."""
    names = names_of("agents.md")
    model = FakeListChatModel(responses=[ANSWER])

    async def answer(state: Any) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    nodes = StateGraph(MessagesState).add_node(names["search"]).add_node(answer)
    graph = nodes.add_edge(START, "search").add_edge("search", "answer").compile()
    agent = Agent(TestModel(custom_output_text=ANSWER))
    async with Hub() as hub:
        for function, given in (
            ("with_pydantic_ai", agent),
            ("with_langchain", graph),
            ("with_langgraph", graph),
        ):
            stream = await names[function](hub, given, "Does it turn?")
            await stream.wait(5)
            assert ANSWER == await stream.text()
        graphs = await hub.get("chat:3")
        assert graphs is not None
        message = await graphs.message()

    assert "https://lamp.example" in [one.get("url") for one in message.parts]


async def test_a_graph_is_served_to_its_own_clients() -> None:
    """Custom events and messages, then the end."""
    sdk = pytest.importorskip("langgraph_sdk")
    names = names_of("langgraph.md")
    async with (
        served(names["app"], lifespan="on") as url,
        sdk.get_client(url=url, api_key=None) as client,
    ):
        thread = await client.threads.create()
        asked: Any = {"messages": [{"role": "user", "content": "Does it turn?"}]}
        modes: Any = ["custom", "values"]
        told = [
            part
            async for part in client.runs.stream(
                thread["thread_id"], "agent", input=asked, stream_mode=modes
            )
        ]

    assert ["metadata", "values", "custom", "values", "end"] == [part.event for part in told]
    assert {"progress": "thinking"} == told[2].data
    assert ANSWER == told[3].data["messages"][-1]["content"]
