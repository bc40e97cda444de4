"""How what somebody gave is shown in a message."""

from __future__ import annotations

__all__ = ["short"]


def short(value: object) -> str:
    """What somebody gave, on no more than a line."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
