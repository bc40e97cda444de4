"""Messages of LangChain, whole and in pieces, as text and parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .. import parts
from ..parts import AnyPart, FinishReason
from .step import Step
from .steps import Steps

__all__ = ["Messages"]

_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop", "end_turn": "stop", "stop_sequence": "stop", "completed": "stop",
    "length": "length", "max_tokens": "length", "max_output_tokens": "length",
    "tool_calls": "tool-calls", "tool_use": "tool-calls", "function_call": "tool-calls",
    "content_filter": "content-filter", "refusal": "content-filter", "safety": "content-filter",
    "recitation": "content-filter", "guardrail_intervened": "content-filter",
}  # fmt: skip


class Messages:
    """Makes text and parts of messages, in the order in which they come. Does no I/O."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        #: By their ids; those that are complete are None.
        self._messages: dict[Any, Step | None] = {}
        self._thoughts = 0
        #: Of tools: what was called and has given nothing yet, and what has.
        self.waiting: dict[str, Any] = {}
        self._answered: set[str] = set()

    def take(self, message: Any) -> Iterator[str | AnyPart]:
        """Any message, or a piece of one."""
        match message.type:
            case "AIMessageChunk":
                yield from self.piece(message)
            case "ai":
                yield from self._whole(message)
            case "tool":
                yield from self.tool(message)

    def piece(self, chunk: Any, call: object = None) -> Iterator[str | AnyPart]:
        """
        :param call: the call of the model that it comes of; by default the message's id.
        """
        call = call or chunk.id
        if call not in self._messages:
            yield from self._steps.begin(call)
            self._messages[call] = Step()
        self._learn(chunk)
        message = self._messages[call]
        if message is None:  # it was complete: there is nothing but facts in what follows
            return
        yield from self._content(message, chunk)
        for number, call_piece in enumerate(chunk.tool_call_chunks):
            yield from self._call(message, number, call_piece)
        if getattr(chunk, "chunk_position", None) == "last":
            yield from self.over(call)

    def over(self, call: object) -> Iterator[AnyPart]:
        """All pieces of a message have come."""
        message = self._messages.get(call)
        if message is None:
            return
        self._messages[call] = None
        yield from message.end_reasoning()
        yield from self._called(message.end_calls())
        self._steps.over(call)

    def end(self) -> Iterator[AnyPart]:
        """No more messages come."""
        for call in [*self._messages]:
            yield from self.over(call)

    def tool(self, message: Any) -> Iterator[AnyPart]:
        """What a tool gave, if that was not told before."""
        if message.tool_call_id in self._answered:
            return
        self._answered.add(message.tool_call_id)
        self.waiting.pop(message.tool_call_id, None)
        if message.status == "error":
            yield parts.ToolOutputError(message.tool_call_id, str(message.content))
        else:
            yield parts.ToolOutputAvailable(message.tool_call_id, message.content)

    def _whole(self, message: Any) -> Iterator[str | AnyPart]:
        name = message.id or object()
        if name in self._messages:
            return
        yield from self._steps.begin(name)
        self._learn(message)
        self._messages[name] = opened = Step()
        yield from self._content(opened, message)
        yield from opened.end_reasoning()
        for call in message.tool_calls:
            given = opened.whole_call(call["id"], call["name"], call["args"])
            yield from self._called(given)
        for call in message.invalid_tool_calls:
            key, told = object(), call.get("error") or "the model's input is no JSON"
            yield from opened.call(key, call.get("id"), call.get("name"))
            yield parts.ToolInputError(
                tool_call_id=opened.call_id(key) or "",
                tool_name=call.get("name") or "",
                input=call.get("args"),
                error_text=told,
            )
        self._messages[name] = None
        self._steps.over(name)

    def _content(self, message: Step, said: Any) -> Iterator[str | AnyPart]:
        for block in said.content_blocks:
            match block:
                case {"type": "text"}:
                    yield from message.text(block.get("text"))
                    for one in block.get("annotations") or ():
                        if one.get("type") == "citation":
                            yield from message.source_url(one.get("url"), one.get("title"))
                case {"type": "reasoning", "reasoning": str(thought)} if thought:
                    if not message.is_thinking:
                        self._thoughts += 1
                    yield from message.reasoning(f"reasoning-{self._thoughts}", thought)
                case {"type": "image" | "audio" | "video" | "file"}:
                    yield from _file(block)

    def _call(self, step: Step, number: int, piece: Any) -> Iterator[AnyPart]:
        index, call_id = piece.get("index"), piece.get("id")
        key = number if index is None else index
        if call_id and step.call_id(key) not in (None, call_id):
            key = call_id  # the model counts all its calls by the same number
        yield from step.call(key, call_id, piece.get("name"))
        yield from step.input(key, piece.get("args"))

    def _called(self, told: Iterable[AnyPart]) -> Iterator[AnyPart]:
        for part in told:
            if isinstance(part, parts.ToolInputAvailable):
                self._answered.discard(part.tool_call_id)  # models exist that give an id twice
                self.waiting[part.tool_call_id] = (part.tool_name, part.input)
            yield part

    def _learn(self, message: Any) -> None:
        facts = message.response_metadata
        reason = facts.get("finish_reason") or facts.get("stop_reason") or facts.get("done_reason")
        if reason is None and facts.get("status") == "incomplete":
            reason = (facts.get("incomplete_details") or {}).get("reason")
        known = None if reason is None else _REASONS.get(str(reason).lower(), "other")
        usage = message.usage_metadata or {}
        self._steps.learn(
            {
                "inputTokens": usage.get("input_tokens"),
                "outputTokens": usage.get("output_tokens"),
                "totalTokens": usage.get("total_tokens"),
                "reasoningTokens": (usage.get("output_token_details") or {}).get("reasoning"),
                "cachedInputTokens": (usage.get("input_token_details") or {}).get("cache_read"),
            },
            known,
            facts.get("model_name") or facts.get("model"),
        )


def _file(block: Mapping[str, Any]) -> Iterator[AnyPart]:
    media_type = block.get("mime_type") or f"{block['type']}/*"
    if block.get("url"):
        yield parts.File(media_type, block["url"])
    elif block.get("base64"):
        yield parts.File(media_type, f"data:{media_type};base64,{block['base64']}")
