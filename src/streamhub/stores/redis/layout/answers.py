"""What scripts answer, and how optional values travel to them and back."""

from __future__ import annotations

from typing import Any

from ....errors import SessionCorrupted
from ...base import Behind, Fenced, Gone, HasHoles, Over, Restored, Stored, WriteResult
from .record import OUTCOMES

__all__ = ["given", "taken", "write_result"]


def write_result(session_id: str, answer: Any) -> WriteResult | SessionCorrupted:
    """What a write script answered; damage is the answer of that session alone."""
    if type(answer) is int:
        return Stored(answer, cancelling=False)
    match answer:
        case [b"cancelling", last]:
            return Stored(int(last), cancelling=True)
        case [b"behind", last]:
            return Behind(int(last))
        case [b"holes"]:
            return HasHoles()
        case [b"restored", last]:
            return Restored(int(last))
        case [b"gone"]:
            return Gone()
        case [b"fenced", generation]:
            return Fenced(generation.decode(errors="replace") or None)
        case [b"over", outcome] if outcome in OUTCOMES:
            return Over(OUTCOMES[outcome])
    return SessionCorrupted(session_id, f"a script answered {answer!r}")


def given(value: str | None) -> str:
    """An optional argument of a script: marked, so that an empty one is not taken for none."""
    return "" if value is None else f"={value}"


def taken(value: bytes) -> str | None:
    """An optional answer of a script, marked in the same way. Always text: a script that hands out
    what is not UTF-8 must not fail when all is done."""
    return value[1:].decode(errors="replace") if value else None
