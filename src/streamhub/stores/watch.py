"""A running watch, of whatever a store tells live."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Watch"]


class Watch(Protocol):
    """A running watch; ends with ``close()``, after which the sink is not called again."""

    def close(self) -> None: ...
