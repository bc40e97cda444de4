"""The reason of an end, as it is stored and told."""

from __future__ import annotations

from .errors import ProviderFailed

__all__ = ["describe", "storable"]

# What is kept of an error's message, in characters.
_LONGEST = 4096


def describe(error: BaseException | str) -> str:
    """What subscribers are told of an error: its type and message, or its kind and message."""
    if isinstance(error, str):
        return storable(error)
    message = str(error)
    if isinstance(error, ProviderFailed):
        return storable(message)
    return storable(f"{type(error).__name__}: {message}" if message else type(error).__name__)


def storable(text: str) -> str:
    """``text`` as it can be stored: UTF-8, and of a bounded length."""
    return text[:_LONGEST].encode(errors="backslashreplace").decode()
