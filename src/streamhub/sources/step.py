"""One call of a model as parts: opens and closes what a provider's events leave open."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any
from uuid import uuid4

from .. import parts
from ..errors import ProviderFailed
from ..parts import AnyPart

__all__ = ["Step", "field", "plain"]


class _Call:
    """One call of a tool, while the model writes it."""

    def __init__(self, call_id: str, facts: dict[str, Any]) -> None:
        self.id = call_id
        self.name = ""
        self.facts = facts
        self.written: list[str] = []


class Step:
    """What a model says in one call of it. Each method gives what is to be published."""

    def __init__(self) -> None:
        self._begun = False
        self._reasoning: dict[str, None] = {}
        self._calls: dict[Hashable, _Call] = {}
        self._call_ids: set[str] = set()
        self._sources: set[str] = set()
        #: Whether the model asks for a tool that it does not run itself.
        self.calls_tools: bool = False

    def begin(self) -> Iterator[AnyPart]:
        """Before anything else; to be called as often as one likes."""
        if not self._begun:
            self._begun = True
            yield parts.StartStep()

    def text(self, text: object) -> Iterator[str | AnyPart]:
        """What the model says. Where it thought, it has done so."""
        if isinstance(text, str) and text:
            yield from self.end_reasoning()
            yield text

    def reasoning(
        self, reasoning_id: str, delta: object = "", metadata: dict[str, Any] | None = None
    ) -> Iterator[AnyPart]:
        """What it thinks."""
        if reasoning_id not in self._reasoning:
            self._reasoning[reasoning_id] = None
            yield parts.ReasoningStart(reasoning_id, provider_metadata=metadata)
        if isinstance(delta, str) and delta:
            yield parts.ReasoningDelta(reasoning_id, delta)

    @property
    def is_thinking(self) -> bool:
        """Whether a thought has begun and is not complete."""
        return bool(self._reasoning)

    def end_reasoning(
        self, reasoning_id: str | None = None, metadata: dict[str, Any] | None = None
    ) -> Iterator[AnyPart]:
        """That thought is complete; without an id, all of them."""
        ended = [*self._reasoning] if reasoning_id is None else [reasoning_id]
        for one in ended:
            if one in self._reasoning:
                del self._reasoning[one]
                yield parts.ReasoningEnd(one, provider_metadata=metadata)

    def call(self, key: Hashable, call_id: object, name: object, **facts: Any) -> Iterator[AnyPart]:
        """The model begins to call a tool, or goes on doing so: ``key`` tells the calls apart.

        It is begun once its name is known. An id that is missing, or another call's, is replaced:
        two calls of one id would be one to whoever reads them.
        """
        call = self._calls.get(key)
        if call is None:
            yield from self.end_reasoning()
            given = call_id if isinstance(call_id, str) and call_id else f"call_{uuid4().hex}"
            if given in self._call_ids:
                given = f"{given}_{uuid4().hex[:8]}"
            self._call_ids.add(given)
            call = self._calls[key] = _Call(given, facts)
        if isinstance(name, str) and name and not call.name:
            call.name = name
            self.calls_tools |= not facts.get("provider_executed")
            yield parts.ToolInputStart(call.id, name, **call.facts)
            for delta in call.written:
                yield parts.ToolInputDelta(call.id, delta)

    def is_calling(self, key: Hashable) -> bool:
        """Whether that call has begun and is not complete."""
        return key in self._calls

    def call_id(self, key: Hashable) -> str | None:
        """The id under which that call is known, while it is not complete."""
        call = self._calls.get(key)
        return None if call is None else call.id

    def input(self, key: Hashable, delta: object) -> Iterator[AnyPart]:
        """More of the JSON of that call's input."""
        call = self._calls.get(key)
        if call is not None and isinstance(delta, str) and delta:
            call.written.append(delta)
            if call.name:
                yield parts.ToolInputDelta(call.id, delta)

    def end_call(
        self,
        key: Hashable,
        text: str | None = None,
        metadata: dict[str, Any] | None = None,
        *,
        given: Any = None,
    ) -> Iterator[AnyPart]:
        """That call is complete.

        :param text: its whole input as JSON, where that is not what was written.
        :param given: its input where nothing was written.
        """
        call = self._calls.pop(key, None)
        if call is None:
            return
        written = "".join(call.written) if text is None else text
        facts = {**call.facts, "provider_metadata": metadata}
        facts.pop("input_encoding", None)
        try:
            if written.strip():
                given = json.loads(written, parse_constant=_no_json)
            elif given is None:
                given = {}
            if not call.name:
                raise ValueError("the tool has no name")
        except (ValueError, RecursionError) as error:
            facts.pop("title", None)
            said = f"the input of the call is no JSON: {error}" if call.name else str(error)
            yield parts.ToolInputError(call.id, call.name, said, input=written, **facts)
        else:
            yield parts.ToolInputAvailable(call.id, call.name, given, **facts)

    def end_calls(self) -> Iterator[AnyPart]:
        """All calls are complete."""
        for key in [*self._calls]:
            yield from self.end_call(key)

    def whole_call(
        self, call_id: object, name: object, given: Any, **facts: Any
    ) -> Iterator[AnyPart]:
        """A call that comes complete."""
        key = object()
        yield from self.call(key, call_id, name, **facts)
        call = self._calls.pop(key)
        if call.name:
            facts.pop("input_encoding", None)
            yield parts.ToolInputAvailable(call.id, call.name, plain(given), **facts)
        else:
            said = "the tool has no name"
            yield parts.ToolInputError(call.id, "", said, input=plain(given), **facts)

    def source_url(
        self, url: object, title: object = None, metadata: dict[str, Any] | None = None
    ) -> Iterator[AnyPart]:
        """A page that the answer relies on; told once."""
        if isinstance(url, str) and url and url not in self._sources:
            self._sources.add(url)
            name = title if isinstance(title, str) and title else None
            yield parts.SourceUrl(_source_id(), url, name, provider_metadata=metadata)

    def source_document(
        self,
        key: object,
        title: object,
        media_type: str = "text/plain",
        *,
        filename: object = None,
        metadata: dict[str, Any] | None = None,
    ) -> Iterator[AnyPart]:
        """A document that the answer relies on; told once."""
        if str(key) not in self._sources:
            self._sources.add(str(key))
            yield parts.SourceDocument(
                _source_id(),
                media_type,
                title if isinstance(title, str) and title else str(key),
                filename if isinstance(filename, str) else None,
                provider_metadata=metadata,
            )

    def finish(
        self,
        reason: parts.FinishReason | None,
        usage: Mapping[str, int | None] | None = None,
        model: object = None,
    ) -> Iterator[AnyPart]:
        """The step is complete.

        :param reason: None where the provider has said none: it has broken off.
        :raises ProviderFailed: it has.
        """
        if reason is None:
            raise ProviderFailed("connection", "the provider's stream ended before its answer did")
        yield from self.begin()
        yield from self.end_reasoning()
        yield from self.end_calls()
        yield parts.FinishStep()
        name = model if isinstance(model, str) and model else None
        yield parts.finished(usage=usage, finish_reason=reason, model=name)


def field(value: Any, *path: str) -> Any:
    """What stands there in an object of a client, or in the dict that it might be; else None."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
    return value


def plain(value: Any) -> Any:
    """An object of a client as JSON has it."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [plain(one) for one in value]
    return value


def _source_id() -> str:
    return f"source_{uuid4().hex}"


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is none")
