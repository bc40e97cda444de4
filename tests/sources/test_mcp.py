"""A tool of an MCP server, as the official package has both sides of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streamhub import Hub, Status, parts, sources
from streamhub.testing.waiting import within

from ..support.page_source import names_of

pytest.importorskip("mcp")

from mcp.client.client import Client
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError

pytestmark = pytest.mark.integrations


class Tools:
    """A server whose tools work in steps, fail, and wait."""

    def __init__(self) -> None:
        self.stopped = asyncio.Event()
        self.server: Any = MCPServer("tools")

        async def search(query: str, context: Context) -> str:
            """Searches."""
            await context.report_progress(1, 2, "looking")
            await context.report_progress(2, 2)
            return f"found {query}"

        async def fail() -> str:
            """Fails."""
            raise ToolError("no index")

        async def wait(context: Context) -> str:
            """Waits."""
            await context.report_progress(0, 1)
            try:
                await asyncio.Event().wait()
            finally:
                self.stopped.set()
            raise AssertionError

        for function in (search, fail, wait):
            self.server.tool()(function)


async def drawn(source: Any) -> list[Any]:
    return [item async for item in source]


async def test_the_page_on_agents_calls_a_tool() -> None:
    """What a call of it says is published into the stream."""
    call_search = names_of("agents.md")["call_search"]
    async with Client(Tools().server) as client, Hub() as hub:
        stream, _ = await hub.register("chat:1")
        async with stream:
            await call_search(stream, client.session, "c1", "lamp")
        message = await stream.message()

    assert "found lamp" in str(message.parts[-1]["output"])


async def test_a_call_tells_how_far_it_is() -> None:
    """As preliminary outputs, which the last one replaces."""
    async with Client(Tools().server) as client:
        told = await drawn(
            sources.mcp(client.session.call_tool, "search", {"query": "lamp"}, tool_call_id="c1")
        )

    assert [
        parts.ToolInputAvailable("c1", "search", {"query": "lamp"}),
        parts.ToolOutputAvailable(
            "c1", {"progress": 1, "total": 2, "message": "looking"}, preliminary=True
        ),
        parts.ToolOutputAvailable("c1", {"progress": 2, "total": 2}, preliminary=True),
    ] == told[:-1]
    assert [{"type": "text", "text": "found lamp"}] == told[-1].output["content"]
    assert told[-1].preliminary is None


async def test_a_tool_that_fails() -> None:
    """Is an error of the call, and no failure of the stream."""
    async with Client(Tools().server) as client:
        told = await drawn(sources.mcp(client.session.call_tool, "fail", tool_call_id="c1"))

    assert isinstance(told[-1], parts.ToolOutputError)
    assert "no index" in told[-1].error_text


async def test_a_server_that_is_gone() -> None:
    """Is an error of the call, and one for who draws from it."""

    async def call_tool(name: str, arguments: Any, **options: Any) -> Any:
        raise ConnectionError("the server is gone")

    source = sources.mcp(call_tool, "search", tool_call_id="c1")
    told: list[Any] = []
    with pytest.raises(ConnectionError, match="gone"):
        async for item in source:
            told.append(item)

    assert parts.ToolOutputError("c1", "the server is gone") == told[-1]


async def test_a_cancel_stops_the_call(session_id: str) -> None:
    """Here and, as MCP tells it, at the server."""
    tools = Tools()
    async with Client(tools.server) as client, Hub() as hub:
        source = sources.mcp(client.session.call_tool, "wait", tool_call_id="c1")
        stream = await hub.run(session_id, source)
        async with stream.subscribe() as chunks:
            await within(anext(chunks))
            await within(anext(chunks))
        assert Status.CANCELLED is await stream.cancel(wait=5)
        await within(tools.stopped.wait())


async def test_what_is_no_function_is_refused() -> None:
    """At once."""
    with pytest.raises(TypeError, match=r"session\.call_tool"):
        sources.mcp("search", "search", tool_call_id="c1")  # type: ignore[arg-type]
