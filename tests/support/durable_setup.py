"""What the conformance suite of Durable Streams sets up by writing: it becomes sessions of a hub,
for the routes of the product to read.

It stands in the tests alone: it does what a setup needs, and no more of how streams are written.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamhub import Hub, LiveStream
from streamhub.chunks import Cursor
from streamhub.formats.durable_streams import Offset
from streamhub.http import durable_streams_routes

__all__ = ["PATH", "SetUp"]

PATH = "/v1/stream"


class _Written:
    """A stream that a test has begun."""

    def __init__(self, stream: LiveStream, content_type: str) -> None:
        self.stream = stream
        self.content_type = content_type
        self.closed = False
        self.last = Cursor(int(stream.stream_id), 0)
        self.lock = asyncio.Lock()

    @property
    def shape(self) -> str:
        return "json" if self.content_type == "application/json" else "text"

    async def write(self, body: bytes, *, close: bool) -> None:
        chunks: list[str] = []
        if body and self.shape == "json":
            value = json.loads(body)
            chunks = [json.dumps(one) for one in (value if isinstance(value, list) else [value])]
        elif body:
            chunks = [body.decode()]
        for chunk in chunks:
            self.last = await self.stream.publish(chunk)
        await self.stream.flush()
        if close:
            self.closed = True
            await self.stream.close()

    @property
    def headers(self) -> dict[str, str]:
        closed = {"stream-closed": "true"} if self.closed else {}
        return {
            "content-type": self.content_type,
            "stream-next-offset": str(Offset(self.last)),
            "x-content-type-options": "nosniff",
            **closed,
        }


class SetUp:
    """The streams of a hub, and a way to begin, write, close and remove them."""

    def __init__(self, hub: Hub, **options: Any) -> None:
        self._hub = hub
        self._written: dict[str, _Written] = {}
        self._reading: ASGIApp = Starlette(routes=durable_streams_routes(hub, path=PATH, **options))
        self._preflight = CORSMiddleware(
            self._reading, allow_origins=["*"], allow_headers=["If-None-Match"]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        name = scope["path"].removeprefix(f"{PATH}/")
        if request.method in ("GET", "HEAD"):
            await self._read(self._written.get(name), scope, receive, send)
            return
        if request.method == "OPTIONS":
            await self._preflight(scope, receive, send)
            return
        answers = {"PUT": self._begin, "POST": self._append, "DELETE": self._remove}
        answer = answers.get(request.method)
        response = Response(status_code=405) if answer is None else await answer(name, request)
        await response(scope, receive, send)

    async def _read(
        self, written: _Written | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Read by the product's routes, as the content type has it that the test has chosen."""
        if written is None:
            await self._reading(scope, receive, send)
            return
        query = scope["query_string"]
        shape = f"format={written.shape}".encode()
        scope = {**scope, "query_string": query + b"&" + shape if query else shape}

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (name, value)
                    if (name, value) != (b"content-type", b"text/plain; charset=utf-8")
                    else (name, written.content_type.encode())
                    for name, value in message["headers"]
                ]
            await send(message)

        await self._reading(scope, receive, named)

    async def _begin(self, name: str, request: Request) -> Response:
        content_type = _content_type(request)
        close = request.headers.get("stream-closed", "").lower() == "true"
        written = self._written.get(name)
        if written is not None:
            same = (written.content_type, written.closed) == (content_type, close)
            return Response(status_code=200 if same else 409, headers=written.headers)
        stream, _ = await self._hub.register(name)
        self._written[name] = written = _Written(stream, content_type)
        await written.write(await request.body(), close=close)
        return Response(status_code=201, headers={**written.headers, "location": str(request.url)})

    async def _append(self, name: str, request: Request) -> Response:
        written = self._written.get(name)
        if written is None:
            return Response(status_code=404)
        body = await request.body()
        close = request.headers.get("stream-closed", "").lower() == "true"
        async with written.lock:
            if written.closed:
                return Response(status_code=204 if close else 409, headers=written.headers)
            if body and _content_type(request) != written.content_type:
                return Response(status_code=409)
            if not body and not close:
                return Response(status_code=400)
            await written.write(body, close=close)
        return Response(status_code=204, headers=written.headers)

    async def _remove(self, name: str, request: Request) -> Response:
        if self._written.pop(name, None) is None:
            return Response(status_code=404)
        await self._hub.remove(name)
        return Response(status_code=204)


def _content_type(request: Request) -> str:
    given = request.headers.get("content-type", "application/octet-stream")
    return given.partition(";")[0].strip().lower()
