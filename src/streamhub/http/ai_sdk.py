"""The UI message stream of the Vercel AI SDK (version 1), which ``useChat`` reads.

Its parts are JSON objects in Server-Sent Events; ``data: [DONE]`` follows the last. Checked with
the npm packages ``ai`` 6 and 7.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from ..chunks import Chunk, Cursor, Status
from ..errors import StreamHubError
from ..formats.format import Ending, Format
from ..formats.sse import HEARTBEAT
from ..stream import LiveStream
from .body import Follower
from .problems import problem_of
from .responses import Found, StreamResponse, nothing

__all__ = ["PART_EVENT", "UIMessageStreamResponse", "message_id_of"]

#: The event type of chunks that hold one UI message part, as JSON, of the application's own.
PART_EVENT = "ui"

_DONE = b"data: [DONE]\n\n"
_FRAME = "data: "
_STATUS_TEXT = {
    "lost": "The answer broke off: what was producing it is gone.",
    "replaced": "The answer was replaced by a newer one.",
}


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
    :param message_id: of the assistant's message; by default the same for all of one epoch, so
        that a resumed stream replaces what the client has of it.
    :param error_text: what a client is told of a failure. It is given ``failed``, ``lost``, … and
        the reason, which may be the text of an exception of the producer's.
    """

    def __init__(
        self,
        stream: Found | Awaitable[Found],
        *,
        resume: bool = False,
        message_id: str | None = None,
        error_text: Callable[[str, str], str] | None = None,
        buffer: int = 256,
        heartbeat: float = 15.0,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        self._resume = resume
        self._message_id = message_id
        self._error_text = error_text or _error_text
        super().__init__(
            stream,
            buffer=buffer,
            heartbeat=heartbeat,
            headers={"x-vercel-ai-ui-message-stream": "v1", **(headers or {})},
            background=background,
        )

    async def _found(self) -> Found:
        stream = await super()._found()
        if stream is None or not self._resume:
            return stream
        status = (await stream.info()).status
        return stream if status in (Status.ACTIVE, Status.LOST) else None

    def _not_found(self) -> Response:
        return nothing()

    def _refusal(self, request: Request, error: StreamHubError) -> Response:
        return problem_of(error)

    def _follower(self, stream: LiveStream, request: Request) -> tuple[Format, Follower]:
        parts = _UIMessageStream(self._message_id, self._error_text)
        follower = Follower(
            stream, parts, after=None, batch=False, buffer=self._buffer, shared=False
        )
        return parts, follower


class _UIMessageStream:
    """The parts of one response. What is open is closed before the stream ends::

    start ─▶ start-step ─▶ [ text-start ─▶ text-delta … ─▶ text-end ]… ─▶ finish-step ─▶ finish
                                                                     any place ─▶ abort | error
    """

    name = "ui"
    media_type = "text/event-stream"
    heartbeat = HEARTBEAT
    # Clients take a response without a finish for a finished one.
    explicit = False

    def __init__(self, message_id: str | None, error_text: Callable[[str, str], str]) -> None:
        self._message_id = message_id
        self._error_text = error_text
        #: Whether text chunks are frames already; the first one decides.
        self._framed: bool | None = None
        self._started = self._in_step = self._finished = False
        self._texts = 0
        self._text: str | None = None

    def chunk(self, chunk: Chunk) -> bytes:
        if chunk.event is None:
            if self._framed is not False:
                parts = _parts_of_frames(chunk.data)
                self._framed = self._framed or parts is not None
                if parts is not None:
                    return b"".join([self._published(chunk.cursor, *part) for part in parts])
            return self._delta(chunk)
        if chunk.event == PART_EVENT:
            part = _part(chunk.data)
            if part is not None:
                return self._published(chunk.cursor, *part)
        value = _json_or_text(chunk.data)
        return self._started_by_us(chunk.cursor) + _frame(
            {"type": f"data-{chunk.event}", "data": value}
        )

    def reset(self, cursor: Cursor) -> None:
        return None

    def end(self, ending: Ending) -> bytes:
        out = b"" if self._finished else self._close(ending)
        return out + _DONE

    # -- parts -------------------------------------------------------------------------------

    def _delta(self, chunk: Chunk) -> bytes:
        out = self._started_by_us(chunk.cursor)
        if not self._in_step:
            self._in_step = True
            out += _frame({"type": "start-step"})
        if self._text is None:
            self._texts += 1
            self._text = f"text-{self._texts}"
            out += _frame({"type": "text-start", "id": self._text})
        return out + _frame({"type": "text-delta", "id": self._text, "delta": chunk.data})

    def _published(self, cursor: Cursor, kind: str, part: str) -> bytes:
        """A part of the application's own; as it is, but for what has to come before it."""
        out = b"" if kind == "start" else self._started_by_us(cursor)
        if not kind.startswith("data-"):
            out += self._close_text()
        match kind:
            case "start":
                self._started = True
            case "start-step":
                self._in_step = True
            case "finish-step":
                self._in_step = False
            case "finish" | "abort" | "error":
                self._finished = True
                out += self._close_step() if kind == "finish" else b""
        return out + f"data: {part}\n\n".encode()

    def _started_by_us(self, cursor: Cursor | None) -> bytes:
        if self._started:
            return b""
        self._started = True
        message_id = self._message_id or message_id_of(cursor or Cursor(0, 0))
        return _frame({"type": "start", "messageId": message_id})

    def _close(self, ending: Ending) -> bytes:
        out = self._started_by_us(ending.cursor) + self._close_text()
        match ending.status:
            case "finished":
                return out + self._close_step() + _frame({"type": "finish"})
            case "cancelled":
                return out + _frame({"type": "abort", "reason": ending.error or "cancelled"})
            case status:
                text = self._error_text(status, ending.error or "")
                return out + _frame({"type": "error", "errorText": text})

    def _close_text(self) -> bytes:
        text, self._text = self._text, None
        return b"" if text is None else _frame({"type": "text-end", "id": text})

    def _close_step(self) -> bytes:
        in_step, self._in_step = self._in_step, False
        return _frame({"type": "finish-step"}) if in_step else b""


def message_id_of(cursor: Cursor) -> str:
    """The default id of the message whose stream has ``cursor``: one for all of an epoch."""
    return f"msg-{cursor.term}"


def _error_text(status: str, reason: str) -> str:
    return _STATUS_TEXT.get(status) or reason or f"The answer cannot be read ({status})."


def _parts_of_frames(text: str) -> list[tuple[str, str]] | None:
    """Type and JSON of the parts in ``text``, if it is whole frames; without ``[DONE]``."""
    if not text.startswith(_FRAME) or not text.endswith("\n\n"):
        return None
    parts: list[tuple[str, str]] = []
    for frame in text.rstrip("\n").split("\n\n"):
        data = frame.removeprefix(_FRAME)
        if data == "[DONE]":
            continue
        part = _part(data) if frame.startswith(_FRAME) else None
        if part is None:
            return None
        parts.append(part)
    return parts


def _part(text: str) -> tuple[str, str] | None:
    """Type and JSON, on one line, of the part that ``text`` is; None if it is something else."""
    value = _json_or_text(text)
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        return None
    if "\n" in text or "\r" in text:
        text = msgspec.json.encode(value).decode()
    return value["type"], text


def _json_or_text(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text


def _frame(part: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(part) + b"\n\n"
