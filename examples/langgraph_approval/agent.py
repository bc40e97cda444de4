"""The agent: a model that wants to call a tool, and a tool that asks its user first."""

import asyncio
import os
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import interrupt

PAUSE = 0.25  # seconds between two words of the scripted model


def delete_file(name: str) -> str:
    """Delete a file."""
    if not interrupt({"delete": name}):
        return f"{name} was kept: the user has refused."
    return f"{name} was deleted."


class Scripted(BaseChatModel):
    """A model that needs no key: it calls the tool, and then says what came of it."""

    async def _astream(
        self, messages: list[Any], stop: Any = None, run_manager: Any = None, **options: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        asked = isinstance(messages[-1], HumanMessage)
        said = "I would delete report.txt now." if asked else f"So: {messages[-1].content}"
        for word in said.split():
            await asyncio.sleep(PAUSE)
            yield ChatGenerationChunk(message=AIMessageChunk(content=f"{word} "))
        if asked:
            call = {
                "name": "delete_file",
                "args": '{"name": "report.txt"}',
                "id": "call-1",
                "index": 0,
            }
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[call]))

    def _generate(self, *args: Any, **options: Any) -> ChatResult:
        raise NotImplementedError("it streams only")

    @property
    def _llm_type(self) -> str:
        return "scripted"


@cache
def model() -> Any:
    """Your model goes here."""
    name = os.environ.get("MODEL")
    if name is None:
        return Scripted()
    from langchain.chat_models import init_chat_model

    return init_chat_model(name).bind_tools([delete_file])


async def think(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await model().ainvoke(state["messages"])]}


builder = StateGraph(MessagesState)
builder.add_node("think", think)
builder.add_node("tools", ToolNode([delete_file]))
builder.add_edge(START, "think")
builder.add_conditional_edges("think", tools_condition)
builder.add_edge("tools", "think")
