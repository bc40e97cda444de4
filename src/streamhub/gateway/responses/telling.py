"""How the events that the upstream has said are told to clients: under the gateway's id of the
response, and with numbers that have no holes. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from ...chunks import Chunk
from ...formats import sse
from .asked import Facts

__all__ = ["Telling"]

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Telling:
    """
    :param obfuscation: False to leave out what hides the lengths of deltas.
    """

    def __init__(self, response_id: str, facts: Facts, *, obfuscation: bool = True) -> None:
        self._id = msgspec.Raw(msgspec.json.encode(response_id))
        self._previous = msgspec.Raw(msgspec.json.encode(facts.previous))
        self._facts = facts
        self._obfuscation = obfuscation

    def chunk(self, chunk: Chunk) -> bytes:
        """A stored event, for the client."""
        return self.event(
            chunk.event or "message", chunk.data, self._facts.number(chunk.cursor.offset)
        )

    def event(self, kind: str, data: str, number: int) -> bytes:
        fields = _fields(data)
        fields["sequence_number"] = msgspec.Raw(b"%d" % number)
        if bytes(fields.get("response", b"")).startswith(b"{"):
            fields["response"] = msgspec.Raw(self._named(fields["response"]))
        if not self._obfuscation:
            fields.pop("obfuscation", None)
        return sse.encode(msgspec.json.encode(fields).decode(), event=kind)

    def error(self, code: str, message: str, number: int) -> bytes:
        """That the stream ends here without its end."""
        said = {"type": "error", "code": code, "message": message, "param": None}
        return self.event("error", msgspec.json.encode(said).decode(), number)

    def response(self, value: dict[str, Any]) -> bytes:
        """A Response object, for the client."""
        return self._named(msgspec.json.encode(value))

    def _named(self, response: bytes | msgspec.Raw) -> bytes:
        fields = _fields(response)
        fields["id"] = self._id
        if "previous_response_id" in fields:
            fields["previous_response_id"] = self._previous
        return msgspec.json.encode(fields)
