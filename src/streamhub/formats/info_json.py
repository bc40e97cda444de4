"""How a session stands, and how it ended, as JSON: over HTTP and on the command line."""

from __future__ import annotations

from typing import Any

from ..chunks import SessionInfo
from ..end import End

__all__ = ["end_json", "info_json"]


def info_json(info: SessionInfo) -> dict[str, Any]:
    """``info`` as what JSON can hold, but for ``host``: browsers need not know that.

    ``cursor`` is the newest chunk's; ``chunks`` is how many there are, None for a session of the Go
    library, which does not count them.
    """
    return {
        "session_id": info.session_id,
        "status": info.status.value,
        "generation": info.generation,
        "replaced": info.replaced,
        "epoch": info.epoch,
        "cursor": str(info.last),
        "chunks": info.chunks,
        "base": info.base,
        "bytes": info.bytes,
        "lease": info.lease,
        "owner": info.owner,
        "traceparent": info.traceparent,
        "created": info.created,
        "updated": info.updated,
        "ended": info.ended,
        "resumes": info.resumes,
        "subscribers": info.subscribers,
        "error": info.error,
        "cancelling": info.cancelling,
        "metadata": info.metadata,
    }


def end_json(end: End) -> dict[str, Any]:
    """``end`` as what JSON can hold; ``events`` are objects of ``event`` and ``data``."""
    return {
        "key": end.key,
        "session_id": end.session_id,
        "generation": end.generation,
        "epoch": end.epoch,
        "status": end.status.value,
        "reason": end.reason,
        "message": end.message.to_dict(),
        "text": end.text,
        "events": [{"event": event, "data": data} for event, data in end.events],
        "owner": end.owner,
        "metadata": end.metadata,
        "started": end.started,
        "ended": end.ended,
        "chunks": end.chunks,
        "bytes": end.bytes,
    }
