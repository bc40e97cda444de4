"""How a model's answer looks in the Responses API."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from .steps import Fails, Piece, Raw

__all__ = ["ResponsesAnswer"]

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_ECHOED: dict[str, Any] = {
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
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
}


class ResponsesAnswer:
    """Events with their numbers, and the Response that they make."""

    def __init__(self, number: int, request: dict[str, Any], input_tokens: int) -> None:
        echoed = {name: request.get(name, value) for name, value in _ECHOED.items()}
        self.id = f"resp_{number:048x}"
        self.background = bool(request.get("background"))
        self.response: dict[str, Any] = {
            "id": self.id,
            "object": "response",
            "created_at": 1_700_000_000,
            "status": "queued" if self.background else "in_progress",
            "background": self.background,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "model": request.get("model"),
            "output": [],
            "reasoning": request.get("reasoning") or {"effort": None, "summary": None},
            "text": request.get("text") or {"format": {"type": "text"}},
            "usage": None,
            **echoed,
        }
        functions = {"type": "function", "description": None, "parameters": None, "strict": None}
        self.response["tools"] = [functions | tool for tool in self.response["tools"] or ()]
        self._number = number
        self._input_tokens = input_tokens
        self._tokens = self._thoughts = 0
        self._sequence = 0
        #: The kind of the item that is under way, and of its part.
        self._kind = self._part = ""

    @property
    def is_over(self) -> bool:
        return self.response["status"] not in ("queued", "in_progress")

    def begin(self) -> Iterator[bytes]:
        yield self._of_all("response.created")
        if self.background:
            yield self._of_all("response.queued")
        self.response["status"] = "in_progress"
        yield self._of_all("response.in_progress")

    def said(self, piece: Piece) -> Iterator[bytes]:
        self._tokens += 1
        match piece.kind:
            case "text":
                yield from self._message("output_text", {"text": "", "annotations": []})
                self._item["content"][-1]["text"] += piece.text
                yield self._of_part("output_text.delta", delta=piece.text, logprobs=[])
            case "refusal":
                yield from self._message("refusal", {"refusal": ""})
                self._item["content"][-1]["refusal"] += piece.text
                yield self._of_part("refusal.delta", delta=piece.text)
            case "thought":
                self._thoughts += 1
                yield from self._thinks()
                self._item["summary"][-1]["text"] += piece.text
                yield self._of_summary("reasoning_summary_text.delta", delta=piece.text)
            case "call":
                assert piece.call is not None
                yield from self._close()
                begun = {"call_id": piece.call.call_id, "name": piece.call.name, "arguments": ""}
                yield self._added("function_call", "fc", begun)
            case "arguments":
                self._item["arguments"] += piece.text
                yield self._of_item("function_call_arguments.delta", delta=piece.text)

    def raw(self, step: Raw) -> Iterator[bytes]:
        yield step.data

    def fails(self, step: Fails) -> Iterator[bytes]:
        self.response["status"] = "failed"
        self.response["error"] = {"code": step.code, "message": step.message}
        yield self._of_all("response.failed")

    def end(self, reason: str | None) -> Iterator[bytes]:
        status = "completed" if reason is None else "incomplete"
        yield from self._close(status)
        self.response["status"] = status
        if reason is None:
            self.response["completed_at"] = 1_700_000_001
        else:
            self.response["incomplete_details"] = {"reason": _INCOMPLETE[reason]}
        self.response["usage"] = {
            "input_tokens": self._input_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": self._tokens,
            "output_tokens_details": {"reasoning_tokens": self._thoughts},
            "total_tokens": self._input_tokens + self._tokens,
        }
        yield self._of_all(f"response.{status}")

    def cancelled(self) -> None:
        """Its stream just ends."""
        self.response["status"] = "cancelled"

    def whole(self) -> dict[str, Any]:
        return self.response

    @property
    def _item(self) -> dict[str, Any]:
        item: dict[str, Any] = self.response["output"][-1]
        return item

    def _message(self, part: str, begun: dict[str, Any]) -> Iterator[bytes]:
        if self._kind != "message":
            yield from self._close()
            yield self._added("message", "msg", {"role": "assistant", "content": []})
        if self._part != part:
            yield from self._close_part()
            self._part = part
            self._item["content"].append({"type": part, **begun})
            yield self._of_part("content_part.added", part=self._item["content"][-1])

    def _thinks(self) -> Iterator[bytes]:
        if self._kind != "reasoning":
            yield from self._close()
            yield self._added("reasoning", "rs", {"summary": []})
            self._item["summary"].append({"type": "summary_text", "text": ""})
            part = self._item["summary"][-1]
            yield self._of_summary("reasoning_summary_part.added", part=part)

    def _added(self, kind: str, prefix: str, begun: dict[str, Any]) -> bytes:
        output: list[Any] = self.response["output"]
        item_id = f"{prefix}_{self._number:040x}{len(output):08x}"
        output.append({"id": item_id, "type": kind, "status": "in_progress", **begun})
        self._kind, self._part = kind, ""
        return self._event("output_item.added", output_index=len(output) - 1, item=self._item)

    def _close(self, status: str = "completed") -> Iterator[bytes]:
        if not self._kind:
            return
        yield from self._close_part()
        item = self._item
        if self._kind == "reasoning":
            part = item["summary"][-1]
            yield self._of_summary("reasoning_summary_text.done", text=part["text"])
            yield self._of_summary("reasoning_summary_part.done", part=part)
        if self._kind == "function_call":
            told = {"arguments": item["arguments"], "name": item["name"]}
            yield self._of_item("function_call_arguments.done", **told)
        item["status"] = status
        index = len(self.response["output"]) - 1
        yield self._event("output_item.done", output_index=index, item=item)
        self._kind = ""

    def _close_part(self) -> Iterator[bytes]:
        if self._kind != "message" or not self._part:
            return
        part = self._item["content"][-1]
        if self._part == "output_text":
            yield self._of_part("output_text.done", text=part["text"], logprobs=[])
        else:
            yield self._of_part("refusal.done", refusal=part["refusal"])
        yield self._of_part("content_part.done", part=part)
        self._part = ""

    def _of_all(self, kind: str) -> bytes:
        return self._event(kind.removeprefix("response."), response=self.response)

    def _of_item(self, kind: str, **facts: Any) -> bytes:
        index = len(self.response["output"]) - 1
        return self._event(kind, item_id=self._item["id"], output_index=index, **facts)

    def _of_part(self, kind: str, **facts: Any) -> bytes:
        return self._of_item(kind, content_index=len(self._item["content"]) - 1, **facts)

    def _of_summary(self, kind: str, **facts: Any) -> bytes:
        return self._of_item(kind, summary_index=0, **facts)

    def _event(self, kind: str, **facts: Any) -> bytes:
        name = f"response.{kind}"
        said = {"type": name, "sequence_number": self._sequence, **copy.deepcopy(facts)}
        self._sequence += 1
        return f"event: {name}\ndata: {json.dumps(said, ensure_ascii=False)}\n\n".encode()
