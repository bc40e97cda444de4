"""Sessions over HTTP for any WSGI server or framework, and without one: no package is needed.

::

    from streamhub.wsgi import StreamResponse

    def app(environ, start_response):
        return StreamResponse(hub, "chat:1", wait=5)(environ, start_response)

It reads through a hub of ``streamhub.sync``. Each open response occupies a thread of the server.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Collection, Iterable
from functools import partial
from http import HTTPStatus
from typing import Any, Unpack

from .hub import check_drain
from .serving.asked import Question
from .serving.cancelling import cancel_in_thread
from .serving.faces import Face, ui_message_face
from .serving.lifespan import SIGNALS, both
from .serving.origins import check_origins
from .serving.reply import BrokenOff, Reply
from .serving.settings import Options, Settings
from .serving.threaded import ThreadReply
from .sync import Hub

__all__ = [
    "BrokenOff",
    "CancelResponse",
    "Face",
    "StreamResponse",
    "close_at_signals",
    "ui_message_face",
]

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


class StreamResponse:
    """A WSGI application that answers one request: it replays a session after the client's cursor,
    follows it live, and ends explicitly.

    It answers as :class:`streamhub.http.StreamResponse` does, and takes the same options.

    WSGI does not say when a client goes. Under gunicorn, werkzeug and waitress (there with
    ``channel_request_lookahead=1``) it is noticed within a second, elsewhere when a chunk or a
    heartbeat cannot be written.
    """

    def __init__(
        self,
        hub: Hub,
        session_id: str,
        *,
        wait: float | None = None,
        allow: Callable[[], bool] | None = None,
        **options: Unpack[Options],
    ) -> None:
        """
        :param wait: for so many seconds, for a session that is not there yet.
        :param allow: whether the client may read it; a refusal is answered with 404, as if the
            session was not there. Asked again, in another thread, where it begins anew.
        :raises ValueError: an option is none of what is allowed.
        """
        self._hub = hub
        self._session_id = session_id
        self._wait = wait
        self._allow = allow
        self._settings = Settings(**options)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        reply = ThreadReply.open(
            self._hub,
            self._session_id,
            Question.of_environ(environ),
            self._settings,
            wait=self._wait,
            allow=self._allow,
            environ=environ,
        )
        try:
            start_response(_status(reply.status_code), reply.headers)
        except BaseException:
            reply.close()
            raise
        if reply.body is None and environ["REQUEST_METHOD"] != "HEAD":
            return reply
        reply.close()
        return [] if environ["REQUEST_METHOD"] == "HEAD" or not reply.body else [reply.body]


class CancelResponse:
    """A WSGI application that stops a session's producer, wherever it runs, and says what status
    the session has reached: 202 while that is still to come. 404 for one that is not there.
    """

    def __init__(
        self,
        hub: Hub,
        session_id: str,
        *,
        wait: float | None = None,
        reason: str | None = None,
        allow: Callable[[], bool] | None = None,
        origins: Collection[str] = (),
    ) -> None:
        """
        :param wait: for so many seconds, for the end.
        :param reason: as for ``LiveStream.cancel``.
        :param allow: whether the client may; a refusal is answered with 404.
        :param origins: of which other sites pages may do that, as ``https://example.org``: where
            a browser adds cookies, those of others are answered with 403.
        """
        check_origins(origins)
        self._cancel = partial(
            cancel_in_thread,
            hub,
            session_id,
            wait=wait,
            reason=reason,
            allow=allow,
            origins=origins,
        )

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        reply = Reply.whole(self._cancel(Question.of_environ(environ)), Settings())
        start_response(_status(reply.status_code), reply.headers)
        return [reply.body or b""]


def close_at_signals(hub: Hub, *, drain: float = 0.0) -> None:
    """Close ``hub`` when the server is told to stop, by SIGINT or SIGTERM: before its open
    responses, for which servers wait, as they follow sessions for as long as those last. They end
    without an end of their sessions: clients ask again, another instance if there is one.

    To be called in the main thread of the process that serves, once the server has set its own
    handlers, which are called, too. In gunicorn's configuration::

        def post_worker_init(worker):
            close_at_signals(hub)

    :param drain: as for ``Hub.close``; a second signal cuts it short.
    :raises ValueError: this is not the main thread.
    """
    check_drain(drain)
    begun: list[threading.Thread] = []

    def close() -> None:
        if len(begun) < 2:
            patience = 0.0 if begun else drain
            # Not here: a handler interrupts whatever its thread is doing, in a call of the hub too.
            begun.append(threading.Thread(target=partial(hub.close, drain=patience)))
            begun[-1].start()

    for number in SIGNALS:
        before = signal.getsignal(number)
        if callable(before):
            signal.signal(number, both(close, before))


def _status(code: int) -> str:
    return f"{code} {HTTPStatus(code).phrase}"
