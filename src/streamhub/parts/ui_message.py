"""A message as a page holds it."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["Message", "Value"]

Value = dict[str, Any]


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """An assistant's message, as ``useChat`` holds it: a ``UIMessage``.

    ``msgspec.json.encode`` writes the ``UIMessage`` as JSON; so does ``to_dict`` for other
    libraries.
    """

    id: str
    #: Facts about it, merged: token usage and finish reason of a model are among them.
    metadata: Any = None
    role: str = "assistant"
    #: ``{"type": "text", "text": …, "state": "done"}`` and so on, in their order.
    parts: tuple[Value, ...] = ()

    @property
    def text(self) -> str:
        """Its text parts, joined."""
        return "".join([part["text"] for part in self.parts if part["type"] == "text"])

    def to_dict(self) -> Value:
        """The ``UIMessage`` as a JSON object."""
        facts = {} if self.metadata is None else {"metadata": self.metadata}
        return {"id": self.id, **facts, "role": self.role, "parts": list(self.parts)}
