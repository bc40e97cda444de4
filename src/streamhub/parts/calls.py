"""The parts of a message that are tool calls."""

from __future__ import annotations

from typing import Any

__all__ = ["Calls", "is_call"]

Value = dict[str, Any]


class Calls:
    """They are found without going through the whole message."""

    def __init__(self) -> None:
        self._in_step: dict[str, list[Value]] = {}
        #: The last one of those before.
        self._before: dict[str, Value] = {}
        #: By ``id()``, the how manieth each one is.
        self._places: dict[int, int] = {}
        #: The ones that have asked for an approval, by its id.
        self._asking: dict[str, list[Value]] = {}

    def add(self, part: Value) -> None:
        self._in_step.setdefault(part["toolCallId"], []).append(part)
        self._places[id(part)] = len(self._places)
        self.asks(part)

    def next_step(self) -> None:
        self._before |= {call: parts[-1] for call, parts in self._in_step.items()}
        self._in_step = {}

    def reset_step(self) -> None:
        """Those of this step are void."""
        for parts in self._in_step.values():
            for part in parts:
                del self._places[id(part)]
        self._in_step = {}

    def in_step(self, call: str, dynamic: bool) -> Value | None:
        """The first part of a call in this step."""
        for part in self._in_step.get(call, ()):
            if (part["type"] == "dynamic-tool") == dynamic:
                return part
        return None

    def named(self, call: str) -> Value:
        """The part of a call: the first of this step, or else the last of all."""
        return self._in_step[call][0] if call in self._in_step else self._before[call]

    def asks(self, part: Value) -> None:
        """What ``part`` says of an approval is new."""
        approval = part.get("approval")
        if isinstance(approval, dict) and isinstance(name := approval.get("id"), str):
            self._asking.setdefault(name, []).append(part)

    def that_asked(self, name: str) -> Value | None:
        """The first part that has asked for the approval of this id, and for no other since."""
        left = [
            part
            for part in self._asking.get(name, ())
            if id(part) in self._places and part["approval"].get("id") == name
        ]
        return min(left, key=lambda part: self._places[id(part)], default=None)


def is_call(part: Value) -> bool:
    """Whether it is the part of a tool's call."""
    kind: str = part["type"]
    return kind == "dynamic-tool" or kind.startswith("tool-")
