"""Traces and metrics for OpenTelemetry: ``pip install "streamhub-llm[opentelemetry]"``.

It needs the API alone: which SDK there is, and where that sends what it gets, is the application's.

::

    hub = Hub.from_url(url, instruments=[OpenTelemetryInstrument()])
"""

try:
    from .instrument import OpenTelemetryInstrument
except ModuleNotFoundError as _missing:
    if (_missing.name or "").partition(".")[0] != "opentelemetry":
        raise
    raise ModuleNotFoundError(
        "streamhub.instruments.opentelemetry needs opentelemetry: "
        'pip install "streamhub-llm[opentelemetry]"',
        name="opentelemetry",
    ) from None

__all__ = ["OpenTelemetryInstrument"]
