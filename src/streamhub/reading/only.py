"""Which chunks a reader wants, by their event types."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Self

import msgspec

from ..chunks import PART_EVENT, Chunk
from .part_heads import head_of

__all__ = ["Only", "named_types"]

_OF_A_KIND = f"{PART_EVENT}:"
_LONGEST = 80
# What an EventSource calls an event without a type.
_TEXT = "message"


class Only(msgspec.Struct, frozen=True):
    """What ``subscribe(events=…)`` was given. Two of the same types are equal, and can be keys."""

    types: frozenset[str | None]
    #: Kinds of parts, and what the names of more kinds begin with.
    kinds: frozenset[str] = frozenset()
    families: tuple[str, ...] = ()

    @classmethod
    def of(cls, events: Collection[str | None]) -> Self:
        """
        :raises TypeError: it is no collection of event types and None.
        :raises ValueError: it is empty.
        """
        if isinstance(events, str | bytes) or not isinstance(events, Collection):
            raise TypeError(
                "events must be a collection of event types, as "
                f'["status", None], where None stands for text; not {_shown(events)}'
            )
        for event in events:
            if not (event is None or isinstance(event, str)):
                raise TypeError(f"an event type in events is a str, or None, not {_shown(event)}")
        if not events:
            raise ValueError("events must name at least one event type; None stands for text")
        named = [
            event.removeprefix(_OF_A_KIND)
            for event in events
            if event is not None and event.startswith(_OF_A_KIND)
        ]
        return cls(
            frozenset(events),
            frozenset(one for one in named if not one.endswith("*")),
            tuple(sorted({one[:-1] for one in named if one.endswith("*")})),
        )

    def allows(self, chunk: Chunk) -> bool:
        if chunk.event in self.types:
            return True
        if chunk.event != PART_EVENT or not (self.kinds or self.families):
            return False
        head = head_of(chunk.data)
        return head is not None and (head.kind in self.kinds or head.kind.startswith(self.families))

    def among(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        """Those of ``chunks`` that are wanted, in order."""
        return [chunk for chunk in chunks if self.allows(chunk)]


def named_types(*lists: str) -> frozenset[str | None]:
    """The event types that are named between commas, where ``message`` stands for text.

    :raises ValueError: one of them has no name.
    """
    names = [name.strip() for one in lists for name in one.split(",")]
    if not all(names):
        raise ValueError(
            "event types, separated by commas, where message stands for text, and ui:tool-* for "
            "the parts of such kinds"
        )
    return frozenset([*names, None] if _TEXT in names else names)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
