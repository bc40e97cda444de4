"""Many chats over one WebSocket, as ``WebSocketChatTransport`` of the AI SDK speaks it.

Every frame of the client is one of the requests that the default transport makes, and is answered
by the application as that: with its middleware, its dependencies, and the routes beside this one.

===============================  ===================================================================
``send``                         ``POST {path}``
``resume``                       ``GET {path}/{chat}/stream``
``abort`` of either of these     ``POST {path}/{chat}/stop``, for the very answer that it follows
===============================  ===================================================================

A request is answered with ``start``, a ``chunk`` for each part with its ``sequence``, and ``end``;
or with ``no-active``, or ``error``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from contextlib import suppress
from typing import Annotated, Any

import msgspec
from starlette.datastructures import Headers
from starlette.types import Message
from starlette.websockets import WebSocket

from ...formats.json_text import encode
from ...formats.sse import HEARTBEAT, EventParser
from ..exchanges import LONGEST_DETAIL, Exchange, ask, detail_of
from ..frames import ASK_AGAIN, FrameSocket, Spawn
from .runs import RUN_HEADER

__all__ = ["ChatSocket"]

logger: logging.Logger = logging.getLogger("streamhub")

# How many requests of one socket may be under way.
_MOST_REQUESTS = 64
# In seconds, how long the abort of a resume waits: a page that resumes once more drops the resume
# before by itself, and nobody has asked it to stop anything.
_SECOND_THOUGHTS = 1.0


class _Send(msgspec.Struct, tag="send", rename="camel"):
    request_id: str
    id: str
    messages: list[Any]
    trigger: str | None = None
    message_id: str | None = None
    headers: dict[str, str] = {}
    body: dict[str, Any] = {}
    metadata: Any = None


class _Resume(msgspec.Struct, tag="resume", rename="camel"):
    request_id: str
    id: str
    last_sequence: Annotated[int, msgspec.Meta(ge=0)] | None = None
    headers: dict[str, str] = {}
    body: dict[str, Any] = {}
    metadata: Any = None


class _Abort(msgspec.Struct, tag="abort", rename="camel"):
    request_id: str


class ChatSocket(FrameSocket):
    """Closing it stops no answer; what was aborted before is stopped all the same."""

    def __init__(self, websocket: WebSocket) -> None:
        super().__init__(websocket)
        self._requests: dict[str, _Request] = {}
        #: What was aborted and is still to be stopped, by its chat.
        self._aborted: dict[str, list[_Request]] = {}

    async def say(self, request_id: str, kind: str, **more: Any) -> None:
        await self.send(encode({"type": kind, "requestId": request_id, **more}).decode())

    def _begin(self, spawn: Spawn) -> None:
        return None

    def _is_busy(self) -> bool:
        return bool(self._requests)

    def _left(self) -> None:
        for request in self._requests.values():
            request.gone.set()
        for aborted in self._aborted.values():
            for request in aborted:
                request.decided.set()

    async def _refuse(self, detail: str) -> None:
        await self.say("", "error", errorText=detail)

    async def _take(self, value: Any, data: str | bytes, spawn: Spawn) -> None:
        name = value.get("requestId") if isinstance(value, dict) else None
        request_id = name if isinstance(name, str) else ""
        try:
            frame = msgspec.convert(value, _Send | _Resume | _Abort)
        except msgspec.ValidationError as error:
            detail = f"a frame must be a send, a resume or an abort: {error}"
            return await self.say(request_id, "error", errorText=detail)
        if isinstance(frame, _Abort):
            self._abort(request_id, spawn)
            return None
        if request_id in self._requests:
            detail = f"requestId {request_id[:80]!r} is in use"
            return await self.say(request_id, "error", errorText=detail)
        # One that was aborted is under way until it is stopped.
        aborted = sum(map(len, self._aborted.values()))
        if len(self._requests) + aborted >= _MOST_REQUESTS:
            detail = f"at most {_MOST_REQUESTS} requests may be under way on one socket"
            return await self.say(request_id, "error", errorText=detail)
        # No other one of a frame: a proxy that sets or removes headers has not seen these.
        taken = () if "authorization" in self._websocket.headers else ("authorization",)
        request = _Request(self, frame, taken)
        self._requests[request_id] = request
        spawn(self._answer, request, [*self._aborted.get(request.chat, ())])
        return None

    async def _answer(self, request: _Request, aborted: list[_Request]) -> None:
        """Have the application answer, once what was ``aborted`` before in the chat is stopped."""
        try:
            for other in aborted:
                if not other.decided.is_set():
                    other.superseded = request.is_resume and other.is_resume
                    other.decided.set()
                await other.stopped.wait()
            if not request.aborted:
                await request.end(await ask(self._websocket, request))
        finally:
            request.begun.set()
            if self._requests.get(request.id) is request:
                del self._requests[request.id]

    def _abort(self, request_id: str, spawn: Spawn) -> None:
        # Without a request the abort has crossed its end.
        request = self._requests.pop(request_id, None)
        if request is not None:
            request.aborted = True
            self._aborted.setdefault(request.chat, []).append(request)
            spawn(self._stop, request)

    async def _stop(self, request: _Request) -> None:
        try:
            if request.is_resume:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_SECOND_THOUGHTS):
                        await request.decided.wait()
            # An answer that is only about to begin is one to stop, too.
            await request.begun.wait()
            if request.run_id is not None and not request.superseded:
                named = encode({"activeStreamId": request.run_id})
                stop = Exchange("POST", f"/{request.chat}/stop", named, request.headers)
                await ask(self._websocket, stop)
                if stop.status >= 500:
                    logger.error("an answer of a chat's socket could not be stopped")
        finally:
            request.gone.set()
            request.stopped.set()
            left = self._aborted[request.chat]
            left.remove(request)
            if not left:
                del self._aborted[request.chat]


class _Request(Exchange):
    """What a ``send`` or a ``resume`` asks for, and the answer as frames."""

    def __init__(self, socket: ChatSocket, frame: _Send | _Resume, taken: Collection[str]) -> None:
        """:param taken: which headers of the frame are the request's."""
        given = {name.lower(): text for name, text in frame.headers.items()}
        known = {name: given[name] for name in taken if name in given}
        if isinstance(frame, _Send):
            super().__init__("POST", "", msgspec.json.encode(_body_of(frame)), known)
        else:
            super().__init__("GET", f"/{frame.id}/stream", headers=known)
            if frame.last_sequence is not None:
                self.query = b"startIndex=%d" % (frame.last_sequence + 1)
        self.id, self.chat = frame.request_id, frame.id
        self.is_resume = isinstance(frame, _Resume)
        #: Set once it is known whether there is an answer, and which.
        self.begun = asyncio.Event()
        self.run_id: str | None = None
        self.aborted = self.superseded = False
        #: Set once nothing is waited for any more before an aborted one is stopped or left alone;
        #: and once that is done.
        self.decided, self.stopped = asyncio.Event(), asyncio.Event()
        #: Whether the client was told how it ended.
        self.over = False
        self._socket = socket
        self._parser = EventParser()
        self._text = bytearray()
        last = frame.last_sequence if isinstance(frame, _Resume) else None
        self._sequence = 0 if last is None else last + 1

    async def send(self, message: Message) -> None:
        await super().send(message)
        if message["type"] == "http.response.start":
            self.run_id = Headers(raw=message["headers"]).get(RUN_HEADER)
            self.begun.set()
            if self.status == 200:
                await self._say("start")
        elif message["type"] == "http.response.body":
            await self._take(message.get("body", b""))

    async def end(self, error: Exception | None) -> None:
        """Say how it ended, where the answer has not."""
        if self.over or self.aborted:
            return
        if self.status == 204:
            await self._say("no-active")
        elif error is None and self.status == 200:
            # The server shuts down: that is no end of the answer, which is to be resumed.
            await self._socket.close(ASK_AGAIN, "ask again")
        else:
            detail = "" if error is not None else detail_of(bytes(self._text))
            detail = detail or "the request could not be answered"
            await self._say("error", errorText=detail, status=self.status or 500)

    async def _take(self, body: bytes) -> None:
        if self.status != 200:
            self._text += body[: LONGEST_DETAIL - len(self._text)]
            return
        if body == HEARTBEAT:
            # Clients pass over a second one, and proxies see that the socket is in use.
            await self._say("start")
            return
        for event in self._parser.feed(body):
            if event.data == "[DONE]":
                self.over = True
                await self._say("end")
            else:
                await self._chunk(event.data)

    async def _chunk(self, part: str) -> None:
        if not self.aborted:
            facts = {"type": "chunk", "requestId": self.id, "sequence": self._sequence}
            self._sequence += 1
            await self._socket.send(f'{encode(facts).decode()[:-1]},"chunk":{part}}}')

    async def _say(self, kind: str, **more: Any) -> None:
        if not self.aborted:
            await self._socket.say(self.id, kind, **more)


def _body_of(frame: _Send) -> dict[str, Any]:
    """What the default transport would post."""
    body = {**frame.body, "id": frame.id, "messages": frame.messages}
    more = {"trigger": frame.trigger, "messageId": frame.message_id, "metadata": frame.metadata}
    return body | {name: value for name, value in more.items() if value is not None}
