"""A Response as the fold of its events, for who asks how it stands without following it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

__all__ = ["ResponseFold"]

#: Of each kind of delta: the index that names its part, the list of the item that has the part, and
#: the part's field. Those without a part stand in the item itself.
_DELTAS: dict[str, tuple[str | None, str | None, str]] = {
    "output_text": ("content_index", "content", "text"),
    "refusal": ("content_index", "content", "refusal"),
    "reasoning_text": ("content_index", "content", "text"),
    "reasoning_summary_text": ("summary_index", "summary", "text"),
    "function_call_arguments": (None, None, "arguments"),
    "mcp_call_arguments": (None, None, "arguments"),
    "custom_tool_call_input": (None, None, "input"),
    "code_interpreter_call_code": (None, None, "code"),
}
_PARTS = {
    "content_part": ("content_index", "content"),
    "reasoning_summary_part": ("summary_index", "summary"),
}


# More than any item has; a number beyond is not believed.
_MOST_PARTS = 10_000


class ResponseFold:
    """Takes the events of one answer in their order, whatever they hold; those that it does not
    know change nothing."""

    def __init__(self) -> None:
        self._response: dict[str, Any] | None = None
        self._items: dict[int, dict[str, Any]] = {}
        # What was said since the last look, so that a long text is not copied for each delta.
        self._said: dict[tuple[int, str | None, int, str], list[str]] = {}

    def take(self, event: Mapping[str, Any]) -> None:
        kind = str(event.get("type")).removeprefix("response.")
        if isinstance(whole := event.get("response"), Mapping):
            self._take_whole(whole)
            return
        subject, _, what = kind.rpartition(".")
        match subject, what:
            case "output_item", "added" | "done" if isinstance(event.get("item"), Mapping):
                index = self._index(event)
                self._forget(index)
                self._items[index] = deepcopy(dict(event["item"]))
            case (("content_part" | "reasoning_summary_part"), ("added" | "done")):
                if isinstance(event.get("part"), Mapping):
                    name, place = _PARTS[subject]
                    where = self._index(event), place, self._number(event, name)
                    self._forget(*where)
                    self._put(*where, dict(event["part"]))
            case "output_text.annotation", "added":
                number = self._number(event, "content_index")
                part = self._part(self._index(event), "content", number)
                _list(part, "annotations").append(deepcopy(event.get("annotation")))
            case name, "delta" if name in _DELTAS and isinstance(event.get("delta"), str):
                self._said.setdefault(self._where(name, event), []).append(event["delta"])
            case name, "done" if name in _DELTAS:
                *_, field = where_said = self._where(name, event)
                if isinstance(event.get(field), str):
                    self._said.pop(where_said, None)
                    self._part(*where_said[:3])[field] = event[field]

    @property
    def response(self) -> dict[str, Any] | None:
        """As it stands now; None before the first event that tells it."""
        if self._response is None:
            return None
        for (index, place, number, field), said in self._said.items():
            part = self._part(index, place, number)
            known = part.get(field)
            part[field] = (known if isinstance(known, str) else "") + "".join(said)
        self._said.clear()
        output = [deepcopy(self._items[index]) for index in sorted(self._items)]
        return {**deepcopy(self._response), "output": output}

    def _take_whole(self, whole: Mapping[str, Any]) -> None:
        """A Response itself. One that is under way may leave out what it has said."""
        self._response = {name: value for name, value in whole.items() if name != "output"}
        output = whole.get("output")
        if output and isinstance(output, list):
            self._said.clear()
            items = [item for item in output if isinstance(item, dict)]
            self._items = dict(enumerate(deepcopy(items)))

    def _where(self, name: str, event: Mapping[str, Any]) -> tuple[int, str | None, int, str]:
        number, place, field = _DELTAS[name]
        return self._index(event), place, self._number(event, number), field

    def _index(self, event: Mapping[str, Any]) -> int:
        """Of the item that an event is of. Some servers leave it to the item's id to tell."""
        if isinstance(index := event.get("output_index"), int):
            return index
        item = event.get("item")
        known_as = item.get("id") if isinstance(item, Mapping) else event.get("item_id")
        for index, one in self._items.items():
            if known_as is not None and one.get("id") == known_as:
                return index
        newest = max(self._items, default=-1)
        return newest + 1 if item is not None else max(0, newest)

    @staticmethod
    def _number(event: Mapping[str, Any], name: str | None) -> int:
        number = 0 if name is None else event.get(name)
        return number if isinstance(number, int) and 0 <= number <= _MOST_PARTS else 0

    def _part(self, index: int, place: str | None, number: int) -> dict[str, Any]:
        item = self._items.setdefault(index, {})
        if place is None:
            return item
        parts = _list(item, place)
        while len(parts) <= number:
            parts.append({})
        if not isinstance(parts[number], dict):
            parts[number] = {}
        part: dict[str, Any] = parts[number]
        return part

    def _put(self, index: int, place: str, number: int, part: dict[str, Any]) -> None:
        self._part(index, place, number)
        self._items[index][place][number] = deepcopy(part)

    def _forget(self, index: int, place: str | None = None, number: int | None = None) -> None:
        """What was said of something that is now told as a whole."""
        for where in list(self._said):
            if where[0] == index and (place is None or where[1:3] == (place, number)):
                del self._said[where]


def _list(of: dict[str, Any], name: str) -> list[Any]:
    """The list that stands there; a new one in the place of anything else."""
    if not isinstance(of.get(name), list):
        of[name] = []
    found: list[Any] = of[name]
    return found
