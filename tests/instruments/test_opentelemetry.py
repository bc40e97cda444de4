"""Spans and measurements, as OpenTelemetry's own SDK gets them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracerProvider, SpanKind, StatusCode

from streamhub import Hub, HubConfig, ProviderFailed, Status
from streamhub.errors import StoreUnavailable, StreamHubError
from streamhub.instruments.opentelemetry import OpenTelemetryInstrument
from streamhub.stores.base import Granted
from streamhub.stores.memory import MemoryStore
from streamhub.testing.waiting import patience, unhurried, within

from ..conftest import RunPython
from ..support.redis_server import RedisServer


class Traced:
    """An application with OpenTelemetry."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer("test")
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])
        self.instrument = OpenTelemetryInstrument(
            tracer_provider=provider, meter_provider=self.meters, gen_ai_provider="openai"
        )

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def span(self, name: str) -> ReadableSpan:
        (found,) = self.spans(name)
        return found

    def measured(self) -> dict[str, Any]:
        """Every metric by its name."""
        data = self.reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def traced() -> Traced:
    return Traced()


async def words() -> AsyncIterator[str]:
    for word in ("the ", "lamp"):
        yield word


async def test_a_request_is_followed_to_its_readers(traced: Traced) -> None:
    """The producer's span lasts from the claim to the end, in the trace of the request that began
    it and linked to it; one that reads is linked to that, too."""
    async with Hub(instruments=[traced.instrument]) as hub:
        with traced.tracer.start_as_current_span("POST /chat") as request:
            stream = await hub.run("chat:1", words(), owner="ada", metadata={"model": "gpt-5"})
        await stream.wait()
        found = await hub.get("chat:1")
        assert found is not None
        with traced.tracer.start_as_current_span("GET /chat"):
            assert 2 == len([chunk async for chunk in found.subscribe()])
    began, produced, read = map(traced.span, ("POST /chat", "produce session", "read session"))

    context = request.get_span_context()
    assert SpanKind.PRODUCER is produced.kind
    assert produced.parent is not None
    assert context.span_id == produced.parent.span_id
    assert [context.span_id] == [link.context.span_id for link in produced.links]
    times = (began.start_time, produced.start_time, produced.end_time)
    assert all(times)
    assert [*times] == sorted(times, key=lambda time: time or 0)
    assert StatusCode.UNSET is produced.status.status_code
    assert {
        "messaging.system": "streamhub",
        "messaging.operation.name": "produce",
        "messaging.operation.type": "send",
        "messaging.destination.name": "chat:1",
        "messaging.batch.message_count": 2,
        "gen_ai.provider.name": "openai",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-5",
        "streamhub.takeover": "restart",
        "streamhub.status": "finished",
        "streamhub.bytes": 8,
    }.items() <= dict(produced.attributes or {}).items()
    assert "gen_ai.response.time_to_first_chunk" in (produced.attributes or {})

    assert SpanKind.CONSUMER is read.kind
    assert read.parent is not None
    assert traced.span("GET /chat").context.span_id == read.parent.span_id
    assert [(context.trace_id, context.span_id)] == [
        (link.context.trace_id, link.context.span_id) for link in read.links
    ]
    assert ["streamhub.replayed"] == [event.name for event in read.events]
    assert ("receive", 2, "finished") == tuple(
        (read.attributes or {})[name]
        for name in (
            "messaging.operation.type", "messaging.batch.message_count", "streamhub.status",
        )
    )  # fmt: skip
    everything = "".join(span.to_json() for span in traced.exporter.get_finished_spans())
    assert "ada" not in everything
    assert "lamp" not in everything


READER = """
import asyncio, sys
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from streamhub import Hub
from streamhub.instruments.opentelemetry import OpenTelemetryInstrument

async def main():
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrument = OpenTelemetryInstrument(tracer_provider=provider)
    async with Hub.from_url(sys.argv[1], instruments=[instrument]) as hub:
        stream = await hub.get(sys.argv[2])
        async for chunk in stream.subscribe():
            print(chunk.data)
    (span,) = exporter.get_finished_spans()
    links = [link.context for link in span.links]
    print(span.name, *(f"{to.trace_id:x} {to.span_id:x}" for to in links))

asyncio.run(main())
"""


