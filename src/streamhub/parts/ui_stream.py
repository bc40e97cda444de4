"""What stands in a log, as the whole UI message stream of the AI SDK: with all that its readers
insist on, and that a log need not hold."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple, get_args

import msgspec

from ..chunks import SessionInfo
from ..errors import InvalidPart
from .coding import PART_EVENT, known, parse
from .kinds import FinishReason

__all__ = ["MESSAGE_EVENT", "Emitted", "UIStream", "message_id_of", "parts_of_frames"]

#: The event type of a chunk that holds the assistant's message, as JSON, in which the answer goes
#: on; it comes before any other.
MESSAGE_EVENT = "ui-message"

_FRAME = "data: "
_DONE = "[DONE]"

# What leaves the text that plain chunks make open: a reader adds it beside that.
_BESIDE_TEXT = frozenset({"message-metadata", "source-url", "source-document"})
# What is said about a call that has to be there.
_OF_A_CALL = frozenset(
    {"tool-approval-request", "tool-output-available", "tool-output-error", "tool-output-denied"}
)
_REASONS = get_args(FinishReason)
_DELTAS = {"text-delta": "text", "reasoning-delta": "reasoning"}
_LAST = frozenset({"finish", "abort", "error"})
_SILENT = frozenset({"message-metadata", *_LAST})

Value = dict[str, Any]


class Emitted(NamedTuple):
    """One part of the stream."""

    value: Value
    #: Its JSON, where it is that of the chunk.
    json: str | None = None


@dataclass
class _Calls:
    ids: set[str] = field(default_factory=set)
    approvals: set[str] = field(default_factory=set)

    def fork(self) -> _Calls:
        return _Calls(set(self.ids), set(self.approvals))


class UIStream:
    """The parts of one message, from its beginning::

        start ─▶ start-step ─▶ [ text-start ─▶ text-delta … ─▶ text-end ]…
              ─▶ finish-step ─▶ finish                     any place ─▶ abort | error

    Plain chunks become text, in a text part and a step that are opened for them. Parts of the
    application's own are as they are, with what has to come before them: what is added to without
    having been begun is begun; what is begun twice is ended first. What speaks of a tool call that
    is not there is left out, since readers give up at it; what is no part, or lacks what its kind
    must have, becomes ``data-ui``. At an end all that is open is closed.

    Equal chunks give equal parts, whoever asks, and whenever.

    :param message_id: of the message; a ``start`` of the application's own may name another one.
    """

    def __init__(self, message_id: str) -> None:
        self.message_id: str = message_id
        #: The message that the answer goes on in, if there is one; known after its chunk.
        self.continued: Value | None = None
        #: Whether plain chunks are frames already; the first one decides.
        self._framed: bool | None = None
        self._started = self._in_step = self._finished = False
        self._finish_reason: str | None = None
        self._texts = 0
        self._text: str | None = None
        #: What was begun and not ended, by its kind (text, reasoning) and id: how it began.
        self._open: dict[tuple[str, str], Value] = {}
        #: The tool calls whose input is being written, by id: how each began.
        self._inputs: dict[str, Value] = {}
        #: The tool calls, and what was asked about them: of the current step, and of those before.
        self._calls = _Calls()
        self._calls_before = _Calls()

    def fork(self) -> UIStream:
        """One that goes on from here by itself."""
        one = copy(self)
        one._open, one._inputs = dict(self._open), dict(self._inputs)
        one._calls, one._calls_before = self._calls.fork(), self._calls_before.fork()
        return one

    def add(self, data: str, event: str | None) -> list[Emitted]:
        """What one chunk adds to the stream."""
        if event is None:
            if self._framed is not False:
                framed = parts_of_frames(data)
                self._framed = self._framed or framed is not None
                if framed is not None:
                    return [out for part in framed for out in self._published(part)]
            if self._text is not None:
                # Fast path of _delta: saves half of what a token costs.
                return [Emitted({"type": "text-delta", "id": self._text, "delta": data})]
            return list(self._delta(data))
        if event == PART_EVENT:
            try:
                part = _emitted(data)
            except InvalidPart:
                pass
            else:
                return [part] if self._is_more(part.value) else list(self._published(part))
        value = _json_or_text(data)
        if event == MESSAGE_EVENT and not self._started:
            return self._going_on(value)
        return [*self._start(), Emitted({"type": f"data-{event}", "data": value})]

    def end(self, status: str, told: str = "") -> list[Emitted]:
        """What the end adds to the stream, by the session's status.

        :param told: the reason of an ``abort``; what is told where it is an ``error``.
        """
        if self._finished:
            return []
        out = [*self._start(), *self._close()]
        match status:
            case "finished":
                finish = {"type": "finish"}
                if self._finish_reason is not None:
                    finish["finishReason"] = self._finish_reason
                return [*out, *self._close_step(), Emitted(finish)]
            case "cancelled":
                return [*out, Emitted({"type": "abort", "reason": told or "cancelled"})]
        return [*out, Emitted({"type": "error", "errorText": told})]

    def _going_on(self, message: Any) -> list[Emitted]:
        """The beginning of an answer that goes on in ``message``."""
        if not isinstance(message, dict) or not isinstance(message.get("id"), str):
            return []
        # A page may have posted anything.
        held = message["parts"] if isinstance(message.get("parts"), list) else []
        parts = [part for part in held if _is_of_message(part)]
        self.message_id, self._started = message["id"], True
        self.continued = {**message, "parts": parts}
        for part in parts:
            if part["type"] == "step-start":
                self._next_step()
            elif part["type"] == "dynamic-tool" or part["type"].startswith("tool-"):
                self._calls.ids.add(part["toolCallId"])
                if isinstance(approval := part.get("approval"), dict):
                    self._calls.approvals.add(str(approval.get("id")))
        return [Emitted({"type": "start", "messageId": self.message_id})]

    def _delta(self, text: str) -> Iterator[Emitted]:
        self._finished = False
        yield from self._start()
        if not self._in_step:
            self._in_step = True
            self._next_step()
            yield Emitted({"type": "start-step"})
        if self._text is None:
            self._texts += 1
            self._text = f"text-{self._texts}"
            yield Emitted({"type": "text-start", "id": self._text})
        yield Emitted({"type": "text-delta", "id": self._text, "delta": text})

    def _is_more(self, value: Value) -> bool:
        """Fast path of _published: saves half of what a delta costs, where it adds to what is open
        and nothing has to come before it."""
        kind = value["type"]
        if self._text is not None or self._finished:
            return False
        if kind == "tool-input-delta":
            return value["toolCallId"] in self._inputs
        return kind in _DELTAS and (_DELTAS[kind], value["id"]) in self._open

    def _published(self, part: Emitted) -> Iterator[Emitted]:
        """A part of the application's own; as it is, but for what has to come before it."""
        value = part.value
        kind: str = value["type"]
        if kind not in _SILENT and not kind.startswith("data-"):
            self._finished = False
        if kind == "start":
            yield self._named(part)
            return
        yield from self._start()
        if not kind.startswith("data-") and kind not in _BESIDE_TEXT:
            yield from self._close_text()
        opens, _, what = kind.partition("-")
        if opens in ("text", "reasoning") and what in ("start", "delta", "end"):
            yield from self._written(opens, what, part)
        elif kind.startswith("tool-"):
            yield from self._called(kind, part)
        else:
            yield from self._other(kind, part)

    def _written(self, kind: str, what: str, part: Emitted) -> Iterator[Emitted]:
        """Of text or reasoning, its start, more of it, or its end."""
        name: str = part.value["id"]
        is_open = (kind, name) in self._open
        if what == "start":
            if is_open:
                yield Emitted({"type": f"{kind}-end", "id": name})
            self._open[kind, name] = part.value
            yield part
        elif what == "delta":
            if not is_open:
                start = {"type": f"{kind}-start", "id": name}
                self._open[kind, name] = start
                yield Emitted(start)
            yield part
        elif is_open:
            del self._open[kind, name]
            yield part

    def _called(self, kind: str, part: Emitted) -> Iterator[Emitted]:
        """What a tool is called with, or what came of it."""
        value = part.value
        if kind == "tool-approval-response":
            asked = (self._calls.approvals, self._calls_before.approvals)
            if any(value["approvalId"] in one for one in asked):
                yield part
            return
        call: str = value.get("toolCallId", "")
        if kind == "tool-input-start":
            self._inputs[call] = value
            self._calls.ids.add(call)
        elif kind == "tool-input-delta":
            if call not in self._inputs:
                return
        elif kind in ("tool-input-available", "tool-input-error"):
            self._inputs.pop(call, None)
            self._calls.ids.add(call)
        elif kind in _OF_A_CALL:
            known = [one for one in (self._calls, self._calls_before) if call in one.ids]
            if not known:
                return
            if kind == "tool-approval-request":
                known[0].approvals.add(value["approvalId"])
        yield part

    def _next_step(self) -> None:
        self._calls_before.ids |= self._calls.ids
        self._calls_before.approvals |= self._calls.approvals
        self._calls = _Calls()

    def _other(self, kind: str, part: Emitted) -> Iterator[Emitted]:
        match kind:
            case "start-step":
                self._in_step = True
                self._next_step()
            case "finish-step":
                self._in_step = False
            case "reset-step":
                # What an earlier step began stays, and would be written for ever.
                yield from self._close_open()
                self._inputs.clear()
                self._calls = _Calls()
            case "message-metadata":
                self._learn(part.value)
            case "finish":
                self._learn(part.value)
                yield from self._close_open()
                yield from self._close_step()
        if kind in _LAST:
            self._finished = True
        yield part

    def _learn(self, value: Value) -> None:
        facts = value.get("messageMetadata")
        reason = facts.get("finishReason") if isinstance(facts, dict) else None
        if reason in _REASONS:
            self._finish_reason = reason

    def _named(self, start: Emitted) -> Emitted:
        """A start of the application's own, with the id that the message has."""
        named: str | None = start.value.get("messageId")
        if named is not None and not self._started:
            self.message_id = named
        self._started = True
        if named == self.message_id:
            return start
        return Emitted({**start.value, "messageId": self.message_id})

    def _start(self) -> list[Emitted]:
        if self._started:
            return []
        self._started = True
        return [Emitted({"type": "start", "messageId": self.message_id})]

    def _close(self) -> list[Emitted]:
        return [*self._close_text(), *self._close_open()]

    def _close_open(self) -> list[Emitted]:
        begun, self._open = self._open, {}
        return [Emitted({"type": f"{kind}-end", "id": name}) for kind, name in begun]

    def _close_text(self) -> list[Emitted]:
        text, self._text = self._text, None
        return [] if text is None else [Emitted({"type": "text-end", "id": text})]

    def _close_step(self) -> list[Emitted]:
        in_step, self._in_step = self._in_step, False
        return [Emitted({"type": "finish-step"})] if in_step else []


