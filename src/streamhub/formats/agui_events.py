"""The parts of a UI message stream as events of AG-UI (protocol 1.0).

One step of the message is one message of AG-UI, its text and the tool calls in it, or several if it
thinks in between. What AG-UI has no event for becomes a ``CUSTOM`` one, under the name of its kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Any

from .json_text import encode

__all__ = ["AGUIEvents"]

Part = dict[str, Any]
Event = dict[str, Any]

# Of ``usage`` in a message's metadata, which AG-UI names the same.
_TOKENS = ("inputTokens", "outputTokens", "totalTokens", "reasoningTokens", "cachedInputTokens")

_DENIED = "The call was not allowed."


class AGUIEvents:
    """The events of one run, from its whole stream of parts, which opens all that it goes on with.

    :param thread: of which the run is one; and ``run``, its id.
    """

    def __init__(self, thread: str, run: str) -> None:
        self._thread = thread
        self._run = run
        self._message_id = run
        #: How many steps have begun, and whether one is open.
        self._steps = 0
        self._in_step = False
        #: How many messages of this step are over, and whether the present one has text.
        self._before = 0
        self._spoken = False
        #: The texts that are open; they are one message.
        self._texts: dict[str, None] = {}
        #: The id of each thought that is open, as AG-UI has it, by its own.
        self._thoughts: dict[str, str] = {}
        self._thought_of = 0
        #: The calls that are open, and of each whether any of its input was sent.
        self._calls: dict[str, bool] = {}
        #: The name and input of each call of this run.
        self._called: dict[str, tuple[str, Any]] = {}
        #: How often a call was begun anew, where it was.
        self._anew: dict[str, int] = {}
        self._facts: dict[str, Any] = {}
        #: How the parts say that the message ends, if they do.
        self._error: str | None = None
        self._aborted = False

    def fork(self) -> AGUIEvents:
        """One that goes on from here by itself."""
        one = copy(self)
        one._texts, one._thoughts = dict(self._texts), dict(self._thoughts)
        one._calls, one._called = dict(self._calls), dict(self._called)
        one._anew, one._facts = dict(self._anew), dict(self._facts)
        return one

    def begin(self) -> list[Event]:
        """What comes before any part."""
        return [{"type": "RUN_STARTED", "threadId": self._thread, "runId": self._run}]

    def feed(self, part: Part) -> list[Event]:
        """The events that ``part`` is; maybe none."""
        return list(self._events(part))

    def end(self, status: str, told: str) -> list[Event]:
        """The end of the run, after all parts, by the status of its session.

        :param told: what is told of an end that is none of its producer's or its canceller's.
        """
        if status == "finished" and self._error is not None:
            status, told = "failed", self._error
        if status not in ("finished", "cancelled"):
            # It may come at any time, and leaves open what is open.
            ids = {"threadId": self._thread, "runId": self._run}
            more = {"metadata": {"tanstack": ids}, **self._usage()}
            return [{"type": "RUN_ERROR", "message": told, "code": status, **more}]
        cancelled = status == "cancelled" or self._aborted
        reason = self._facts.get("finishReason")
        named: dict[str, Any] = {}
        if isinstance(reason, str) and not cancelled:
            # As TanStack AI spells it.
            named["metadata"] = {"tanstack": {"finishReason": reason.replace("-", "_")}}
        return [
            *self._end_step(),
            {
                "type": "RUN_FINISHED",
                "threadId": self._thread,
                "runId": self._run,
                "outcome": {"type": "cancelled" if cancelled else "success"},
                **self._usage(),
                **named,
            },
        ]

    def _events(self, part: Part) -> Iterator[Event]:
        match part["type"]:
            case "start":
                # One message of the AI SDK may hold several steps, and each is a message here.
                self._message_id = str(part.get("messageId") or self._message_id)
                yield from self._told(part.get("messageMetadata"))
            case "start-step":
                yield from self._end_step()
                self._steps, self._in_step = self._steps + 1, True
                self._before, self._spoken = 0, False
                yield self._step("STEP_STARTED")
            case "finish-step":
                yield from self._end_step()
            case "reset-step":
                yield from self._close()
                yield {
                    "type": "CUSTOM",
                    "name": "reset-step",
                    "value": {"messageId": self._message},
                }
                self._next_message()
            case "text-start" | "text-delta" | "text-end" as kind:
                yield from self._written(kind, part)
            case "reasoning-start" | "reasoning-delta" | "reasoning-end" as kind:
                yield from self._thought(kind, part)
            case "message-metadata":
                yield from self._told(part.get("messageMetadata"))
            case "finish":
                self._error, self._aborted = None, False
                if "finishReason" in part:
                    self._facts["finishReason"] = part["finishReason"]
                yield from self._told(part.get("messageMetadata"))
            case "abort":
                self._aborted = True
            case "error":
                self._error = str(part.get("errorText", ""))
            case kind if kind.startswith("tool-"):
                yield from self._tool(part)
            case kind if kind.startswith("data-"):
                more = {key: part[key] for key in ("id", "transient") if key in part}
                yield {
                    "type": "CUSTOM",
                    "name": kind.removeprefix("data-"),
                    "value": part.get("data"),
                    **({"metadata": more} if more else {}),
                }
            case kind:
                yield _custom(kind, part)

    def _written(self, kind: str, part: Part) -> Iterator[Event]:
        if kind == "text-end":
            if part["id"] in self._texts:
                del self._texts[part["id"]]
                if not self._texts:
                    yield self._text("TEXT_MESSAGE_END")
            return
        # A text goes on beyond the step in which it was begun: in the message of the next one.
        opens = not self._texts
        self._texts[part["id"]] = None
        if opens:
            yield self._text("TEXT_MESSAGE_START", role="assistant")
        if kind == "text-delta" and part["delta"]:
            self._spoken = True
            yield self._text("TEXT_MESSAGE_CONTENT", delta=part["delta"])

    def _thought(self, kind: str, part: Part) -> Iterator[Event]:
        name = part["id"]
        if kind == "reasoning-end":
            if name in self._thoughts:
                yield from _thought_ends(self._thoughts.pop(name))
            return
        if name not in self._thoughts:
            if self._spoken:
                # What is said after a thought is a message of its own: TanStack AI would say what
                # came before it once more.
                if self._texts:
                    self._texts.clear()
                    yield self._text("TEXT_MESSAGE_END")
                self._next_message()
            self._thought_of += 1
            self._thoughts[name] = f"{self._message_id}-reasoning-{self._thought_of}"
            yield from _thought_starts(self._thoughts[name])
        if kind == "reasoning-delta" and part["delta"]:
            thought = self._thoughts[name]
            yield {
                "type": "REASONING_MESSAGE_CONTENT",
                "messageId": thought,
                "delta": part["delta"],
            }

    def _tool(self, part: Part) -> Iterator[Event]:
        call_id = part.get("toolCallId", "")
        match part["type"]:
            case "tool-input-start":
                yield from self._begin_call(call_id, part["toolName"])
            case "tool-input-delta":
                if part["inputTextDelta"] and call_id in self._calls:
                    self._calls[call_id] = True
                    yield self._call_args(call_id, part["inputTextDelta"])
            case "tool-input-available" | "tool-input-error" as kind:
                yield from self._input(part)
                if kind == "tool-input-error":
                    yield self._result(call_id, part.get("errorText", ""))
            case "tool-output-available":
                yield from self._end_call(call_id)
                if part.get("preliminary"):
                    yield _custom("tool-output-preliminary", part)
                else:
                    yield self._result(call_id, part.get("output"))
            case "tool-output-error":
                yield from self._end_call(call_id)
                yield self._result(call_id, part.get("errorText", ""))
            case "tool-output-denied":
                yield from self._end_call(call_id)
                yield self._result(call_id, _DENIED)
            case "tool-approval-request":
                name, given = self._called.get(call_id, ("", None))
                value = {
                    "toolCallId": self._name_of(call_id),
                    "toolName": name,
                    "input": given,
                    "approval": {"id": part.get("approvalId"), "needsApproval": True},
                }
                # As TanStack AI knows it.
                yield {"type": "CUSTOM", "name": "approval-requested", "value": value}
            case kind:
                yield _custom(kind, part)

    def _input(self, part: Part) -> Iterator[Event]:
        """A call whose input is complete, whether or not it was streamed before."""
        call_id, called = part["toolCallId"], (part["toolName"], part.get("input"))
        if call_id not in self._calls:
            if self._called.get(call_id) == called:
                return
            yield from self._begin_call(call_id, part["toolName"])
        self._called[call_id] = called
        if not self._calls[call_id]:
            yield self._call_args(call_id, encode(part.get("input")).decode())
        yield from self._end_call(call_id)

    def _begin_call(self, call_id: str, tool: str) -> Iterator[Event]:
        """Begin a call; anew, under another name, where what was sent of its input is not taken
        back: it was begun by a producer that is dead, in a step that was reset, or in an earlier
        one."""
        if self._calls.get(call_id) is False:
            return
        yield from self._end_call(call_id)
        if call_id in self._called:
            self._anew[call_id] = self._anew.get(call_id, 0) + 1
        self._calls[call_id] = False
        self._called[call_id] = (tool, None)
        yield {
            "type": "TOOL_CALL_START",
            "toolCallId": self._name_of(call_id),
            "toolCallName": tool,
            "parentMessageId": self._message,
        }

    def _call_args(self, call_id: str, delta: str) -> Event:
        return {"type": "TOOL_CALL_ARGS", "toolCallId": self._name_of(call_id), "delta": delta}

    def _end_call(self, call_id: str) -> Iterator[Event]:
        if self._calls.pop(call_id, None) is not None:
            yield {"type": "TOOL_CALL_END", "toolCallId": self._name_of(call_id)}

    def _result(self, call_id: str, output: Any) -> Event:
        name = self._name_of(call_id)
        return {
            "type": "TOOL_CALL_RESULT",
            "messageId": f"{name}-result",
            "toolCallId": name,
            "content": output if isinstance(output, str) else encode(output).decode(),
            "role": "tool",
        }

    def _name_of(self, call_id: str) -> str:
        """What a call is called here."""
        anew = self._anew.get(call_id)
        return call_id if anew is None else f"{call_id}-again-{anew}"

    def _close(self) -> Iterator[Event]:
        """End what is open within the step."""
        if self._texts:
            self._texts.clear()
            yield self._text("TEXT_MESSAGE_END")
        while self._thoughts:
            yield from _thought_ends(self._thoughts.pop(next(iter(self._thoughts))))
        for call_id in [*self._calls]:
            yield from self._end_call(call_id)

    def _end_step(self) -> Iterator[Event]:
        yield from self._close()
        if self._in_step:
            self._in_step = False
            yield self._step("STEP_FINISHED")

    def _told(self, facts: Any) -> Iterator[Event]:
        """Facts about the message; what was used is told at the end, too."""
        if facts is None:
            return
        if isinstance(facts, dict):
            self._facts |= facts
        yield {"type": "CUSTOM", "name": "message-metadata", "value": facts}

    def _usage(self) -> dict[str, Any]:
        usage = self._facts.get("usage")
        counted = usage if isinstance(usage, dict) else {}
        tokens = {name: counted[name] for name in _TOKENS if isinstance(counted.get(name), int)}
        model = self._facts.get("model")
        named = {"model": model} if isinstance(model, str) else {}
        return {"usage": [{**named, **tokens}]} if tokens else {}

    @property
    def _message(self) -> str:
        """The message that is being said."""
        name = self._message_id if self._steps < 2 else f"{self._message_id}-step-{self._steps}"
        return f"{name}-{self._before + 1}" if self._before else name

    def _next_message(self) -> None:
        self._before, self._spoken = self._before + 1, False

    def _text(self, kind: str, **more: Any) -> Event:
        return {"type": kind, "messageId": self._message, **more}

    def _step(self, kind: str) -> Event:
        return {"type": kind, "stepName": f"step-{self._steps}"}


def _thought_starts(thought: str) -> Iterator[Event]:
    yield {"type": "REASONING_START", "messageId": thought}
    yield {"type": "REASONING_MESSAGE_START", "messageId": thought, "role": "reasoning"}


def _thought_ends(thought: str) -> Iterator[Event]:
    yield {"type": "REASONING_MESSAGE_END", "messageId": thought}
    yield {"type": "REASONING_END", "messageId": thought}


def _custom(name: str, part: Part) -> Event:
    return {"type": "CUSTOM", "name": name, "value": part}
