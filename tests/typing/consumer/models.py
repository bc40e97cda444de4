"""What models stream, as sources; and the parts of messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, assert_type

from streamhub import Hub, LiveStream, parts, sources
from streamhub.sources import ProviderStream, Translator


class Shouting(Translator):
    def translate(self, event: Any) -> Iterable[str | parts.AnyPart]:
        return [str(event).upper()]

    def end(self) -> Iterable[str | parts.AnyPart]:
        return [parts.finished(usage={"inputTokens": 1}, finish_reason="stop", model="m")]


async def run(hub: Hub, response: object, graph: Any, agent: Any) -> None:
    for of_provider in (
        sources.anthropic,
        sources.google_genai,
        sources.litellm,
        sources.openai,
    ):
        assert_type(of_provider(response), ProviderStream)
        assert_type(await hub.run("chat:1", of_provider(response)), LiveStream)
    await hub.run("chat:1", ProviderStream(response, Shouting()))
    await hub.run("chat:1", sources.langchain(graph.astream({})))
    await hub.run("chat:1", sources.langgraph(graph.astream({}), stream_mode="messages"))
    await hub.run("chat:1", sources.pydantic_ai(agent.iter("Hi")))
    await hub.run("chat:1", sources.mcp(graph.call_tool, "tool", {}, tool_call_id="c1"))


def message(stored: str) -> dict[str, Any]:
    part = parts.decode(stored)
    assert_type(part, parts.AnyPart)
    if isinstance(part, parts.TextDelta):
        assert_type((part.id, part.delta), tuple[str, str])
    elif isinstance(part, parts.ToolInputAvailable):
        assert_type(part.tool_name, str)
    elif isinstance(part, parts.Data):
        assert_type(part.name, str)
    assert_type(parts.encode(parts.Data("weather", {"c": 21})), str)
    folding = parts.Folding("m1")
    folding.add(("x", parts.PART_EVENT))
    assert_type(folding.message, parts.Message)
    folded = parts.fold(["Hello", ("{}", parts.PART_EVENT)], status="finished")
    assert_type(folded, parts.Message)
    assert_type(folded.parts, tuple[dict[str, Any], ...])
    return folded.to_dict()
