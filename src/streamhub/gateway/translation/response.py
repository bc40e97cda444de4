"""A Response before anything is answered: what its request says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["new_response"]

_DEFAULTS: dict[str, Any] = {
    "background": False,
    "frequency_penalty": 0.0,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


def new_response(request: Mapping[str, Any], response_id: str, created_at: int) -> dict[str, Any]:
    """A Response ``in_progress`` with all that clients expect of one.

    :param created_at: seconds since 1970.
    """
    echoed = {
        name: default if request.get(name) is None else request[name]
        for name, default in _DEFAULTS.items()
    }
    # Whatever the request holds: who is asked refuses it, if anybody does.
    reasoning, text, tools = (request.get(name) for name in ("reasoning", "text", "tools"))
    reasoning = reasoning if isinstance(reasoning, Mapping) else {}
    text = text if isinstance(text, Mapping) else {}
    tools = tools if isinstance(tools, list) else []
    return {
        "id": response_id,
        "object": "response",
        "created_at": created_at,
        "status": "in_progress",
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "model": request.get("model"),
        "output": [],
        "usage": None,
        **echoed,
        "reasoning": {"effort": None, "summary": None, **reasoning},
        "text": {"format": {"type": "text"}, **text},
        "tools": [_tool(tool) for tool in tools],
    }


def _tool(tool: Any) -> Any:
    """With what a function has without its being said."""
    if not isinstance(tool, Mapping) or tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, "strict": None, **tool}
