"""What the events of an answer are together: its Response object, and the events of an end that
the upstream did not tell. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from .asked import Asked, Facts

__all__ = ["TERMINAL", "Told", "began", "endings", "folded", "told"]

#: The events after which nothing comes.
TERMINAL = frozenset({"response.completed", "response.failed", "response.incomplete"})

# What stands in a Response beside its own facts, as in the request or by default.
_ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": None,
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
}
# Which delta grows what of an item, of its part, or of its summary.
_OF_ITEM = {
    "response.function_call_arguments.delta": "arguments",
    "response.mcp_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
    "response.code_interpreter_call_code.delta": "code",
}
_OF_PART = {
    "response.output_text.delta": ("content", "text"),
    "response.refusal.delta": ("content", "refusal"),
    "response.reasoning_text.delta": ("content", "text"),
    "response.reasoning_summary_text.delta": ("summary", "text"),
}
_PARTS = {
    "response.content_part.added": "content",
    "response.content_part.done": "content",
    "response.reasoning_summary_part.added": "summary",
    "response.reasoning_summary_part.done": "summary",
}


class _Response(msgspec.Struct):
    id: str | None = None
    status: str | None = None
    background: bool | None = None
    error: Any = None


class Told(msgspec.Struct):
    """What the gateway reads of an event of the upstream."""

    type: str
    sequence_number: int | None = None
    response: _Response | None = None

    @property
    def is_last(self) -> bool:
        return self.type in TERMINAL


told = msgspec.json.Decoder(Told).decode


def began(response_id: str, facts: Facts, asked: Asked | None, status: str) -> dict[str, Any]:
    """The Response of an answer of which the upstream has said nothing."""
    request = {} if asked is None else asked.values()
    echoed = {name: request.get(name, default) for name, default in _ECHOED.items()}
    return {
        "id": response_id,
        "object": "response",
        "created_at": facts.created,
        "status": status,
        "background": facts.background,
        "error": None,
        "incomplete_details": None,
        "model": facts.model or "",
        "output": [],
        "usage": None,
        **echoed,
        "previous_response_id": facts.previous,
        "store": facts.store,
    }


def folded(events: Iterable[str]) -> dict[str, Any] | None:
    """The Response that the events have made so far; None where none of them has told any of it."""
    response: dict[str, Any] | None = None
    items: dict[int, dict[str, Any]] = {}
    for data in events:
        event = msgspec.json.decode(data)
        kind = event.get("type")
        if isinstance(whole := event.get("response"), dict):
            response = whole
            if kind in TERMINAL:
                return response
            continue
        index = event.get("output_index")
        if kind in ("response.output_item.added", "response.output_item.done"):
            if isinstance(item := event.get("item"), dict) and isinstance(index, int):
                items[index] = item
        elif index in items:
            _grow(items[index], kind, event)
    if response is not None and items:
        response = {**response, "output": [items[index] for index in sorted(items)]}
    return response


def _grow(item: dict[str, Any], kind: str, event: dict[str, Any]) -> None:
    if kind in _OF_ITEM:
        name = _OF_ITEM[kind]
        item[name] = f"{item.get(name) or ''}{event.get('delta') or ''}"
    elif kind in _PARTS and isinstance(part := event.get("part"), dict):
        parts = item.setdefault(_PARTS[kind], [])
        at = event.get("content_index", event.get("summary_index"))
        if isinstance(at, int) and 0 <= at <= len(parts):
            parts[at : at + 1] = [part]
    elif kind in _OF_PART:
        where, name = _OF_PART[kind]
        parts = item.get(where) or []
        at = event.get("content_index", event.get("summary_index"))
        if isinstance(at, int) and 0 <= at < len(parts):
            parts[at][name] = f"{parts[at].get(name) or ''}{event.get('delta') or ''}"
    elif kind == "response.output_text.annotation.added":
        parts, at = item.get("content") or [], event.get("content_index")
        if isinstance(at, int) and 0 <= at < len(parts):
            parts[at].setdefault("annotations", []).append(event.get("annotation"))


def endings(
    response: dict[str, Any] | None,
    begun: dict[str, Any],
    *,
    code: str | None = None,
    message: str | None = None,
) -> list[tuple[str, str]]:
    """The last events, type and data of each, of an answer whose end the upstream did not tell;
    as failed with a ``code``, and without one as cancelled.

    There is no event of a cancel: ``response.incomplete`` ends the stream for every client, and its
    Response says ``cancelled``.

    :param response: what was told so far; None where nothing was.
    :param begun: what it is then.
    """
    said: list[dict[str, Any]] = []
    if response is None:
        response = begun
        said.append({"type": "response.created", "response": begun})
    output = [_ended(item) for item in response.get("output") or []]
    if code is None:
        over = {**response, "status": "cancelled", "output": output}
        said.append({"type": "response.incomplete", "response": over})
    else:
        known = "rate_limit_exceeded" if code == "rate_limit_exceeded" else "server_error"
        error = {"code": known, "message": message}
        over = {**response, "status": "failed", "error": error, "output": output}
        said.append({"type": "error", "code": code, "message": message, "param": None})
        said.append({"type": "response.failed", "response": over})
    return [(one["type"], msgspec.json.encode(one).decode()) for one in said]


def _ended(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "status": "incomplete"} if item.get("status") == "in_progress" else item