async def test_readers_in_other_processes_are_linked(
    traced: Traced, redis_url: str, session_id: str, run_python: RunPython
) -> None:
    """To the request that began the session, wherever they are: its context is in the record. So
    is the producer that goes on with it elsewhere, which no request has begun."""
    async with Hub.from_url(redis_url, instruments=[traced.instrument]) as hub:
        with traced.tracer.start_as_current_span("POST /chat") as request:
            stream, _ = await hub.register(session_id)
        await stream.publish("one")
        await stream.release()
    elsewhere = Traced()
    async with Hub.from_url(redis_url, instruments=[elsewhere.instrument]) as hub:
        second, created = await hub.register(session_id, takeover="continue")
        assert created
        reader = await run_python(READER, redis_url, session_id)
        assert "one" == await within(reader.line())
        await second.close()
        said = await within(reader.line())
    context = request.get_span_context()
    resumed = elsewhere.span("produce session")

    assert f"read session {context.trace_id:x} {context.span_id:x}" == said
    assert [context.span_id] == [link.context.span_id for link in resumed.links]
    assert resumed.parent is None
    assert ["streamhub.taken_over"] == [event.name for event in resumed.events]
    assert "released" == (traced.span("produce session").attributes or {})["streamhub.status"]


async def test_without_a_request_readers_are_linked_to_the_producer(traced: Traced) -> None:
    """Its span is what the record has then; of a claim that is refused, the span says so, and it is
    none of a producer."""
    async with Hub(instruments=[traced.instrument]) as hub:
        stream = await hub.run("chat:1", words())
        await stream.wait()
        _, created = await hub.register("chat:1", same_owner=True, replaces="")
        assert not created
        again, _ = await hub.register("chat:1", takeover="restart")
        await again.publish("x")
        await again.close()
        assert 1 == len([chunk async for chunk in again.subscribe()])
    first, second = traced.spans("produce session")
    read, refused = traced.span("read session"), traced.span("claim session")

    assert first.context.trace_id != second.context.trace_id
    assert [second.context.span_id] == [link.context.span_id for link in read.links]
    assert () == (*first.links, *second.links)
    assert "refused" == (refused.attributes or {})["streamhub.status"]
    assert second.start_time is not None
    assert refused.end_time is not None
    assert second.start_time >= refused.end_time


async def test_a_claim_that_the_store_does_not_answer_is_a_span_that_has_failed(
    traced: Traced,
) -> None:
    """It ends then, and not when somebody collects what was left of it."""
    async with Hub.from_url("redis://127.0.0.1:1/0", instruments=[traced.instrument]) as hub:
        with pytest.raises(StoreUnavailable):
            await hub.register("chat:1")
        assert "StoreUnavailable" == traced.span("claim session").status.description


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ZeroDivisionError("of the secret"), "ZeroDivisionError"),
        (ProviderFailed("rate_limit", "the secret"), "rate_limit"),
        ("the secret is out", "_OTHER"),
    ],
)
async def test_a_failure_is_an_error_of_its_kind(
    traced: Traced, error: BaseException | str, kind: str
) -> None:
    """Of the producer's span; what it says besides is not told. Readers fail, too."""
    async with Hub(instruments=[traced.instrument]) as hub:
        stream, _ = await hub.register("chat:1")
        await stream.fail(error)
        with pytest.raises(StreamHubError):
            async for _ in stream.subscribe():
                pass
    produced, read = map(traced.span, ("produce session", "read session"))

    assert (StatusCode.ERROR, kind) == (produced.status.status_code, produced.status.description)
    assert kind == (produced.attributes or {})["error.type"]
    assert (StatusCode.ERROR, "ProducerFailed") == (
        read.status.status_code, read.status.description,
    )  # fmt: skip
    assert "secret" not in produced.to_json() + read.to_json()


async def test_every_span_ends(traced: Traced) -> None:
    """Of a producer that is fenced, cancelled, or closed with its hub, and of a reader that leaves,
    or is left by its hub, which is no error: one each, with what became of it."""
    store = MemoryStore()
    config = HubConfig(lease=unhurried(0.3))
    async with Hub(store, config=config, instruments=[traced.instrument]) as hub:
        removed, _ = await hub.register("removed")
        cancelled, _ = await hub.register("cancelled")
        closed, _ = await hub.register("closed")
        stays = closed.subscribe()
        await stays.open()
        subscription = cancelled.subscribe()
        await cancelled.publish("x")
        await anext(subscription)
        await subscription.aclose()
        await cancelled.cancel(wait=patience())
        await hub.remove("removed")
        await removed.publish("y")
        with pytest.raises(StreamHubError):
            await removed.flush()
    ended = {
        (span.attributes or {})["messaging.destination.name"]: (
            (span.attributes or {})["streamhub.status"],
            span.status.description,
        )
        for span in traced.spans("produce session")
    }

    assert {
        "removed": ("fenced", "fenced"),
        "cancelled": ("cancelled", None),
        "closed": ("released", None),
    } == ended
    assert [("active", None)] * 2 == [
        ((span.attributes or {})["streamhub.status"], span.status.description)
        for span in traced.spans("read session")
    ]


