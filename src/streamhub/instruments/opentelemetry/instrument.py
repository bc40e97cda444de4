"""The instrument: which event becomes a span, and which a measurement."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from opentelemetry import metrics, trace

from ..events import Event
from .attributes import GenAI
from .measuring import Measuring
from .spans import Spans

__all__ = ["OpenTelemetryInstrument"]

_NAME = "streamhub"


class OpenTelemetryInstrument:
    """An instrument for hubs: ``Hub(…, instruments=[OpenTelemetryInstrument()])``.

    A span ``produce session`` lasts from a claim to its end, and a span ``read session`` as long as
    a subscription. Both stand in the trace in which they were begun, if any, and are linked to the
    request that began the session: its context is kept with the session, so that readers in other
    processes, and who takes the session over, are linked to it, too.

    No text of a session, no owner and no reason of a failure is in any of it: of a reason the kind
    alone.

    :param tracer_provider: where spans go; the global one by default.
    :param meter_provider: where measurements go; the global one by default.
    :param gen_ai_provider: ``gen_ai.provider.name``, such as ``openai``, of all sessions.
    :param gen_ai_operation: ``gen_ai.operation.name`` of all sessions.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        gen_ai_provider: str = "_OTHER",
        gen_ai_operation: str = "chat",
    ) -> None:
        of_model = GenAI(gen_ai_provider, gen_ai_operation)
        ours = _version()
        self._spans = Spans(trace.get_tracer(_NAME, ours, tracer_provider), of_model)
        measuring = Measuring(metrics.get_meter(_NAME, ours, meter_provider), of_model)
        self._of: dict[type, tuple[Callable[[Any], None], ...]] = {
            kind: tuple(of[kind] for of in (self._spans.of, measuring.of) if kind in of)
            for kind in {*self._spans.of, *measuring.of}
        }

    def __repr__(self) -> str:
        return "<OpenTelemetryInstrument>"

    def __call__(self, event: Event) -> None:
        for tell in self._of.get(type(event), ()):
            tell(event)

    def context(self, takeover: str) -> str | None:
        """The ``traceparent`` of the span within which a session is claimed; where there is none,
        and the session begins anew, that of its producer, which begins now."""
        return self._spans.context(takeover)


def _version() -> str:
    try:
        return version("streamhub-llm")
    except PackageNotFoundError:
        return ""
