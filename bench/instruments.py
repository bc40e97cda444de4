"""All three instruments of the package at once, as an application has them that is looked after."""

from __future__ import annotations

import logging

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

from streamhub.instruments import Instrument
from streamhub.instruments.logging import LoggingInstrument
from streamhub.instruments.opentelemetry import OpenTelemetryInstrument
from streamhub.instruments.prometheus import PrometheusInstrument

__all__ = ["all_three"]


def all_three() -> list[Instrument]:
    """Logs at INFO, which go nowhere; metrics that are read by nobody meanwhile; spans that are
    not exported."""
    logger = logging.getLogger("streamhub")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [logging.NullHandler()]
    return [
        LoggingInstrument(),
        PrometheusInstrument(CollectorRegistry()),
        OpenTelemetryInstrument(
            tracer_provider=TracerProvider(),
            meter_provider=MeterProvider([InMemoryMetricReader()]),
        ),
    ]
