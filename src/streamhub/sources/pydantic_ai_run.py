"""What agents of Pydantic AI stream, as text and parts. Needs no Pydantic AI to be imported."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

import msgspec

from .. import parts
from ..parts import AnyPart, FinishReason
from .step import Step
from .steps import Items, Steps, provider_errors

__all__ = ["pydantic_ai"]

_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content-filter",
    "tool_call": "tool-calls",
    "error": "error",
}


def pydantic_ai(run: AbstractAsyncContextManager[Any]) -> Items:
    """A source of what a run of an agent streams: text, thinking, calls of tools and what they
    give, usage. Calls that wait for an approval are ``ToolApprovalRequest``.

    When nobody draws from it any more, as after a cancel, the run is cancelled, which closes the
    response of the model's provider.

    :param run: ``agent.run_stream_events(…)`` or ``agent.iter(…)``; of ``agent.run_stream(…)`` it
        is the final text alone.
    :raises TypeError: it is none of these.

    ::

        await hub.run("chat:1", sources.pydantic_ai(agent.run_stream_events("Which lamp?")))
    """
    if not isinstance(run, AbstractAsyncContextManager) or hasattr(run, "run_stream_events"):
        raise TypeError(
            "sources.pydantic_ai takes agent.run_stream_events(…), agent.iter(…) or "
            f"agent.run_stream(…), not {type(run).__name__}"
        )
    return _drawn(run)


async def _drawn(run: Any) -> Items:
    steps = Steps()
    responses = _Responses(steps)
    async with provider_errors(), run as running, aclosing(_events(running)) as events:
        async for event in events:
            for told in responses.take(event):
                yield told
        for told in responses.end(getattr(running, "result", None) or running):
            yield told


async def _events(running: Any) -> AsyncGenerator[Any, None]:
    """What happens in the run; of one that streams its output alone, the text."""
    if hasattr(running, "stream_text"):
        async for text in running.stream_text(delta=True):
            yield text
    elif hasattr(running, "next_node"):
        async for node in running:
            if hasattr(node, "stream"):
                async with node.stream(running.ctx) as events:
                    async for event in events:
                        yield event
    else:
        async for event in running:
            yield event


class _Responses:
    """Makes text and parts of the events of a run."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        #: The response that the model gives; None while its tools work.
        self._response: Step | None = None
        self._responses = 0
        self._thoughts = 0
        self._result: Any = None
        #: Calls that were told.
        self._called: set[str] = set()

    def take(self, event: Any) -> Iterator[str | AnyPart]:
        """An event, or a piece of the text where there are no events."""
        if isinstance(event, str):
            if self._response is None:
                yield from self._respond()
            yield event
            return
        match event.event_kind:
            case "part_start":
                yield from self._begin(event)
            case "part_delta":
                if self._response is not None:
                    yield from self._more(self._response, event.index, event.delta)
            case "part_end":
                if self._response is not None:
                    yield from self._end(self._response, event.index, event.part)
            case "function_tool_call" | "output_tool_call":
                yield from self._over()
                if event.part.tool_call_id not in self._called:  # by a model that does not stream
                    yield from _whole(event.part)
            case "function_tool_result" | "output_tool_result":
                yield from self._over()
                # It is the ``result`` in versions before 2.
                yield from self._given(getattr(event, "part", None) or event.result)
            case "agent_run_result":
                self._result = event.result

    def end(self, run: Any) -> Iterator[AnyPart]:
        """The run is done.

        :param run: what knows of its result, if no event has told that.
        """
        yield from self._over()
        result = self._result or run
        for call in getattr(getattr(result, "output", None), "approvals", None) or ():
            yield parts.ToolApprovalRequest(call.tool_call_id, call.tool_call_id)
        self._learn(result)
        yield from self._steps.end()

    def _begin(self, event: Any) -> Iterator[str | AnyPart]:
        if self._response is None or event.index == 0:
            yield from self._respond()
        part, index, response = event.part, event.index, self._response
        assert response is not None
        match part.part_kind:
            case "text":
                yield from response.text(part.content)
            case "thinking":
                self._thoughts += 1
                yield from response.reasoning(f"reasoning-{self._thoughts}", part.content)
            case "tool-call" | "builtin-tool-call":
                hosted = {"provider_executed": True} if part.part_kind != "tool-call" else {}
                yield from response.call(index, part.tool_call_id, part.tool_name, **hosted)
                if isinstance(part.args, str):
                    yield from response.input(index, part.args)
            case "builtin-tool-return":
                yield parts.ToolOutputAvailable(
                    part.tool_call_id, _plain(part.content), provider_executed=True
                )
            case "file":
                yield parts.File(part.content.media_type, part.content.data_uri)

    def _more(self, response: Step, index: int, delta: Any) -> Iterator[str | AnyPart]:
        match delta.part_delta_kind:
            case "text":
                yield from response.text(delta.content_delta)
            case "thinking":
                yield from response.reasoning(f"reasoning-{self._thoughts}", delta.content_delta)
            case "tool_call":
                yield from response.call(index, delta.tool_call_id, delta.tool_name_delta)
                yield from response.input(index, delta.args_delta)

    def _end(self, response: Step, index: int, part: Any) -> Iterator[AnyPart]:
        match part.part_kind:
            case "thinking":
                yield from response.end_reasoning()
            case "tool-call" | "builtin-tool-call":
                self._called.add(part.tool_call_id)
                text = None if isinstance(part.args, str) else part.args_as_json_str()
                yield from response.end_call(index, text)

    def _respond(self) -> Iterator[AnyPart]:
        """The model begins to answer."""
        yield from self._over()
        self._response = Step()
        self._responses += 1
        yield from self._steps.begin(self._responses)

    def _over(self) -> Iterator[AnyPart]:
        """The model's response is complete, if there is one."""
        if self._response is not None:
            yield from self._response.end_reasoning()
            yield from self._response.end_calls()
            self._response = None
            self._steps.over(self._responses)

    def _given(self, part: Any) -> Iterator[AnyPart]:
        call_id = part.tool_call_id
        self._called.discard(call_id)  # models exist that give an id twice
        match getattr(part, "outcome", "success"):
            case _ if part.part_kind == "retry-prompt":  # in versions before 2
                yield parts.ToolOutputError(call_id, part.model_response())
            case "denied":
                yield parts.ToolOutputDenied(call_id)
            case "failed" | "retried":
                yield parts.ToolOutputError(call_id, part.model_response_str())
            case _:
                yield parts.ToolOutputAvailable(call_id, _plain(part.content))

    def _learn(self, result: Any) -> None:
        usage = _got(result, "usage")
        response = _got(result, "response")
        taken = {
            "inputTokens": usage.input_tokens,
            "outputTokens": usage.output_tokens,
            "totalTokens": usage.total_tokens,
            "reasoningTokens": usage.details.get("reasoning_tokens"),
            "cachedInputTokens": usage.cache_read_tokens or None,
        }
        reason = getattr(response, "finish_reason", None)
        self._steps.learn(
            taken,
            None if reason is None else _REASONS.get(reason, "other"),
            getattr(response, "model_name", None),
        )


def _got(result: Any, name: str) -> Any:
    """A fact that is a method in some versions."""
    value = getattr(result, name, None)
    return value() if inspect.isroutine(value) else value


def _whole(part: Any) -> Iterator[AnyPart]:
    yield from Step().whole_call(part.tool_call_id, part.tool_name, part.args_as_dict())


def _plain(value: Any) -> Any:
    """``value`` as JSON can hold it, pydantic's models included."""

    def dumped(other: Any) -> Any:
        dump = getattr(other, "model_dump", None)
        return dump(mode="json") if callable(dump) else str(other)

    return msgspec.to_builtins(value, enc_hook=dumped, str_keys=True)
