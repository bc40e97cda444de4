"""Measurements, by the conventions where they say something of the kind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.trace import INVALID_SPAN, set_span_in_context

from ...statistics import HubStatistics
from .. import events
from .attributes import PUBLISHING, READING, GenAI

__all__ = ["Measuring"]

# As the conventions advise.
_OPERATION: Final = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
)  # fmt: skip
_MODEL: Final = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
)  # fmt: skip
# The tasks of a hub run in the context of its first use, whose trace has nothing to do with what
# they measure. An empty context would be taken for none.
_NO_TRACE: Final = set_span_in_context(INVALID_SPAN, Context())


# Seconds between two round trips that are measured at least: where there are thousands a second, to
# measure each would cost a tenth of what it is about.
_APART: Final = 0.01


class Measuring:
    """``of``: by the type of an event, what is called with it."""

    def __init__(self, meter: Meter, of_model: GenAI) -> None:
        self._of_model = of_model
        self._hubs: dict[int, Callable[[], HubStatistics]] = {}
        #: Of claims whose first chunk is not stored: the attributes.
        self._begun: dict[str, dict[str, str]] = {}

        def count(name: str, unit: str, told: str) -> Callable[..., None]:
            return partial(meter.create_counter(name, unit, told).add, context=_NO_TRACE)

        def seconds(name: str, told: str, buckets: tuple[float, ...]) -> Callable[..., None]:
            made = meter.create_histogram(
                name, "s", told, explicit_bucket_boundaries_advisory=buckets
            )
            return partial(made.record, context=_NO_TRACE)

        self._stored_chunks = 0
        #: When the next round trip is measured.
        self._next = 0.0
        # Looked at, not counted: it would cost as much again as all else of a round.
        meter.create_observable_counter(
            "messaging.client.sent.messages",
            [lambda _: [Observation(self._stored_chunks, PUBLISHING)]],
            "{message}",
            "Chunks that were stored.",
        )
        self._consumed = count(
            "messaging.client.consumed.messages",
            "{message}",
            "Chunks by which subscribers read on; counted when they leave.",
        )
        self._operation = seconds(
            "messaging.client.operation.duration",
            "Round trips that store chunks, at most a hundred a second of them.",
            _OPERATION,
        )
        self._to_first = seconds(
            "gen_ai.client.operation.time_to_first_chunk",
            "From a claim until its first chunk is stored.",
            _MODEL,
        )
        self._per_chunk = seconds(
            "gen_ai.client.operation.time_per_output_chunk",
            "Between two chunks of a claim, on the average; one value for each claim.",
            _MODEL,
        )
        takeovers = count("streamhub.takeovers", "{session}", "Claims that replaced another one.")
        losses = count("streamhub.losses", "{session}", "Sessions that were found lost here.")
        fences = count("streamhub.fences", "{session}", "Sessions that had become another's.")
        repairs = count("streamhub.repairs", "{session}", "Sessions that were put back.")
        self._observe(meter, "streamhub.sessions.active", "{session}", "producers")
        self._observe(meter, "streamhub.subscribers", "{subscriber}", "subscribers")
        self._observe(meter, "streamhub.pending", "By", "pending_bytes")

        self.of: dict[type, Callable[[Any], None]] = {
            events.Opened: self._opened,
            events.Closed: self._closed,
            events.Stored: self._stored,
            events.Unsubscribed: self._unsubscribed,
            events.Claimed: self._claimed,
            events.FirstStored: self._first_stored,
            **dict.fromkeys(
                (events.Ended, events.Released, events.Fenced, events.GivenUp), self._done
            ),
            events.TakenOver: lambda _: takeovers(1),
            events.Lost: lambda _: losses(1),
            events.Repaired: lambda _: repairs(1),
        }
        self._fences = fences

    def _observe(self, meter: Meter, name: str, unit: str, field: str) -> None:
        def look(_: CallbackOptions) -> Iterable[Observation]:
            held = [statistics() for statistics in [*self._hubs.values()]]
            return [Observation(sum(getattr(one, field) for one in held))]

        meter.create_observable_up_down_counter(name, [look], unit, f"hub.statistics().{field}")

    def _opened(self, event: events.Opened) -> None:
        self._hubs[event.hub] = event.statistics

    def _closed(self, event: events.Closed) -> None:
        self._hubs.pop(event.hub, None)

    def _stored(self, event: events.Stored) -> None:
        self._stored_chunks += event.chunks
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _APART
        self._operation(event.seconds, PUBLISHING)

    def _unsubscribed(self, event: events.Unsubscribed) -> None:
        self._consumed(event.chunks, READING)

    def _claimed(self, event: events.Claimed) -> None:
        self._begun[event.generation] = self._of_model.attributes(event.metadata)

    def _first_stored(self, event: events.FirstStored) -> None:
        if (attributes := self._begun.pop(event.generation, None)) is not None:
            self._to_first(event.seconds, attributes)

    def _done(self, event: events.Ended | events.Released | events.Fenced | events.GivenUp) -> None:
        self._begun.pop(event.generation, None)
        if isinstance(event, events.Fenced):
            self._fences(1)
        first, last = event.first_chunk, event.last_chunk
        if event.chunks > 1 and first is not None and last is not None:
            each = (last - first) / (event.chunks - 1)
            self._per_chunk(each, self._of_model.attributes(event.metadata))
