"""The UI message stream of the Vercel AI SDK (version 1), which ``useChat`` reads.

Its parts are JSON objects in Server-Sent Events; ``data: [DONE]`` follows the last. Checked with
the npm packages ``ai`` 6 and 7.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec

from ..chunks import Chunk, Cursor, End, SessionInfo
from .endings import told_of
from .format import Ending
from .json_text import encode, unbroken
from .sse import HEARTBEAT
from .ui_replay import replayed

__all__ = ["MESSAGE_EVENT", "PART_EVENT", "UIMessages", "message_id_of"]

#: The event type of chunks that hold one UI message part, as JSON, of the application's own.
PART_EVENT = "ui"

#: The event type of a chunk that holds the assistant's message, as JSON, in which the answer goes
#: on; it comes before any other.
MESSAGE_EVENT = "ui-message"

_DONE = b"data: [DONE]\n\n"
_FRAME = "data: "


class UIMessages:
    """The parts of one response. What is open is closed before the stream ends::

        start ─▶ start-step ─▶ [ text-start ─▶ text-delta … ─▶ text-end ]…
              ─▶ finish-step ─▶ finish                     any place ─▶ abort | error

    :param message_id: of the assistant's message; by default :func:`message_id_of` the session.
        A ``start`` of the application's own that has none gets it.
    :param error_text: what a client is told of a status and its reason; by default nothing of the
        reason, which may be the text of an exception.
    :param replay: whether the client builds the message anew: where the answer goes on in a message
        that there was before, it gets the parts of that, too.
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
        replay: bool = False,
    ) -> None:
        self._message_id = message_id
        #: Whether the answer goes on in a message that the client knows by that id.
        self._goes_on = False
        self._replay = replay
        self._error_text = error_text
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
        if chunk.event == MESSAGE_EVENT and not self._started:
            return self._message(_json_or_text(chunk.data))
        value = _json_or_text(chunk.data)
        return self._started_by_us() + _frame({"type": f"data-{chunk.event}", "data": value})

    def reset(self, cursor: Cursor) -> None:
        return None

    def end(self, ending: Ending) -> bytes:
        out = b"" if self._finished else self._close(ending)
        return out + _DONE

    def _message(self, message: Any) -> bytes:
        """The beginning of an answer that goes on in ``message``."""
        if not isinstance(message, dict) or not isinstance(message.get("id"), str):
            return b""
        self._message_id, self._goes_on, self._started = message["id"], True, True
        start = {"type": "start", "messageId": message["id"]}
        if not self._replay:
            return _frame(start)
        if message.get("metadata") is not None:
            start["messageMetadata"] = message["metadata"]
        parts = list(replayed(message.get("parts")))
        steps = [part["type"] for part in parts if part["type"] in ("start-step", "finish-step")]
        self._in_step = steps[-1:] == ["start-step"]
        return b"".join(map(_frame, [start, *parts])) + self._close_step()

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
                part = self._named(part)
            case "start-step":
                self._in_step = True
            case "finish-step":
                self._in_step = False
            case "finish" | "abort" | "error":
                self._finished = True
                out += self._close_step() if kind == "finish" else b""
        return out + b"data: " + part + b"\n\n"

    def _named(self, start: bytes) -> bytes:
        """A start of the application's own, with the id that the message has."""
        value = _json_or_text(start.decode())
        if isinstance(value.get("messageId"), str) and not self._goes_on:
            return start
        return encode({**value, "messageId": self._message_id})

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
                text = told_of(status)
                if self._error_text is not None:
                    text = self._error_text(status, ending.error or "")
                return out + _frame({"type": "error", "errorText": text})

    def _close_text(self) -> bytes:
        text, self._text = self._text, None
        return b"" if text is None else _frame({"type": "text-end", "id": text})

    def _close_step(self) -> bytes:
        in_step, self._in_step = self._in_step, False
        return _frame({"type": "finish-step"}) if in_step else b""


def message_id_of(stream: SessionInfo | End) -> str:
    """The id of the message that a session holds, or that has ended: one for all of an epoch, so
    that a resumed stream replaces what the client has of it, and no other session's. It does not
    show the session's id.

    An end knows, too, that its answer went on in a message that there was before; that a source
    names its message itself neither does.
    """
    if isinstance(stream, End):
        first = dict(stream.events[:1]).get(MESSAGE_EVENT)
        message = None if first is None else _json_or_text(first)
        if isinstance(message, dict) and isinstance(message.get("id"), str):
            return str(message["id"])
    name = str(stream.epoch) if isinstance(stream, End) else stream.stream_id
    names = f"{stream.session_id}\0{name}"
    return f"msg-{sha256(names.encode()).hexdigest()[:24]}"


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