async def test_losses_and_repairs_are_events(
    traced: Traced, make_redis: Callable[..., RedisServer]
) -> None:
    """In the span of the producer whose session the store had lost, and in that of a reader of one
    whose producer was killed."""
    server = make_redis()
    config = HubConfig(lease=unhurried(0.5))
    async with (
        Hub.from_url(server.url, config=config, instruments=[traced.instrument]) as hub,
        Hub.from_url(server.url, config=config) as silent,
    ):
        stream, _ = await hub.register("a")
        await stream.publish("x")
        await stream.flush()
        server.restart()
        await stream.publish("y")
        await stream.close()
        lost = await silent._started().store.claim(
            "b", "killed", takeover="restart", lease=unhurried(1.0), retention=60
        )
        assert isinstance(lost, Granted)
        found = await hub.get("b")
        assert found is not None
        with pytest.raises(StreamHubError):
            await within(anext(found.subscribe()))
    produced, read = map(traced.span, ("produce session", "read session"))

    # What a server that restarts has lost may be noticed more than once.
    told = [event.name for event in produced.events]
    assert ("streamhub.data_lost", "streamhub.repaired") == (told[0], told[-1])
    assert {"streamhub.data_lost", "streamhub.repaired"} == {*told}
    assert "streamhub.lost" in [event.name for event in read.events]


async def test_measurements_follow_the_conventions(traced: Traced) -> None:
    """Their names, units and attributes; the model's times once for each stream. None has an
    example in the trace that happened to use the hub first."""
    with traced.tracer.start_as_current_span("first"):
        hub = Hub(instruments=[traced.instrument])
        await hub.active(["chat:1"])
    async with hub:
        stream, _ = await hub.register("chat:1", metadata={"model": "gpt-5"})
        for word in ("the ", "lamp ", "turns"):
            await stream.publish(word)
            await stream.flush()
        await stream.close()
        assert 3 == len([chunk async for chunk in stream.subscribe()])
        await hub.register("chat:2")
        found = traced.measured()

    def point(name: str) -> Any:
        (only,) = found[name].data.data_points
        return only

    model = {
        "gen_ai.provider.name": "openai",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-5",
    }
    sent, read = (
        point("messaging.client.sent.messages"),
        point("messaging.client.consumed.messages"),
    )
    assert (3, "publish", "send") == (
        sent.value,
        sent.attributes["messaging.operation.name"],
        sent.attributes["messaging.operation.type"],
    )
    assert (3, "streamhub") == (read.value, read.attributes["messaging.system"])
    assert "{message}" == found["messaging.client.sent.messages"].unit
    for name, count, first in (
        ("gen_ai.client.operation.time_to_first_chunk", 1, 0.01),
        ("gen_ai.client.operation.time_per_output_chunk", 1, 0.01),
    ):
        assert ("s", count, first) == (
            found[name].unit, point(name).count, point(name).explicit_bounds[0],
        ), name  # fmt: skip
    duration = found["messaging.client.operation.duration"]
    assert ("s", 0.005) == (duration.unit, point(duration.name).explicit_bounds[0])
    assert 1 <= point(duration.name).count <= 3
    assert model == dict(point("gen_ai.client.operation.time_to_first_chunk").attributes)
    assert 1 == point("streamhub.sessions.active").value
    points = [one for metric in found.values() for one in metric.data.data_points]
    assert [] == [one for each in points for one in getattr(each, "exemplars", ())]


async def test_models_are_told_by_name_up_to_a_number(traced: Traced) -> None:
    """Metadata is the application's, which may take the model's name from a user."""
    async with Hub(instruments=[traced.instrument]) as hub:
        for n in range(105):
            stream, _ = await hub.register(f"chat:{n}", metadata={"model": f"m{n}" * 99})
            await stream.publish("x")
            await stream.close()
        odd, _ = await hub.register("odd", metadata={"model": ["x"]})
        await odd.publish("x")
        await odd.close()
    points = traced.measured()["gen_ai.client.operation.time_to_first_chunk"].data.data_points

    assert 101 == len(points)
    assert 100 == max(len(str(one.attributes.get("gen_ai.request.model", ""))) for one in points)


async def test_without_an_sdk_nothing_is_kept() -> None:
    """The API alone is needed: what the instrument is told goes nowhere, and no session has a
    context that leads nowhere."""
    instrument = OpenTelemetryInstrument(
        tracer_provider=NoOpTracerProvider(), meter_provider=NoOpMeterProvider()
    )
    async with Hub(instruments=[instrument]) as hub:
        stream = await hub.run("chat:1", words())
        assert 2 == len([chunk async for chunk in stream.subscribe()])
        info = await stream.info()

    assert (Status.FINISHED, None) == (info.status, info.traceparent)
