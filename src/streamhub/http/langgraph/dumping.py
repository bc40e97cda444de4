"""What a graph streams, as the JSON that LangGraph's server makes of it."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["dumped"]


def dumped(value: Any) -> str:
    """``value`` as JSON: messages and other pydantic models as they dump themselves.

    :raises TypeError: it holds what JSON cannot.
    """
    return msgspec.json.encode(value, enc_hook=_plain).decode()


def _plain(value: Any) -> Any:
    for name in ("model_dump", "dict", "_asdict"):
        dump = getattr(value, name, None)
        if callable(dump) and not isinstance(value, type):
            return dump()
    if isinstance(value, BaseException):
        return {"error": type(value).__name__, "message": str(value)}
    raise TypeError(f"a graph may stream what JSON can hold, not {type(value).__qualname__}")
