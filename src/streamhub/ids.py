"""The names of things: session ids as users choose them, generations as we make them."""

from __future__ import annotations

import time
from os import urandom
from uuid import UUID

from .errors import InvalidSessionId

__all__ = [
    "check_owner",
    "check_request",
    "check_session_id",
    "is_text",
    "message_token",
    "new_generation",
]

_LONGEST_ID = 512


def check_session_id(session_id: object) -> None:
    """:raises InvalidSessionId: not 1 to 512 bytes of UTF-8 without control characters."""
    if not isinstance(session_id, str):
        raise InvalidSessionId(session_id, f"is not text but {type(session_id).__name__}")
    if not session_id:
        raise InvalidSessionId(session_id, "is empty")
    if not is_text(session_id):
        raise InvalidSessionId(session_id, "holds a lone surrogate, which UTF-8 cannot")
    if (size := len(session_id.encode())) > _LONGEST_ID:
        raise InvalidSessionId(session_id, f"is {size:,} bytes long")
    if any(sign < " " or "\x7f" <= sign < "\xa0" for sign in session_id):
        raise InvalidSessionId(session_id, "holds a control character")


def check_owner(owner: object) -> None:
    """:raises ValueError: not text of at most 512 bytes of UTF-8: listings hold many of them."""
    _check_short("owner", owner)


def check_request(request: object) -> None:
    """:raises ValueError: not text of at most 512 bytes of UTF-8: it is read with each look."""
    _check_short("request", request)


def _check_short(name: str, value: object) -> None:
    if not isinstance(value, str) or not is_text(value):
        raise ValueError(f"{name} must be text that UTF-8 can hold, not {value!r:.80}")
    if (size := len(value.encode())) > _LONGEST_ID:
        raise ValueError(f"{name} must be at most {_LONGEST_ID} bytes of UTF-8, not {size:,}")


def new_generation() -> str:
    """A UUID of version 7: unique, and in the order of their making (RFC 9562, 5.7)."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & (1 << 48) - 1) << 80 | int.from_bytes(urandom(10), "big")
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return str(UUID(int=value))


def message_token(key: str | None = None) -> str:
    """What tells a message from all others: by chance, or made of ``key`` and always the same."""
    if key is None:
        return urandom(12).hex()
    from hashlib import sha256  # loads OpenSSL, for the few messages that have a key

    return sha256(key.encode()).hexdigest()[:32]


def is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
