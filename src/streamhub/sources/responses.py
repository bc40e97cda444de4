"""What OpenAI's Responses API streams."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .. import parts
from ..errors import ProviderFailed
from ..parts import AnyPart, FinishReason
from ..producing.provider_errors import said_to_fail
from .step import Step, field, plain

__all__ = ["Responses"]

_INCOMPLETE: dict[object, FinishReason] = {
    "max_output_tokens": "length",
    "content_filter": "content-filter",
}
# Of the items that are calls of a tool which the provider runs: what is their input, and what comes
# of them.
_RUN_THERE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "web_search_call": (("action",), ("status",)),
    "file_search_call": (("queries",), ("status", "results")),
    "code_interpreter_call": (("code", "container_id"), ("outputs",)),
    "image_generation_call": (("revised_prompt",), ("status",)),
    "computer_call": (("action",), ("status",)),
    "local_shell_call": (("action",), ("status",)),
}


class Responses:
    """Takes the events, and those of the client's ``stream()``, which are the same and more."""

    def __init__(self) -> None:
        self._step = Step()
        self._reason: FinishReason | None = None
        self._usage: dict[str, int | None] | None = None
        self._model: object = None

    def translate(self, event: Any) -> Iterator[str | AnyPart]:
        kind = str(getattr(kind := field(event, "type"), "value", kind))
        step, item_id = self._step, field(event, "item_id")
        if not kind.startswith("response."):
            if kind == "error":
                raise _failure(event)
            return
        match kind.removeprefix("response."):
            case "created" | "in_progress":
                self._model = field(event, "response", "model")
                yield from step.begin()
            case "output_text.delta" | "refusal.delta":
                yield from step.begin()
                yield from step.text(field(event, "delta"))
            case "reasoning_summary_text.delta" | "reasoning_text.delta":
                yield from step.begin()
                yield from step.reasoning(_thought(event), field(event, "delta"))
            case "reasoning_summary_text.done" | "reasoning_text.done":
                yield from step.end_reasoning(_thought(event))
            case (
                "function_call_arguments.delta"
                | "custom_tool_call_input.delta"
                | "mcp_call_arguments.delta"
            ):
                yield from step.input(item_id, field(event, "delta"))
            case "output_item.added":
                yield from step.begin()
                yield from self._begun(field(event, "item"))
            case "output_item.done":
                yield from step.begin()
                yield from self._done(field(event, "item"))
            case "output_text.annotation.added":
                yield from self._cited(field(event, "annotation"))
            case "completed":
                self._close(event, "tool-calls" if step.calls_tools else "stop")
            case "incomplete":
                why = field(event, "response", "incomplete_details", "reason")
                self._close(event, _INCOMPLETE.get(why, "other"))
            case "failed":
                raise _failure(field(event, "response", "error"))
            case "cancelled":
                raise ProviderFailed("provider", "the response was cancelled")

    def end(self) -> Iterator[str | AnyPart]:
        yield from self._step.finish(self._reason, self._usage, self._model)

    def _close(self, event: Any, reason: FinishReason) -> None:
        response = field(event, "response")
        self._reason = reason
        self._model = field(response, "model") or self._model
        if (usage := field(response, "usage")) is not None:
            self._usage = {
                "inputTokens": field(usage, "input_tokens"),
                "outputTokens": field(usage, "output_tokens"),
                "totalTokens": field(usage, "total_tokens"),
                "reasoningTokens": field(usage, "output_tokens_details", "reasoning_tokens"),
                "cachedInputTokens": field(usage, "input_tokens_details", "cached_tokens"),
            }

    def _begun(self, item: Any) -> Iterator[AnyPart]:
        item_id = field(item, "id")
        match field(item, "type"):
            case "function_call":
                yield from self._step.call(item_id, field(item, "call_id"), field(item, "name"))
            case "custom_tool_call":
                yield from self._step.call(
                    item_id, field(item, "call_id"), field(item, "name"), input_encoding="text"
                )
            case "mcp_call":
                yield from self._step.call(
                    item_id, item_id, field(item, "name"), dynamic=True, provider_executed=True
                )
            case str(kind) if kind in _RUN_THERE:
                name = kind.removesuffix("_call")
                yield from self._step.call(item_id, item_id, name, provider_executed=True)

    def _done(self, item: Any) -> Iterator[AnyPart]:
        item_id, step = field(item, "id"), self._step
        kind = field(item, "type")
        # An item of which no begin was told.
        if not step.is_calling(item_id):
            yield from self._begun(item)
        call_id = step.call_id(item_id)
        match kind:
            case "reasoning":
                yield from self._thought_over(item)
            case "function_call":
                yield from step.end_call(item_id, field(item, "arguments"), _item(item_id))
            case "custom_tool_call":
                text = json.dumps(field(item, "input") or "")
                yield from step.end_call(item_id, text, _item(item_id))
            case "mcp_call":
                yield from step.end_call(item_id, field(item, "arguments"))
                yield from self._gave(call_id, field(item, "output"), field(item, "error"))
            case "mcp_approval_request":
                arguments = field(item, "arguments")
                yield from step.call(item_id, item_id, field(item, "name"), dynamic=True)
                call_id = step.call_id(item_id)
                yield from step.end_call(item_id, arguments)
                yield parts.ToolApprovalRequest(str(item_id), str(call_id))
            case str() if kind in _RUN_THERE:
                given, result = _RUN_THERE[kind]
                text = json.dumps(_fields(item, given))
                yield from step.end_call(item_id, text)
                yield from self._gave(call_id, _fields(item, result), None)
                yield from self._found(item)

    def _thought_over(self, item: Any) -> Iterator[AnyPart]:
        """What a model thought that tells none of it, to be sent back to it."""
        yield from self._step.end_reasoning()
        if secret := field(item, "encrypted_content"):
            told = _item(field(item, "id"), reasoningEncryptedContent=secret)
            name = f"{field(item, 'id')}:encrypted"
            yield from self._step.reasoning(name, metadata=told)
            yield from self._step.end_reasoning(name, told)

    def _gave(self, call_id: str | None, output: Any, error: Any) -> Iterator[AnyPart]:
        if call_id is None:
            return
        if error:
            yield parts.ToolOutputError(
                call_id, str(field(error, "message") or plain(error)), provider_executed=True
            )
        else:
            yield parts.ToolOutputAvailable(call_id, plain(output), provider_executed=True)

    def _found(self, item: Any) -> Iterator[AnyPart]:
        for source in field(item, "action", "sources") or ():
            yield from self._step.source_url(field(source, "url"))
        for result in field(item, "results") or ():
            yield from self._document(result)
        if isinstance(image := field(item, "result"), str) and image:
            media_type = f"image/{field(item, 'output_format') or 'png'}"
            yield parts.File(media_type, f"data:{media_type};base64,{image}")

    def _cited(self, note: Any) -> Iterator[AnyPart]:
        match field(note, "type"):
            case "url_citation":
                yield from self._step.source_url(field(note, "url"), field(note, "title"))
            case "file_citation" | "container_file_citation" | "file_path":
                yield from self._document(note)

    def _document(self, named: Any) -> Iterator[AnyPart]:
        file_id, filename = field(named, "file_id"), field(named, "filename")
        told = {"openai": {"fileId": file_id}}
        yield from self._step.source_document(
            file_id or filename, filename, filename=filename, metadata=told
        )


def _failure(error: Any) -> ProviderFailed:
    message = str(field(error, "message") or "the provider gave no reason")
    codes = (field(error, "code"), field(error, "type"))
    words = [one for one in codes if isinstance(one, str) and one != "error"]
    return said_to_fail(*words, message=message)


def _thought(event: Any) -> str:
    number = field(event, "summary_index")
    part = f"summary-{number}" if number is not None else f"text-{field(event, 'content_index')}"
    return f"{field(event, 'item_id')}:{part}"


def _item(item_id: Any, **more: Any) -> dict[str, Any]:
    return {"openai": {"itemId": item_id, **more}}


def _fields(item: Any, names: tuple[str, ...]) -> dict[str, Any]:
    found = {name: plain(field(item, name)) for name in names}
    return {name: value for name, value in found.items() if value is not None}
