"""The answer to a client that follows a chat completion, event by event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ...asgi import respond
from ...serving.settings import UNBUFFERED, Settings
from ...stream import LiveStream
from .asked import COMPLETION_ID
from .face import ANSWER, ANSWER_WITH_IDS
from .log import Head

__all__ = ["CompletionResponse"]


class CompletionResponse(Response):
    """With the status and the headers that the upstream has answered with.

    :param ids: whether each event has its cursor as ``id``.
    :param on_over: called when nothing more is sent, be it that the client has left.
    """

    def __init__(
        self,
        stream: LiveStream,
        completion_id: str,
        head: Head,
        *,
        ids: bool,
        on_over: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._stream = stream
        # What is no reason for clients, the face keeps to itself.
        self._settings = Settings(face=ANSWER_WITH_IDS if ids else ANSWER, show_errors=True)
        self._on_over = on_over
        self.background: BackgroundTask | None = None
        self.status_code: int = head.status
        said = {name: value for name, value in head.headers if name != "content-type"}
        self.init_headers({**UNBUFFERED, **said, COMPLETION_ID: completion_id})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await respond(
                scope,
                receive,
                send,
                self._stream,
                self._settings,
                status_code=self.status_code,
                headers=self.raw_headers,
            )
        finally:
            if self._on_over is not None:
                await self._on_over()
