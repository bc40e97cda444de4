"""Sessions over HTTP for Django, under ASGI and WSGI: ``pip install "streamhub-llm[django]"``.

::

    from streamhub.django import stream_response

    def events(request, name):
        return stream_response(request, hub, f"answer:{name}", wait=5)

With a hub of ``streamhub.sync`` this view works under either kind of server. Under WSGI each open
response occupies a thread; under ASGI none does. A project that runs under ASGI alone may use
``streamhub.Hub``, in views that are ``async``, with :func:`astream_response`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Any, Unpack

try:
    from django.core.handlers.asgi import ASGIRequest
    from django.db import connections
    from django.http import HttpResponse, StreamingHttpResponse
    from django.http.request import HttpRequest
except ModuleNotFoundError as _missing:
    if (_missing.name or "").partition(".")[0] != "django":
        raise
    raise ModuleNotFoundError(
        'streamhub.django needs django: pip install "streamhub-llm[django]"', name="django"
    ) from None

from . import sync
from .asgi import with_lifespan
from .errors import HubClosed
from .serving.answers import Answered
from .serving.asked import Question
from .serving.cancelling import cancel, cancel_in_thread
from .serving.faces import Face, ui_message_face
from .serving.reply import BrokenOff, Found, Reply, check_stream
from .serving.settings import Options, Settings
from .serving.threaded import ThreadReply
from .sync.background import in_thread
from .wsgi import close_at_signals

__all__ = [
    "Face",
    "acancel_response",
    "astream_response",
    "cancel_response",
    "close_at_signals",
    "stream_response",
    "ui_message_face",
    "with_lifespan",
]


def stream_response(
    request: HttpRequest,
    hub: sync.Hub,
    session_id: str,
    *,
    wait: float | None = None,
    allow: Callable[[], bool] | None = None,
    **options: Unpack[Options],
) -> HttpResponse | StreamingHttpResponse:
    """The answer to a request, for a view that is not async: a session is replayed after the
    client's cursor, followed live, and ended explicitly.

    It answers as :class:`streamhub.http.StreamResponse` does, and takes the same options.

    :param wait: for so many seconds, for a session that is not there yet.
    :param allow: whether the client may read it; a refusal is answered with 404, as if the session
        was not there. Asked again, in another thread, where the session begins anew.
    :raises TypeError: ``hub`` is none of ``streamhub.sync``.
    """
    if not isinstance(hub, sync.Hub):
        kind = f"{type(hub).__module__}.{type(hub).__qualname__}"
        raise TypeError(
            f"stream_response takes a hub of streamhub.sync, not {kind}, which goes to "
            "astream_response in an async view"
        )
    settings = Settings(**options)
    if allow is not None and settings.on_reset is None:
        settings.on_reset = partial(in_thread, _in_any_thread(allow))
    reply = ThreadReply.open(
        hub,
        session_id,
        _asked(request),
        settings,
        wait=wait,
        allow=allow,
        environ=request.META,
    )
    if reply.body is not None or request.method == "HEAD":
        reply.close()
        return _answered(request, reply)
    return _streamed(_PiecesOfThread(reply) if isinstance(request, ASGIRequest) else reply, reply)


async def astream_response(
    request: HttpRequest, stream: Found | Awaitable[Found], **options: Unpack[Options]
) -> HttpResponse | StreamingHttpResponse:
    """The same for an async view under ASGI, with a ``streamhub.Hub``::

        async def events(request, name):
            return await astream_response(request, hub.get(f"answer:{name}", wait=5))

    :raises TypeError: ``stream`` is nothing that a response can follow, or this is a WSGI server,
        which runs each async view in an event loop of its own.
    """
    check_stream(stream)
    if not isinstance(request, ASGIRequest):
        raise TypeError(
            "astream_response needs an ASGI server: use stream_response, with a hub of "
            "streamhub.sync, under WSGI"
        )
    reply = await Reply.open(stream, _asked(request), Settings(**options))
    if reply.body is not None or request.method == "HEAD":
        await reply.aclose()
        return _answered(request, reply)
    return _streamed(_Pieces(reply), reply)


def cancel_response(
    request: HttpRequest,
    hub: sync.Hub,
    session_id: str,
    *,
    wait: float | None = None,
    reason: str | None = None,
    allow: Callable[[], bool] | None = None,
    origins: Collection[str] = (),
) -> HttpResponse:
    """Stop a session's producer, wherever it runs, and tell what status the session has reached:
    202 while that is still to come. 404 for one that is not there.

    :param wait: for so many seconds, for the end.
    :param reason: as for ``LiveStream.cancel``.
    :param allow: whether the client may; a refusal is answered with 404.
    :param origins: of which other sites pages may do that, as ``https://example.org``: where
        a browser adds cookies, those of others are answered with 403.
    """
    answer = cancel_in_thread(
        hub,
        session_id,
        _asked(request),
        wait=wait,
        reason=reason,
        allow=allow,
        origins=origins,
    )
    return _response(answer)


async def acancel_response(
    request: HttpRequest,
    stream: Found | Awaitable[Found],
    *,
    wait: float | None = None,
    reason: str | None = None,
    origins: Collection[str] = (),
) -> HttpResponse:
    """The same for an async view, with a ``streamhub.Hub``."""
    asked = _asked(request)
    return _response(await cancel(stream, asked, wait=wait, reason=reason, origins=origins))


class _Pieces(AsyncIterator[bytes]):
    """What Django sends under ASGI. It calls ``close`` in a thread, whatever has happened."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._loop = asyncio.get_running_loop()
        self._closing: asyncio.Task[None] | None = None

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._reply)
        except BrokenOff:
            # By this alone Django leaves a response without an end, and logs nothing.
            raise asyncio.CancelledError from None

    def close(self) -> None:
        def close() -> None:
            self._closing = self._loop.create_task(self._reply.aclose())

        with suppress(RuntimeError):  # the event loop has ended, and all that was in it
            self._loop.call_soon_threadsafe(close)


