"""Runs, threads and states as the JSON that LangGraph's clients know."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from ...chunks import SessionInfo, Status
from ...formats.langgraph import run_status
from ..problems import NOT_STORED, BadRequest, Problem
from .dumping import dumped

__all__ = ["answered", "run_json", "state_json", "thread_json"]


def answered(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """:raises BadRequest: it holds what JSON cannot."""
    try:
        body = dumped(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRequest(
            Problem(409, "unreadable_state", f"JSON cannot hold it: {error}")
        ) from None
    return Response(
        body,
        status_code=status,
        headers={**NOT_STORED, **(headers or {})},
        media_type="application/json",
    )


def run_json(thread_id: str, run_id: str, info: SessionInfo) -> dict[str, Any]:
    stated = info.metadata if isinstance(info.metadata, dict) else {}
    return {
        "run_id": run_id,
        "thread_id": thread_id,
        "assistant_id": stated.get("assistant_id"),
        "created_at": _time(info.created),
        "updated_at": _time(info.updated),
        "status": run_status(info.status),
        "metadata": stated.get("metadata", {}),
        "multitask_strategy": stated.get("multitask_strategy"),
    }


def thread_json(
    thread_id: str, info: SessionInfo | None, state: Any | None, metadata: Any = None
) -> dict[str, Any]:
    """
    :param info: of the session of the thread's runs; None where there was none of late.
    :param state: the graph's; None where it keeps none.
    """
    now = datetime.now(UTC).isoformat()
    interrupts = {} if state is None else {one.id: one.interrupts for one in state.tasks}
    interrupts = {task: waiting for task, waiting in interrupts.items() if waiting}
    status = "idle" if info is None else _THREAD_STATUSES.get(info.status, "idle")
    if status == "idle" and interrupts:
        status = "interrupted"
    return {
        "thread_id": thread_id,
        "created_at": (info and _time(info.created)) or now,
        "updated_at": (info and _time(info.updated)) or (state and state.created_at) or now,
        "metadata": metadata or {},
        "status": status,
        "values": (state and state.values) or None,
        "interrupts": interrupts,
    }


def state_json(state: Any) -> dict[str, Any]:
    """
    :param state: a ``StateSnapshot`` of LangGraph's.
    """
    return {
        "values": state.values,
        "next": state.next,
        "checkpoint": _checkpoint(state.config),
        "metadata": state.metadata or {},
        "created_at": state.created_at,
        "parent_checkpoint": _checkpoint(state.parent_config),
        "tasks": [_task(one) for one in state.tasks],
        "interrupts": getattr(state, "interrupts", ()),
    }


_THREAD_STATUSES = {Status.ACTIVE: "busy", Status.FAILED: "error", Status.LOST: "error"}


def _task(task: Any) -> dict[str, Any]:
    state = task.state
    nested = state if isinstance(state, dict) or state is None else None
    return {
        "id": task.id,
        "name": task.name,
        "path": task.path,
        "error": None if task.error is None else str(task.error),
        "interrupts": task.interrupts,
        "checkpoint": _checkpoint(nested),
        "state": None if nested is not None or state is None else state_json(state),
        "result": getattr(task, "result", None),
    }


def _checkpoint(config: Any) -> dict[str, Any] | None:
    if not config:
        return None
    found = config.get("configurable", {})
    return {
        "thread_id": found.get("thread_id"),
        "checkpoint_ns": found.get("checkpoint_ns", ""),
        "checkpoint_id": found.get("checkpoint_id"),
        "checkpoint_map": found.get("checkpoint_map"),
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
