"""What a part is and which other parts it belongs to, without the rest of it."""

from __future__ import annotations

import msgspec

__all__ = ["PartHead", "head_of"]

_BEGINS = {
    "text-start": "text",
    "reasoning-start": "reasoning",
    "tool-input-start": "tool",
}
_GOES_ON = {
    "text-delta": "text",
    "text-end": "text",
    "reasoning-delta": "reasoning",
    "reasoning-end": "reasoning",
    "tool-input-delta": "tool",
}


class PartHead(msgspec.Struct, frozen=True, rename={"kind": "type", "tool": "toolCallId"}):
    """The kind of a part, and what its like are told apart by."""

    kind: str
    id: str | None = None
    tool: str | None = None

    @property
    def begins(self) -> tuple[str, str | None] | None:
        """What this part begins, if others may go on with it."""
        return self._named(_BEGINS.get(self.kind))

    @property
    def goes_on(self) -> tuple[str, str | None] | None:
        """What this part goes on with: it says nothing without its beginning."""
        return self._named(_GOES_ON.get(self.kind))

    def _named(self, family: str | None) -> tuple[str, str | None] | None:
        if family is None:
            return None
        return family, self.tool if family == "tool" else self.id


_decode = msgspec.json.Decoder(PartHead).decode


def head_of(data: str) -> PartHead | None:
    """The head of the part that a chunk of event type ``ui`` holds; None where it holds none."""
    try:
        return _decode(data)
    except (msgspec.MsgspecError, RecursionError):
        return None
