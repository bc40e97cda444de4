"""The UI message stream of the Vercel AI SDK (version 1), which ``useChat`` reads.

Its parts are JSON objects in Server-Sent Events; ``data: [DONE]`` follows the last. Checked with
the npm packages ``ai`` 6 and 7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..chunks import Chunk, Cursor, SessionInfo
from ..parts.ui_stream import Emitted, UIStream, message_id_of
from .endings import told_of
from .format import Ending
from .json_text import encode, unbroken
from .sse import HEARTBEAT
from .ui_replay import replayed

__all__ = ["UIMessages"]

_DONE = b"data: [DONE]\n\n"


class UIMessages:
    """The parts of one response: those of :class:`streamhub.parts.UIStream`.

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
        self._replay = replay
        self._error_text = error_text
        self._stream = UIStream(message_id or "")

    def begin(self, info: SessionInfo) -> bytes:
        self._stream = UIStream(self._message_id or message_id_of(info))
        return b""

    def chunk(self, chunk: Chunk) -> bytes:
        continued = self._stream.continued
        parts = self._stream.add(chunk.data, chunk.event)
        message = self._stream.continued
        if message is not continued and message is not None and self._replay:
            return _frames(_replay(message))
        return _frames(parts)

    def reset(self, cursor: Cursor) -> None:
        return None

    def end(self, ending: Ending) -> bytes:
        told = ending.error or ""
        if ending.status not in ("finished", "cancelled"):
            tell = self._error_text
            told = told_of(ending.status) if tell is None else tell(ending.status, told)
        return _frames(self._stream.end(ending.status, told)) + _DONE


def _replay(message: dict[str, Any]) -> list[Emitted]:
    """The beginning of an answer that goes on in ``message``, for who has nothing of it."""
    start = {"type": "start", "messageId": message["id"]}
    if message.get("metadata") is not None:
        start["messageMetadata"] = message["metadata"]
    parts = list(replayed(message.get("parts")))
    steps = [part["type"] for part in parts if part["type"] in ("start-step", "finish-step")]
    if steps[-1:] == ["start-step"]:
        parts.append({"type": "finish-step"})
    return [Emitted(part) for part in (start, *parts)]


def _frames(parts: Iterable[Emitted]) -> bytes:
    return b"".join([b"data: " + _json(part) + b"\n\n" for part in parts])


def _json(part: Emitted) -> bytes:
    """On one line."""
    text = part.json
    if text is None or "\n" in text or "\r" in text:
        return encode(part.value)
    return unbroken(text.encode())
