"""What Anthropic's messages stream."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

from .. import parts
from ..parts import AnyPart, FinishReason
from ..producing.provider_errors import said_to_fail
from .step import Step, field, plain

__all__ = ["AnthropicMessages"]

_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool-calls",
    "refusal": "content-filter",
}
_RESULT = "_tool_result"
_CALLS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})


class AnthropicMessages:
    """Takes the events, and those of the client's ``stream()``, which are the same and more."""

    def __init__(self) -> None:
        self._step = Step()
        self._model: object = None
        self._reason: str | None = None
        self._ended = False
        self._usage: dict[str, Any] = {}
        # Of the block under way: what it is, and the signature of what was thought.
        self._kind: object = None
        self._signature = ""
        self._begun_with: Any = None

    def translate(self, event: Any) -> Iterator[str | AnyPart]:
        index = field(event, "index")
        match field(event, "type"):
            case "message_start":
                message = field(event, "message")
                self._model = field(message, "model")
                self._count(field(message, "usage"))
                yield from self._step.begin()
            case "content_block_start":
                yield from self._step.begin()
                yield from self._block(index, field(event, "content_block"))
            case "content_block_delta":
                yield from self._delta(index, field(event, "delta"))
            case "content_block_stop":
                yield from self._block_over(index)
            case "message_delta":
                self._reason = field(event, "delta", "stop_reason") or self._reason
                self._count(field(event, "usage"))
            case "message_stop":
                self._ended = True
            case "error":
                error = field(event, "error")
                message = str(field(error, "message") or "the provider gave no reason")
                raise said_to_fail(field(error, "type"), message=message)

    def end(self) -> Iterator[str | AnyPart]:
        reason = _REASONS.get(self._reason or "", "other") if self._ended else None
        yield from self._step.finish(reason, self._tokens(), self._model)

    def _block(self, index: Hashable, block: Any) -> Iterator[str | AnyPart]:
        self._kind, self._signature, self._begun_with = field(block, "type"), "", None
        match self._kind:
            case "text":
                yield from self._step.text(field(block, "text"))
            case "thinking":
                yield from self._step.reasoning(_thought(index), field(block, "thinking"))
                self._signature = field(block, "signature") or ""
            case "redacted_thinking":
                told = {"anthropic": {"redactedData": field(block, "data")}}
                yield from self._step.reasoning(_thought(index), metadata=told)
                yield from self._step.end_reasoning(_thought(index), told)
            case str(kind) if kind in _CALLS:
                self._begun_with = field(block, "input")
                # What runs there; of a server of tools, the page cannot know them.
                facts = {} if kind == "tool_use" else {"provider_executed": True}
                if kind == "mcp_tool_use":
                    facts["dynamic"] = True
                yield from self._step.call(index, field(block, "id"), field(block, "name"), **facts)
            case str(kind) if kind.endswith(_RESULT):
                yield from self._gave(block)

    def _delta(self, index: Hashable, delta: Any) -> Iterator[str | AnyPart]:
        match field(delta, "type"):
            case "text_delta":
                yield from self._step.text(field(delta, "text"))
            case "thinking_delta":
                yield from self._step.reasoning(_thought(index), field(delta, "thinking"))
            case "signature_delta":
                self._signature += field(delta, "signature") or ""
            case "input_json_delta":
                yield from self._step.input(index, field(delta, "partial_json"))
            case "citations_delta":
                yield from self._cited(field(delta, "citation"))

    def _block_over(self, index: Hashable) -> Iterator[AnyPart]:
        if self._kind == "thinking":
            told = {"anthropic": {"signature": self._signature}} if self._signature else None
            yield from self._step.end_reasoning(_thought(index), told)
        yield from self._step.end_call(index, given=plain(self._begun_with))

    def _gave(self, block: Any) -> Iterator[AnyPart]:
        """What came of a tool that the provider runs."""
        call_id, content = str(field(block, "tool_use_id")), field(block, "content")
        error = field(content, "error_code") or (field(block, "is_error") and plain(content))
        if error:
            yield parts.ToolOutputError(call_id, str(error), provider_executed=True)
            return
        yield parts.ToolOutputAvailable(call_id, plain(content), provider_executed=True)
        if field(block, "type") == "web_search_tool_result" and isinstance(content, list):
            for page in content:
                yield from self._step.source_url(field(page, "url"), field(page, "title"))

    def _cited(self, cited: Any) -> Iterator[AnyPart]:
        told = {"anthropic": {"citedText": field(cited, "cited_text")}}
        kind, step = field(cited, "type"), self._step
        source = field(cited, "source")
        if kind == "web_search_result_location":
            yield from step.source_url(field(cited, "url"), field(cited, "title"), told)
        elif isinstance(source, str) and source.startswith(("http://", "https://")):
            yield from step.source_url(source, field(cited, "title"), told)
        else:
            index = field(cited, "document_index")
            name = source or f"document {field(cited, 'search_result_index') or index}"
            title = field(cited, "document_title") or field(cited, "title") or name
            media_type = "application/pdf" if kind == "page_location" else "text/plain"
            yield from step.source_document(name, title, media_type, metadata=told)

    def _count(self, usage: Any) -> None:
        """Later counts are of all so far; what they leave out stays."""
        for name in (
            "input_tokens",
            "output_tokens",
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
        ):
            if (count := field(usage, name)) is not None:
                self._usage[name] = count
        if (count := field(usage, "output_tokens_details", "thinking_tokens")) is not None:
            self._usage["thinking_tokens"] = count

    def _tokens(self) -> dict[str, int | None]:
        counted = self._usage
        if not counted:
            return {}
        read = counted.get("cache_read_input_tokens")
        # The provider counts what it has cached, or has now, apart from the rest of the input.
        taken = counted.get("input_tokens", 0) + (read or 0)
        taken += counted.get("cache_creation_input_tokens", 0)
        given = counted.get("output_tokens", 0)
        return {
            "inputTokens": taken,
            "outputTokens": given,
            "totalTokens": taken + given,
            "reasoningTokens": counted.get("thinking_tokens"),
            "cachedInputTokens": read,
        }


def _thought(index: object) -> str:
    return f"reasoning-{index}"
