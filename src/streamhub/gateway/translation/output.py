"""The items of a Response that is being said, and the events that tell them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from .items import item_id

__all__ = ["Call", "Event", "Message", "OutputItem", "Thought"]

Event: TypeAlias = dict[str, Any]


class OutputItem:
    """One output item: what it is, and the events that tell it."""

    kind = ""

    def __init__(self, response_id: str, index: int) -> None:
        self.id: str = item_id(response_id, self.kind, index)
        self.index: int = index
        self.status: str = "in_progress"

    def whole(self) -> dict[str, Any]:
        return {"id": self.id, "type": self.kind, "status": self.status}

    def begin(self) -> Iterator[Event]:
        yield {
            "type": "response.output_item.added",
            "output_index": self.index,
            "item": self.whole(),
        }

    def end(self, status: str) -> Iterator[Event]:
        self.status = status
        yield {
            "type": "response.output_item.done",
            "output_index": self.index,
            "item": self.whole(),
        }

    def event(self, kind: str, **facts: Any) -> Event:
        return {"type": kind, "item_id": self.id, "output_index": self.index, **facts}


class Thought(OutputItem):
    """What the model thinks, as such; as its summary for who has asked for one."""

    kind = "reasoning"

    def __init__(self, response_id: str, index: int, summarises: bool) -> None:
        super().__init__(response_id, index)
        self._said: list[str] = []
        self._kind, self._name, self._place, self._part_type = (
            ("reasoning_summary", "summary_index", "summary", "summary_text")
            if summarises
            else ("reasoning", "content_index", "content", "reasoning_text")
        )

    def whole(self) -> dict[str, Any]:
        return {
            **super().whole(),
            "summary": [],
            **({self._place: [self._part()]} if self._said else {}),
        }

    def begin(self) -> Iterator[Event]:
        yield from super().begin()
        yield self._of_part("added")

    def delta(self, text: str) -> Iterator[Event]:
        self._said.append(text)
        yield self.event(f"response.{self._kind}_text.delta", **{self._name: 0}, delta=text)

    def end(self, status: str) -> Iterator[Event]:
        text = "".join(self._said)
        yield self.event(f"response.{self._kind}_text.done", **{self._name: 0}, text=text)
        yield self._of_part("done")
        yield from super().end(status)

    def _part(self) -> dict[str, Any]:
        return {"type": self._part_type, "text": "".join(self._said)}

    def _of_part(self, what: str) -> Event:
        kind = "reasoning_summary_part" if self._place == "summary" else "content_part"
        return self.event(f"response.{kind}.{what}", **{self._name: 0}, part=self._part())


class _Part:
    """Of a message: text, or a refusal."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.said: list[str] = []
        self.annotations: list[dict[str, Any]] = []
        self.logprobs: list[dict[str, Any]] = []

    @property
    def text(self) -> str:
        return "".join(self.said)

    def whole(self) -> dict[str, Any]:
        if self.kind == "refusal":
            return {"type": "refusal", "refusal": self.text}
        return {
            "type": "output_text",
            "text": self.text,
            "annotations": list(self.annotations),
            "logprobs": list(self.logprobs),
        }


class Message(OutputItem):
    kind = "message"

    def __init__(self, response_id: str, index: int) -> None:
        super().__init__(response_id, index)
        self._parts: list[_Part] = []

    def whole(self) -> dict[str, Any]:
        content = [part.whole() for part in self._parts]
        return {**super().whole(), "role": "assistant", "content": content}

    def delta(self, kind: str, text: str, logprobs: Any) -> Iterator[Event]:
        yield from self._in_part(kind)
        part = self._parts[-1]
        part.said.append(text)
        if kind == "refusal":
            yield self._of_part("response.refusal.delta", delta=text)
            return
        part.logprobs += [_logprob(one) for one in logprobs]
        told = [_told_logprob(one) for one in logprobs]
        yield self._of_part("response.output_text.delta", delta=text, logprobs=told)

    def cite(self, annotation: dict[str, Any]) -> Iterator[Event]:
        yield from self._in_part("output_text")
        notes = self._parts[-1].annotations
        notes.append(annotation)
        yield self._of_part(
            "response.output_text.annotation.added",
            annotation_index=len(notes) - 1,
            annotation=annotation,
        )

    def end(self, status: str) -> Iterator[Event]:
        yield from self._end_part()
        yield from super().end(status)

    def _in_part(self, kind: str) -> Iterator[Event]:
        if not self._parts or self._parts[-1].kind != kind:
            yield from self._end_part()
            self._parts.append(_Part(kind))
            yield self._of_part("response.content_part.added", part=self._parts[-1].whole())

    def _end_part(self) -> Iterator[Event]:
        if not self._parts:
            return
        part = self._parts[-1]
        if part.kind == "refusal":
            yield self._of_part("response.refusal.done", refusal=part.text)
        else:
            told = [_told_logprob(one) for one in part.logprobs]
            yield self._of_part("response.output_text.done", text=part.text, logprobs=told)
        yield self._of_part("response.content_part.done", part=part.whole())

    def _of_part(self, kind: str, **facts: Any) -> Event:
        return self.event(kind, content_index=len(self._parts) - 1, **facts)


class Call(OutputItem):
    kind = "function_call"

    def __init__(self, response_id: str, index: int, call_id: object, name: object) -> None:
        super().__init__(response_id, index)
        # Who answers the call names it: where a server gives no id, its item's is as good.
        self._call_id = str(call_id or f"call_{self.id.removeprefix('fc_')}")
        self._name = str(name or "")
        self._arguments: list[str] = []

    def whole(self) -> dict[str, Any]:
        told = {"call_id": self._call_id, "name": self._name}
        return {**super().whole(), **told, "arguments": "".join(self._arguments)}

    def delta(self, arguments: Any) -> Iterator[Event]:
        if isinstance(arguments, str) and arguments:
            self._arguments.append(arguments)
            yield self.event("response.function_call_arguments.delta", delta=arguments)

    def end(self, status: str) -> Iterator[Event]:
        arguments = "".join(self._arguments)
        kind = "response.function_call_arguments.done"
        yield self.event(kind, name=self._name, arguments=arguments)
        yield from super().end(status)


def _logprob(given: Mapping[str, Any]) -> dict[str, Any]:
    """As a part has it."""
    return {
        "token": given.get("token"),
        "bytes": given.get("bytes") or [],
        "logprob": given.get("logprob"),
        "top_logprobs": [
            {
                "token": one.get("token"),
                "bytes": one.get("bytes") or [],
                "logprob": one.get("logprob"),
            }
            for one in given.get("top_logprobs") or ()
        ],
    }


def _told_logprob(given: Mapping[str, Any]) -> dict[str, Any]:
    """As a delta has it: without the bytes."""
    names = ("token", "logprob")
    top = [{name: one.get(name) for name in names} for one in given.get("top_logprobs") or ()]
    return {**{name: given.get(name) for name in names}, "top_logprobs": top}
