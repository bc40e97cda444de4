"""The UI message stream of the Vercel AI SDK (version 1), which ``useChat`` reads.

Its parts are JSON objects in Server-Sent Events; ``data: [DONE]`` follows the last. Checked with
the npm packages ``ai`` 6 and 7.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ..chunks import Chunk, Cursor, SessionInfo
from .format import Ending
from .json_text import encode, unbroken
from .sse import HEARTBEAT

__all__ = ["PART_EVENT", "UIMessages", "message_id_of"]

#: The event type of chunks that hold one UI message part, as JSON, of the application's own.
PART_EVENT = "ui"

_DONE = b"data: [DONE]\n\n"
_FRAME = "data: "
_STATUS_TEXT = {
    "lost": "The answer broke off: what was producing it is gone.",
    "replaced": "The answer was replaced by a newer one.",
}


class UIMessages:
    """The parts of one response. What is open is closed before the stream ends::

        start ─▶ start-step ─▶ [ text-start ─▶ text-delta … ─▶ text-end ]…
              ─▶ finish-step ─▶ finish                     any place ─▶ abort | error

    :param message_id: of the assistant's message; by default :func:`message_id_of` the session.
    :param error_text: what a client is told of a status and its reason; by default the reason.
    """

    name = "ui"
    media_type = "text/event-stream"
    heartbeat = HEARTBEAT
    # Clients take a response without a finish for a finished one.
    explicit = False
    stateless = False

    def __init__(
        self,
        *,
        message_id: str | None = None,
        error_text: Callable[[str, str], str] | None = None,
    ) -> None:
        self._message_id = message_id
        self._error_text = error_text or _error_text
        #: Whether text chunks are frames already; the first one decides.
        self._framed: bool | None = None
        self._started = self._in_step = self._finished = False
        self._texts = 0
        self._text: str | None = None

    def begin(self, info: SessionInfo) -> bytes:
        # The application may publish a start of its own.
        self._message_id = self._message_id or message_id_of(info)
        return b""

    def chunk(self, chunk: Chunk) -> bytes:
        if chunk.event is None:
            if self._framed is not False:
                parts = _parts_of_frames(chunk.data)
                self._framed = self._framed or parts is not None
                if parts is not None:
                    return b"".join([self._published(*part) for part in parts])
            return self._delta(chunk)
        if chunk.event == PART_EVENT:
            part = _part(chunk.data)
            if part is not None:
                return self._published(*part)
        value = _json_or_text(chunk.data)
        return self._started_by_us() + _frame({"type": f"data-{chunk.event}", "data": value})

    def reset(self, cursor: Cursor) -> None:
        return None

    def end(self, ending: Ending) -> bytes:
        out = b"" if self._finished else self._close(ending)
        return out + _DONE

    def _delta(self, chunk: Chunk) -> bytes:
        out = self._started_by_us()
        if not self._in_step:
            self._in_step = True
            out += _frame({"type": "start-step"})
        if self._text is None:
            self._texts += 1
            self._text = f"text-{self._texts}"
            out += _frame({"type": "text-start", "id": self._text})
        return out + _frame({"type": "text-delta", "id": self._text, "delta": chunk.data})

    def _published(self, kind: str, part: bytes) -> bytes:
        """A part of the application's own; as it is, but for what has to come before it."""
        out = b"" if kind == "start" else self._started_by_us()
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
        return out + b"data: " + part + b"\n\n"

    def _started_by_us(self) -> bytes:
        if self._started:
            return b""
        self._started = True
        return _frame({"type": "start", "messageId": self._message_id})

    def _close(self, ending: Ending) -> bytes:
        out = self._started_by_us() + self._close_text()
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


def message_id_of(info: SessionInfo) -> str:
    """The default id of the message that the session holds: one for all of an epoch, so that a
    resumed stream replaces what the client has of it."""
    return f"msg-{info.stream_id}"


def _error_text(status: str, reason: str) -> str:
    return _STATUS_TEXT.get(status) or reason or f"The answer cannot be read ({status})."


def _parts_of_frames(text: str) -> list[tuple[str, bytes]] | None:
    """Type and JSON of the parts in ``text``, if it is whole frames; without ``[DONE]``."""
    if not text.startswith(_FRAME) or not text.endswith("\n\n"):
        return None
    parts: list[tuple[str, bytes]] = []
    for frame in text.rstrip("\n").split("\n\n"):
        data = frame.removeprefix(_FRAME)
        if data == "[DONE]":
            continue
        part = _part(data) if frame.startswith(_FRAME) else None
        if part is None:
            return None
        parts.append(part)
    return parts


def _part(text: str) -> tuple[str, bytes] | None:
    """Type and JSON, on one line, of the part that ``text`` is; None if it is something else."""
    value = _json_or_text(text)
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        return None
    if "\n" in text or "\r" in text:
        return value["type"], encode(value)
    return value["type"], unbroken(text.encode())


def _json_or_text(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text


def _frame(part: dict[str, Any]) -> bytes:
    return b"data: " + encode(part) + b"\n\n"
