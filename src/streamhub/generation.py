"""Generations are UUIDs of version 7: unique, and in the order of their making (RFC 9562, 5.7)."""

from __future__ import annotations

import secrets
import time
from uuid import UUID

__all__ = ["new_generation"]


def new_generation() -> str:
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & (1 << 48) - 1) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return str(UUID(int=value))
