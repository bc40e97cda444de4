"""What a graph's checkpointer has of a thread."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ...wording import short
from ..problems import BadRequest, Problem
from .asked import checkpoint_of, object_of

__all__ = ["history_of", "metadata_of", "state_of"]

logger: logging.Logger = logging.getLogger("streamhub")


async def metadata_of(graph: Any, thread_id: str) -> Mapping[str, Any] | None:
    """Of the thread's last checkpoint; None where there is none.

    Read as it is stored: there are checkpoints of which a graph can make no state, since an input
    was no good. Whose the thread is, is known nevertheless, and its next run may mend it.
    """
    checkpointer = getattr(graph, "checkpointer", None)
    if not checkpointer:
        return None
    saved = await checkpointer.aget_tuple(_config(thread_id, {"checkpoint_ns": ""}))
    return None if saved is None else saved.metadata


async def state_of(
    graph: Any, thread_id: str, checkpoint: object = None, *, subgraphs: bool = False
) -> Any:
    """A ``StateSnapshot`` of the thread; an empty one where nothing is stored.

    :param checkpoint: which one of the thread: its id, or what a state says of it.
    :raises BadRequest: the graph keeps none, or cannot read what is stored.
    """
    if not getattr(graph, "checkpointer", None):
        raise BadRequest(Problem(409, "no_state", "the graph has no checkpointer"))
    config = _config(thread_id, checkpoint)
    try:
        return await graph.aget_state(config, subgraphs=subgraphs)
    except Exception as error:
        raise _unreadable(thread_id, error) from error


async def history_of(graph: Any, thread_id: str, body: dict[str, Any], *, limit: int) -> list[Any]:
    """The states of the thread, the newest first.

    :raises BadRequest: the body asks for what there cannot be, or the graph cannot read them.
    """
    before = body.get("before")
    if isinstance(before, dict):
        before = before.get("configurable", before)
    asked = {
        "config": _config(thread_id, body.get("checkpoint")),
        "filter": object_of(body, "metadata") or None,
        "before": None if before is None else _config(thread_id, before),
    }
    if not getattr(graph, "checkpointer", None):
        return []
    try:
        return [one async for one in graph.aget_state_history(**asked, limit=limit)]
    except Exception as error:
        raise _unreadable(thread_id, error) from error


def _config(thread_id: str, checkpoint: object = None) -> dict[str, Any]:
    stated = checkpoint if isinstance(checkpoint, dict) else {"checkpoint_id": checkpoint}
    return {"configurable": {**checkpoint_of(stated), "thread_id": thread_id}}


def _unreadable(thread_id: str, error: Exception) -> BadRequest:
    logger.warning("a state of thread %s cannot be read", short(thread_id), exc_info=error)
    detail = f"the graph can make no state of what is stored of thread {short(thread_id)}"
    return BadRequest(Problem(409, "unreadable_state", detail))
