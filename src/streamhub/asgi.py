"""Sessions over HTTP for any ASGI server or framework, and without one: no package is needed.

::

    from streamhub.asgi import StreamResponse

    async def app(scope, receive, send):
        await StreamResponse(hub.get("chat:1", wait=5))(scope, receive, send)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import Any, Unpack

from . import sync
from .errors import HubClosed
from .hub import Hub
from .serving.asked import Question
from .serving.cancelling import cancel
from .serving.disconnects import ClientGone, Receive, unless_gone
from .serving.faces import Face, ui_message_face
from .serving.lifespan import lifespan
from .serving.origins import check_origins
from .serving.reply import BrokenOff, Found, Reply, check_stream
from .serving.settings import Options, Settings

__all__ = [
    "BrokenOff",
    "CancelResponse",
    "Face",
    "Reply",
    "StreamResponse",
    "lifespan",
    "open_reply",
    "respond",
    "ui_message_face",
    "with_lifespan",
]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]

# What is handed to the server at once, which waits while a client does not read.
_PIECE = 64 * 1024


class StreamResponse:
    """An ASGI application that answers one request: it replays a session after the client's
    cursor, follows it live, and ends explicitly.

    It answers as :class:`streamhub.http.StreamResponse` does, takes the same, and needs no
    Starlette.
    """

    def __init__(self, stream: Found | Awaitable[Found], **options: Unpack[Options]) -> None:
        """
        :raises TypeError: ``stream`` is nothing that a response can follow.
        :raises ValueError: an option is none of what is allowed.
        """
        check_stream(stream)
        self._stream = stream
        self._settings = Settings(**options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await respond(scope, receive, send, self._stream, self._settings)


class CancelResponse:
    """An ASGI application that stops a session's producer, wherever it runs, and says what status
    the session has reached: 202 while that is still to come. 404 for one that is not there.
    """

    def __init__(
        self,
        stream: Found | Awaitable[Found],
        *,
        wait: float | None = None,
        reason: str | None = None,
        origins: Collection[str] = (),
    ) -> None:
        """
        :param wait: for so many seconds, for the end; given up as soon as the client goes.
        :param reason: as for ``LiveStream.cancel``.
        :param origins: of which other sites pages may do that, as ``https://example.org``: where
            a browser adds cookies, those of others are answered with 403.
        """
        check_stream(stream)
        check_origins(origins)
        self._cancel = partial(cancel, stream, wait=wait, reason=reason, origins=origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(ClientGone):
            answer = await unless_gone(receive, self._cancel(Question.of_scope(scope)))
            reply = Reply.whole(answer, Settings())
            await _send(scope, send, _Sent(), reply, reply.status_code, None)


async def open_reply(
    stream: Found | Awaitable[Found],
    headers: Any,
    query: str | bytes,
    /,
    **options: Unpack[Options],
) -> Reply:
    """The answer to a request, for frameworks with responses of their own: its status, headers
    and pieces. It is to be closed.

    :param headers: of the request: pairs of names and values, or what has them as ``items()``.
    :param query: what is after the ``?``.

    ::

        reply = await open_reply(hub.get("chat:1"), request.headers, request.query_string)
    """
    check_stream(stream)
    pairs = headers.items() if hasattr(headers, "items") else headers
    asked = query if isinstance(query, str) else query.decode("latin-1")
    return await Reply.open(stream, Question(pairs, asked), Settings(**options))


def with_lifespan(app: Application, hub: Hub | sync.Hub, *, drain: float = 0.0) -> Application:
    """``app``, and the end of ``hub`` with it, for applications that have no lifespan of their own,
    as Django's. See :func:`lifespan`.

    ::

        application = with_lifespan(get_asgi_application(), hub)
    """
    closing = lifespan(hub, drain=drain)

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(closing(app), receive, send)
        else:
            await app(scope, receive, send)

    return run


async def _live(life: AbstractAsyncContextManager[None], receive: Receive, send: Send) -> None:
    assert (await receive())["type"] == "lifespan.startup"
    async with life:
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
    await send({"type": "lifespan.shutdown.complete"})


async def respond(
    scope: Scope,
    receive: Receive,
    send: Send,
    stream: Found | Awaitable[Found],
    settings: Settings,
    *,
    status_code: int = 200,
    headers: list[tuple[bytes, bytes]] | None = None,
) -> None:
    """Answer one request.

    :param status_code: of an answer that follows the session.
    :param headers: of one, in the place of those of the reply, without a content type.
    """
    sent = _Sent()
    question = Question.of_scope(scope)

    async def follow() -> None:
        try:
            reply = await Reply.open(stream, question, settings)
        except Exception:
            # The server's to answer.
            sent.over = True
            raise
        try:
            if not sent.over:
                await _send(scope, send, sent, reply, status_code, headers)
        except OSError:
            # A server may say by this, too, that the client has gone.
            pass
        finally:
            await reply.aclose()

    async def gone() -> Message:
        try:
            return await receive()
        except asyncio.CancelledError:
            # So a server ends, at last, what is open when it shuts down. It has no time left:
            # this cannot wait until all that is going on here has ended.
            if not sent.over:
                with suppress(OSError):
                    await _end_early(scope, send, sent, question, settings)
            raise

    try:
        with suppress(ClientGone):
            await unless_gone(gone, follow())
    except asyncio.CancelledError:
        # Of a response that has ended the server would log what passes this on, as an error of the
        # application's.
        if not sent.over:
            raise


class _Sent:
    """What has gone out of one response."""

    def __init__(self) -> None:
        self.begun = False
        #: Whether nothing more may be sent.
        self.over = False
        #: Whether nothing is half sent, and clients see that it has not ended where it just closes.
        self.may_end = False


async def _send(
    scope: Scope,
    send: Send,
    sent: _Sent,
    reply: Reply,
    status_code: int,
    headers: list[tuple[bytes, bytes]] | None,
) -> None:
    whole = reply.body
    sent.begun = True
    if whole is not None:
        await _start(send, reply.status_code, reply.headers)
        await send(
            {"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else whole}
        )
        sent.over = True
        return
    await _start(send, status_code, reply.headers, headers)
    if scope["method"] == "HEAD":
        await send({"type": "http.response.body", "body": b""})
        return
    piece = await reply.next()
    if not piece:
        # Some servers and middleware keep the headers back until there is a body.
        await send({"type": "http.response.body", "body": b"", "more_body": True})
    while piece is not None:
        if sent.over:
            return
        sent.may_end = False
        for start in range(0, len(piece), _PIECE):
            part = piece if len(piece) <= _PIECE else piece[start : start + _PIECE]
            await send({"type": "http.response.body", "body": part, "more_body": True})
        sent.may_end = reply.may_end
        piece = await reply.next()
    sent.over = True
    if not reply.broken:
        await send({"type": "http.response.body", "body": b""})


async def _start(
    send: Send,
    status_code: int,
    headers: list[tuple[str, str]],
    instead: list[tuple[bytes, bytes]] | None = None,
) -> None:
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    if instead is not None:
        raw = [*instead, *(pair for pair in raw if pair[0] == b"content-type")]
    await send({"type": "http.response.start", "status": status_code, "headers": raw})


async def _end_early(
    scope: Scope, send: Send, sent: _Sent, question: Question, settings: Settings
) -> None:
    """End a response whose session has not ended, so that its client asks again."""
    sent.over = True
    if sent.begun:
        if sent.may_end:
            await send({"type": "http.response.body", "body": b""})
        return
    reply = Reply.refusal(HubClosed(), question, settings)
    await _send(scope, send, sent, reply, reply.status_code, None)
