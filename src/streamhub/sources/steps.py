"""The calls of its model that an agent makes, one after another, as steps of one message."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager

from ..errors import ProviderFailed, StreamHubError
from ..parts import AnyPart, FinishReason, FinishStep, StartStep, finished
from ..producing.provider_errors import as_provider_failed

__all__ = ["Items", "Steps", "provider_errors"]

#: What a source yields.
Items = AsyncGenerator[str | AnyPart, None]


class Steps:
    """A step begins with a call of the model and takes in what comes of it, as what tools give; the
    next call ends it. Calls that go on at the same time share one.
    """

    def __init__(self) -> None:
        self._open = False
        self._going_on: set[object] = set()
        self._usage: dict[str, int] = {}
        self._reason: FinishReason | None = None
        self._model: str | None = None

    def begin(self, call: object) -> Iterator[AnyPart]:
        """A call of the model begins, by a name of its own."""
        if not self._going_on:
            if self._open:
                yield FinishStep()
            self._open = True
            yield StartStep()
        self._going_on.add(call)

    def over(self, call: object) -> None:
        """A call is complete, or will never be."""
        self._going_on.discard(call)

    def learn(
        self,
        usage: Mapping[str, int | None] | None = None,
        reason: FinishReason | None = None,
        model: str | None = None,
    ) -> None:
        """Facts about a call: what it took adds up, of the others the last ones count."""
        for name, count in (usage or {}).items():
            if count is not None:
                self._usage[name] = self._usage.get(name, 0) + count
        self._reason = reason or self._reason
        self._model = model or self._model

    def end(self) -> Iterator[AnyPart]:
        """The agent is done."""
        if self._open:
            yield FinishStep()
        if self._usage or self._reason or self._model:
            yield finished(usage=self._usage, finish_reason=self._reason, model=self._model)


@asynccontextmanager
async def provider_errors() -> AsyncIterator[None]:
    """What a framework raises because the client of a provider has, as that.

    :raises ProviderFailed: the provider refused a request, or broke off an answer.
    """
    try:
        yield
    except StreamHubError:
        raise
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            failure = as_provider_failed(cause)
            if isinstance(failure, ProviderFailed):
                raise failure from error
            cause = cause.__cause__
        raise
