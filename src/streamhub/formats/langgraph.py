"""A run of a LangGraph graph, as its server streams it: events named after stream modes.

Read in the clients ``langgraph-sdk`` 0.4.14 (Python) and ``@langchain/langgraph-sdk`` 1.15.0.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ..chunks import Chunk, Cursor, SessionInfo, Status
from .format import Ending
from .json_text import encode as encode_json
from .sse import HEARTBEAT, SSE, encode

__all__ = ["METADATA_EVENT", "RunEvents", "run_status"]

#: The first event of a run: says which one it is.
METADATA_EVENT = "metadata"

_STATUSES = {
    Status.ACTIVE: "running",
    Status.FINISHED: "success",
    Status.CANCELLED: "interrupted",
    Status.FAILED: "error",
    Status.LOST: "error",
}


def run_status(status: Status) -> str:
    """What LangGraph calls it."""
    return _STATUSES[status]


class RunEvents:
    """See :class:`Format`. Each chunk is one event, with its event type as the name and its cursor
    as the id. What ends quietly says ``end``, with how as JSON; all else says ``error``.

    :param modes: of which stream modes the client wants events; None for all.
    """

    name = "langgraph"
    media_type: str = SSE.media_type
    heartbeat = HEARTBEAT
    explicit = True
    over = False

    def __init__(self, run_id: str, modes: Collection[str] | None = None) -> None:
        self._run_id = run_id
        self._events = None if modes is None else {METADATA_EVENT, *map(event_of, modes)}
        self.stateless: bool = modes is None

    def begin(self, info: SessionInfo) -> bytes:
        return b""

    def chunk(self, chunk: Chunk) -> bytes:
        if self._events is not None and _root(chunk.event or "") not in self._events:
            return b""
        return SSE.chunk(chunk)

    def reset(self, cursor: Cursor) -> bytes | None:
        return None

    def end(self, ending: Ending) -> bytes:
        facts: dict[str, Any]
        if ending.quiet:
            facts = {"run_id": self._run_id, "status": run_status(Status(ending.status))}
        else:
            kind, _, message = (ending.error or "").partition(": ")
            named = message and kind.isidentifier()
            facts = {
                "error": kind if named else ending.status,
                "message": message if named else ending.error,
            }
        cursor = None if ending.cursor is None else str(ending.cursor)
        event = "end" if ending.quiet else "error"
        return encode(encode_json(facts).decode(), event=event, id=cursor)


def event_of(mode: str) -> str:
    """The name that events of a stream mode begin with."""
    return "messages" if mode == "messages-tuple" else mode


def _root(event: str) -> str:
    """``messages`` of ``messages/partial|tools:1``."""
    return event.partition("|")[0].partition("/")[0]
