"""What a model says in chat completions, as its server sends it: shapes for several tests."""

from __future__ import annotations

from typing import Any

from streamhub import parts

from ..support.provider_server import event

__all__ = ["DONE", "USAGE", "answer", "calls", "chunk", "finished"]

USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 5,
    "total_tokens": 12,
    "completion_tokens_details": {"reasoning_tokens": 3},
    "prompt_tokens_details": {"cached_tokens": 2},
}


def chunk(delta: dict[str, Any] | None, reason: str | None = None, **more: Any) -> str:
    """One event of a chat completion."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    facts = {"id": "c1", "object": "chat.completion.chunk", "created": 0, "model": "a-model"}
    return event({**facts, "choices": [] if delta is None else [choice], **more})


#: How a server ends one that has told all.
DONE = [chunk({}, "stop"), chunk(None, usage=USAGE), event("[DONE]")]


def finished(times: int = 1) -> parts.MessageMetadata:
    """What a source tells at the end of so many calls of the model."""
    usage = {
        "inputTokens": 7,
        "outputTokens": 5,
        "totalTokens": 12,
        "reasoningTokens": 3,
        "cachedInputTokens": 2,
    }
    counted = {name: times * count for name, count in usage.items()}
    return parts.finished(usage=counted, finish_reason="stop", model="a-model")


def answer(*words: str) -> list[str]:
    """A whole answer."""
    said = [chunk({"role": "assistant", "content": word}) for word in words]
    return [*said, *DONE]


def calls(*calls: tuple[str, str, str]) -> list[str]:
    """An answer that calls tools: id, name and the JSON of the input, which comes in two pieces."""
    said = []
    for index, (call_id, name, given) in enumerate(calls):
        begun = {"name": name, "arguments": given[:3]}
        begin = {"index": index, "id": call_id, "type": "function", "function": begun}
        more = {"index": index, "function": {"arguments": given[3:]}}
        said += [chunk({"tool_calls": [begin]}), chunk({"tool_calls": [more]})]
    return [*said, chunk({}, "tool_calls"), chunk(None, usage=USAGE), event("[DONE]")]
