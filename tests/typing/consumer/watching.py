"""Listen to what a hub tells: logs, metrics, traces, and functions of one's own."""

from __future__ import annotations

import logging
from typing import assert_type

from streamhub import Hub
from streamhub.instruments import Event, Instrument, Tracer, events
from streamhub.instruments.logging import LoggingInstrument
from streamhub.instruments.opentelemetry import OpenTelemetryInstrument
from streamhub.instruments.prometheus import PrometheusInstrument, metrics_app


def count(event: Event) -> None:
    if isinstance(event, events.Claimed):
        assert_type(event.session_id, str)


class Traced:
    def __call__(self, event: Event, /) -> None: ...

    def context(self, takeover: str) -> str | None:
        return None


def watched() -> Hub:
    tracer: Tracer = Traced()
    own: Instrument = count
    prometheus = PrometheusInstrument()
    metrics_app()
    return Hub(
        instruments=[
            own,
            tracer,
            prometheus,
            LoggingInstrument("app", levels={events.Subscribed: logging.INFO}),
            OpenTelemetryInstrument(),
        ]
    )
