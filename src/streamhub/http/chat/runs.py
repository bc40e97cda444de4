"""The name of one answer of a chat, for clients that ask for exactly that one again."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import quote, unquote

from ...chunks import SessionInfo
from ...stream import LiveStream

__all__ = ["RUN_HEADER", "Named", "is_run_of", "named_by", "run_id_of"]

#: In which each answer is named to who has asked for it.
RUN_HEADER = "x-workflow-run-id"

# The chat's id at its end, as a header can hold it.
_RUN = re.compile(r"run-([0-9a-f]{24})(?:\.([0-9]{1,9}))?:(.+)", re.ASCII)


class Named(NamedTuple):
    """What a client may name an answer by."""

    chat: str
    #: Of the one answer, if it is the name of one.
    mark: str | None = None
    #: After how many parts of it what the client follows begins.
    since: int = 0


def run_id_of(stream: LiveStream | SessionInfo, chat: str, since: int = 0) -> str:
    """What names the answer that a session of ``chat`` holds, and no other one of it."""
    after = f".{since}" if since else ""
    return f"run-{_mark(stream)}{after}:{quote(chat, safe='')}"


def named_by(name: str) -> Named:
    """What ``name`` means: a chat, or one answer in it."""
    match = _RUN.fullmatch(name)
    if match is None:
        return Named(name)
    return Named(unquote(match[3]), match[1], int(match[2] or 0))


def is_run_of(stream: LiveStream | SessionInfo, mark: str) -> bool:
    """Whether the session holds the answer that has this mark."""
    return mark == _mark(stream)


def _mark(stream: LiveStream | SessionInfo) -> str:
    names = f"{stream.session_id}\0{stream.stream_id}"
    return sha256(names.encode()).hexdigest()[:24]
