"""A session as a response of one face, whatever the request asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping

from starlette.background import BackgroundTask

from ..chunks import Cursor
from ..serving.faces import ui_message_face
from .responses import Found, StreamResponse

__all__ = ["SSEResponse", "UIMessageStreamResponse"]


class SSEResponse(StreamResponse):
    """A session as Server-Sent Events: :class:`StreamResponse` with ``face="sse"``.

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
        super().__init__(
            stream,
            face="sse",
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
            background=background,
        )


class UIMessageStreamResponse(StreamResponse):
    """A session as a UI message stream, always from its start, as ``useChat`` expects it.

    A chunk of text becomes a ``text-delta``. Parts that the application publishes pass through:
    JSON objects in chunks of event type ``"ui"``, and chunks that are whole ``data: {…}`` frames
    (as pydantic-ai's adapter yields them). A chunk of any other event type becomes the data part
    ``data-<event>``. What the application left out, as ``start`` and ``finish``, is put around.

    A cancel is an ``abort`` part; a failed or lost producer an ``error`` part, so that it never
    looks like a finished answer. A server that shuts down breaks the connection.

    :param stream: as for :class:`StreamResponse`; but None answers 204, as ``useChat`` expects it
        of an unknown session.
    :param resume: for ``GET {api}/{chat}/stream``: answer 204 for a session that has ended, too.
    :param replay_ended: with ``resume``: replay one that has ended, while it is stored.
    :param message_id: of the assistant's message; by default the same for all of one epoch, so
        that a resumed stream replaces what the client has of it.
    :param error_text: what a client is told of a failure. It is given ``failed``, ``lost``, … and
        the reason, which may be the text of an exception of the producer's. By default a client
        hears nothing of the reason.
    """

    def __init__(
        self,
        stream: Found | Awaitable[Found],
        *,
        resume: bool = False,
        replay_ended: bool = False,
        message_id: str | None = None,
        error_text: Callable[[str, str], str] | None = None,
        buffer: int = 256,
        heartbeat: float = 15.0,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        super().__init__(
            stream,
            face=ui_message_face(
                resume=resume,
                replay_ended=replay_ended,
                message_id=message_id,
                error_text=error_text,
            ),
            buffer=buffer,
            heartbeat=heartbeat,
            show_errors=error_text is not None,
            headers=headers,
            background=background,
        )
