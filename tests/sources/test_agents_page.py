"""The examples of docs/agents.md and docs/langgraph.md, run as they stand there."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

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
    """Custom events, a message and an update, then the end, as the page asks for them."""
    pytest.importorskip("langgraph_sdk")
    names = names_of("langgraph.md")
    async with served(names["app"], lifespan="on") as url:
        told = [one async for one in names["ask"]("Does it turn?", url)]

    (first, *_), *rest = told
    assert ("metadata", "end") == (first, rest[-1][0])
    assert ("custom", {"progress": "thinking"}) in rest
    [said] = [data for event, data in rest if event == "updates"]
    assert ANSWER in str(said["answer"]["messages"])


async def test_a_thread_is_its_users_alone() -> None:
    """Of the routes that the page makes for users, one sees nothing of another's."""
    sdk = pytest.importorskip("langgraph_sdk")
    names = names_of("langgraph.md")
    users = iter(["ann", "ann", "bob"])

    class Session:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                scope["session"] = {"user": next(users)}
            await app(scope, receive, send)

    app = Starlette(routes=names["routes"], lifespan=names["lifespan"](names["hub"]))
    async with (
        served(Session(), lifespan="on") as url,
        sdk.get_client(url=f"{url}/mine", api_key=None) as client,
    ):
        thread = (await client.threads.create())["thread_id"]
        asked: Any = {"messages": [{"role": "user", "content": "Does it turn?"}]}
        async for _ in client.runs.stream(thread, "agent", input=asked):
            pass
        with pytest.raises(httpx.HTTPStatusError, match="no such"):
            await client.threads.get_state(thread)
