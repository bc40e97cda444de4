"""Metrics for Prometheus: ``pip install "streamhub-llm[prometheus]"``.

::

    hub = Hub.from_url(url, instruments=[PrometheusInstrument()])
    app.mount("/metrics", metrics_app(token=os.environ["METRICS_TOKEN"]))

Beside this module lie ``dashboard.json``, for Grafana, and ``alerts.yml``, rules for Prometheus.
"""

try:
    from .instrument import PrometheusInstrument
    from .scraping import metrics_app
except ModuleNotFoundError as _missing:
    if (_missing.name or "").partition(".")[0] != "prometheus_client":
        raise
    raise ModuleNotFoundError(
        "streamhub.instruments.prometheus needs prometheus_client: "
        'pip install "streamhub-llm[prometheus]"',
        name="prometheus_client",
    ) from None

__all__ = ["PrometheusInstrument", "metrics_app"]
