"""A request of the Responses API as one of Chat Completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .items import Item, Untranslatable, input_items, shown
from .messages import messages

__all__ = ["chat_request"]

#: What both dialects call the same, and mean by it the same.
_SAME = (
    "model",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "prompt_cache_key",
    "safety_identifier",
    "service_tier",
    "user",
)
#: What is the gateway's business, or nobody's where the provider runs no tools of its own.
_OURS = (
    "background",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "store",
    "stream",
    "stream_options",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "truncation",
)
#: What would be silently something else.
_REFUSED = (
    "background_options",
    "context_management",
    "conversation",
    "image",
    "messages",
    "moderation",
    "n",
    "prompt",
)
#: Of those of which more is read than whether they are there.
_TYPES: dict[str, tuple[type, str]] = {
    "include": (list, "a list"),
    "reasoning": (dict, "an object"),
    "text": (dict, "an object"),
    "tools": (list, "a list"),
}
_LOGPROBS = "message.output_text.logprobs"


def chat_request(
    request: Mapping[str, Any], earlier: Sequence[Item] = (), named: Sequence[Item] = ()
) -> dict[str, Any]:
    """What to ask of ``/v1/chat/completions``, streamed and with its usage at the end.

    Parameters that neither dialect knows go to the upstream as they are: ``seed``, ``top_k``, and
    whatever else its server is told by.

    :param earlier: the items before those of the request, for ``previous_response_id``: what was
        asked and answered, the oldest first.
    :param named: items of responses that the request names by ``item_reference``
        (:func:`~streamhub.gateway.translation.named_responses`).
    :raises Untranslatable: a parameter has no counterpart there.
    """
    for name in _REFUSED:
        if request.get(name) is not None:
            raise _unsupported(name)
    if request.get("truncation") not in (None, "disabled"):
        raise _unsupported("truncation", request["truncation"], "disabled")
    if not isinstance(request.get("model"), str):
        raise Untranslatable("model is missing", "model", "missing_required_parameter")
    for name, (kind, wanted) in _TYPES.items():
        _check(request.get(name), name, kind, wanted)
    same = {name: request[name] for name in _SAME if request.get(name) is not None}
    foreign = {
        name: value for name, value in request.items() if name not in (*_SAME, *_OURS, *_REFUSED)
    }
    chat = _chat(request, earlier, named)
    if not chat:
        raise Untranslatable("input is missing", "input", "missing_required_parameter")
    return {
        **same,
        **foreign,
        "messages": chat,
        **_limits(request),
        **_format(request),
        **_tools(request),
        **_logprobs(request),
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def _chat(
    request: Mapping[str, Any], earlier: Sequence[Item], named: Sequence[Item]
) -> list[dict[str, Any]]:
    own = [_given(item, number, named) for number, item in enumerate(input_items(request))]
    chat = messages([*earlier, *own], own=len(earlier))
    instructions = request.get("instructions")
    if isinstance(instructions, str) and instructions:
        # Those of this request alone: they are not carried over from the response before.
        chat.insert(0, {"role": "system", "content": instructions})
    elif instructions:
        raise Untranslatable(
            f"instructions is a text, not {shown(instructions)}", "instructions", "invalid_type"
        )
    return chat


def _given(item: Item, number: int, named: Sequence[Item]) -> Item:
    if item.get("type") != "item_reference":
        return item
    for one in named:
        if one.get("id") == item.get("id"):
            return one
    raise Untranslatable(
        f"Item with id {shown(item.get('id'))} not found.", f"input[{number}].id", "item_not_found"
    )


def _limits(request: Mapping[str, Any]) -> dict[str, Any]:
    asked: dict[str, Any] = {}
    if request.get("max_output_tokens") is not None:
        # Its newer name is known to few of those who speak nothing but this.
        asked["max_tokens"] = request["max_output_tokens"]
    reasoning = request.get("reasoning") or {}
    if reasoning.get("effort") is not None:
        asked["reasoning_effort"] = reasoning["effort"]
    return asked


def _format(request: Mapping[str, Any]) -> dict[str, Any]:
    text = request.get("text") or {}
    asked: dict[str, Any] = {}
    if text.get("verbosity") is not None:
        asked["verbosity"] = text["verbosity"]
    _check(text.get("format"), "text.format", dict, "an object")
    format = text.get("format") or {"type": "text"}  # noqa: A001 - the name that they give it
    match format.get("type"):
        case "text":
            pass
        case "json_object":
            asked["response_format"] = {"type": "json_object"}
        case "json_schema":
            names = ("name", "description", "schema", "strict")
            schema = {name: format[name] for name in names if format.get(name) is not None}
            asked["response_format"] = {"type": "json_schema", "json_schema": schema}
        case kind:
            raise _unsupported("text.format.type", kind, "text, json_object, json_schema")
    return asked


def _tools(request: Mapping[str, Any]) -> dict[str, Any]:
    given = request.get("tools") or []
    tools = [_tool(tool, number) for number, tool in enumerate(given)]
    choice, tools = _choice(request.get("tool_choice"), tools)
    if not tools:
        return {}  # servers refuse a choice, or an empty list, without any
    asked: dict[str, Any] = {"tools": tools}
    if choice is not None:
        asked["tool_choice"] = choice
    if request.get("parallel_tool_calls") is not None:
        asked["parallel_tool_calls"] = request["parallel_tool_calls"]
    return asked


def _tool(tool: Any, number: int) -> dict[str, Any]:
    if not isinstance(tool, Mapping) or tool.get("type") != "function":
        kind = tool.get("type") if isinstance(tool, Mapping) else tool
        raise _unsupported(f"tools[{number}].type", kind, "function")
    names = ("name", "description", "parameters", "strict")
    function = {name: tool[name] for name in names if tool.get(name) is not None}
    return {"type": "function", "function": function}


def _choice(choice: Any, tools: list[dict[str, Any]]) -> tuple[Any, list[dict[str, Any]]]:
    match choice:
        case None | "auto" | "none" | "required":
            return choice, tools
        case {"type": "function", "name": name}:
            return {"type": "function", "function": {"name": name}}, tools
        case {"type": "allowed_tools", "tools": [*allowed]}:
            names = [one.get("name") for one in allowed if isinstance(one, Mapping)]
            left = [tool for tool in tools if tool["function"].get("name") in names]
            return choice.get("mode", "auto"), left
    kind = choice.get("type") if isinstance(choice, Mapping) else choice
    allows = "none, auto, required, function, allowed_tools"
    raise _unsupported("tool_choice", kind, allows)


def _logprobs(request: Mapping[str, Any]) -> dict[str, Any]:
    count = request.get("top_logprobs")
    if not count and _LOGPROBS not in (request.get("include") or ()):
        return {}
    return {"logprobs": True, **({"top_logprobs": count} if count else {})}


def _check(value: Any, param: str, kind: type, wanted: str) -> None:
    if value is not None and not isinstance(value, kind):
        told = f"{param} is {wanted}, not {shown(value)}"
        raise Untranslatable(told, param, "invalid_type")


def _unsupported(param: str, value: Any = None, allowed: str = "") -> Untranslatable:
    speaks = "the upstream, which speaks Chat Completions,"
    if not allowed:
        told = f"{param} is not supported: {speaks} has nothing like it"
        return Untranslatable(told, param, "unsupported_parameter")
    return Untranslatable(f"{param} is {shown(value)}, but {speaks} takes {allowed}", param)
