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
from starlette.types import Message, Receive, Scope, Send

from ..chunks import Cursor
from ..errors import HubClosed, StreamHubError
from ..formats.format import Format
from ..formats.sse import HEARTBEAT
from ..lookup import Lookup
from ..stream import LiveStream, check_buffer
from .body import Body
from .disconnects import unless_gone
from .faces import FACES, Face, face_of
from .heartbeat import Heartbeat
from .problems import BadRequest, not_found
from .queries import cursor_of, held_cursor, told_of_loss

__all__ = ["FaceName", "Found", "StreamResponse"]

FaceName = Literal["sse", "ndjson", "text"]

#: What ``hub.get`` finds.
Found = LiveStream | None

#: What keeps caches and proxies from holding back what is streamed.
UNBUFFERED = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}

# In seconds, how long an EventSource waits before it looks again whether somebody goes on with what
# was lost, or has begun what is not there yet; and otherwise, as browsers do by themselves.
_LOST_RETRY = 10.0
_MISSING_RETRY = 5.0
_USUAL_RETRY = 3.0

# What is handed to the server at once, which waits while a client does not read.
_PIECE = 64 * 1024


class StreamResponse(Response):
    """Replays a session after the client's cursor, follows it live, and ends explicitly.

    The cursor is the request's ``Last-Event-ID`` header, else its ``?after=``, else ``after``. The
    face is ``face``, else the request's ``?format=`` (``sse``, ``ndjson`` or ``text``), else what
    its ``Accept`` header likes best, else SSE. ``?batch=true`` joins what is stored already into
    few large chunks.

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
    :param face: how it is sent: a name of these, or a :class:`Face` of one's own.
    :param batch_replay: as ``?batch=true``.
    :param heartbeat: seconds of silence.
    :param retry: how many seconds an EventSource is to wait before it connects again.
    :param on_reset: asked before a new epoch is sent, which may be somebody else's: False ends
        the response as if the session was gone.
    :param follow_next: whether the response goes on where the session has ended, with the next one
        that begins in it: ``end`` is followed by ``reset`` then. Who comes to a session that is
        not there is told to come again, if the face can say so, as ``sse`` can.
    :param show_errors: whether the client is told why a session has failed or cannot be read, which
        is the text of the producer's exception as a rule. Without it, it hears that it is so.
    :param buffer: as for :meth:`streamhub.LiveStream.subscribe`.
    :param headers: of every answer.
    """

    def __init__(
        self,
        stream: Found | Awaitable[Found],
        *,
        face: FaceName | Face | None = None,
        after: Cursor | str | None = None,
        batch_replay: bool = False,
        buffer: int = 256,
        heartbeat: float = 15.0,
        retry: float | None = None,
        on_reset: Callable[[], Awaitable[bool]] | None = None,
        follow_next: bool = False,
        show_errors: bool = False,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        if isinstance(face, str):
            if face not in FACES:
                raise ValueError(f"face must be one of {', '.join(FACES)}, or a Face, not {face!r}")
            face = FACES[face]
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
        self._face = face
        self._after = after
        self._batch = batch_replay
        self._buffer = buffer
        self._heartbeat = heartbeat
        self._retry = retry
        self._on_reset = on_reset
        self._follow_next = follow_next
        self._show_errors = show_errors
        self._more_headers = dict(headers or {})
        face_headers = {} if face is None else face.headers
        self.init_headers({**UNBUFFERED, **face_headers, **self._more_headers})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = _Sent()

        async def gone() -> Message:
            try:
                return await receive()
            except asyncio.CancelledError:
                # So a server ends, at last, what is open when it shuts down. It has no time left:
                # this cannot wait until all that is going on here has ended.
                if not sent.over:
                    await self._end_early(scope, receive, send, sent)
                raise

        try:
            with suppress(ClientDisconnect):
                await unless_gone(gone, self._respond(scope, receive, send, sent))
        except asyncio.CancelledError:
            if not sent.over:
                raise
            # The response has ended. The server would log what passes this on as an error of the
            # application's.
            return
        if self.background is not None:
            await self.background()

    async def _respond(self, scope: Scope, receive: Receive, send: Send, sent: _Sent) -> None:
        try:
            opened = await self._opened(Request(scope))
        except Exception:
            # The server's to answer.
            sent.over = True
            raise
        if sent.over:
            return
        # A server may say by an OSError, too, that the client has gone.
        with suppress(OSError):
            if isinstance(opened, Response):
                for name, value in self._more_headers.items():
                    opened.headers.setdefault(name, value)
                sent.begun = True
                await opened(scope, receive, send)
                sent.over = True
                return
            face, format_, body, begun = opened
            try:
                await self._send(scope, send, sent, face, format_, body, begun)
            finally:
                await body.aclose()

    async def _opened(self, request: Request) -> Response | tuple[Face, Format, Body, list[bytes]]:
        """What is to be sent, and the beginning of it; or another answer."""
        try:
            face = self._face
            try:
                stream = await self._find(request)
                if stream is None:
                    # Whatever else is wrong with the request: ids cannot be probed by it.
                    return self._missing(face or (face_of(request) if self._follow_next else None))
                face = face or face_of(request)
                if face.follows is not None and not face.follows(await stream.info()):
                    return face.missing()
                return await self._follow(stream, face, request)
            except StreamHubError as error:
                return (face or face_of(request)).refusal(error)
        except BadRequest as error:
            return error.problem

    def _missing(self, face: Face | None) -> Response:
        if face is None:
            return not_found()
        if self._follow_next and face.retry is not None:
            # Upon a 404 an EventSource would give up for good.
            seconds = _MISSING_RETRY if self._retry is None else self._retry
            return Response(face.retry(seconds) + HEARTBEAT, media_type="text/event-stream")
        return face.missing()

    async def _find(self, request: Request) -> Found:
        stream = self._stream
        if isinstance(stream, Lookup):
            # A client with a cursor knows that the session was there.
            cursor = cursor_of if self._face is None else self._face.cursor
            stream = stream.known_by(held_cursor(request, cursor))
        return await stream if inspect.isawaitable(stream) else stream

    async def _follow(
        self, stream: LiveStream, face: Face, request: Request
    ) -> Response | tuple[Face, Format, Body, list[bytes]]:
        format_ = face.format(request)
        body = Body(
            stream,
            format_,
            after=face.cursor(request) or self._after,
            batch=face.batch(request) or self._batch,
            buffer=self._buffer,
            on_reset=self._on_reset,
            show_errors=self._show_errors,
            follow_next=self._follow_next,
        )
        try:
            first = await body.open()
        except BaseException:
            await body.aclose()
            raise
        if first is None and face.complete is not None:
            await body.aclose()
            return face.complete()
        # In a list, to be taken out of it: while a client does not read, nothing else holds it.
        return face, format_, body, [first or b""]

    async def _end_early(self, scope: Scope, receive: Receive, send: Send, sent: _Sent) -> None:
        """End a response whose session has not ended, so that its client asks again."""
        sent.over = True
        with suppress(OSError):
            if sent.begun:
                if sent.may_end:
                    await send({"type": "http.response.body", "body": b""})
                return
            try:
                face = self._face or face_of(Request(scope))
                answer = face.refusal(HubClosed())
            except BadRequest as error:
                answer = error.problem
            await answer(scope, receive, send)

    async def _send(
        self,
        scope: Scope,
        send: Send,
        sent: _Sent,
        face: Face,
        format_: Format,
        body: Body,
        begun: list[bytes],
    ) -> None:
        piece = begun.pop()
        content_type = f"{format_.media_type}; charset=utf-8".encode()
        headers = [*self.raw_headers, (b"content-type", content_type)]
        sent.begun = True
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        if self._retry is not None and face.retry is not None:
            piece = face.retry(self._retry) + piece
        # Where the client waits longer than usual, until there is something to wait less for.
        slow = self._retry is None and told_of_loss(Request(scope)) is not None
        if not piece and not body.over:
            # Some servers and middleware keep the headers back until there is a body.
            await send({"type": "http.response.body", "body": b"", "more_body": True})
        heartbeat = Heartbeat(self._heartbeat)
        try:
            while True:
                if sent.over:
                    return
                sent.may_end = False
                if body.lost and self._retry is None and face.retry is not None:
                    piece = face.retry(_LOST_RETRY) + piece
                elif slow and piece and piece != format_.heartbeat and face.retry is not None:
                    piece, slow = face.retry(_USUAL_RETRY) + piece, False
                for start in range(0, len(piece), _PIECE):
                    part = piece if len(piece) <= _PIECE else piece[start : start + _PIECE]
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                if body.over:
                    break
                sent.may_end = format_.explicit
                heartbeat.begin()
                try:
                    piece = await body.next()
                except asyncio.CancelledError:
                    if not heartbeat.end():
                        raise
                    piece = format_.heartbeat
                else:
                    heartbeat.end()
        finally:
            heartbeat.close()
        sent.over = True
        if not body.broken:
            await send({"type": "http.response.body", "body": b""})


class _Sent:
    """What has gone out of one response."""

    def __init__(self) -> None:
        self.begun = False
        #: Whether nothing more may be sent.
        self.over = False
        #: Whether nothing is half sent, and clients see that it has not ended where it just closes.
        self.may_end = False
