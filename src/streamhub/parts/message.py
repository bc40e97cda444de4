"""The message that a stream of parts builds: what the AI SDK's own reader makes of the same parts,
field by field and in the same order of fields (npm package ``ai`` 7.0.173)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from .calls import Calls, is_call
from .partial_json import partial_json
from .ui_message import Message, Value

__all__ = ["MessageReader"]

# What a field has that is there, in its place, and not written: JavaScript's ``undefined``.
_NOTHING = msgspec.UNSET
_RESULTS = ("output-available", "output-error")


class MessageReader:
    """Reads the parts of a ``UIStream``, which leaves nothing out that this relies on."""

    def __init__(self, message_id: str) -> None:
        self._id = message_id
        self._metadata: Any = None
        self._parts: list[Value] = []
        #: Text and reasoning that is being written, by kind and id: its part, and what it holds.
        self._written: dict[tuple[str, str], tuple[Value, list[str]]] = {}
        #: Of each call whose input is being written, how it began, and what there is of it.
        self._inputs: dict[str, tuple[Value, list[str]]] = {}
        #: The call whose input was added to last, while nothing else is told of any call.
        self._adding_to: str | None = None
        #: Where the parts of the current step begin.
        self._step_begins = 0
        self._calls = Calls()
        #: The data that has an id, by that and its kind.
        self._named: dict[tuple[str, str], Value] = {}

    def go_on(self, message: Value) -> None:
        """Begin with ``message``, which was there before; its parts are parts."""
        self._id, self._metadata = message["id"], message.get("metadata")
        for part in message["parts"]:
            self._add(dict(part))

    def _add(self, part: Value) -> None:
        """Put a new part behind those that there are."""
        self._parts.append(part)
        if part["type"] == "step-start":
            self._step_begins = len(self._parts)
            self._adding_to = None
            self._calls.next_step()
        elif is_call(part):
            self._calls.add(part)
        elif part["type"].startswith("data-") and isinstance(name := part.get("id"), str):
            self._named.setdefault((part["type"], name), part)

    def read(self, part: Value) -> None:
        """Add one part of the stream."""
        kind: str = part["type"]
        if (read := _READ.get(kind)) is not None:
            read(self, part)
        elif kind.startswith("data-"):
            self._data(part)

    @property
    def message(self) -> Message:
        """The message so far."""
        self._write_down()
        return Message(self._id, self._metadata, parts=tuple(map(_shown, self._parts)))

    def _write_down(self) -> None:
        """Put what there is of what is being written into its parts."""
        for part, pieces in self._written.values():
            part["text"] = _joined(pieces)

    def _start(self, part: Value) -> None:
        self._id = part.get("messageId", self._id)
        self._facts(part)

    def _facts(self, part: Value) -> None:
        facts = part.get("messageMetadata")
        if facts is not None:
            self._metadata = facts if self._metadata is None else _merged(self._metadata, facts)

    def _begin(self, kind: str, part: Value) -> None:
        named = {"id": part["id"]} if kind == "reasoning" else {}
        made = {"type": kind, **named, "text": "", "providerMetadata": _provider(part)}
        made["state"] = "streaming"
        self._parts.append(made)
        self._written[kind, part["id"]] = (made, [])

    def _more(self, kind: str, part: Value) -> None:
        made, pieces = self._written[kind, part["id"]]
        pieces.append(part["delta"])
        if "providerMetadata" in part:
            made["providerMetadata"] = part["providerMetadata"]

    def _over(self, kind: str, part: Value) -> None:
        made, pieces = self._written.pop((kind, part["id"]))
        made["text"], made["state"] = _joined(pieces), "done"
        if kind == "text" and part.get("citations") is not None:
            made["citations"] = part["citations"]
        if "providerMetadata" in part:
            made["providerMetadata"] = part["providerMetadata"]

    def _step(self, _: Value) -> None:
        self._add({"type": "step-start"})

    def _reset(self, _: Value) -> None:
        # What an earlier step began stays.
        self._write_down()
        self._written.clear()
        self._inputs.clear()
        self._adding_to = None
        self._calls.reset_step()
        for part in self._parts[self._step_begins :]:
            name = part.get("id")
            if isinstance(name, str) and self._named.get((part["type"], name)) is part:
                del self._named[part["type"], name]
        del self._parts[self._step_begins :]

    def _plain(self, part: Value, *names: str) -> None:
        fields = {name: part.get(name, _NOTHING) for name in names}
        self._parts.append({"type": part["type"], **fields, "providerMetadata": _provider(part)})

    def _steering(self, part: Value) -> None:
        self._parts.append({"type": part["type"], "id": part["id"], "parts": part["parts"]})

    def _data(self, part: Value) -> None:
        if part.get("transient"):
            return
        if "id" in part:
            known = self._named.get((part["type"], part["id"]))
            if known is not None:
                known["data"] = part.get("data", _NOTHING)
                return
        self._add({**_some(part, "type", "id", "data", "transient"), **part})

    def _input_start(self, part: Value) -> None:
        dynamic = bool(part.get("dynamic"))
        known = self._calls.in_step(part["toolCallId"], dynamic)
        encoding = _some(part, "inputEncoding")
        self._inputs[part["toolCallId"]] = (part, [])
        self._say(known, dynamic, part, "input-streaming", **encoding)

    def _input_more(self, part: Value) -> None:
        call = part["toolCallId"]
        start, pieces = self._inputs[call]
        pieces.append(part["inputTextDelta"])
        if self._adding_to == call:
            # Its part says all of it already.
            return
        dynamic = bool(start.get("dynamic"))
        known = self._calls.in_step(call, dynamic)
        told = {
            **_some(start, "toolCallId", "toolName", "title", "toolMetadata"),
            "rawInput": _Unread(pieces),
        }
        encoding = _some(start, "inputEncoding")
        self._say(known, dynamic, told, "input-streaming", **encoding)
        self._adding_to = call

    def _input(self, part: Value) -> None:
        dynamic = bool(part.get("dynamic"))
        known = self._calls.in_step(part["toolCallId"], dynamic)
        self._say(known, dynamic, part, "input-available", input=part.get("input", _NOTHING))

    def _input_error(self, part: Value) -> None:
        call = part["toolCallId"]
        known = self._calls.in_step(call, True) or self._calls.in_step(call, False)
        dynamic = known["type"] == "dynamic-tool" if known else bool(part.get("dynamic"))
        told = {name: value for name, value in part.items() if name != "title"}
        more = {"input": part.get("input", _NOTHING), "errorText": part["errorText"]}
        self._say(known, dynamic, told, "output-error", **more)

    def _output(self, part: Value) -> None:
        more = {"output": part.get("output", _NOTHING), **_some(part, "preliminary")}
        self._result(part, "output-available", **more)

    def _output_error(self, part: Value) -> None:
        self._result(part, "output-error", errorText=part["errorText"])

    def _result(self, part: Value, state: str, **more: Any) -> None:
        """What came of a call, in its part."""
        made = self._calls.named(part["toolCallId"])
        made.update(_shown(made))
        dynamic = made["type"] == "dynamic-tool"
        told = {
            **_some(part, "toolCallId", "providerExecuted", "providerMetadata", "toolMetadata"),
            "toolName": made.get("toolName") if dynamic else made["type"].removeprefix("tool-"),
        }
        if state == "output-error" and not dynamic:
            told["rawInput"] = made.get("rawInput", _NOTHING)
        self._say(made, dynamic, told, state, input=made.get("input", _NOTHING), **more)

    def _approval_asked(self, part: Value) -> None:
        made = self._calls.named(part["toolCallId"])
        self._adding_to = None
        made["state"] = "approval-requested"
        approval = {"id": part["approvalId"]}
        if part.get("approvalDescriptor") is not None:
            approval["descriptor"] = part["approvalDescriptor"]
        approval |= _some(part, "inputSchemaInput")
        if "reason" in part:
            approval["requestReason"] = part["reason"]
        if part.get("isAutomatic") is True:
            approval["isAutomatic"] = True
        made["approval"] = {**approval, **_some(part, "signature")}
        self._calls.asks(made)

    def _approval_given(self, part: Value) -> None:
        made = self._calls.that_asked(part["approvalId"])
        if made is None:
            return
        self._adding_to = None
        made["state"] = "approval-responded"
        made["approval"] = {**made["approval"], "approved": part["approved"]}
        made["approval"] |= _some(part, "reason")
        made.update(_some(part, "providerExecuted"))
        if "providerMetadata" in part:
            made["callProviderMetadata"] = part["providerMetadata"]

    def _denied(self, part: Value) -> None:
        self._adding_to = None
        self._calls.named(part["toolCallId"])["state"] = "output-denied"

    def _say(self, made: Value | None, dynamic: bool, told: Value, state: str, **more: Any) -> None:
        """Write what was told of a call into its part, or make one; what is not told is void.

        :param told: what the part of the stream says of the call itself.
        :param more: what belongs to the state.
        """
        self._adding_to = None
        kind = "dynamic-tool" if dynamic else f"tool-{told['toolName']}"
        fields = {name: more.get(name, _NOTHING) for name in ("input", "output", "errorText")}
        raw = told.get("rawInput", _NOTHING)
        preliminary = more.get("preliminary", _NOTHING)
        executed = told.get("providerExecuted", _NOTHING)
        provider = {}
        if "providerMetadata" in told:
            of = "result" if state in _RESULTS else "call"
            provider[f"{of}ProviderMetadata"] = told["providerMetadata"]
        if made is not None:
            made["state"] = state
            made |= {"toolName": told["toolName"]} if dynamic else {"type": kind}
            made |= {**fields, "rawInput": raw}
            if "inputEncoding" not in more:
                made.pop("inputEncoding", None)
            made |= {**_some(more, "inputEncoding"), "preliminary": preliminary}
            made |= _some(told, "title", "toolMetadata")
            if executed is _NOTHING:
                executed = made.get("providerExecuted", _NOTHING)
            made |= {"providerExecuted": executed, **provider}
            return
        call, title = told["toolCallId"], told.get("title", _NOTHING)
        facts = _some(told, "toolMetadata")
        read = {"input": fields["input"], **_some(more, "inputEncoding")}
        error = fields["errorText"]
        if dynamic:
            made = {"type": kind, "toolName": told["toolName"], "toolCallId": call, "state": state}
            made |= {**read, "output": fields["output"], "errorText": error}
            made |= {"preliminary": preliminary, "providerExecuted": executed, "title": title}
            made |= {**facts, **provider}
        else:
            made = {"type": kind, "toolCallId": call, "state": state, "title": title, **facts}
            made |= {**read, "output": fields["output"], "rawInput": raw, "errorText": error}
            made |= {"providerExecuted": executed, "preliminary": preliminary, **provider}
        self._add(made)


class _Unread:
    """The input of a call that is being written; read when somebody looks at it."""

    def __init__(self, pieces: list[str]) -> None:
        self._pieces = pieces

    def read(self) -> str:
        return _joined(self._pieces)


_READ: dict[str, Callable[[MessageReader, Value], None]] = {
    "start": MessageReader._start,
    "finish": MessageReader._facts,
    "message-metadata": MessageReader._facts,
    "start-step": MessageReader._step,
    "reset-step": MessageReader._reset,
    "text-start": lambda reader, part: reader._begin("text", part),
    "text-delta": lambda reader, part: reader._more("text", part),
    "text-end": lambda reader, part: reader._over("text", part),
    "reasoning-start": lambda reader, part: reader._begin("reasoning", part),
    "reasoning-delta": lambda reader, part: reader._more("reasoning", part),
    "reasoning-end": lambda reader, part: reader._over("reasoning", part),
    "custom": lambda reader, part: reader._plain(part, "kind"),
    "file": lambda reader, part: reader._plain(part, "mediaType", "url"),
    "reasoning-file": lambda reader, part: reader._plain(part, "mediaType", "url"),
    "source-url": lambda reader, part: reader._plain(part, "sourceId", "url", "title"),
    "source-document": lambda reader, part: reader._plain(
        part, "sourceId", "mediaType", "title", "filename"
    ),
    "steering-message": MessageReader._steering,
    "tool-input-start": MessageReader._input_start,
    "tool-input-delta": MessageReader._input_more,
    "tool-input-available": MessageReader._input,
    "tool-input-error": MessageReader._input_error,
    "tool-output-available": MessageReader._output,
    "tool-output-error": MessageReader._output_error,
    "tool-output-denied": MessageReader._denied,
    "tool-approval-request": MessageReader._approval_asked,
    "tool-approval-response": MessageReader._approval_given,
}


def _shown(part: Value) -> Value:
    raw = part.get("rawInput")
    if isinstance(raw, _Unread):
        text = raw.read()
        value = text if part.get("inputEncoding") == "text" else partial_json(text)
        part = {**part, "input": value, "rawInput": text}
    return {name: value for name, value in part.items() if value is not _NOTHING}


def _some(part: Value, *names: str) -> Value:
    return {name: part[name] for name in names if name in part}


def _provider(part: Value) -> Any:
    return part.get("providerMetadata", _NOTHING)


def _joined(pieces: list[str]) -> str:
    """What the pieces are together; they are one piece then."""
    if len(pieces) > 1:
        pieces[:] = ["".join(pieces)]
    return pieces[0] if pieces else ""


def _merged(base: Any, more: Any) -> Any:
    """``base`` with ``more``, objects in objects too; what is no object is replaced."""
    if not isinstance(base, dict) or not isinstance(more, dict):
        return more
    merged = {**base}
    # No recursion: JSON may be nested deeper than functions may call each other.
    left = [(merged, more)]
    while left:
        into, more = left.pop()
        for name, value in more.items():
            known = into.get(name)
            if isinstance(known, dict) and isinstance(value, dict):
                into[name] = {**known}
                left.append((into[name], value))
            else:
                into[name] = value
    return merged
