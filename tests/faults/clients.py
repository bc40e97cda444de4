"""Readers as applications write them: each keeps one text, and goes on with it after any break."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx

from streamhub import Cursor, Hub, ProducerLost, StreamReplaced

from ..http.serving import follow

__all__ = ["Refused", "event_source", "reader"]

#: What an EventSource and the loop below wait before they come again.
_PAUSE = 0.05


class Refused(Exception):
    """An EventSource was answered in a way upon which it stops for good."""


async def event_source(
    client: httpx.AsyncClient,
    path: str,
    text: str = "",
    after: str | None = None,
    told: Callable[[str], Any] = lambda event: None,
) -> str:
    """Follow the session to its end as a page with an EventSource does, which has ``text`` already;
    the text that it shows then. ``told`` is called with each ``reset``, ``error`` and ``end``.

    :raises Refused: with the answer's status and body.
    """
    while True:
        async with follow(client, path, after=after) as response:
            status = response.response.status_code
            if status == 204:
                return text
            if status != 200:
                body = (await response.response.aread()).decode()
                raise Refused(f"{status}: {body}")
            for event in await _events(response):
                after = event.id or after
                if event.event in ("reset", "error", "end"):
                    told(event.event)
                match event.event:
                    case "reset":
                        text = ""
                    case "end":
                        return text
                    case "error":
                        if json.loads(event.data)["status"] not in ("lost", "unavailable"):
                            return text
                    case _:
                        text += event.data
        await asyncio.sleep(_PAUSE)


async def _events(response: Any) -> Any:
    return await response.rest()


async def reader(
    hub: Hub,
    session: str,
    text: str = "",
    after: Cursor | None = None,
    told: Callable[[str], Any] = lambda event: None,
) -> str:
    """Follow the session to its end in Python, with ``text`` already at hand; the text then.
    ``told`` is called with the name of each error."""
    while True:
        stream = await hub.get(session, wait=5.0)
        assert stream is not None
        try:
            async for chunk in stream.subscribe(after=after):
                text, after = text + chunk.data, chunk.cursor
        except ProducerLost as error:
            told("ProducerLost")
            after = error.cursor or after
        except StreamReplaced:
            told("StreamReplaced")
            text, after = "", None
        else:
            return text
        await asyncio.sleep(_PAUSE)
