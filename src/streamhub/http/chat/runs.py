"""The name of one answer of a chat, for clients that ask for exactly that one again."""

from __future__ import annotations

import re
from hashlib import sha256
from urllib.parse import quote, unquote

from ...chunks import SessionInfo
from ...stream import LiveStream

__all__ = ["RUN_HEADER", "chat_of", "is_run_of", "run_id_of"]

#: In which each answer is named to who has asked for it.
RUN_HEADER = "x-workflow-run-id"

# The chat's id at its end, as a header can hold it.
_RUN = re.compile(r"run-([0-9a-f]{24}):(.+)", re.ASCII)


def run_id_of(stream: LiveStream | SessionInfo, chat: str) -> str:
    """What names the answer that a session of ``chat`` holds, and no other one of it."""
    return f"run-{_mark(stream)}:{quote(chat, safe='')}"


def chat_of(name: str) -> tuple[str, str | None]:
    """The chat that ``name`` means, and the mark of the one answer if it is the name of one."""
    match = _RUN.fullmatch(name)
    return (name, None) if match is None else (unquote(match[2]), match[1])


def is_run_of(stream: LiveStream | SessionInfo, mark: str) -> bool:
    """Whether the session holds the answer that has this mark."""
    return mark == _mark(stream)


def _mark(stream: LiveStream | SessionInfo) -> str:
    names = f"{stream.session_id}\0{stream.stream_id}"
    return sha256(names.encode()).hexdigest()[:24]
