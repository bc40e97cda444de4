"""What runnables of LangChain stream, as text and parts. Needs no LangChain to be imported."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterator
from contextlib import aclosing
from typing import Any

from .. import parts
from ..parts import AnyPart
from .langchain_messages import Messages
from .steps import Items, Steps, provider_errors

__all__ = ["langchain"]


def langchain(stream: AsyncIterable[Any]) -> Items:
    """A source of what a runnable streams: text, reasoning, calls of tools and what they give,
    usage.

    When nobody draws from it any more, as after a cancel, the runnable is stopped, which
    closes the response of the model's provider.

    :param stream: of a chat model, an agent or a chain: ``model.astream(…)``, or
        ``agent.astream_events(…)`` (of version 2), which has each call of a model and a tool.
        Text that a chain streams is taken as it is.
    :raises TypeError: it is none.

    ::

        await hub.run("chat:1", sources.langchain(agent.astream_events({"messages": messages})))
    """
    if not isinstance(stream, AsyncIterable):
        raise TypeError(
            "sources.langchain takes what astream(…) or astream_events(…) returns, not "
            f"{type(stream).__name__}"
        )
    return _drawn(stream)


async def _drawn(stream: Any) -> Items:
    steps = Steps()
    runs = _Runs(steps)
    async with provider_errors(), aclosing(stream):
        async for item in stream:
            for told in runs.take(item):
                yield told
        for told in runs.messages.end():
            yield told
        for told in steps.end():
            yield told


class _Runs:
    """Makes text and parts of what happens in runs of models and tools."""

    def __init__(self, steps: Steps) -> None:
        self.messages = Messages(steps)
        #: Models that have not streamed anything yet.
        self._silent: set[str] = set()

    def take(self, item: Any) -> Iterator[str | AnyPart]:
        match item:
            case str():
                yield item
            case {"event": str(event), "data": dict(data), "run_id": str(run_id)}:
                yield from self._event(event, data, run_id)
            case _ if hasattr(item, "content_blocks"):
                yield from self.messages.take(item)
            case _:
                raise TypeError(
                    "sources.langchain takes messages, text and events of version 2, not "
                    f"{type(item).__name__}: stream a chat model, or use astream_events"
                )

    def _event(self, event: str, data: dict[str, Any], run_id: str) -> Iterator[str | AnyPart]:
        match event:
            case "on_chat_model_start":
                self._silent.add(run_id)
            case "on_chat_model_stream":
                self._silent.discard(run_id)
                yield from self.messages.piece(data["chunk"], run_id)
            case "on_chat_model_end":
                if run_id in self._silent:  # it was not asked to stream
                    self._silent.discard(run_id)
                    yield from self.messages.take(data["output"])
                yield from self.messages.over(run_id)
            case "on_tool_end":
                # What no model has called is a step of the chain, and no call of a tool.
                for message in _messages_of(data.get("output")):
                    yield from self.messages.tool(message)
            case "on_tool_error" if data.get("tool_call_id"):
                yield parts.ToolOutputError(data["tool_call_id"], str(data["error"]))


def _messages_of(output: Any) -> list[Any]:
    """The answers to a model's calls that a tool has given."""
    if hasattr(output, "tool_call_id"):
        return [output]
    update = getattr(output, "update", None)
    messages = update.get("messages", []) if isinstance(update, dict) else []
    return [one for one in messages if hasattr(one, "tool_call_id")]
