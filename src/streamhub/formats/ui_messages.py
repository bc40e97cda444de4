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
_FINISH = Emitted({"type": "finish"})


class UIMessages:
    """The parts of one response: those of :class:`streamhub.parts.UIStream`.

    :param message_id: of the assistant's message; by default :func:`message_id_of` the session.
        A ``start`` of the application's own that has none gets it.
    :param error_text: what a client is told of a status and its reason; by default nothing of the
        reason, which may be the text of an exception.
    :param replay: whether the client builds the message anew: where the answer goes on in a message
        that there was before, it gets the parts of that, too.
    :param skip: how many parts the client has already.
    :param finishing: whether the last part is always a ``finish``, after an ``abort`` or ``error``,
        too: there are clients that ask again until they get one.
    """

    name = "ui"
    media_type = "text/event-stream"
    heartbeat = HEARTBEAT
    # Clients take a response without a finish for a finished one.
    explicit = False
    stateless = False
    over = False

    def __init__(
        self,
        *,
        message_id: str | None = None,
        error_text: Callable[[str, str], str] | None = None,
        replay: bool = False,
        skip: int = 0,
        finishing: bool = False,
    ) -> None:
        self._message_id = message_id
        self._replay = replay
        self._skip = skip
        self._finishing = finishing
        self._error_text = error_text
        self._stream = UIStream(message_id or "")
        #: Whether the last part so far was a finish of the application's own.
        self._finished = False

    def begin(self, info: SessionInfo) -> bytes:
        self._stream = UIStream(self._message_id or message_id_of(info))
        return b""

    def chunk(self, chunk: Chunk) -> bytes:
        return _frames(self._unseen(self.parts_of(chunk)))

    def reset(self, cursor: Cursor) -> None:
        return None

    def end(self, ending: Ending) -> bytes:
        parts = self.last_parts(ending)
        unseen = self._unseen(parts)
        if self._finishing and not unseen:
            # To who asks for more than there is.
            unseen = [_FINISH]
        return _frames(unseen) + _DONE

    def parts_of(self, chunk: Chunk) -> list[Emitted]:
        """What ``chunk`` adds, whether or not the client has it."""
        continued = self._stream.continued
        parts = self._stream.add(chunk.data, chunk.event)
        message = self._stream.continued
        if message is not continued and message is not None and self._replay:
            parts = _replay(message)
        if parts:
            self._finished = parts[-1].value["type"] == "finish"
        return parts

    def last_parts(self, ending: Ending) -> list[Emitted]:
        """What the end adds."""
        told = ending.error or ""
        if ending.status not in ("finished", "cancelled"):
            tell = self._error_text
            told = told_of(ending.status) if tell is None else tell(ending.status, told)
        parts = self._stream.end(ending.status, told)
        finished = parts[-1].value["type"] == "finish" if parts else self._finished
        if self._finishing and not finished:
            parts = [*parts, _FINISH]
        return parts

    def _unseen(self, parts: list[Emitted]) -> list[Emitted]:
        seen = min(self._skip, len(parts))
        self._skip -= seen
        return parts[seen:]


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
