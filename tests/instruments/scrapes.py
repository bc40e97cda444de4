"""What Prometheus reads, as its own parser understands it."""

from __future__ import annotations

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Scrape"]


class Scrape:
    """One answer of ``/metrics``."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families: dict[str, Metric] = {
            family.name: family
            for family in text_string_to_metric_families(text)
            # The times at which a series was made come as gauges of their own.
            if family.name.startswith("streamhub_") and not family.name.endswith("_created")
        }
        self.samples = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """That of ``streamhub_<name>`` with these labels.

        :raises KeyError: there is none.
        """
        return self.samples[(f"streamhub_{name}", *sorted(labels.items()))]

    def values(self, name: str) -> list[float]:
        """Those of ``streamhub_<name>``, whatever its labels."""
        return [sample.value for sample in self.families[f"streamhub_{name}"].samples]

    def labels(self) -> dict[str, set[str]]:
        """By the name of each sample, the labels that it has."""
        found: dict[str, set[str]] = {}
        for family in self.families.values():
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
        return found