class _PiecesOfThread(AsyncIterator[bytes]):
    """The same where the hub has an event loop of its own."""

    def __init__(self, reply: ThreadReply) -> None:
        self._reply = reply

    def __aiter__(self) -> _PiecesOfThread:
        return self

    async def __anext__(self) -> bytes:
        reply = self._reply.reply
        try:
            piece = await asyncio.wrap_future(self._reply.background.begin(reply.next))
        except HubClosed as error:
            reply.end(error)
            piece = None
        if piece is not None:
            return piece
        if reply.broken:
            raise asyncio.CancelledError  # as above
        raise StopAsyncIteration

    def close(self) -> None:
        self._reply.close()


def _asked(request: HttpRequest) -> Question:
    return Question(request.headers.items(), request.META.get("QUERY_STRING", ""))


def _answered(request: HttpRequest, reply: Reply | ThreadReply) -> HttpResponse:
    # Some servers send what they are given, though nobody asked for it.
    return _headers(HttpResponse(b"" if request.method == "HEAD" else reply.body), reply)


def _streamed(pieces: Any, reply: Reply | ThreadReply) -> StreamingHttpResponse:
    response = _headers(StreamingHttpResponse(pieces), reply)
    # GZipMiddleware would hold each piece back until it has many of them.
    response["content-encoding"] = "identity"
    return response


def _headers(response: Any, reply: Reply | ThreadReply) -> Any:
    response.status_code = reply.status_code
    for name, value in reply.headers:
        response[name] = value
    return response


def _response(answer: Answered) -> HttpResponse:
    reply = Reply.whole(answer, Settings())
    return _headers(HttpResponse(reply.body), reply)


def _in_any_thread(allow: Callable[[], bool]) -> Callable[[], bool]:
    """``allow``, without a connection to a database that a thread of nobody's keeps open."""

    def asked() -> bool:
        try:
            return allow()
        finally:
            connections.close_all()

    return asked
