"""How a session stands, as JSON: over HTTP and on the command line."""

from __future__ import annotations

from typing import Any

from ..chunks import SessionInfo

__all__ = ["info_json"]


def info_json(info: SessionInfo) -> dict[str, Any]:
    """``info`` as what JSON can hold.

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
        "created": info.created,
        "error": info.error,
        "cancelling": info.cancelling,
        "metadata": info.metadata,
    }
