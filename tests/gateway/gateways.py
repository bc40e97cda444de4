"""Gateways that tests serve, and clients of theirs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from openai import AsyncOpenAI

from streamhub import Hub
from streamhub.gateway import create_gateway

from ..http.serving import served
from ..support.openai_upstream import OpenAIUpstream

__all__ = ["client_of", "gateway", "numbers", "read"]


@asynccontextmanager
async def gateway(hub: Hub, upstream: OpenAIUpstream, **options: Any) -> AsyncIterator[str]:
    """Serve one in front of ``upstream``; the URL for SDKs."""
    app = create_gateway(hub, upstream=upstream.base_url, **options)
    async with served(app, lifespan="on") as url:
        yield f"{url}/v1"


def client_of(url: str, key: str = "a-key") -> AsyncOpenAI:
    """The official client, which does not try again by itself."""
    return AsyncOpenAI(base_url=url, api_key=key, max_retries=0)


async def read(stream: Any, count: int | None = None) -> list[dict[str, Any]]:
    """The events of a stream, or the first so many of them, after which its client leaves."""
    found: list[dict[str, Any]] = []
    async with stream:
        async for event in stream:
            found.append(event.to_dict())
            if len(found) == count:
                break
    return found


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return [event["sequence_number"] for event in events]
