"""The UI message stream of the Vercel AI SDK (version 1), which ``useChat`` reads.

Its parts are JSON objects in Server-Sent Events; ``data: [DONE]`` follows the last. Checked with
the npm packages ``ai`` 6 and 7.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from copy import copy
from typing import Any

from ..chunks import Chunk, Cursor, SessionInfo
from ..parts.ui_stream import MESSAGE_EVENT, Emitted, UIStream, message_id_of
from .endings import told_of
from .format import Ending
from .json_text import encode, unbroken
from .sse import HEARTBEAT
from .ui_replay import replayed

__all__ = ["UIMessages", "part_json"]

_DONE = b"data: [DONE]\n\n"
_FINISH = Emitted({"type": "finish"})
_PAUSE = Emitted({"type": "finish", "finishReason": "tool-calls"})


class UIMessages:
    """The parts of one response: those of :class:`streamhub.parts.UIStream`.

    :param message_id: of the assistant's message; by default :func:`message_id_of` the session.
        A ``start`` of the application's own that has none gets it.
    :param error_text: what a client is told of a status and its reason; by default nothing of the
        reason, which may be the text of an exception.
    :param replay: whether the client builds the message anew: where the answer goes on in a message
        that there was before, it gets the parts of that, too.
    :param since: how many parts stand before the ones that this response is about: it begins after
        them, with a start of its own.
    :param skip: how many parts of the response the client has already.
    :param answered: the approvals that the client has answered.
    :param pausing: whether the response ends where the answer waits for approvals: with the step in
        which they were asked for, unless what came after that is stored already.
    :param finishing: whether the last part is always a ``finish``, after an ``abort`` or ``error``,
        too: there are clients that ask again until they get one.
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
        since: int = 0,
        skip: int = 0,
        answered: Collection[str] = (),
        pausing: bool = False,
        finishing: bool = False,
    ) -> None:
        self._message_id = message_id
        self._replay = replay
        self._since, self._opens = since, since > 0
        self._skip = skip
        self._answered = frozenset(answered)
        self._pausing = pausing
        #: The newest chunk when the response began.
        self._newest = 0
        #: The call of each approval that is waited for.
        self._approvals: dict[str, str] = {}
        self.over: bool = False
        self._finishing = finishing
        self._error_text = error_text
        self._stream = UIStream(message_id or "")
        #: Whether the last part so far was a finish of the application's own.
        self._finished = False

    def begin(self, info: SessionInfo) -> bytes:
        self._stream = UIStream(self._message_id or message_id_of(info))
        self._newest = info.last.offset
        return b""

    def chunk(self, chunk: Chunk) -> bytes:
        if self.over:
            return b""
        parts = self.parts_of(chunk)
        if self._pausing and chunk.cursor.offset >= self._newest:
            for number, part in enumerate(parts, 1):
                if self._waits(part.value):
                    self.over = True
                    return self._said_at_last([*parts[:number], _PAUSE])
        elif self._pausing:
            for part in parts:
                self._waits(part.value)
        return _frames(self._unseen(parts))

    def reset(self, cursor: Cursor) -> None:
        return None

    def end(self, ending: Ending) -> bytes:
        return self._said_at_last(self.last_parts(ending))

    def fork(self) -> UIMessages:
        """One that goes on from here by itself."""
        one = copy(self)
        one._stream, one._approvals = self._stream.fork(), dict(self._approvals)
        return one

    def parts_of(self, chunk: Chunk) -> list[Emitted]:
        """What ``chunk`` adds, whether or not the client has it."""
        begins = chunk.event == MESSAGE_EVENT and self._stream.continued is None
        parts = self._stream.add(chunk.data, chunk.event)
        if begins and self._replay and self._stream.continued is not None:
            parts = _replay(self._stream.continued)
        if self._finishing and parts:
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

    def _waits(self, part: dict[str, Any]) -> bool:
        """Whether the answer waits after ``part`` for approvals."""
        kind, approval = part["type"], part.get("approvalId", "")
        if kind == "tool-approval-request" and approval not in self._answered:
            self._approvals[approval] = part["toolCallId"]
        elif kind == "tool-approval-response":
            self._approvals.pop(approval, None)
        elif kind.startswith("tool-output-"):
            left = self._approvals.items()
            self._approvals = {one: call for one, call in left if call != part["toolCallId"]}
        return kind == "finish-step" and bool(self._approvals)

    def _said_at_last(self, parts: list[Emitted]) -> bytes:
        """The end of the response, with the last of its parts."""
        unseen = self._unseen(parts)
        if self._finishing and not unseen:
            # To who asks for more than there is.
            unseen = [parts[-1] if parts else _FINISH]
        return _frames(unseen) + _DONE

    def _unseen(self, parts: list[Emitted]) -> list[Emitted]:
        if not (self._since or self._opens or self._skip):
            return parts
        before = min(self._since, len(parts))
        self._since -= before
        parts = parts[before:]
        if parts and self._opens:
            self._opens = False
            parts = [Emitted({"type": "start", "messageId": self._stream.message_id}), *parts]
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
    return b"".join([b"data: %b\n\n" % part_json(part) for part in parts])


def part_json(part: Emitted) -> bytes:
    """On one line."""
    value, text = part
    if text is None or "\n" in text or "\r" in text:
        return encode(value)
    return unbroken(text.encode())
