"""What Google's Gemini models stream."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from .. import parts
from ..errors import ProviderFailed
from ..parts import AnyPart, FinishReason
from .partial_arguments import put
from .step import Step, field, plain

__all__ = ["Gemini"]

_FILTERED = frozenset(
    {
        "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR",
        "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION",
    }
)  # fmt: skip
_BROKEN = frozenset({"MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL"})
_CODE = "code_execution"
_REASONING = "reasoning"
#: The key of the call under way.
_CALL = "call"


class Gemini:
    """Takes the responses, each of which holds a piece of the answer."""

    def __init__(self) -> None:
        self._step = Step()
        self._reason: str | None = None
        self._usage: Any = None
        self._model: object = None
        self._code_id: str | None = None
        # What was written of the call that is written piece by piece.
        self._arguments: dict[str, Any] | None = None
        # The calls that nothing is known to have come of, by their ids.
        self._asked: dict[str, str] = {}

    def translate(self, event: Any) -> Iterator[str | AnyPart]:
        blocked = _name(field(event, "prompt_feedback", "block_reason"))
        if blocked and not field(event, "candidates"):
            said = field(event, "prompt_feedback", "block_reason_message")
            reason = said or f"the prompt was blocked: {blocked}"
            raise ProviderFailed("content_filter", str(reason))
        self._model = field(event, "model_version") or self._model
        self._usage = field(event, "usage_metadata") or self._usage
        candidates = field(event, "candidates") or ()
        if not candidates:
            return
        if self._reason is not None and field(candidates[0], "content", "parts"):
            # Functions that the client itself has called: the model goes on with what they gave.
            yield from self._over(event)
        yield from self._step.begin()
        for part in field(candidates[0], "content", "parts") or ():
            yield from self._said(part)
        yield from self._grounded(field(candidates[0], "grounding_metadata"))
        if (reason := _name(field(candidates[0], "finish_reason"))) is not None:
            self._reason = reason

    def end(self) -> Iterator[str | AnyPart]:
        yield from self._step.finish(self._finish_reason(), self._tokens(), self._model)

    def _over(self, event: Any) -> Iterator[AnyPart]:
        yield from self._step.end_reasoning()
        history = field(event, "automatic_function_calling_history") or ()
        for part in (field(history[-1], "parts") or ()) if history else ():
            gave = field(part, "function_response")
            named = [one for one, name in self._asked.items() if name == field(gave, "name")]
            if named:
                del self._asked[named[0]]
                yield parts.ToolOutputAvailable(named[0], plain(field(gave, "response")))
        yield parts.FinishStep()
        self._step, self._reason, self._asked = Step(), None, {}

    def _said(self, part: Any) -> Iterator[str | AnyPart]:
        step, text, told = self._step, field(part, "text"), _signed(part)
        if field(part, "thought"):
            yield from step.reasoning(_REASONING, text)
        elif text:
            yield from step.end_reasoning(metadata=told)
            yield from step.text(text)
        if (call := field(part, "function_call")) is not None:
            yield from self._called(call, told)
        if (code := field(part, "executable_code")) is not None:
            given = {"language": _name(field(code, "language")), "code": field(code, "code")}
            yield from self._runs(given)
        if (result := field(part, "code_execution_result")) is not None:
            yield from self._ran(result)
        if (blob := field(part, "inline_data")) is not None:
            data, media_type = field(blob, "data"), field(blob, "mime_type")
            data = base64.b64encode(data).decode() if isinstance(data, bytes) else data
            if data:
                kind = parts.ReasoningFile if field(part, "thought") else parts.File
                yield kind(str(media_type), f"data:{media_type};base64,{data}")

    def _called(self, call: Any, told: dict[str, Any] | None) -> Iterator[AnyPart]:
        for one in self._call(call, told):
            if isinstance(one, parts.ToolInputAvailable):
                self._asked[one.tool_call_id] = one.tool_name
            yield one

    def _call(self, call: Any, told: dict[str, Any] | None) -> Iterator[AnyPart]:
        name, pieces = field(call, "name"), field(call, "partial_args")
        goes_on = field(call, "will_continue")
        if not pieces and not goes_on and self._arguments is None:
            yield from self._step.whole_call(
                field(call, "id"), name, field(call, "args") or {}, provider_metadata=told
            )
            return
        # Told when it is whole, as its pieces are no JSON.
        if self._arguments is None:
            self._arguments = {}
            yield from self._step.call(_CALL, field(call, "id"), name)
        for piece in pieces or ():
            put(self._arguments, piece)
        if not goes_on:
            text, self._arguments = json.dumps(self._arguments), None
            yield from self._step.end_call(_CALL, text, told)

    def _runs(self, given: dict[str, Any]) -> Iterator[AnyPart]:
        for one in self._step.whole_call(None, _CODE, given, provider_executed=True):
            if isinstance(one, parts.ToolInputAvailable):
                self._code_id = one.tool_call_id
            yield one

    def _ran(self, result: Any) -> Iterator[AnyPart]:
        if self._code_id is None:
            return
        outcome = _name(field(result, "outcome"))
        output = {"outcome": outcome, "output": field(result, "output")}
        yield parts.ToolOutputAvailable(self._code_id, output, provider_executed=True)

    def _grounded(self, grounding: Any) -> Iterator[AnyPart]:
        for chunk in field(grounding, "grounding_chunks") or ():
            for kind in ("web", "maps", "image", "retrieved_context"):
                if (found := field(chunk, kind)) is not None:
                    yield from self._source(found)

    def _source(self, found: Any) -> Iterator[AnyPart]:
        url = field(found, "uri") or field(found, "source_uri")
        title = field(found, "title")
        if isinstance(url, str) and url.startswith(("http://", "https://")):
            yield from self._step.source_url(url, title)
        elif key := url or field(found, "document_name") or title:
            yield from self._step.source_document(key, title)

    def _finish_reason(self) -> FinishReason | None:
        match self._reason:
            case None:
                return None
            case "STOP":
                return "tool-calls" if self._step.calls_tools else "stop"
            case "MAX_TOKENS":
                return "length"
            case reason if reason in _FILTERED:
                return "content-filter"
            case reason if reason in _BROKEN:
                return "error"
        return "other"

    def _tokens(self) -> dict[str, int | None]:
        usage = self._usage
        if usage is None:
            return {}
        asked = field(usage, "prompt_token_count")
        by_tools = field(usage, "tool_use_prompt_token_count") or 0
        answered = field(usage, "candidates_token_count")
        thought = field(usage, "thoughts_token_count")
        given = None if answered is thought is None else (answered or 0) + (thought or 0)
        return {
            "inputTokens": None if asked is None else asked + by_tools,
            "outputTokens": given,
            "totalTokens": field(usage, "total_token_count"),
            "reasoningTokens": thought,
            "cachedInputTokens": field(usage, "cached_content_token_count"),
        }


def _name(value: Any) -> str | None:
    """Of a member of an enumeration, known to the client or not."""
    value = getattr(value, "value", value)
    return value if isinstance(value, str) and not value.endswith("UNSPECIFIED") else None


def _signed(part: Any) -> dict[str, Any] | None:
    """What the model wants to see again of what it thought."""
    signature = field(part, "thought_signature")
    if not signature:
        return None
    if isinstance(signature, bytes):
        signature = base64.b64encode(signature).decode()
    return {"google": {"thoughtSignature": signature}}
