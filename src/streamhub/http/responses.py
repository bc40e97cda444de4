"""A session as an HTTP response: replayed, followed live, resumable, ended explicitly."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping

from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..asgi import respond
from ..chunks import Cursor
from ..serving.faces import Face
from ..serving.reply import Found, check_stream
from ..serving.settings import FaceName, Settings

__all__ = ["FaceName", "Found", "StreamResponse"]


class StreamResponse(Response):
    """Replays a session after the client's cursor, follows it live, and ends explicitly.

    The cursor is the request's ``Last-Event-ID`` header, else its ``?after=``, else ``after``. The
    face is ``face``, else the request's ``?format=`` (``sse``, ``ndjson`` or ``text``), else what
    its ``Accept`` header likes best, else SSE. ``?batch=true`` joins what is stored already into
    few large chunks. ``?events=`` asks for chunks of some event types (``message`` for text, with
    commas between several), ``?last=`` for the newest ones, as ``events`` and ``last`` of
    :meth:`streamhub.LiveStream.subscribe` do; a ``Last-Event-ID`` comes before ``?last=``.

    ``sse``
        Each chunk has its cursor as ``id`` and its event type as ``event`` (an application's own
        ``end``, ``error`` and ``reset`` become ``chunk:end`` …). At last comes ``event: end`` with
        status and cursor as JSON, or ``event: error``, which has a reason, too. A new epoch is
        ``event: reset``, followed by its replay. A comment goes out after ``heartbeat`` seconds of
        silence. Who asks again from the very end of an ended session gets 204, upon which a
        browser's EventSource stops; if it had got no ``end`` before, the session's status tells.
    ``ndjson``
        A line per chunk with ``data``, ``cursor`` and ``event``, exactly as they were published; a
        part of a message is an object, ``part``, in place of ``data``.
        The last line has ``status``, ``cursor`` and ``error``; one of status ``reset`` begins a new
        epoch. Blank lines are heartbeats.
    ``text``
        The text alone, that of parts included, without other chunks that have an event type;
        ``?show=tools,reasoning`` adds lines for these. A failure breaks the response off,
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
    :param last: with how many of the newest chunks a client begins that does not say.
    :param events: which event types are sent, whatever the client asks for.
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
        last: int | None = None,
        events: Collection[str | None] | None = None,
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
        check_stream(stream)
        self._stream = stream
        self._settings = Settings(
            face=face,
            after=after,
            last=last,
            events=events,
            batch_replay=batch_replay,
            buffer=buffer,
            heartbeat=heartbeat,
            retry=retry,
            on_reset=on_reset,
            follow_next=follow_next,
            show_errors=show_errors,
            headers=headers,
        )
        self.background = background
        self.status_code = 200
        self.init_headers(self._settings.stream_headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await respond(
            scope,
            receive,
            send,
            self._stream,
            self._settings,
            status_code=self.status_code,
            headers=self.raw_headers,
        )
        if self.background is not None:
            await self.background()
