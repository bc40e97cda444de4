"""The chunks of a chat completion as the one object that they make together. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["fold", "is_complete"]

# Which are said once, or again as they were: all other text comes in pieces.
_WHOLE = frozenset({"id", "type", "role", "index"})
# What does not come from the newest chunk that has it.
_BUILT = frozenset({"choices", "object"})


def fold(chunks: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """A ``chat.completion``, as the upstream would have answered it without ``stream``.

    Fields that this knows nothing of are kept: of the completion the newest value, of a message
    text and lists joined.
    """
    completion: dict[str, Any] = {"object": "chat.completion"}
    choices: dict[Any, dict[str, Any]] = {}
    for chunk in chunks:
        for name, value in chunk.items():
            if name not in _BUILT and (value is not None or name not in completion):
                completion[name] = value
        for said in _objects(chunk.get("choices")):
            index = _index(said.get("index", 0))
            choice = choices.setdefault(index, {"index": index, "message": {"role": "assistant"}})
            for name, value in said.items():
                if name == "delta":
                    _join(choice["message"], value if isinstance(value, dict) else {})
                elif name == "logprobs" and isinstance(value, dict):
                    known = choice.get(name)
                    choice[name] = known if isinstance(known, dict) else {}
                    _join(choice[name], value)
                elif value is not None or name not in choice:
                    choice[name] = value
    completion["choices"] = [_finished(choices[index]) for index in sorted(choices, key=_order)]
    return completion


def is_complete(chunks: Iterable[dict[str, Any]]) -> bool:
    """Whether one of the chunks says why the answer has ended."""
    return any(
        choice.get("finish_reason") for one in chunks for choice in _objects(one.get("choices"))
    )


def _finished(choice: dict[str, Any]) -> dict[str, Any]:
    choice["message"].setdefault("content", None)
    choice.setdefault("finish_reason", None)
    for call in _objects(choice["message"].get("tool_calls")):
        # It says which call a piece belongs to.
        call.pop("index", None)
    return choice


def _join(whole: dict[str, Any], more: dict[str, Any]) -> None:
    """Add to an object what a chunk says of it."""
    for name, value in more.items():
        known = whole.get(name)
        if value is None:
            whole.setdefault(name, None)
        elif isinstance(known, str) and isinstance(value, str) and name not in _WHOLE:
            # Some servers say the name of a call with each of its pieces.
            whole[name] = known if name == "name" and known == value else known + value
        elif isinstance(known, dict) and isinstance(value, dict):
            _join(known, value)
        elif isinstance(value, list):
            whole[name] = _joined(known if isinstance(known, list) else [], value)
        else:
            whole[name] = _joined_copy(value)


def _joined(known: list[Any], more: list[Any]) -> list[Any]:
    """A list with more of it: what has an index belongs to the item of that index."""
    places = {
        _index(one["index"]): one for one in known if isinstance(one, dict) and "index" in one
    }
    for one in more:
        index = _index(one.get("index")) if isinstance(one, dict) else None
        if index is None:
            known.append(one)
        elif index in places:
            _join(places[index], one)
        else:
            places[index] = _joined_copy(one)
            known.append(places[index])
    return known


def _joined_copy(value: Any) -> Any:
    """``value`` apart from the chunk that it came with, which stays as it is."""
    if not isinstance(value, dict):
        return value
    copy: dict[str, Any] = {}
    _join(copy, value)
    return copy


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _index(given: Any) -> Any:
    """What tells the parts of one thing from those of another, whatever that is."""
    return given if given is None or isinstance(given, int | str) else repr(given)


def _order(index: Any) -> tuple[bool, Any]:
    return (not isinstance(index, int), index if isinstance(index, int) else str(index))
