"""What a connection remembers of responses that nobody keeps, so that it can go on with them: all
that was said up to each, to be told once more to an upstream that knows nothing of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ...wording import short
from ..errors import invalid
from ..translation import named_responses

__all__ = ["Fields", "Lineage", "Turn", "items_of"]

Fields = dict[str, msgspec.Raw]
Items = list[msgspec.Raw]

# Of how many responses, the newest ones.
_MOST = 16
_PREVIOUS = "previous_response_id"
#: What stands in a request over a connection, and in none over HTTP.
_OF_CONNECTIONS = ("type", "stream_id", "generate", "background", "stream")

# What may be told without its id, which is the name of something that is not there. With others it
# belongs to what they say: the answer to a request for approval names that.
_NAMES_NOTHING = ("message", "function_call", "custom_tool_call")

_items = msgspec.json.Decoder(Items).decode
_fields = msgspec.json.Decoder(Fields).decode


class _Item(msgspec.Struct):
    type: Any = None
    id: Any = None
    call_id: Any = None
    status: Any = None
    content: Any = None
    encrypted_content: Any = None


_item = msgspec.json.Decoder(_Item).decode


@dataclass(frozen=True)
class _Said:
    """All that was said up to a response, and by it.

    :param base: the response before the first of ``items``, which the upstream or the gateway
        knows; None where there is none.
    """

    base: str | None
    items: Items
    size: int


@dataclass(frozen=True)
class Turn:
    """One request of a connection.

    :param body: as it is posted.
    :param previous: what the client goes on with.
    :param is_told: whether that is told in ``body``, of which nobody else knows.
    """

    body: bytes
    previous: str | None
    is_told: bool
    said: _Said
    #: Whether the response is stored, so that whoever knows its id can go on with it.
    is_kept: bool


class Lineage:
    """:param most_bytes: how large all is together that is remembered."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._said: dict[str, _Said] = {}

    def turn(self, fields: Fields) -> Turn:
        """What is posted for a request.

        :raises GatewayError: it answers a call that nobody has made.
        """
        previous = _text(fields.get(_PREVIOUS))
        known = None if previous is None else self._said.get(previous)
        own = _own(fields.get("input"))
        posted = {name: value for name, value in fields.items() if name not in _OF_CONNECTIONS}
        if known is None:
            said = _said(previous, own or [])
        else:
            if known.base is None:
                _check_calls(known.items, own or [])
            said = _said(known.base, [*known.items, *(own or [])])
            posted.pop(_PREVIOUS)
            if known.base is not None:
                posted[_PREVIOUS] = msgspec.Raw(msgspec.json.encode(known.base))
            if own is not None:
                posted["input"] = msgspec.Raw(msgspec.json.encode(said.items))
        posted["stream"] = msgspec.Raw(b"true")
        is_kept = bytes(fields.get("store", b"")) != b"false"
        return Turn(msgspec.json.encode(posted), previous, known is not None, said, is_kept)

    def remember(self, response_id: str, turn: Turn, output: Items) -> None:
        """``turn`` was answered so."""
        # Of their own: as they were read, each would hold on to all of the frame that it came in.
        items = [one.copy() for one in (*turn.said.items, *_to_be_told(response_id, output))]
        said = _said(turn.said.base, items)
        self._said[response_id] = said
        while len(self._said) > _MOST or sum(one.size for one in self._said.values()) > (
            self._most_bytes
        ):
            del self._said[next(iter(self._said))]

    def forget(self, response_id: str | None) -> None:
        """It cannot be gone on with any more."""
        if response_id is not None:
            self._said.pop(response_id, None)


def _said(base: str | None, items: Items) -> _Said:
    return _Said(base, items, sum(len(bytes(one)) for one in items))


def _own(given: msgspec.Raw | None) -> Items | None:
    """The items of a request's own input; None of what is none, which whoever is asked refuses."""
    if given is None or bytes(given) == b"null":
        return []
    if (text := _text(given)) is not None:
        return [msgspec.Raw(msgspec.json.encode({"role": "user", "content": text}))]
    return items_of(given)


def items_of(raw: msgspec.Raw) -> Items | None:
    """The items of a list; None of what is none."""
    try:
        return _items(raw)
    except msgspec.ValidationError:
        return None


def _to_be_told(response_id: str, output: Items) -> Items:
    """What is told of an answer to an upstream that has not kept it."""
    told: Items = []
    for raw in output:
        item = _read(raw)
        if item.type == "reasoning":
            # Without what was thought, it is the name of something that is not there; but what this
            # gateway has translated for who wanted a summary is all that was.
            if item.encrypted_content or item.content or _is_named_after(response_id, item):
                told.append(raw)
        elif item.type not in _NAMES_NOTHING:
            told.append(raw)
        elif item.type != "function_call" or item.status == "completed":
            fields = _fields(raw)
            fields.pop("id", None)
            told.append(msgspec.Raw(msgspec.json.encode(fields)))
    return told


def _is_named_after(response_id: str, item: _Item) -> bool:
    named = {"type": "item_reference", "id": item.id}
    return named_responses([named]) == [response_id]


def _check_calls(before: Sequence[msgspec.Raw], own: Sequence[msgspec.Raw]) -> None:
    calls: set[str] = set()
    for raw in (*before, *own):
        item = _read(raw)
        if not (isinstance(item.type, str) and isinstance(item.call_id, str)):
            # Whoever is asked knows what it is: a local shell's output has the id of its call.
            continue
        if item.type.endswith("_call"):
            calls.add(item.call_id)
        elif item.type.endswith("_call_output") and item.call_id not in calls:
            message = f"No tool call found for {item.type} with call_id {short(item.call_id)}."
            raise invalid(message, param="input", code="invalid_value")


def _read(raw: msgspec.Raw) -> _Item:
    try:
        return _item(raw)
    except msgspec.ValidationError:
        return _Item()


def _text(raw: msgspec.Raw | None) -> str | None:
    value = None if raw is None or not bytes(raw).startswith(b'"') else msgspec.json.decode(raw)
    return value if isinstance(value, str) else None
