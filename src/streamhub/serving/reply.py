"""The answer to a request for a session: its status, its headers, and its bytes as they come."""

from __future__ import annotations

import asyncio
import errno
import inspect
from collections.abc import AsyncIterator, Awaitable

from ..chunks import Cursor
from ..errors import StreamHubError
from ..formats.sse import HEARTBEAT, Event, EventParser
from ..lookup import Lookup
from ..stream import LiveStream
from .answers import Answer, Answered, BadRequest, not_found
from .asked import Asked
from .body import Body
from .faces import Face, face_of
from .heartbeat import Heartbeat
from .queries import cursor_of, held_cursor, told_of_loss
from .settings import Settings

__all__ = ["BrokenOff", "Found", "Reply", "check_stream"]

#: What ``hub.get`` finds.
Found = LiveStream | None

# In seconds, how long an EventSource waits before it looks again whether somebody goes on with what
# was lost, or has begun what is not there yet; and otherwise, as browsers do by themselves.
_LOST_RETRY = 10.0
_MISSING_RETRY = 5.0
_USUAL_RETRY = 3.0


class BrokenOff(BrokenPipeError):
    """The answer has no end that its client could be told: break the connection off.

    Servers take it for a client that has gone, and log nothing.
    """

    def __init__(self) -> None:
        super().__init__(errno.EPIPE, "the response breaks off: its end cannot be said")


def check_stream(stream: object) -> None:
    """
    :raises TypeError: it is nothing that a response can follow.
    """
    if not (stream is None or isinstance(stream, LiveStream) or inspect.isawaitable(stream)):
        kind = type(stream).__name__
        raise TypeError(f"stream must be a LiveStream, None, or an awaitable of one, not {kind}")


class Reply(AsyncIterator[bytes]):
    """What one request is answered with.

    Either a whole answer, whose ``body`` is not None, or pieces to iterate over, heartbeats among
    them. To be closed, at any time: a reader that is left without it stays one.

    ::

        reply = await Reply.open(hub.get("chat:1"), Question(headers, query), Settings())
        async for piece in reply: ...

    Iterating raises :class:`BrokenOff` at the end of what may not look complete.
    """

    def __init__(self, status_code: int, headers: list[tuple[str, str]]) -> None:
        self.status_code = status_code
        #: In lower case, the content type among them.
        self.headers = headers
        self.body: bytes | None = None

    @classmethod
    async def open(
        cls, stream: Found | Awaitable[Found], asked: Asked, settings: Settings
    ) -> Reply:
        """Find the session, and what there is to send at once.

        What is wrong with the request, the session or the store becomes an answer.
        """
        try:
            face = settings.face
            try:
                found = await _find(stream, asked, face)
                if found is None:
                    # Whatever else is wrong with the request: ids cannot be probed by it.
                    answer = _missing(asked, settings)
                else:
                    face = face or face_of(asked)
                    if face.follows is not None and not face.follows(await found.info()):
                        answer = face.missing()
                    else:
                        return await _follow(found, face, asked, settings)
            except StreamHubError as error:
                answer = (face or face_of(asked)).refusal(error)
        except BadRequest as error:
            answer = error.problem
        return cls.whole(answer, settings)

    @classmethod
    def whole(cls, answer: Answered, settings: Settings) -> Reply:
        """An answer that is no stream."""
        headers = [(name.lower(), value) for name, value in answer.headers.items()]
        body = bytes(answer.body)
        names = {name for name, _ in headers}
        headers += [pair for pair in settings.headers.items() if pair[0] not in names]
        if answer.status_code != 204 and "content-length" not in names:
            headers.append(("content-length", str(len(body))))
        reply = cls(answer.status_code, headers)
        reply.body = body
        return reply

    @classmethod
    def refusal(cls, error: StreamHubError, asked: Asked, settings: Settings) -> Reply:
        """The answer to a request that met ``error`` before anything else."""
        try:
            answer = (settings.face or face_of(asked)).refusal(error)
        except BadRequest as bad:
            answer = bad.problem
        return cls.whole(answer, settings)

    @property
    def may_end(self) -> bool:
        """Whether, between two pieces, clients see of an answer that just closes that it has not
        ended."""
        return True

    @property
    def broken(self) -> bool:
        """Whether the end could not be said, so that the connection is to break off."""
        return False

    @property
    def heartbeat(self) -> bytes:
        """What clients skip; empty where there is no such thing."""
        return b""

    async def next(self) -> bytes | None:
        """The next piece, maybe an empty one; None at the end.

        Safe to cancel: nothing is lost by it.
        """
        piece, self.body = self.body, None
        return piece

    def end(self, error: StreamHubError) -> bytes:
        """The end that ``error`` is."""
        return b""

    async def aclose(self) -> None:
        """Let go of everything. Idempotent."""

    async def events(self) -> AsyncIterator[Event]:
        """The same as Server-Sent Events, for frameworks that encode these themselves; without
        heartbeats, which those have of their own.

        Iterate over it, or over the pieces. The reply's face is to be ``sse``.
        """
        parser = EventParser()
        async for piece in self:
            for event in parser.feed(piece):
                yield event

    def __aiter__(self) -> Reply:
        return self

    async def __anext__(self) -> bytes:
        piece = await self.next()
        if piece is not None:
            return piece
        if self.broken:
            raise BrokenOff
        raise StopAsyncIteration