def _is_of_message(part: object) -> bool:
    """Whether it is a part of a message that readers can go on with."""
    if not isinstance(part, dict) or not isinstance(kind := part.get("type"), str):
        return False
    if kind in ("text", "reasoning"):
        return isinstance(part.get("text"), str)
    if kind == "dynamic-tool" or kind.startswith("tool-"):
        return isinstance(part.get("toolCallId"), str)
    return True


def message_id_of(stream: SessionInfo) -> str:
    """The id of the message that a session holds: one for all of an epoch, so that a resumed stream
    replaces what the client has of it, and no other session's. It does not show the session's id.
    """
    return message_id(stream.session_id, stream.stream_id)


def message_id(session_id: str, stream_id: str) -> str:
    """See :func:`message_id_of`."""
    names = f"{session_id}\0{stream_id}"
    return f"msg-{sha256(names.encode()).hexdigest()[:24]}"


def parts_of_frames(text: str) -> list[Emitted] | None:
    """The parts in ``text``, if it is whole frames of Server-Sent Events; without ``[DONE]``."""
    if not text.startswith(_FRAME) or not text.endswith("\n\n"):
        return None
    parts: list[Emitted] = []
    for frame in text.rstrip("\n").split("\n\n"):
        data = frame.removeprefix(_FRAME)
        if data == _DONE:
            continue
        if not frame.startswith(_FRAME):
            return None
        try:
            parts.append(_emitted(data))
        except InvalidPart:
            return None
    return parts


def _emitted(text: str) -> Emitted:
    """The part that ``text`` is.

    :raises InvalidPart: it is none.
    """
    value = parse(text)
    part = known(value)
    if part is None:
        raise InvalidPart("it lacks what its kind must have")
    return Emitted(part, text if part is value else None)


def _json_or_text(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
