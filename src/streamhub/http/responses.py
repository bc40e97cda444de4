"""A session as an HTTP response: replayed, followed live, resumable, ended explicitly."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Literal

from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..chunks import Cursor
from ..errors import HubClosed, StoreUnavailable, StreamHubError
from ..formats.format import FORMATS, SSE, Ending, Format
from ..formats.sse import encode_retry
from ..stream import LiveStream, check_buffer
from .body import Follower
from .disconnects import unless_gone
from .heartbeat import Silence
from .problems import NOT_STORED, STORE_AWAY, BadRequest, not_found, problem_of
from .queries import cursor_of, flag_of, format_of

__all__ = ["FormatName", "SSEResponse", "StreamResponse"]

FormatName = Literal["sse", "ndjson", "text"]

#: What ``hub.get`` finds.
Found = LiveStream | None

#: What keeps caches and proxies from holding back what is streamed.
UNBUFFERED = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}

# What is handed to the server at once, which waits while a client does not read.
_PIECE = 64 * 1024


class StreamResponse(Response):
    """Replays a session after the client's cursor, follows it live, and ends explicitly.

    The cursor is the request's ``Last-Event-ID`` header, else its ``?after=``, else ``after``. The
    format is ``format``, else the request's ``?format=`` (``sse``, ``ndjson`` or ``text``), else
    what its ``Accept`` header likes best, else SSE. ``?batch=true`` sends what is stored already as
    one chunk.

    ``sse``
        Each chunk has its cursor as ``id`` and its event type as ``event`` (an application's own
        ``end``, ``error`` and ``reset`` become ``chunk:end`` …). At last comes ``event: end`` with
        status and cursor as JSON, or ``event: error``, which has a reason, too. A new epoch is
        ``event: reset``, followed by its replay. A comment goes out after ``heartbeat`` seconds of
        silence. Who asks again from the very end of an ended session gets 204, upon which a
        browser's EventSource stops; if it had got no ``end`` before, the session's status tells.
    ``ndjson``
        A line per chunk with ``data``, ``cursor`` and ``event``, exactly as they were published.
        The last line has ``status``, ``cursor`` and ``error``; one of status ``reset`` begins a new
        epoch. Blank lines are heartbeats.
    ``text``
        The text alone, without chunks that have an event type. A failure breaks the response off,
        so that a client such as curl sees that it is not complete.

    A response that closes without such an end was interrupted (as by a server that shuts down):
    ask again. A client that goes away is noticed at once, and never cancels the session.

    Answers 400 to a malformed cursor, 404 for a session that is gone, 406 where no format is
    acceptable, 410 where the chunks after the cursor have expired, and 503 while the store cannot
    be used (an EventSource, which would give up for good, gets an ``error`` event instead).

    :param stream: from ``hub.get``, ``hub.run`` or ``hub.register``; or what is still to be awaited
        for it, as ``hub.get(…, wait=5)``. The response then waits, no longer than its client does,
        and answers what goes wrong meanwhile, too. None answers 404.
    :param heartbeat: seconds of silence.
    :param retry: how many seconds an EventSource is to wait before it connects again.
    :param on_reset: asked before a new epoch is sent, which may be somebody else's: False ends
        the response as if the session was gone.
    :param buffer: as for :meth:`streamhub.LiveStream.subscribe`.
    """

    def __init__(
        self,
        stream: Found | Awaitable[Found],
        *,
        format: FormatName | None = None,  # noqa: A002 - the name that the query has
        after: Cursor | str | None = None,
        batch_replay: bool = False,
        buffer: int = 256,
        heartbeat: float = 15.0,
        retry: float | None = None,
        on_reset: Callable[[], Awaitable[bool]] | None = None,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        if format is not None and format not in FORMATS:
            raise ValueError(f"format must be one of {', '.join(FORMATS)}, not {format!r}")
        if not heartbeat > 0:
            raise ValueError(f"heartbeat must be a positive number of seconds, not {heartbeat!r}")
        if retry is not None and not 0 <= retry < math.inf:
            raise ValueError(f"retry must be a number of seconds, not {retry!r}")
        check_buffer(buffer)
        if not (stream is None or isinstance(stream, LiveStream) or inspect.isawaitable(stream)):
            kind = type(stream).__name__
            raise TypeError(
                f"stream must be a LiveStream, None, or an awaitable of one, not {kind}"
            )
        self._stream = stream
        self.background = background
        self.status_code = 200
        self._format = None if format is None else FORMATS[format]
        self._after = after
        self._batch = batch_replay
        self._buffer = buffer
        self._heartbeat = heartbeat
        self._retry = retry
        self._on_reset = on_reset
        self._more_headers = headers
        self.init_headers({**UNBUFFERED, **(headers or {})})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(ClientDisconnect):
            await unless_gone(receive, self._respond(scope, receive, send))
        if self.background is not None:
            await self.background()

    # -- parts -------------------------------------------------------------------------------

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        try:
            try:
                opened = await self._open(request)
            except StreamHubError as error:
                opened = self._refusal(request, error)
        except BadRequest as error:
            opened = error.problem
        # A server may say by an OSError, too, that the client has gone.
        with suppress(OSError):
            if isinstance(opened, Response):
                await opened(scope, receive, send)
                return
            format_, follower, body = opened
            try:
                await self._send(scope, send, format_, follower, body)
            finally:
                await follower.aclose()

    async def _open(self, request: Request) -> Response | tuple[Format, Follower, bytes]:
        """What is to be sent, and the beginning of it; or another answer."""
        stream = await self._found()
        if stream is None:
            return self._not_found()
        format_, follower = self._follower(stream, request)
        try:
            body = await follower.open()
        except BaseException:
            await follower.aclose()
            raise
        if body is None and format_ is SSE:
            await follower.aclose()
            return nothing()
        return format_, follower, body or b""

    async def _found(self) -> Found:
        stream = self._stream
        return await stream if inspect.isawaitable(stream) else stream

    def _not_found(self) -> Response:
        return not_found()

    def _follower(self, stream: LiveStream, request: Request) -> tuple[Format, Follower]:
        format_ = self._format or format_of(request)
        follower = Follower(
            stream,
            format_,
            after=cursor_of(request) or self._after,
            batch=self._batch or flag_of(request, "batch"),
            buffer=self._buffer,
            shared=True,
            on_reset=self._on_reset,
        )
        return format_, follower

    def _refusal(self, request: Request, error: StreamHubError) -> Response:
        """The answer to who asks for a session that cannot be followed, because of ``error``."""
        format_ = self._format or format_of(request)
        if format_ is not SSE or not isinstance(error, (StoreUnavailable, HubClosed)):
            return problem_of(error)
        # Upon any status but 200 an EventSource would give up for good. It is to ask again; from a
        # server that shuts down it hears nothing more.
        closed = isinstance(error, HubClosed)
        body = b"" if closed else SSE.end(Ending("unavailable", None, STORE_AWAY))
        headers = {**UNBUFFERED, **(self._more_headers or {})}
        return Response(body, headers=headers, media_type=SSE.media_type)

    async def _send(
        self, scope: Scope, send: Send, format_: Format, follower: Follower, body: bytes
    ) -> None:
        content_type = f"{format_.media_type}; charset=utf-8".encode()
        headers = [*self.raw_headers, (b"content-type", content_type)]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        if self._retry is not None and format_ is SSE:
            body = encode_retry(self._retry) + body
        if not body and not follower.over:
            # Some servers and middleware keep the headers back until there is a body.
            await send({"type": "http.response.body", "body": b"", "more_body": True})
        silence = Silence(self._heartbeat)
        try:
            while True:
                for start in range(0, len(body), _PIECE):
                    piece = body if len(body) <= _PIECE else body[start : start + _PIECE]
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                if follower.over:
                    break
                silence.begin()
                try:
                    body = await follower.next()
                except asyncio.CancelledError:
                    if not silence.end():
                        raise
                    body = format_.heartbeat
                else:
                    silence.end()
        finally:
            silence.close()
        if not follower.broken:
            await send({"type": "http.response.body", "body": b""})


def nothing() -> Response:
    """The answer to who has everything already."""
    return Response(status_code=204, headers=NOT_STORED)


class SSEResponse(StreamResponse):
    """A session as Server-Sent Events: :class:`StreamResponse` with ``format="sse"``.

    ::

        @app.get("/chat/{chat}/events")
        async def events(chat: str):
            return SSEResponse(hub.get(f"chat:{chat}", wait=5))
    """

    def __init__(
        self,
        stream: Found | Awaitable[Found],
        *,
        after: Cursor | str | None = None,
        batch_replay: bool = False,
        buffer: int = 256,
        heartbeat: float = 15.0,
        retry: float | None = None,
        on_reset: Callable[[], Awaitable[bool]] | None = None,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        super().__init__(
            stream,
            format="sse",
            after=after,
            batch_replay=batch_replay,
            buffer=buffer,
            heartbeat=heartbeat,
            retry=retry,
            on_reset=on_reset,
            headers=headers,
            background=background,
        )
