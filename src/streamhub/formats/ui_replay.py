"""The parts of a message of the AI SDK, as the parts of a stream that builds the same message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["replayed"]

Part = dict[str, Any]

# Kinds that look the same in a message and in the stream that builds it.
_THE_SAME = frozenset(
    {"file", "reasoning-file", "source-url", "source-document", "custom", "steering-message"}
)
# What a tool's call, and what its result, have beside their own.
_OF_CALL = ("title", "toolMetadata", "providerExecuted")


def replayed(parts: object) -> Iterator[Part]:
    """What builds ``parts`` anew, in their order; leaves out what is no part that it knows.

    The last step stays open: what follows may belong to it.
    """
    in_step = False
    for number, part in enumerate(parts if isinstance(parts, list) else [], 1):
        if not isinstance(part, dict) or not isinstance(kind := part.get("type"), str):
            continue
        if kind == "step-start":
            if in_step:
                yield {"type": "finish-step"}
            in_step = True
            yield {"type": "start-step"}
        elif kind in ("text", "reasoning"):
            # That of a text is not kept in a message.
            name = part["id"] if isinstance(part.get("id"), str) else f"{kind}-of-message-{number}"
            yield from _written(kind, name, part)
        elif kind == "dynamic-tool" or kind.startswith("tool-"):
            yield from _tool(part)
        elif kind in _THE_SAME or kind.startswith("data-"):
            yield part


def _written(kind: str, name: str, part: Part) -> Iterator[Part]:
    more = _some(part, "providerMetadata")
    yield {"type": f"{kind}-start", "id": name, **more}
    yield {"type": f"{kind}-delta", "id": name, "delta": str(part.get("text", ""))}
    yield {"type": f"{kind}-end", "id": name, **more, **_some(part, "citations")}


def _tool(part: Part) -> Iterator[Part]:
    call = _some(part, "toolCallId")
    if not call:
        return
    dynamic = part["type"] == "dynamic-tool"
    made = {
        **call,
        "toolName": part.get("toolName", "") if dynamic else part["type"].removeprefix("tool-"),
        **({"dynamic": True} if dynamic else {}),
        **_some(part, *_OF_CALL),
    }
    state = part.get("state")
    if "callProviderMetadata" in part:
        made["providerMetadata"] = part["callProviderMetadata"]
    if state == "input-streaming":
        yield {"type": "tool-input-start", **made, **_some(part, "inputEncoding")}
        if isinstance(raw := part.get("rawInput"), str) and raw:
            yield {"type": "tool-input-delta", **call, "inputTextDelta": raw}
        return
    # What is approved of, or denied, before its input is there has none.
    called = {"type": "tool-input-start", **made}
    if "input" in part:
        called = {"type": "tool-input-available", **made, "input": part["input"]}
    yield called
    approval = part.get("approval")
    if isinstance(approval, dict) and "id" in approval:
        yield from _approval(approval, call)
        if state == "input-available":
            # It was called anew since.
            yield called
    result = {**call, **_some(part, "providerExecuted")}
    if "resultProviderMetadata" in part:
        result["providerMetadata"] = part["resultProviderMetadata"]
    match state:
        case "output-available":
            more = _some(part, "preliminary")
            yield {"type": "tool-output-available", **result, "output": part.get("output"), **more}
        case "output-error":
            text = str(part.get("errorText", ""))
            yield {"type": "tool-output-error", **result, "errorText": text}
        case "output-denied":
            yield {"type": "tool-output-denied", **call}


def _approval(approval: Part, call: Part) -> Iterator[Part]:
    asked = {"type": "tool-approval-request", "approvalId": approval["id"], **call}
    asked |= _some(approval, "isAutomatic", "signature", "inputSchemaInput")
    if "descriptor" in approval:
        asked["approvalDescriptor"] = approval["descriptor"]
    if "requestReason" in approval:
        asked["reason"] = approval["requestReason"]
    yield asked
    if isinstance(approval.get("approved"), bool):
        yield {
            "type": "tool-approval-response",
            "approvalId": approval["id"],
            **_some(approval, "approved", "reason"),
        }


def _some(part: Part, *names: str) -> Part:
    """Those of ``names`` that ``part`` has, and that say something."""
    return {name: part[name] for name in names if part.get(name) is not None}
