"""The name of every key and channel, the same on one server and in a cluster.

    <prefix>{<session>}:meta  :chunks  :removed     keys
    <prefix>{<session>}:live  :cancel  :inbox       channels

A cluster puts a key on the slot of what stands between its first ``{`` and the next ``}``. The
prefix holds no braces, so that this is the session's id, or the part of it in front of its first
``}``: the same for all six. Only an id that begins with ``}`` would leave nothing between them,
and scatter its keys. Its first character is written as U+001D, the control character of that key:
no id holds one, so that no two sessions share a name. (The Go library, which does not do so, meets
all other sessions.)
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["META_SUFFIX", "Keys", "keys_of_append", "meta_pattern", "session_of"]

META_SUFFIX = "}:meta"
_BRACE, _WRITTEN = "}", "\x1d"


class Keys(NamedTuple):
    """What one session has in Redis: two keys, a tombstone after a removal, and three channels."""

    meta: str
    chunks: str
    removed: str
    live: str
    cancel: str
    inbox: str

    @classmethod
    def of(cls, prefix: str, session_id: str) -> Keys:
        tag = _tag(prefix, session_id)
        return cls(
            f"{tag}:meta",
            f"{tag}:chunks",
            f"{tag}:removed",
            f"{tag}:live",
            f"{tag}:cancel",
            f"{tag}:inbox",
        )


def keys_of_append(prefix: str, session_id: str) -> tuple[str, str, str]:
    """Of its ``Keys`` what each chunk needs: ``meta``, ``chunks`` and ``live``. With many sessions
    they are made in less time than it takes to fetch them from memory."""
    tag = _tag(prefix, session_id)
    return f"{tag}:meta", f"{tag}:chunks", f"{tag}:live"


def _tag(prefix: str, session_id: str) -> str:
    if session_id[0] == _BRACE:
        session_id = _WRITTEN + session_id[1:]
    return f"{prefix}{{{session_id}}}"


def meta_pattern(prefix: str) -> str:
    """What ``SCAN`` finds all sessions by."""
    escaped = "".join(f"\\{sign}" if sign in "*?[]^-\\" else sign for sign in prefix)
    return f"{escaped}{{*{META_SUFFIX}"


def session_of(prefix: str, meta_key: str) -> str | None:
    """The session whose meta key this is; None if it is no such key."""
    start = f"{prefix}{{"
    if not meta_key.startswith(start) or not meta_key.endswith(META_SUFFIX):
        return None
    written = meta_key[len(start) : -len(META_SUFFIX)]
    if not written or written[0] == _BRACE:
        return None
    return _BRACE + written[1:] if written[0] == _WRITTEN else written