class _Following(Reply):
    """The answer that follows a session."""

    def __init__(
        self, face: Face, body: Body, first: list[bytes], asked: Asked, settings: Settings
    ) -> None:
        self._format = body.format
        content_type = f"{self._format.media_type}; charset=utf-8"
        headers = {**face.headers, **settings.stream_headers, "content-type": content_type}
        super().__init__(200, list(headers.items()))
        self._face = face
        self._following = body
        # In a list, to be taken out of it: while a client does not read, nothing else holds it.
        self._first = first
        self._retries = settings.retry is None and face.retry is not None
        if settings.retry is not None and face.retry is not None:
            first[0] = face.retry(settings.retry) + first[0]
        # Where the client waits longer than usual, until there is something to wait less for.
        self._slow = self._retries and told_of_loss(asked) is not None
        self._seconds = settings.heartbeat
        self._heartbeat: Heartbeat | None = None

    @property
    def may_end(self) -> bool:
        return self._format.explicit

    @property
    def broken(self) -> bool:
        return self._following.broken

    @property
    def heartbeat(self) -> bytes:
        return self._format.heartbeat

    async def next(self) -> bytes | None:
        body = self._following
        if self._first:
            return self._with_retry(self._first.pop())
        if body.over:
            return None
        heartbeat = self._heartbeat_of_task()
        heartbeat.begin()
        try:
            # What is not sent is no sign of life.
            while not (piece := await body.next()) and not body.over:
                pass
        except asyncio.CancelledError:
            if not heartbeat.end():
                raise
            return self._beat()
        heartbeat.end()
        return self._with_retry(piece) if self._slow or body.lost else piece

    def _beat(self) -> bytes:
        cursor = self._following.passed_over
        if cursor is None or self._face.heartbeat is None:
            return self._format.heartbeat
        return self._face.heartbeat(cursor)

    def end(self, error: StreamHubError) -> bytes:
        return b"" if self._following.over else self._following.end(error)

    async def aclose(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.close()
        await self._following.aclose()

    def _with_retry(self, piece: bytes) -> bytes:
        if not self._retries:
            return piece
        assert self._face.retry is not None
        if self._following.lost:
            return self._face.retry(_LOST_RETRY) + piece
        if self._slow and piece:
            self._slow = False
            return self._face.retry(_USUAL_RETRY) + piece
        return piece

    def _heartbeat_of_task(self) -> Heartbeat:
        heartbeat = self._heartbeat
        if heartbeat is None or heartbeat.task is not asyncio.current_task():
            if heartbeat is not None:
                heartbeat.close()
            self._heartbeat = heartbeat = Heartbeat(self._seconds)
        return heartbeat


async def _find(stream: Found | Awaitable[Found], asked: Asked, face: Face | None) -> Found:
    if isinstance(stream, Lookup):
        # A client with a cursor knows that the session was there.
        stream = stream.known_by(held_cursor(asked, cursor_of if face is None else face.cursor))
    return await stream if inspect.isawaitable(stream) else stream


def _missing(asked: Asked, settings: Settings) -> Answered:
    face = settings.face or (face_of(asked) if settings.follow_next else None)
    if face is None:
        return not_found()
    if settings.follow_next and face.retry is not None:
        # Upon a 404 an EventSource would give up for good.
        seconds = _MISSING_RETRY if settings.retry is None else settings.retry
        body = face.retry(seconds) + HEARTBEAT
        return Answer(200, body, {"content-type": "text/event-stream; charset=utf-8"})
    return face.missing()


async def _follow(stream: LiveStream, face: Face, asked: Asked, settings: Settings) -> Reply:
    after: Cursor | str | None = face.cursor(asked)
    last = None if face.last is None else face.last(asked)
    if after is None and last is None:
        after, last = settings.after, settings.last
    events = settings.events
    if events is None and face.events is not None:
        events = face.events(asked)
    body = Body(
        stream,
        face.format(asked),
        after=after,
        last=last,
        events=events,
        batch=face.batch(asked) or settings.batch_replay,
        buffer=settings.buffer,
        on_reset=settings.on_reset,
        show_errors=settings.show_errors,
        follow_next=settings.follow_next,
    )
    try:
        first = await body.open()
    except BaseException:
        await body.aclose()
        raise
    if first is None and face.complete is not None:
        await body.aclose()
        return Reply.whole(face.complete(), settings)
    return _Following(face, body, [first or b""], asked, settings)
