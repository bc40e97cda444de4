"""What a tool of an MCP server tells while it works, and gives, as parts. Needs no MCP to be
imported."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from .. import parts
from ..parts import AnyPart
from .steps import Items

__all__ = ["mcp"]


def mcp(
    call_tool: Callable[..., Awaitable[Any]],
    name: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    tool_call_id: str,
) -> Items:
    """Call a tool of an MCP server: a source of its input, of its progress (preliminary outputs
    with ``progress``, ``total`` and ``message``), and of what it gives.

    For an agent of one's own, or as a source of ``hub.run`` by itself. When nobody draws from it
    any more, the call is cancelled.

    :param call_tool: of a client's session: ``session.call_tool``.
    :param tool_call_id: the model's, of its call.

    ::

        found = sources.mcp(session.call_tool, "search", {"query": "lamp"}, tool_call_id=call.id)
        async for part in found:
            await stream.publish(part)
    """
    if not callable(call_tool):
        raise TypeError(
            f"sources.mcp takes session.call_tool, a function, not {type(call_tool).__name__}"
        )
    return _drawn(call_tool, name, dict(arguments or {}), tool_call_id)


async def _drawn(
    call_tool: Callable[..., Awaitable[Any]], name: str, arguments: dict[str, Any], call_id: str
) -> Items:
    told: asyncio.Queue[AnyPart | None] = asyncio.Queue()

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        facts = {"progress": progress, "total": total, "message": message}
        output = {name: value for name, value in facts.items() if value is not None}
        told.put_nowait(parts.ToolOutputAvailable(call_id, output, preliminary=True))

    async def call() -> Any:
        try:
            return await call_tool(name, arguments, progress_callback=progressed)
        finally:
            told.put_nowait(None)

    yield parts.ToolInputAvailable(call_id, name, arguments)
    calling = asyncio.create_task(call(), name=f"tool {name}")
    try:
        while (part := await told.get()) is not None:
            yield part
        result = await calling
    except Exception as error:
        yield parts.ToolOutputError(call_id, str(error) or type(error).__name__)
        raise
    finally:
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
    if result.is_error:
        texts = [one.text for one in result.content if hasattr(one, "text")]
        yield parts.ToolOutputError(call_id, "\n".join(texts) or f"the tool {name} failed")
    else:
        yield parts.ToolOutputAvailable(
            call_id, result.model_dump(mode="json", by_alias=True, exclude_none=True)
        )
