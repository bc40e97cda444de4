"""Drawing from a source in tests, and seeing what the provider saw of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable
from typing import Any

from streamhub import ProviderFailed, parts
from streamhub.parts import AnyPart
from streamhub.sources import ProviderStream
from streamhub.testing.waiting import bounded, patience, within

from .provider_server import Asked, ProviderServer

__all__ = ["drawn", "failure", "hung_up", "stalled", "told"]


async def drawn(source: AsyncIterable[Any]) -> list[Any]:
    """All of it."""
    return [item async for item in source]


async def told(source: ProviderStream) -> list[Any]:
    """All of it: text as such, parts as JSON, without what is drawn at random."""
    return [
        one if isinstance(one, str) else _known(json.loads(parts.encode(one)))
        for one in await within(drawn(source))
    ]


async def failure(source: ProviderStream) -> tuple[list[str | AnyPart], ProviderFailed]:
    """What came before it failed, and how it did."""
    items: list[str | AnyPart] = []
    try:
        async with bounded():
            async for item in source:
                items.append(item)
    except ProviderFailed as failed:
        return items, failed
    raise AssertionError(f"the source ended: {items}")


async def stalled(provider: ProviderServer) -> Asked:
    """Wait until the first request came to a STALL."""
    asked = await asyncio.to_thread(provider.wait_asked)
    assert await asyncio.to_thread(asked.stalled.wait, patience())
    return asked


async def hung_up(asked: Asked) -> bool:
    """Whether its client hangs up."""
    return await asyncio.to_thread(asked.hung_up.wait, patience())


def _known(part: dict[str, Any]) -> dict[str, Any]:
    part.pop("sourceId", None)
    if str(part.get("toolCallId")).startswith("call_"):
        part["toolCallId"] = "call"
    return part
