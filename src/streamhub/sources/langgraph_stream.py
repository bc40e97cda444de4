"""What graphs of LangGraph stream, as text and parts. Needs no LangGraph to be imported."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterator
from contextlib import aclosing
from typing import Any

from .. import parts
from ..parts import AnyPart
from .langchain_messages import Messages
from .step import plain
from .steps import Items, Steps, provider_errors

__all__ = ["langgraph"]

_INTERRUPT = "__interrupt__"


def langgraph(stream: AsyncIterable[Any], *, stream_mode: str | None = None) -> Items:
    """A source of what a graph streams, in its modes:

    - ``messages``: the text, reasoning and calls of tools of its models, and what the tools give
    - ``custom``: a part of :mod:`streamhub.parts` as it is; all else as the data part ``custom``
    - ``updates`` and ``values``: interrupts, each as the data part ``interrupt`` with its id and
      value. Where that asks for the approval of calls of tools, as the middleware of LangChain's
      agents does, each of these is a ``ToolApprovalRequest``, too. Where ``updates`` is the only
      mode, the messages in them are told whole.

    When nobody draws from it any more, as after a cancel, the graph is stopped, which closes
    the response of the model's provider.

    :param stream: what ``graph.astream(…)`` returns, of one or several modes, with or without
        subgraphs.
    :param stream_mode: the mode, where it is a single one: its items do not say.
    :raises TypeError: ``stream`` is none.

    ::

        await hub.run("chat:1", sources.langgraph(
            graph.astream({"messages": messages}, stream_mode=["messages", "updates", "custom"])
        ))
    """
    if not isinstance(stream, AsyncIterable):
        raise TypeError(
            f"sources.langgraph takes what graph.astream(…) returns, not {type(stream).__name__}"
        )
    return _drawn(stream, stream_mode)


async def _drawn(stream: Any, stream_mode: str | None) -> Items:
    steps = Steps()
    graph = _Graph(steps, whole=stream_mode == "updates")
    async with provider_errors(), aclosing(stream):
        async for item in stream:
            for told in graph.take(*_parted(item, stream_mode)):
                yield told
        for told in graph.messages.end():
            yield told
        for told in steps.end():
            yield told


class _Graph:
    """Makes text and parts of what a graph streams in each mode."""

    def __init__(self, steps: Steps, *, whole: bool) -> None:
        self._steps = steps
        #: Whether messages come in updates alone.
        self._whole = whole
        self.messages = Messages(steps)
        self._interrupts: set[str] = set()

    def take(self, mode: str, payload: Any) -> Iterator[str | AnyPart]:
        match mode:
            case "messages":
                yield from self.messages.take(payload[0])
            case "custom":
                yield payload if parts.is_part(payload) else parts.Data("custom", plain(payload))
            case "updates" | "values":
                if self._whole:
                    for update in payload.values():
                        yield from self._said(update)
                yield from self._interrupted(payload)

    def _said(self, update: Any) -> Iterator[str | AnyPart]:
        """The messages of a node's update. Where it has what was said before, too, as that of a
        subgraph, that comes before the user's last one."""
        found = update.get("messages") if isinstance(update, dict) else None
        messages = found if isinstance(found, list) else [found]
        users = [number for number, one in enumerate(messages) if _type_of(one) == "human"]
        for message in messages[users[-1] + 1 :] if users else messages:
            if _type_of(message) in ("ai", "tool"):
                yield from self.messages.take(message)

    def _interrupted(self, payload: Any) -> Iterator[AnyPart]:
        waiting = payload.get(_INTERRUPT) if isinstance(payload, dict) else None
        for interrupt in waiting or ():
            if interrupt.id in self._interrupts:
                continue
            self._interrupts.add(interrupt.id)
            yield from self.messages.end()
            yield parts.Data(
                "interrupt", {"id": interrupt.id, "value": plain(interrupt.value)}, id=interrupt.id
            )
            yield from self._approvals(interrupt)

    def _approvals(self, interrupt: Any) -> Iterator[AnyPart]:
        asked = (
            interrupt.value.get("action_requests") if isinstance(interrupt.value, dict) else None
        )
        left = dict(self.messages.waiting)
        for number, request in enumerate(asked or ()):
            wanted = (request.get("name"), request.get("args"))
            call = next((one for one, what in left.items() if what == wanted), None)
            if call is not None:
                del left[call]
                self._steps.learn(reason="tool-calls")
                yield parts.ToolApprovalRequest(f"{interrupt.id}:{number}", call)


def _type_of(message: Any) -> str | None:
    return getattr(message, "type", None)


def _parted(item: Any, stream_mode: str | None) -> tuple[str, Any]:
    """The mode and what is streamed in it."""
    match item:
        case {"type": str(mode), "ns": _, "data": payload}:
            return mode, payload
        case (tuple(), str(mode), payload) | (str(mode), payload):
            return mode, payload
        case (tuple(), payload) if stream_mode is not None:
            return stream_mode, payload
        case (message, dict()) if hasattr(message, "content_blocks"):
            return "messages", item
        case (tuple(), (message, dict())) if hasattr(message, "content_blocks"):
            return "messages", item[1]
    if stream_mode is None:
        raise TypeError(
            "what this graph streams does not say its mode: ask for several in a list, or give "
            "stream_mode to sources.langgraph, too"
        )
    return stream_mode, item
