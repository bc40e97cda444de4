"""Items of the Responses API as messages of a chat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .items import Item, Untranslatable, shown

__all__ = ["messages"]

#: `developer` is what only OpenAI's own models know.
_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_ITEMS = ("message", "function_call", "function_call_output", "reasoning", "item_reference")


def messages(items: Sequence[Item], *, own: int = 0) -> list[dict[str, Any]]:
    """The chat that these items are.

    What a model says and calls in a row is one message. What it thought goes back with its calls
    as long as the user has said nothing since: models that think between calls want it, and others
    refuse it.

    :param own: from which index on the items are the request's own; errors count from there.
    :raises Untranslatable: an item has no counterpart in a chat.
    """
    last = max((at for at, one in enumerate(items) if one.get("role") == "user"), default=-1)
    chat: list[dict[str, Any]] = []
    thought: str | None = None
    for at, item in enumerate(items):
        where = f"input[{at - own}]"
        match item.get("type", "message"):
            case "message":
                message = _message(item, where)
                if message["role"] == "assistant" and _is_open(chat):
                    # Its calls came first, or it spoke in several items.
                    said = [chat[-1].get("content"), message["content"]]
                    chat[-1]["content"] = "\n\n".join(one for one in said if one)
                else:
                    chat.append(message)
            case "function_call":
                if not _is_open(chat):
                    chat.append({"role": "assistant", "content": None})
                if thought and at > last:
                    chat[-1]["reasoning_content"] = thought
                chat[-1].setdefault("tool_calls", []).append(_call(item, where))
                thought = None
            case "function_call_output":
                output = _text_of(item.get("output"), f"{where}.output")
                call_id = _text(item, "call_id", where)
                chat.append({"role": "tool", "tool_call_id": call_id, "content": output})
            case "reasoning":
                thought = _thought(item)
            case kind:
                raise _refused(kind, _ITEMS, f"{where}.type", "an item")
    return chat


def _is_open(chat: list[dict[str, Any]]) -> bool:
    return bool(chat) and chat[-1]["role"] == "assistant"


def _message(item: Item, where: str) -> dict[str, Any]:
    role = item.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise _refused(role, tuple(_ROLES), f"{where}.role", "the role of a message")
    content = item.get("content")
    if role != "user":
        between = "" if role == "assistant" else "\n"
        return {"role": _ROLES[role], "content": _text_of(content, f"{where}.content", between)}
    if isinstance(content, list):
        parts = [_part(part, f"{where}.content[{n}]") for n, part in enumerate(content)]
        # A text alone is what every server understands.
        content = parts[0]["text"] if [one["type"] for one in parts] == ["text"] else parts
    elif not isinstance(content, str):
        raise _wrong(content, f"{where}.content", "a text or a list of parts")
    return {"role": "user", "content": content}


def _part(part: Any, where: str) -> dict[str, Any]:
    if not isinstance(part, Mapping):
        raise _wrong(part, where, "a part of a message")
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            return {"type": "text", "text": _text(part, "text", where)}
        case "input_image":
            if part.get("image_url") is None:
                raise _no_counterpart(f"{where}.file_id", "an image by the id of its file")
            shows = {"url": _text(part, "image_url", where)}
            if part.get("detail") is not None:
                shows["detail"] = part["detail"]
            return {"type": "image_url", "image_url": shows}
        case "input_file":
            if part.get("file_url") is not None:
                raise _no_counterpart(f"{where}.file_url", "a file by its address")
            names = ("file_data", "file_id", "filename")
            given = {name: part[name] for name in names if part.get(name) is not None}
            return {"type": "file", "file": given}
        case "input_audio":
            return {"type": "input_audio", "input_audio": part.get("input_audio")}
        case kind:
            allowed = ("input_text", "input_image", "input_file", "input_audio")
            raise _refused(kind, allowed, f"{where}.type", "a part of a message")


def _text_of(content: Any, where: str, between: str = "\n") -> str:
    """Of what has no other content in a chat: an assistant's, a system's, a tool's."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise _wrong(content, where, "a text or a list of parts")
    return between.join(
        _text_part(part, f"{where}[{number}]") for number, part in enumerate(content)
    )


def _text_part(part: Any, where: str) -> str:
    if not isinstance(part, Mapping):
        raise _wrong(part, where, "a part of a message")
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            return _text(part, "text", where)
        case "refusal":
            return _text(part, "refusal", where)
        case kind:
            allowed = ("input_text", "output_text", "refusal")
            raise _refused(kind, allowed, f"{where}.type", "a part of this item")


def _call(item: Item, where: str) -> dict[str, Any]:
    function = {
        "name": _text(item, "name", where),
        "arguments": _text(item, "arguments", where) or "{}",
    }
    return {"id": _text(item, "call_id", where), "type": "function", "function": function}


def _thought(item: Item) -> str:
    """What a model has told of what it thought: the thought itself, or its summary."""
    for parts in (item.get("content"), item.get("summary")):
        if not isinstance(parts, list):
            continue
        told = [str(part.get("text") or "") for part in parts if isinstance(part, Mapping)]
        if told:
            return "\n".join(told)
    return ""


def _text(given: Mapping[str, Any], name: str, where: str) -> str:
    value = given.get(name)
    if not isinstance(value, str):
        raise _wrong(value, f"{where}.{name}", "a text")
    return value


def _wrong(value: Any, param: str, wanted: str) -> Untranslatable:
    if value is None:
        told, code = f"{param} is missing", "missing_required_parameter"
    else:
        told, code = f"{param} is {wanted}, not {shown(value)}", "invalid_type"
    return Untranslatable(told, param, code)


def _refused(kind: Any, allowed: Sequence[str], param: str, what: str) -> Untranslatable:
    return Untranslatable(
        f"{param} is {shown(kind)}, and the upstream, which speaks Chat Completions, "
        f"takes for {what} only {', '.join(allowed)}",
        param,
    )


def _no_counterpart(param: str, what: str) -> Untranslatable:
    told = f"{param} is not supported: the upstream, which speaks Chat Completions,"
    return Untranslatable(f"{told} cannot take {what}", param, "unsupported_parameter")
