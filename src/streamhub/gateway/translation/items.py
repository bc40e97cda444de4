"""What a request gives a model to read: its items, and those that it only names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

__all__ = ["Item", "Untranslatable", "input_items", "item_id", "named_responses", "shown"]

Item: TypeAlias = Mapping[str, Any]

_PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc"}


class Untranslatable(ValueError):
    """A request that the upstream cannot be asked in its dialect.

    :param param: the parameter that is in the way, such as ``input[2].content[0].type``.
    :param code: what programs tell it by.
    """

    def __init__(self, message: str, param: str, code: str = "unsupported_value") -> None:
        self.param: str = param
        self.code: str = code
        super().__init__(message)


def item_id(response_id: str, kind: str, index: int) -> str:
    """The id of one output item. It tells whose it is, so that an item that is only named is
    found."""
    return f"{_PREFIXES[kind]}_{index:02x}_{response_id.removeprefix('resp_')}"


def input_items(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A request's own input as items; a text is what the user says.

    :raises Untranslatable: it is none of what is allowed.
    """
    given = request.get("input")
    if given is None:
        return []
    if isinstance(given, str):
        content = [{"type": "input_text", "text": given}]
        return [{"type": "message", "role": "user", "content": content}]
    if not isinstance(given, list):
        raise Untranslatable(
            f"input is a text or a list of items, not {shown(given)}", "input", "invalid_type"
        )
    for index, item in enumerate(given):
        if not isinstance(item, dict):
            param = f"input[{index}]"
            raise Untranslatable(f"{param} is an item, not {shown(item)}", param, "invalid_type")
    return given


def named_responses(items: Sequence[Item]) -> list[str]:
    """The responses whose items are named here by ``item_reference``, each once."""
    return list(dict.fromkeys(found for item in items for found in _named(item)))


def _named(item: Item) -> Iterator[str]:
    if item.get("type") == "item_reference" and isinstance(name := item.get("id"), str):
        prefix, _, rest = name.partition("_")
        index, _, response = rest.partition("_")
        if prefix in _PREFIXES.values() and index and response:
            yield f"resp_{response}"


def shown(value: Any) -> str:
    """Something that was given, for a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
