"""Parts as JSON, the way in which they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

import msgspec

from ..chunks import PART_EVENT
from ..errors import InvalidPart
from ..wording import short
from . import kinds
from .kinds import Data, MessageMetadata, Other, Part

__all__ = [
    "PART_EVENT",
    "AnyPart",
    "decode",
    "encode",
    "finished",
    "is_part",
    "known",
    "parse",
    "typed",
]

#: What may stand in such a chunk.
AnyPart = Part | Data | Other

_DATA = "data-"
# Fields that hold whatever the application likes.
_MAY_BE_NULL = frozenset({"approvalDescriptor", "data", "input", "messageMetadata", "output"})


_KINDS: dict[str, type[Part]] = {
    str(kind.__struct_config__.tag): kind
    for kind in vars(kinds).values()
    if isinstance(kind, type) and issubclass(kind, Part) and kind.__struct_config__.tag is not None
}


def is_part(value: object) -> TypeGuard[AnyPart]:
    """Whether ``value`` is one of the typed parts."""
    return isinstance(value, Part | Data | Other)


def encode(part: AnyPart) -> str:
    """The JSON of ``part``, as it is published under the event type ``ui``.

    :raises InvalidPart: it holds what JSON cannot, or it is no part.
    """
    try:
        match part:
            case Data(name, data, id, transient):
                more = {"id": id, "transient": transient}
                told = {key: value for key, value in more.items() if value is not None}
                return _json({"type": f"{_DATA}{name}", **told, "data": data})
            case Other(value):
                return _json(_checked(value))
            case Part():
                return _json(part)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidPart(f"{type(part).__name__} cannot be written as JSON: {error}") from None
    raise InvalidPart(f"a part is one of streamhub.parts, not {type(part).__name__}")


def decode(text: str) -> AnyPart:
    """The part that ``text`` is; of a kind that is not known here, an :class:`Other`.

    Fields that are not known here are left out of it.

    :raises InvalidPart: it is no JSON object with a ``type``, or lacks what its kind must have.
    """
    return typed(parse(text))


def typed(value: dict[str, Any]) -> AnyPart:
    """See :func:`decode`."""
    name = value["type"]
    if name.startswith(_DATA):
        kind: type[Part | Data] = Data
        value = {**value, "name": name.removeprefix(_DATA)}
    elif (found := _KINDS.get(name)) is not None:
        kind = found
    else:
        return Other(value)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise InvalidPart(f"no part of type {name[:80]!r}: {error}") from None


def known(value: dict[str, Any]) -> dict[str, Any] | None:
    """``value``, a part as its readers take it: they want no null where there is nothing.

    None if it lacks what its kind must have. A part of a kind that is not known here passes.
    """
    kind = _KINDS.get(value["type"])
    try:
        if kind is not None:
            msgspec.convert(value, kind)
        elif isinstance(typed(value), Other):
            return value
    except (msgspec.ValidationError, InvalidPart):
        return None
    if None not in value.values():
        return value
    return {name: one for name, one in value.items() if one is not None or name in _MAY_BE_NULL}


def parse(text: str) -> dict[str, Any]:
    """The JSON object that a part is.

    :raises InvalidPart: it is no JSON object with a ``type``.
    """
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidPart(f"a part must be JSON: {error}") from None
    return _checked(value)


def _checked(value: object) -> dict[str, Any]:
    if isinstance(value, dict) and isinstance(value.get("type"), str):
        return value
    raise InvalidPart(f"a part must be a JSON object with a type, not {short(value)}")


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def finished(
    *,
    usage: Mapping[str, int | None] | None = None,
    finish_reason: kinds.FinishReason | None = None,
    model: str | None = None,
) -> MessageMetadata:
    """What a model tells of an answer at its end, as facts about the message.

    :param usage: in tokens: ``inputTokens``, ``outputTokens``, ``totalTokens``,
        ``reasoningTokens``, ``cachedInputTokens``; what is None is left out.
    :param finish_reason: why the model stopped.
    :param model: as its provider names it.
    """
    facts: dict[str, Any] = {}
    counted = {name: count for name, count in (usage or {}).items() if count is not None}
    if counted:
        facts["usage"] = counted
    if finish_reason is not None:
        facts["finishReason"] = finish_reason
    if model is not None:
        facts["model"] = model
    return MessageMetadata(facts)
