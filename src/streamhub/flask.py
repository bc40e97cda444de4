"""Sessions over HTTP for Flask: ``pip install "streamhub-llm[flask]"``.

::

    from streamhub.flask import StreamResponse

    @app.get("/answers/<name>/events")
    def events(name):
        return StreamResponse(hub, f"answer:{name}", wait=5)

It reads through a hub of ``streamhub.sync``, which is closed as :func:`close_at_signals` says. Each
open response occupies a thread of the server.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Unpack

try:
    from flask import Response, request
except ModuleNotFoundError as _missing:
    if (_missing.name or "").partition(".")[0] != "flask":
        raise
    raise ModuleNotFoundError(
        'streamhub.flask needs flask: pip install "streamhub-llm[flask]"', name="flask"
    ) from None

from .serving.asked import Question
from .serving.cancelling import cancel_in_thread
from .serving.faces import Face, ui_message_face
from .serving.reply import BrokenOff, Reply
from .serving.settings import Options, Settings
from .serving.threaded import ThreadReply
from .sync import Hub
from .wsgi import close_at_signals

__all__ = [
    "BrokenOff",
    "CancelResponse",
    "Face",
    "StreamResponse",
    "close_at_signals",
    "ui_message_face",
]


class StreamResponse(Response):  # type: ignore[misc] # it is not in every environment
    """The answer to the request that is being handled: see :class:`streamhub.wsgi.StreamResponse`,
    with its options and errors.

    :raises RuntimeError: no request is being handled.
    """

    # Reading all of it to change it would wait for the end of the session.
    implicit_sequence_conversion = False

    def __init__(
        self,
        hub: Hub,
        session_id: str,
        *,
        wait: float | None = None,
        allow: Callable[[], bool] | None = None,
        **options: Unpack[Options],
    ) -> None:
        reply = ThreadReply.open(
            hub,
            session_id,
            _asked(),
            Settings(**options),
            wait=wait,
            allow=allow,
            environ=request.environ,
        )
        content = reply if reply.body is None else [reply.body]
        super().__init__(content, reply.status_code, reply.headers)
        self.call_on_close(reply.close)


class CancelResponse(Response):  # type: ignore[misc] # it is not in every environment
    """Stops a session's producer; see :class:`streamhub.wsgi.CancelResponse`."""

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
        answer = cancel_in_thread(
            hub,
            session_id,
            _asked(),
            wait=wait,
            reason=reason,
            allow=allow,
            origins=origins,
        )
        reply = Reply.whole(answer, Settings())
        super().__init__(reply.body, reply.status_code, reply.headers)


def _asked() -> Question:
    return Question(request.headers.items(), request.query_string.decode("latin-1"))
