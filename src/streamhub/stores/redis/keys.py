"""The name of every key and channel. The braces keep a session on one slot of a cluster."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["META_SUFFIX", "Keys", "meta_pattern", "session_of"]

META_SUFFIX = "}:meta"


class Keys(NamedTuple):
    """What one session has in Redis: two keys, a tombstone after a removal, and two channels."""

    meta: str
    chunks: str
    removed: str
    live: str
    cancel: str

    @classmethod
    def of(cls, prefix: str, session_id: str) -> Keys:
        tag = f"{prefix}{{{session_id}}}"
        return cls(f"{tag}:meta", f"{tag}:chunks", f"{tag}:removed", f"{tag}:live", f"{tag}:cancel")


def meta_pattern(prefix: str) -> str:
    """What ``SCAN`` finds all sessions by."""
    escaped = "".join(f"\\{sign}" if sign in "*?[]^-\\" else sign for sign in prefix)
    return f"{escaped}{{*{META_SUFFIX}"


def session_of(prefix: str, meta_key: str) -> str | None:
    """The session whose meta key this is; None if it is no such key."""
    start = f"{prefix}{{"
    if not meta_key.startswith(start) or not meta_key.endswith(META_SUFFIX):
        return None
    return meta_key[len(start) : -len(META_SUFFIX)] or None
