"""The name of every key and channel, the same on one server and in a cluster.

    <prefix>{<session>}:meta  :chunks  :removed  :ends          keys
    <prefix>{<session>}:meta:<generation>  and so on             of a stream that is set aside
    <prefix>{<session>}:live  :cancel  :inbox                   channels
    <prefix>index:{<shard>}:sessions  :feeds                    keys
    <prefix>index:{<shard>}:owner:<owner>:sessions               keys, as the two that follow
    <prefix>index:{<shard>}:feed:<feed>:due  :dead
    <prefix>index:{<shard>}:news                                channel

A cluster puts a key on the slot of what stands between its first ``{`` and the next ``}``. The
prefix holds no braces, so that this is the session's id, or the part of it in front of its first
``}``: the same for all six. Only an id that begins with ``}`` would leave nothing between them,
and scatter its keys. Its first character is written as U+001D, the control character of that key:
no id holds one, so that no two sessions share a name. (The Go library, which does not do so, meets
all other sessions.) What belongs to the index has no brace after the prefix, so that no session can
have its name.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["META_SUFFIX", "IndexKeys", "Keys", "keys_of_append", "meta_pattern", "session_of"]

META_SUFFIX = "}:meta"
_BRACE, _WRITTEN = "}", "\x1d"


class Keys(NamedTuple):
    """What one session has in Redis: two keys, what has become of its end in each feed, a tombstone
    after a removal, and three channels."""

    meta: str
    chunks: str
    removed: str
    ends: str
    live: str
    cancel: str
    inbox: str

    @classmethod
    def of(cls, prefix: str, session_id: str) -> Keys:
        tag = _tag(prefix, session_id)
        return cls(
            f"{tag}:meta", f"{tag}:chunks", f"{tag}:removed", f"{tag}:ends", f"{tag}:live",
            f"{tag}:cancel", f"{tag}:inbox",
        )  # fmt: skip

    def of_stream(self, aside: str | None) -> tuple[str, str, str]:
        """``meta``, ``chunks`` and ``ends`` of the stream that the claim of this generation has set
        aside; None: of the one that has the session now."""
        kept = (self.meta, self.chunks, self.ends)
        return kept if aside is None else tuple(f"{key}:{aside}" for key in kept)  # type: ignore[return-value]


class IndexKeys(NamedTuple):
    """What one shard of the index has: the sessions that are there, and the known feeds."""

    tag: str
    sessions: str
    feeds: str
    news: str

    @classmethod
    def of(cls, prefix: str, shard: int) -> IndexKeys:
        tag = f"{prefix}index:{{{shard}}}"
        return cls(tag, f"{tag}:sessions", f"{tag}:feeds", f"{tag}:news")

    def of_owner(self, owner: str | None) -> str:
        """The sessions of one owner; of all, where that is None."""
        return self.sessions if owner is None else f"{self.tag}:owner:{owner}:sessions"

    def due(self, feed: str) -> str:
        """The schedule of a feed."""
        return f"{self.tag}:feed:{feed}:due"

    def dead(self, feed: str) -> str:
        """What the feed has given up."""
        return f"{self.tag}:feed:{feed}:dead"


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
