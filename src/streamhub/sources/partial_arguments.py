"""The arguments of a call that Gemini writes piece by piece: each says where it belongs."""

from __future__ import annotations

from typing import Any

from ..errors import ProviderFailed
from .step import field

__all__ = ["put"]

_VALUES = ("string_value", "number_value", "bool_value")
# No list of arguments is as long.
_LONGEST = 10_000


def put(arguments: dict[str, Any], piece: Any) -> None:
    """Put a piece where its path says, as ``$.places[0].name``. A text goes on with the one there.

    :raises ProviderFailed: the path leads nowhere.
    """
    path = str(field(piece, "json_path") or "")
    steps: list[int | str] = [
        int(one) if one.isdigit() else one.strip("'\"")
        for one in path.removeprefix("$").replace("[", ".").replace("]", "").split(".")
        if one
    ]
    value = next((one for one in (field(piece, name) for name in _VALUES) if one is not None), None)
    held: Any = arguments
    try:
        for number, step in enumerate(steps):
            last = number + 1 == len(steps)
            below: Any = value if last else [] if isinstance(steps[number + 1], int) else {}
            if isinstance(held, list) and isinstance(step, int) and step < _LONGEST:
                held.extend([None] * (step + 1 - len(held)))
                before = held[step]
            else:
                before = held.get(step)
            if last and isinstance(before, str) and isinstance(value, str):
                below = before + value
            elif not last and before is not None:
                below = before
            held[step] = below
            held = below
    except (AttributeError, TypeError):
        raise ProviderFailed("provider", f"no argument of a call is at {path[:80]!r}") from None
