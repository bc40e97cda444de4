"""What a client asks of a model, and what is kept of that beside the answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec

from ...wording import short
from ..errors import invalid
from ..keys import OWNER

__all__ = ["REQUEST_EVENT", "Asked", "Facts", "request_of"]

#: The event type of the chunks before the answer, which hold the request.
REQUEST_EVENT = "request"
#: What the metadata of a session says it is.
_KIND = "responses"
# In characters: what is kept of a model's name, and what the id of a response may have.
_LONGEST_NAME = 200
_LONGEST_ID = 512

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True)
class Asked:
    """One request. What the gateway has no use for stays as it was sent."""

    fields: dict[str, msgspec.Raw]
    model: str | None
    stream: bool
    background: bool
    store: bool
    previous: str | None

    @classmethod
    def of(cls, raw: bytes) -> Asked:
        """:raises GatewayError: it is no JSON object, or a parameter has the wrong type."""
        try:
            # All of it is read, so that nothing that is no JSON is found out only later.
            msgspec.json.decode(raw)
            fields = _fields.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise invalid(f"the body must be a JSON object: {error}", code="invalid_json") from None
        asked = cls(
            fields,
            _value(fields, "model", str, None),
            _value(fields, "stream", bool, False),
            _value(fields, "background", bool, False),
            _value(fields, "store", bool, True),
            _value(fields, "previous_response_id", str, None),
        )
        if len(asked.previous or "") > _LONGEST_ID:
            message = f"Previous response with id {short(asked.previous)} not found."
            code = "previous_response_not_found"
            raise invalid(message, param="previous_response_id", code=code)
        if asked.background and not asked.store:
            raise invalid("background=true needs store=true", param="store")
        return asked

    def body(self, *, previous: str | None, background: bool) -> bytes:
        """What is sent upstream: always for a stream, which can be cancelled and continued.

        :param previous: the upstream's name for the previous response.
        :param background: whether the upstream is to go on by itself.
        """
        fields = {**self.fields, "stream": msgspec.Raw(b"true")}
        fields.pop("background", None)
        if background:
            fields["background"] = msgspec.Raw(b"true")
        if previous is not None:
            fields["previous_response_id"] = msgspec.Raw(msgspec.json.encode(previous))
        return msgspec.json.encode(fields)

    @property
    def fingerprint(self) -> str:
        """What tells this request from others: of what it says, not of how it is written."""
        said = msgspec.json.encode(self.values(), order="deterministic")
        return sha256(said).hexdigest()

    def values(self) -> dict[str, Any]:
        """All of it, decoded."""
        return {name: msgspec.json.decode(value) for name, value in self.fields.items()}


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The metadata of an answer's session."""

    gateway: str
    model: str | None = None
    background: bool = False
    store: bool = True
    #: What the client has called the previous response.
    previous: str | None = None
    #: Seconds since 1970.
    created: int = 0
    #: How many chunks hold the request, before the events.
    skip: int = 0
    #: The number of the first event: that of an answer that was begun anew goes on where the one
    #: before has ended, so that no number has two meanings.
    base: int = 0
    #: How often it was begun anew.
    retries: int = 0

    @classmethod
    def at_first(cls, asked: Asked, skip: int) -> Facts:
        return cls(
            gateway=_KIND,
            model=None if asked.model is None else asked.model[:_LONGEST_NAME],
            background=asked.background,
            store=asked.store,
            previous=asked.previous,
            created=int(time.time()),
            skip=skip,
        )

    @classmethod
    def of(cls, metadata: object) -> Facts | None:
        """None where the session is none of the Responses API."""
        try:
            facts = msgspec.convert(metadata, cls)
        except msgspec.ValidationError:
            return None
        return facts if facts.gateway == _KIND else None

    @property
    def owner(self) -> str:
        """Of the session. The gateway's own name is for what is in the background: what is lost of
        that is looked after by gateways that have keys of their own."""
        return OWNER if self.background else f"{OWNER}:responses"

    def number(self, offset: int) -> int:
        """The ``sequence_number`` of the event in the chunk at ``offset``."""
        return offset - 1 - self.skip + self.base

    def offset(self, number: int) -> int:
        return number + 1 + self.skip - self.base


def request_pieces(raw: bytes, largest: int) -> list[str]:
    """A request as chunks of at most so many bytes."""
    text = raw.decode()
    step = max(1, largest // 4 - len(REQUEST_EVENT))
    return [text[start : start + step] for start in range(0, len(text), step)]


def request_of(pieces: Iterator[str]) -> Asked | None:
    """The request that ``request_pieces`` has taken apart; None if it was not kept."""
    raw = "".join(pieces)
    return Asked.of(raw.encode()) if raw else None


def _value(fields: dict[str, msgspec.Raw], name: str, kind: type, default: Any) -> Any:
    value = msgspec.json.decode(fields[name]) if name in fields else None
    if value is None:
        return default
    if not isinstance(value, kind):
        wanted = {bool: "true or false", str: "a string"}[kind]
        raise invalid(f"{name} must be {wanted}, not {short(value)}", param=name)
    return value
