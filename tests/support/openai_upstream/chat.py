"""How a model's answer looks as a chat completion."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .steps import Call, Fails, Piece, Raw

__all__ = ["ChatAnswer"]


class ChatAnswer:
    """Chunks for who streams; ``whole`` for who does not."""

    def __init__(self, number: int, request: dict[str, Any], input_tokens: int) -> None:
        self.id = f"chatcmpl-{number}"
        self.failure: Fails | None = None
        self._model = request.get("model")
        self._options = request.get("stream_options") or {}
        self._input_tokens = input_tokens
        self._tokens = self._thoughts = 0
        self._message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
        self._calls: list[Call] = []
        self._reason: str | None = None

    def begin(self) -> Iterator[bytes]:
        yield self._chunk({"role": "assistant", "content": ""})

    def said(self, piece: Piece) -> Iterator[bytes]:
        self._tokens += 1
        match piece.kind:
            case "text":
                self._add("content", piece.text)
                yield self._chunk({"content": piece.text})
            case "refusal":
                self._add("refusal", piece.text)
                yield self._chunk({"refusal": piece.text})
            case "thought":
                self._thoughts += 1
                self._add("reasoning_content", piece.text)
                yield self._chunk({"reasoning_content": piece.text})
            case "call":
                assert piece.call is not None
                self._calls.append(piece.call)
                yield self._chunk(
                    {"tool_calls": [{"index": len(self._calls) - 1, **_call(piece.call, "")}]}
                )
            case "arguments":
                more = {"index": len(self._calls) - 1, "function": {"arguments": piece.text}}
                yield self._chunk({"tool_calls": [more]})

    def raw(self, step: Raw) -> Iterator[bytes]:
        yield step.data

    def fails(self, step: Fails) -> Iterator[bytes]:
        self.failure = step
        error = {"message": step.message, "type": "server_error", "code": step.code}
        yield _event({"error": error})

    def end(self, reason: str | None) -> Iterator[bytes]:
        self._reason = reason or ("tool_calls" if self._calls else "stop")
        yield self._chunk({}, self._reason)
        if self._options.get("include_usage"):
            yield _event({**self._facts(), "choices": [], "usage": self._usage()})
        yield b"data: [DONE]\n\n"

    def whole(self) -> dict[str, Any]:
        message = dict(self._message)
        if self._calls:
            message["tool_calls"] = [_call(call, call.json) for call in self._calls]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._reason}
        facts = {**self._facts(), "object": "chat.completion"}
        return {**facts, "choices": [choice], "usage": self._usage()}

    def _add(self, name: str, text: str) -> None:
        self._message[name] = (self._message.get(name) or "") + text

    def _usage(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self._input_tokens,
            "completion_tokens": self._tokens,
            "total_tokens": self._input_tokens + self._tokens,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": self._thoughts},
        }

    def _facts(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": self._model,
            # Of no meaning to anybody, and nevertheless to be passed on.
            "x_load": 0.50,
        }

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        more = {"usage": None} if self._options.get("include_usage") else {}
        return _event({**self._facts(), "choices": [choice], **more})


def _call(call: Call, arguments: str) -> dict[str, Any]:
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.call_id, "type": "function", "function": function}


def _event(data: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
