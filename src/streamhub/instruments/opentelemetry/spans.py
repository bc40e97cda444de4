"""Spans: one of each claim, one of each subscription."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, TypeAlias

from opentelemetry.context import Context, get_current
from opentelemetry.trace import (
    Link,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ...chunks import Status as StreamStatus
from .. import events
from .attributes import PRODUCING, READING, GenAI, kind_of

__all__ = ["Spans"]

_PRODUCE = "produce session"
_Done: TypeAlias = events.Ended | events.Released | events.Fenced | events.GivenUp


#: The ``traceparent`` of the span of a producer that began before its claim was answered: of the
#: claim that is made in this context.
_begun: ContextVar[str | None] = ContextVar("streamhub_begun", default=None)


class Spans:
    """``of``: by the type of an event, what is called with it."""

    def __init__(self, tracer: Tracer, of_model: GenAI) -> None:
        self._tracer = tracer
        self._of_model = of_model
        self._hubs: set[int] = set()
        #: Of claims that are not answered, by what is their ``traceparent`` then.
        self._claiming: dict[str, Span] = {}
        #: Those that last, by the generation, and by the number of the subscriber.
        self._producing: dict[str, Span] = {}
        self._reading: dict[int, Span] = {}
        #: Who reads a session: the numbers of its subscribers.
        self._readers: dict[str, set[int]] = {}
        self.of: dict[type, Callable[[Any], None]] = {
            events.Opened: self._opened,
            events.Closed: self._closed,
            events.Claimed: self._claimed,
            events.Refused: self._refused,
            events.StoreFailed: self._store_failed,
            events.TakenOver: self._taken_over,
            events.FirstStored: self._first_stored,
            events.CancelNoticed: self._cancel_noticed,
            events.DataLost: self._data_lost,
            events.Repaired: self._repaired,
            **dict.fromkeys(
                (events.Ended, events.Released, events.Fenced, events.GivenUp), self._done
            ),
            events.Lost: self._lost,
            events.Subscribed: self._subscribed,
            events.Replayed: self._replayed,
            events.FellBehind: self._fell_behind,
            events.CaughtUp: self._caught_up,
            events.Unsubscribed: self._unsubscribed,
        }

    def _opened(self, event: events.Opened) -> None:
        self._hubs.add(event.hub)

    def _closed(self, event: events.Closed) -> None:
        self._hubs.discard(event.hub)
        if not self._hubs:
            # Of a loop that was stopped before its hub could end everything.
            for lasting in (self._claiming, self._producing, self._reading):
                for span in lasting.values():
                    span.end()
            self._claiming.clear()
            self._producing.clear()
            self._reading.clear()
            self._readers.clear()

    def context(self, takeover: str) -> str | None:
        """The ``traceparent`` for the session that is claimed next, in this context."""
        _begun.set(None)
        caller = _traceparent_of(get_current())
        if caller is not None or takeover != "restart":
            # What goes on keeps the trace in which it was begun, unless it has a new one.
            return caller
        span = self._tracer.start_span(_PRODUCE, kind=SpanKind.PRODUCER, attributes=PRODUCING)
        own = _traceparent_of(set_span_in_context(span, Context()))
        if own is not None:
            _begun.set(own)
            self._claiming[own] = span
        return own

    def _claimed(self, event: events.Claimed) -> None:
        span = self._taken(event.own_traceparent) or self._tracer.start_span(
            _PRODUCE,
            kind=SpanKind.PRODUCER,
            links=_links(event.traceparent),
            start_time=time.time_ns() - int(event.seconds * 1e9),
            attributes=PRODUCING,
        )
        span.set_attributes(
            {
                **self._of_model.attributes(event.metadata),
                "messaging.destination.name": event.session_id,
                "streamhub.generation": event.generation,
                "streamhub.takeover": event.takeover,
                "streamhub.base": event.base,
            }
        )
        self._producing[event.generation] = span

    def _refused(self, event: events.Refused) -> None:
        if (span := self._unclaimed()) is not None:
            span.set_attributes(
                {
                    "messaging.destination.name": event.session_id,
                    "streamhub.generation": event.generation,
                    "streamhub.status": "refused",
                }
            )
            span.end()

    def _store_failed(self, event: events.StoreFailed) -> None:
        if event.doing == "claim" and (span := self._unclaimed()) is not None:
            _fail(span, "StoreUnavailable" if event.away else "SessionCorrupted")
            span.end()

    def _unclaimed(self) -> Span | None:
        """The span that was begun for the claim that has just failed, if one was."""
        if (span := self._taken(None)) is not None:
            # It was no producer.
            span.update_name("claim session")
            span.set_attribute("messaging.operation.name", "claim")
        return span

    def _taken(self, traceparent: str | None) -> Span | None:
        """The span that was begun for the claim that is answered in this context, if one was; of
        one that was granted, if it has this ``traceparent``."""
        begun = _begun.get()
        if begun is None or traceparent not in (None, begun):
            return None
        _begun.set(None)
        return self._claiming.pop(begun, None)

    def _taken_over(self, event: events.TakenOver) -> None:
        self._say(
            event,
            "streamhub.taken_over",
            {
                "streamhub.replaced": event.replaced,
                "streamhub.resumes": event.resumes,
                "streamhub.handovers": event.handovers,
            },
        )

    def _first_stored(self, event: events.FirstStored) -> None:
        if (span := self._producing.get(event.generation)) is not None:
            span.set_attribute("gen_ai.response.time_to_first_chunk", event.seconds)

    def _cancel_noticed(self, event: events.CancelNoticed) -> None:
        self._say(event, "streamhub.cancel_noticed")

    def _data_lost(self, event: events.DataLost) -> None:
        self._say(event, "streamhub.data_lost", {"streamhub.reason": event.reason})

    def _repaired(self, event: events.Repaired) -> None:
        self._say(
            event,
            "streamhub.repaired",
            {"streamhub.kept": event.kept, "streamhub.chunks": event.chunks},
        )

    def _done(self, event: _Done) -> None:
        span = self._producing.pop(event.generation, None)
        if span is None:
            return
        span.set_attributes(
            {
                "messaging.batch.message_count": event.chunks,
                "streamhub.bytes": event.bytes,
                **self._of_model.attributes(event.metadata),
            }
        )
        match event:
            case events.Ended():
                span.set_attribute("streamhub.status", event.status.value)
                if event.status is StreamStatus.FAILED:
                    _fail(span, kind_of(event.reason))
            case events.Released():
                span.set_attribute("streamhub.status", "released")
                if event.abandoned:
                    _fail(span, "abandoned")
            case events.Fenced():
                span.set_attribute("streamhub.status", "fenced")
                span.add_event("streamhub.fenced", {"streamhub.by": event.by or ""})
                _fail(span, "fenced")
            case events.GivenUp():
                span.set_attribute("streamhub.status", "given_up")
                _fail(span, "given_up")
        span.end()

    def _lost(self, event: events.Lost) -> None:
        about: dict[str, str | int] = {
            "streamhub.generation": event.generation,
            "streamhub.chunks": event.chunks,
        }
        self._say(event, "streamhub.lost", about)
        for subscriber in self._readers.get(event.session_id, ()):
            self._reading[subscriber].add_event("streamhub.lost", about)

    def _subscribed(self, event: events.Subscribed) -> None:
        self._readers.setdefault(event.session_id, set()).add(event.subscriber)
        self._reading[event.subscriber] = self._tracer.start_span(
            "read session",
            kind=SpanKind.CONSUMER,
            links=_links(event.traceparent),
            attributes={
                **READING,
                "messaging.destination.name": event.session_id,
                "streamhub.generation": event.generation,
                "streamhub.after": str(event.after),
                "streamhub.behind": event.behind,
            },
        )

    def _replayed(self, event: events.Replayed) -> None:
        self._read_on(event, "streamhub.replayed")

    def _caught_up(self, event: events.CaughtUp) -> None:
        self._read_on(event, "streamhub.caught_up")

    def _read_on(self, event: events.Replayed | events.CaughtUp, name: str) -> None:
        if (span := self._reading.get(event.subscriber)) is not None:
            span.add_event(
                name,
                {
                    "messaging.batch.message_count": event.chunks,
                    "streamhub.seconds": event.seconds,
                },
            )

    def _fell_behind(self, event: events.FellBehind) -> None:
        if (span := self._reading.get(event.subscriber)) is not None:
            span.add_event("streamhub.fell_behind", {"streamhub.behind": event.behind})

    def _unsubscribed(self, event: events.Unsubscribed) -> None:
        readers = self._readers.get(event.session_id, set())
        readers.discard(event.subscriber)
        if not readers:
            self._readers.pop(event.session_id, None)
        span = self._reading.pop(event.subscriber, None)
        if span is None:
            return
        span.set_attributes(
            {
                "messaging.batch.message_count": event.chunks,
                "streamhub.status": event.status.value,
            }
        )
        # A hub that closes, as in each deploy, is no failure: its readers go on elsewhere.
        if event.error not in (None, "HubClosed"):
            _fail(span, event.error)
        span.end()

    def _say(
        self,
        event: events.TakenOver | events.CancelNoticed | events.DataLost | events.Repaired
        | events.Lost,
        name: str,
        about: Mapping[str, str | int] | None = None,
    ) -> None:  # fmt: skip
        if (span := self._producing.get(event.generation)) is not None:
            span.add_event(name, about)


def _fail(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, kind))


def _traceparent_of(context: Context) -> str | None:
    """That of the span in ``context``, if there is one."""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, context)
    return carrier.get("traceparent")


def _links(traceparent: str | None) -> list[Link]:
    """To the span that ``traceparent`` names."""
    if traceparent is None:
        return []
    found = TraceContextTextMapPropagator().extract({"traceparent": traceparent}, Context())
    context = get_current_span(found).get_span_context()
    return [Link(context)] if context.is_valid else []
