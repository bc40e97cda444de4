"""What a request asks for: its cursor, its switches and times."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..chunks import Cursor, Status
from ..formats.sse import TOLD_OF_LOSS
from .answers import BadRequest, bad_request
from .asked import Asked

__all__ = [
    "bad_value",
    "batch_of",
    "count_of",
    "cursor_of",
    "flag_of",
    "held_cursor",
    "seconds_of",
    "shortened",
    "status_of",
    "told_of_loss",
]

_SWITCHES = {"": True, "1": True, "true": True, "0": False, "false": False}
_LONGEST = 80


def cursor_of(request: Asked) -> str | None:
    """Where the client stands. Its header is newer than the address that it began with."""
    cursor = request.headers.get("last-event-id") or request.query_params.get("after") or ""
    return cursor.removesuffix(TOLD_OF_LOSS) or None


def told_of_loss(request: Asked) -> str | None:
    """The cursor at which the client was told that the producer is lost, if it comes from there."""
    cursor = request.headers.get("last-event-id") or request.query_params.get("after") or ""
    return cursor.removesuffix(TOLD_OF_LOSS) if cursor.endswith(TOLD_OF_LOSS) else None


def held_cursor(request: Asked, cursor: Callable[[Asked], str | None] = cursor_of) -> Cursor | None:
    """The cursor by which the client knows that the session was there; None if it has none."""
    try:
        return Cursor.parse(cursor(request) or "")
    except ValueError:
        return None


def batch_of(request: Asked) -> bool:
    """:raises BadRequest: ``?batch=`` is neither on nor off."""
    return flag_of(request, "batch")


def flag_of(request: Asked, name: str) -> bool:
    """:raises BadRequest: it is neither on nor off."""
    value = request.query_params.get(name)
    if value is None:
        return False
    if value not in _SWITCHES:
        raise bad_value(name, value, "true or false")
    return _SWITCHES[value]


def seconds_of(request: Asked, name: str, longest: float) -> float | None:
    """:raises BadRequest: it is no number from 0 to ``longest``."""
    value = request.query_params.get(name)
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= longest:
        raise bad_value(name, value, f"a number of seconds from 0 to {longest:g}")
    return seconds


def count_of(request: Asked, name: str, default: int, most: int) -> int:
    """:raises BadRequest: it is no whole number from 1 to ``most``."""
    value = request.query_params.get(name)
    if value is None:
        return default
    count = int(value) if value.isascii() and value.isdigit() and len(value) < 10 else 0
    if not 1 <= count <= most:
        raise bad_value(name, value, f"a whole number from 1 to {most}")
    return count


def status_of(request: Asked) -> Status | None:
    """:raises BadRequest: there is no such status."""
    value = request.query_params.get("status")
    if value is None:
        return None
    if value not in set(Status):
        raise bad_value("status", value, f"one of {', '.join(Status)}")
    return Status(value)


def bad_value(name: str, value: str, allowed: str, code: str = "invalid_parameter") -> BadRequest:
    """The answer to a parameter that is none of what is ``allowed``."""
    return bad_request(code, f"{name} must be {allowed}, not {shortened(value)}")


def shortened(value: str) -> str:
    """A client's own words, quoted, on no more than a line."""
    return repr(value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…")
