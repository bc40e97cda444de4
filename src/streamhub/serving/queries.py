"""What a request asks for: its cursor, its switches and times."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..chunks import Cursor, Status
from ..formats.sse import TOLD_OF_LOSS
from ..formats.text import SHOWN
from ..reading.only import named_types
from .answers import BadRequest, bad_request
from .asked import Asked

__all__ = [
    "bad_value",
    "batch_of",
    "count_of",
    "cursor_of",
    "events_of",
    "flag_of",
    "held_cursor",
    "last_of",
    "seconds_of",
    "shortened",
    "shown_of",
    "status_of",
    "told_of_loss",
]

_SWITCHES = {"": True, "1": True, "true": True, "0": False, "false": False}
_LONGEST = 80
_MOST_LAST = 1_000_000


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


def events_of(request: Asked) -> frozenset[str | None] | None:
    """The event types that are asked for by ``?events=``; None for all.

    :raises BadRequest: it names none.
    """
    given = request.query_params.getlist("events")
    if not given:
        return None
    try:
        return named_types(*given)
    except ValueError as error:
        raise bad_value("events", ",".join(given), str(error)) from None


def last_of(request: Asked) -> int | None:
    """How many of the newest chunks are asked for by ``?last=``.

    :raises BadRequest: it is no number of chunks, or ``?after=`` is given, too. An EventSource that
        connects again keeps its address, and has a cursor beside it: that is no mistake.
    """
    if request.query_params.get("last") is None:
        return None
    last = count_of(request, "last", 1, _MOST_LAST)
    if request.query_params.get("after") and not request.headers.get("last-event-id"):
        detail = "after and last exclude each other: give one of them"
        raise bad_request("invalid_parameter", detail)
    return last


def shown_of(request: Asked) -> frozenset[str]:
    """What beside the text is asked for by ``?show=``.

    :raises BadRequest: it is nothing that text can show.
    """
    given = request.query_params.getlist("show")
    names = [name.strip() for value in given for name in value.split(",")]
    if any(name not in SHOWN for name in names):
        raise bad_value("show", ",".join(given), f"some of {', '.join(SHOWN)}")
    return frozenset(names)


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
