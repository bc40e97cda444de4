"""What the Responses API says, as its server sends it: shapes for several tests."""

from __future__ import annotations

from typing import Any

from ...support.provider_server import event

__all__ = ["COMPLETED", "TEXT", "item", "of", "response"]


def response(kind: str, status: str = "in_progress", **facts: Any) -> str:
    """An event about the response as a whole."""
    whole = {
        "id": "r1", "object": "response", "created_at": 0, "status": status, "model": "a-model",
        "output": [], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], **facts,
    }  # fmt: skip
    return event({"type": f"response.{kind}", "sequence_number": 0, "response": whole}, kind)


def of(kind: str, item_id: str = "i1", **facts: Any) -> str:
    """An event about one item."""
    place = {"item_id": item_id, "output_index": 0, "content_index": 0, "sequence_number": 1}
    return event({"type": f"response.{kind}", **place, **facts})


def item(kind: str, **facts: Any) -> str:
    """The begin or the end of an item."""
    place = {"output_index": 0, "sequence_number": 1}
    return event({"type": f"response.output_item.{kind}", **place, "item": facts})


MESSAGE: dict[str, Any] = {"type": "message", "id": "m1", "role": "assistant"}
TEXT = [
    item("added", **MESSAGE, status="in_progress", content=[]),
    of("content_part.added", "m1", part={"type": "output_text", "text": "", "annotations": []}),
    of("output_text.delta", "m1", delta="Hel", logprobs=[]),
    of("output_text.delta", "m1", delta="lo", logprobs=[]),
    of("output_text.done", "m1", text="Hello", logprobs=[]),
    of("content_part.done", "m1", part={"type": "output_text", "text": "Hello", "annotations": []}),
    item("done", **MESSAGE, status="completed", content=[]),
]
COMPLETED = response(
    "completed",
    "completed",
    usage={
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 12,
    },
)
