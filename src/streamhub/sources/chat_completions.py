"""What OpenAI's chat completions stream, and all that speak like them: vLLM, DeepSeek, LiteLLM …"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

from ..errors import ProviderFailed
from ..parts import AnyPart, FinishReason
from ..producing.provider_errors import said_to_fail
from .step import Step, field

__all__ = ["ChatCompletions", "finish_reason_of", "usage_of"]

_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content-filter",
    "tool_calls": "tool-calls",
    "function_call": "tool-calls",
    "error": "error",
}
_REASONING = "reasoning"


class ChatCompletions:
    """Takes the chunks, and the events of the client's ``stream()`` that hold them."""

    def __init__(self) -> None:
        self._step = Step()
        self._choice: object = None
        self._reason: str | None = None
        self._usage: dict[str, int | None] | None = None
        self._model: object = None
        # Of each index: which call is under way there, as (index, how manieth).
        self._calls: dict[object, tuple[Hashable, object]] = {}

    def translate(self, event: Any) -> Iterator[str | AnyPart]:
        if field(event, "type") == "chunk":
            event = field(event, "chunk")
        if (failed := field(event, "error")) is not None:
            raise _failure(failed)
        self._model = self._model or field(event, "model")
        if (usage := field(event, "usage")) is not None:
            self._usage = usage_of(usage)
        for choice in field(event, "choices") or ():
            if self._choice is None:
                self._choice = field(choice, "index") or 0
            if (field(choice, "index") or 0) == self._choice:
                yield from self._step.begin()
                yield from self._said(field(choice, "delta"))
                if reason := field(choice, "finish_reason"):
                    self._reason = str(reason)
                    yield from self._step.end_reasoning()
                    yield from self._step.end_calls()

    def end(self) -> Iterator[str | AnyPart]:
        reason = None if self._reason is None else finish_reason_of(self._reason)
        if reason == "stop" and self._step.calls_tools:
            reason = "tool-calls"  # as some servers have it
        yield from self._step.finish(reason, self._usage, self._model)

    def _said(self, delta: Any) -> Iterator[str | AnyPart]:
        thought = field(delta, "reasoning_content") or field(delta, "reasoning")
        if isinstance(thought, str) and thought:
            yield from self._step.reasoning(_REASONING, thought)
        yield from self._signed(field(delta, "thinking_blocks"))
        content = field(delta, "content")
        if isinstance(content, list):
            yield from self._listed(content)
        else:
            yield from self._step.text(content)
        yield from self._step.text(field(delta, "refusal"))
        yield from self._step.text(field(delta, "audio", "transcript"))
        for call in field(delta, "tool_calls") or ():
            yield from self._called(
                field(call, "index"), field(call, "id"), field(call, "function")
            )
        if (function := field(delta, "function_call")) is not None:
            yield from self._called("function", None, function)
        for note in field(delta, "annotations") or ():
            if (cited := field(note, "url_citation")) is not None:
                yield from self._step.source_url(field(cited, "url"), field(cited, "title"))

    def _listed(self, blocks: list[Any]) -> Iterator[str | AnyPart]:
        """Content in blocks, as Mistral's models that think stream it."""
        for block in blocks:
            for thought in field(block, "thinking") or ():
                if text := field(thought, "text"):
                    yield from self._step.reasoning(_REASONING, text)
            yield from self._step.text(field(block, "text"))

    def _called(self, index: object, call_id: object, function: Any) -> Iterator[AnyPart]:
        name = field(function, "name")
        key, known_as = self._calls.get(index, (None, None))
        # Some servers count all calls as the first; some repeat the id and the name of each.
        if key is None or (call_id and known_as and call_id != known_as and name):
            if key is not None:
                yield from self._step.end_call(key)
            key = (index, len(self._calls), call_id)
            known_as = call_id
        self._calls[index] = (key, known_as or call_id)
        yield from self._step.call(key, call_id, name)
        yield from self._step.input(key, field(function, "arguments"))

    def _signed(self, blocks: Any) -> Iterator[AnyPart]:
        """What LiteLLM has of a model that wants to see again what it thought."""
        for block in blocks or ():
            if signature := field(block, "signature"):
                yield from self._step.reasoning(_REASONING)
                told = {"litellm": {"signature": signature}}
                yield from self._step.end_reasoning(_REASONING, told)


def usage_of(usage: Any) -> dict[str, int | None]:
    """Of a chat completion."""
    return {
        "inputTokens": field(usage, "prompt_tokens"),
        "outputTokens": field(usage, "completion_tokens"),
        "totalTokens": field(usage, "total_tokens"),
        "reasoningTokens": field(usage, "completion_tokens_details", "reasoning_tokens"),
        "cachedInputTokens": field(usage, "prompt_tokens_details", "cached_tokens"),
    }


def finish_reason_of(reason: str) -> FinishReason:
    """As the vocabulary has it."""
    return _REASONS.get(reason, "other")


def _failure(failed: Any) -> ProviderFailed:
    """What stands in the place of a chunk."""
    message, code = str(field(failed, "message") or failed), field(failed, "code")
    words = [one for one in (code, field(failed, "type")) if isinstance(one, str)]
    status = code if isinstance(code, int) else None
    return said_to_fail(*words, status=status, message=message)
