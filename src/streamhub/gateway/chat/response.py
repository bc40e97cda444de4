"""The answers to clients that follow a chat completion, event by event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ...asgi import respond
from ...errors import HubClosed
from ...formats.format import Ending
from ...producing.own_reader import OwnReader
from ...serving.body import Body
from ...serving.disconnects import ClientGone, unless_gone
from ...serving.settings import UNBUFFERED, Settings
from ...stream import LiveStream
from ..events_response import send_pieces
from .asked import COMPLETION_ID
from .face import ANSWER, ANSWER_WITH_IDS, ChatFormat, format_of
from .log import Head

__all__ = ["AskedResponse", "CompletionResponse", "OwnAnswer"]


class CompletionResponse(Response):
    """With the status and the headers that the upstream has answered with.

    :param ids: whether each event has its cursor as ``id``.
    """

    def __init__(self, stream: LiveStream, completion_id: str, head: Head, *, ids: bool) -> None:
        self._stream = stream
        # What is no reason for clients, the face keeps to itself.
        self._settings = Settings(face=ANSWER_WITH_IDS if ids else ANSWER, show_errors=True)
        self.background: BackgroundTask | None = None
        self.status_code: int = head.status
        self.init_headers(_headers(head, completion_id))

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


class AskedResponse(Response):
    """The same for the client that has asked for it here and now, from the moment on that the
    upstream is asked.

    :param begins: waits until the upstream has begun to answer, and says with what.
    :param whole: the response where that are no events.
    :param on_over: called when nothing more is sent, be it that the client has left.
    """

    def __init__(
        self,
        answer: OwnAnswer,
        completion_id: str,
        *,
        begins: Callable[[], Awaitable[Head]],
        whole: Callable[[], Awaitable[Response]],
        on_over: Callable[[], Awaitable[object]],
    ) -> None:
        self.background: BackgroundTask | None = None
        self._answer = answer
        self._completion_id = completion_id
        self._begins = begins
        self._whole = whole
        self._on_over = on_over
        self._begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await unless_gone(receive, self._send_all(scope, receive, send))
        except HubClosed:
            if not self._begun:
                raise
            # Without its last piece, the server breaks the connection off.
        except (ClientGone, OSError):
            # A server may say by an OSError, too, that the client has gone.
            if not self._begun:
                raise
        finally:
            await self._answer.aclose()
            await self._on_over()

    async def _send_all(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = await self._begins()
        if not head.streamed:
            whole = await self._whole()
            self._begun = True
            await whole(scope, receive, send)
            return
        self.status_code = head.status
        headers = {"content-type": "text/event-stream; charset=utf-8"}
        self.init_headers({**headers, **_headers(head, self._completion_id)})
        self._begun = True
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        await send_pieces(send, self._answer)


class OwnAnswer:
    """The pieces of an answer that is asked for in this process; see :class:`Pieces`.

    Its events are those that were stored here. How it ends, where its producer does not know that,
    and what comes after it, the store is asked for.

    :param ids: whether each event has its cursor as ``id``.
    """

    def __init__(self, stream: LiveStream, reader: OwnReader, *, ids: bool) -> None:
        self._stream = stream
        self._reader = reader
        self._format: ChatFormat = format_of(ids=ids)
        self._body: Body | None = None
        self._over = False

    async def next(self) -> bytes | None:
        if self._over:
            return None
        if self._body is None:
            if chunks := await self._reader.take():
                return b"".join([self._format.chunk(chunk) for chunk in chunks])
            if (end := self._reader.end) is not None:
                self._over = True
                return self._format.end(Ending(end[0].value, self._reader.cursor, end[1]))
            self._body = Body(
                self._stream,
                self._format,
                after=self._reader.cursor,
                batch=False,
                buffer=1,
                show_errors=True,
            )
        piece = await self._body.next()
        self._over = self._body.over
        if self._body.broken:
            raise HubClosed
        return piece

    async def aclose(self) -> None:
        self._reader.close()
        if self._body is not None:
            await self._body.aclose()


def _headers(head: Head, completion_id: str) -> dict[str, str]:
    said = {name: value for name, value in head.headers if name != "content-type"}
    return {**UNBUFFERED, **said, COMPLETION_ID: completion_id}
