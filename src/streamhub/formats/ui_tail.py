"""Where a reader that wants the last parts of a UI message stream alone has to begin."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

__all__ = ["begun_at", "paused_at"]

Part = dict[str, Any]

_ENDS = ("text-end", "reasoning-end")


def begun_at(parts: Sequence[Part], count: int) -> int:
    """The place of the first of the last ``count`` parts; or an earlier one, where something that
    was begun before it goes on after it, now or later: a text that is open, a call whose output is
    to come. From there on all that is added to has been begun."""
    place = max(0, len(parts) - count)
    #: From where to where each thing is spoken of, if that has ended.
    spans: list[tuple[int, int]] = []
    begun: dict[tuple[str, str], int] = {}
    calls: dict[str, tuple[int, int | None]] = {}
    approvals: dict[str, str] = {}
    for number, part in enumerate(parts):
        kind = part["type"]
        if kind == "reset-step":
            spans += [(start, number - 1) for start in begun.values()]
            begun.clear()
        elif kind in ("text-start", "reasoning-start"):
            begun[kind.partition("-")[0], part["id"]] = number
        elif kind in _ENDS:
            start = begun.pop((kind.partition("-")[0], part["id"]), number)
            spans.append((start, number))
        elif kind.startswith("tool-"):
            call = part.get("toolCallId") or approvals.get(part.get("approvalId", ""), "")
            if kind == "tool-approval-request":
                approvals[part["approvalId"]] = call
            start, _ = calls.get(call, (number, None))
            calls[call] = (start, number if _is_last(part) else None)
    spans += [(start, len(parts)) for start in begun.values()]
    spans += [(start, len(parts) if end is None else end) for start, end in calls.values()]
    for start, end in sorted(spans, reverse=True):
        if start < place <= end:
            place = start
    return place


def paused_at(parts: Sequence[Part], approvals: Collection[str]) -> int | None:
    """How many parts there are up to the end of the step in which the last of ``approvals`` that
    are known was asked for; None where none is known, or that step has not ended."""
    asked = False
    place = None
    for number, part in enumerate(parts, 1):
        if part["type"] == "tool-approval-request" and part["approvalId"] in approvals:
            asked = True
        elif part["type"] == "finish-step" and asked:
            asked, place = False, number
    return place


def _is_last(part: Part) -> bool:
    """Whether nothing more is said of its call."""
    kind = part["type"]
    return kind in ("tool-output-error", "tool-output-denied", "tool-input-error") or (
        kind == "tool-output-available" and not part.get("preliminary")
    )
