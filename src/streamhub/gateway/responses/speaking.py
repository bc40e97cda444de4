"""Where the events of an answer come from: an upstream that speaks the Responses API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from urllib.parse import quote

from ...formats.sse import Event
from ..upstream import Headers, Upstream
from .asked import Asked

__all__ = ["ResponsesApi", "Speaks"]


class Speaks(Protocol):
    """What answers requests with the events of the Responses API, each as JSON with its type."""

    def ask(
        self,
        asked: Asked,
        headers: Headers,
        *,
        session_id: str,
        previous: str | None,
        background: bool,
    ) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """The events of a new answer. Leaving it stops what is not in the background.

        :param session_id: the session that they go to.
        :param previous: the upstream's name for the previous response.
        :param background: whether the upstream is to go on by itself, if it can.
        :raises GatewayError: the upstream has refused or failed.
        """
        ...


class ResponsesApi:
    """See :class:`Speaks`; and what can be done with answers that the upstream keeps."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def ask(
        self,
        asked: Asked,
        headers: Headers,
        *,
        session_id: str,
        previous: str | None,
        background: bool,
    ) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        content = asked.body(previous=previous, background=background)
        return self._upstream.events("POST", "/responses", headers, content=content)

    def attach(
        self, upstream_id: str, headers: Headers, *, after: int
    ) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """The events after the one with this number of an answer in the upstream's background."""
        query = f"stream=true&starting_after={after}"
        return self._upstream.events("GET", _path(upstream_id), headers, query=query)

    async def retrieve(self, upstream_id: str, headers: Headers) -> bytes:
        return await self._upstream.json("GET", _path(upstream_id), headers)

    async def cancel(self, upstream_id: str, headers: Headers) -> None:
        await self._upstream.json("POST", f"{_path(upstream_id)}/cancel", headers)

    async def delete(self, upstream_id: str, headers: Headers) -> None:
        await self._upstream.json("DELETE", _path(upstream_id), headers)


def _path(upstream_id: str) -> str:
    return f"/responses/{quote(upstream_id, safe='')}"
