"""Metrics of hubs, read with Prometheus' own parser."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
import redis.asyncio
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from streamhub import Hub, HubConfig, ProducerLost, Status
from streamhub.http.server import guarded
from streamhub.instruments.prometheus import PrometheusInstrument, metrics_app
from streamhub.instruments.prometheus.store_watch import StoreWatch
from streamhub.instruments.prometheus.tallies import Tally
from streamhub.stores.memory import MemoryStore
from streamhub.testing.waiting import patience, unhurried, until, within

from ..conftest import RunPython, Serve
from ..http.serving import served
from ..support.cli_process import start_cli
from ..support.redis_server import RedisServer
from .scrapes import Scrape

TOKEN = "a-secret-for-métrics"
LABELS = {"store", "takeover", "status", "kind", "doing", "outcome", "le"}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def scrape(registry: CollectorRegistry) -> Scrape:
    return Scrape(generate_latest(registry).decode())


async def words() -> AsyncIterator[str]:
    for word in ("the ", "lamp ", "türns"):
        yield word


async def test_what_producers_do_is_counted(registry: CollectorRegistry) -> None:
    """Of two hubs with an instrument each, in one registry: claims, takeovers and ends, chunks,
    bytes and round trips, and how long things took."""
    store = MemoryStore()
    first = Hub(store, instruments=[PrometheusInstrument(registry)])
    second = Hub(store, instruments=[PrometheusInstrument(registry)])
    async with first, second:
        stream = await first.run("a", words(), owner="ada")
        assert Status.FINISHED is await stream.wait()
        failing, _ = await second.register("b")
        await failing.fail("no more")
        again, _ = await second.register("b", takeover="continue")
        _, created = await first.register("b")
        assert not created
        await again.cancel(wait=patience())
    seen = scrape(registry)

    assert 2 == seen.value("claims_total", takeover="restart")
    assert 1 == seen.value("claims_total", takeover="continue")
    assert 1 == seen.value("takeovers_total", takeover="continue")
    assert 1 == seen.value("claims_refused_total")
    assert 4 == seen.value("claim_seconds_count")
    assert [1, 1, 1] == [
        seen.value("sessions_ended_total", status=status)
        for status in ("finished", "failed", "cancelled")
    ]
    assert 1 == seen.value("cancels_noticed_total") == seen.value("first_chunk_seconds_count")
    assert 3 == seen.value("session_seconds_count")
    assert (3, 15) == (seen.value("stored_chunks_total"), seen.value("stored_bytes_total"))
    assert 3 == seen.value("round_chunks_sum")
    rounds = seen.value("rounds_total")
    assert (
        rounds == seen.value("publish_to_store_seconds_count") == seen.value("write_seconds_count")
    )


async def test_what_readers_do_is_counted(registry: CollectorRegistry, session_id: str) -> None:
    """Subscribers and how they left, replays, what was lost; cancels and messages where they were
    sent; ends of a feed; how long a chunk took until it was back."""
    async with Hub(instruments=[PrometheusInstrument(registry)]) as hub, hub.ends("save") as ends:
        stream, _ = await hub.register(session_id, lambda: None)
        await stream.publish("the ")
        await stream.flush()
        leaves, stays = stream.subscribe(), stream.subscribe()
        assert "the " == (await anext(leaves)).data
        await leaves.aclose()
        assert "the " == (await anext(stays)).data
        live = asyncio.create_task(anext(stays))
        await until(lambda: _is(registry, "replays_total", 1))
        await stream.publish("lamp")
        assert "lamp" == (await live).data
        await stream.send("hurry")
        async for message in stream.inbox():
            message.done()
            break
        await stream.cancel()
        await stream.close()
        assert [] == [chunk async for chunk in stays]
        await (await anext(ends)).done()
        await hub._started().store.claim(
            "lost", "killed", takeover="restart", lease=0.05, retention=60
        )
        lost = await hub.get("lost")
        assert lost is not None
        with pytest.raises(ProducerLost):
            await within(anext(lost.subscribe()))
    seen = scrape(registry)

    assert {
        "active": 1, "finished": 0, "failed": 0, "cancelled": 1, "lost": 1,
    } == {
        status: seen.value("subscriptions_ended_total", status=status)
        for status in ("active", "finished", "failed", "cancelled", "lost")
    }  # fmt: skip
    assert [3, 1, 3, 1, 1, 1, 1, 1, 1, 1] == [
        seen.value(f"{name}_total")
        for name in (
            "subscriptions", "replayed_chunks", "read_chunks", "losses", "messages_sent",
            "messages_received", "cancels_requested", "cancels_noticed", "ends_handed_out",
            "ends_done",
        )
    ]  # fmt: skip
    assert 1 == seen.value("end_age_seconds_count")
    assert seen.value("publish_to_delivery_seconds_count") >= 1


async def _is(registry: CollectorRegistry, name: str, least: float, **labels: str) -> bool:
    return scrape(registry).value(name, **labels) >= least


def test_a_tally_is_what_the_histogram_would_have_observed(registry: CollectorRegistry) -> None:
    """Bucket by bucket, at the bounds and beyond, however often it is given on."""
    bounds = (1.0, 2.0, 5.0)
    plain = Histogram("plain", "Plain.", buckets=bounds, registry=registry)
    summed = Histogram("summed", "Summed.", buckets=bounds, registry=registry)
    tally = Tally(summed, bounds)
    for value in (0.0, 1.0, 1.5, 2.0, 2.1, 5.0, 7.0, 7.0):
        plain.observe(value)
        tally.observe(value)
        if value == 2.0:
            tally.give_on()
    tally.give_on()
    tally.give_on()

    def shown(one: Histogram) -> list[tuple[str, str | None, float]]:
        (family,) = one.collect()
        return [
            (sample.name.partition("_")[2], sample.labels.get("le"), sample.value)
            for sample in family.samples
            if not sample.name.endswith("_created")
        ]

    assert shown(plain) == shown(summed)


async def test_gauges_say_what_holds_when_they_are_read(registry: CollectorRegistry) -> None:
    """The sessions, subscribers and pending bytes of that moment; nothing once hubs are closed."""
    hub = Hub(instruments=[PrometheusInstrument(registry)])
    stream, _ = await hub.register("a")
    await stream.publish("x" * 100)
    assert 100 == scrape(registry).value("pending_bytes")
    await stream.flush()
    subscription = stream.subscribe()
    await anext(subscription)
    seen = scrape(registry)
    assert [1, 1, 1, 1, 0] == [
        seen.value(name)
        for name in ("hubs", "active_sessions", "subscribers", "followed_sessions", "pending_bytes")
    ]
    await subscription.aclose()
    await hub.aclose()

    seen = scrape(registry)
    assert [0, 0, 0] == [seen.value(name) for name in ("hubs", "active_sessions", "subscribers")]
    assert 1 == seen.value("store_up", store=repr(hub._store))


_FORKED = """
import asyncio, os, warnings
from prometheus_client import REGISTRY
from streamhub import Hub, StoreUnavailable
from streamhub.instruments.prometheus import PrometheusInstrument

warnings.simplefilter("ignore", DeprecationWarning)  # of forking where threads run
STORE = "redis://127.0.0.1:1/0"
hub = Hub.from_url(STORE, instruments=[PrometheusInstrument()])

def show():
    up = REGISTRY.get_sample_value("streamhub_store_up", {"store": STORE})
    print(REGISTRY.get_sample_value("streamhub_hubs"), up, flush=True)

async def use():
    try:
        await hub.register("chat")
    except StoreUnavailable:
        show()

loop = asyncio.new_event_loop()
loop.run_until_complete(use())
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0
    show()
    loop.run_until_complete(hub.aclose())
else:
    show()
    os._exit(0)
"""


async def test_a_forked_child_says_nothing_of_its_parents_hubs(run_python: RunPython) -> None:
    """It hears nothing of them: a store that was away then would be so for ever."""
    process = await run_python(_FORKED)

    expected = ["1.0 0.0", "0.0 1.0", "1.0 0.0"]
    assert expected == [await within(process.line()) for _ in expected]
    assert 0 == await within(process.wait())


async def test_the_event_loop_is_timed(registry: CollectorRegistry) -> None:
    """As long as a hub is open."""
    async with Hub(instruments=[PrometheusInstrument(registry)]) as hub:
        await hub.active(["a"])

        async def timed() -> bool:
            return scrape(registry).value("event_loop_lag_seconds_count") > 0

        await until(timed)


async def test_metrics_name_no_user(registry: CollectorRegistry) -> None:
    """No session, owner, feed, model or text is in a label: as many sessions as there may be, the
    metrics are as many. Each has a help, and a unit in its name where it has one."""
    async with Hub(instruments=[PrometheusInstrument(registry)]) as hub:
        await hub.active(["a"])
        before = {*scrape(registry).samples}
        for n in range(5):
            stream = await hub.run(
                f"secret-{n}", words(), owner="secret", metadata={"model": "secret"}
            )
            await stream.wait()
        seen = scrape(registry)

    assert {*seen.samples} == before
    assert set() == set().union(*seen.labels().values()) - LABELS
    assert "secret" not in seen.text
    for family in seen.families.values():
        assert family.documentation
        if family.type == "histogram":
            assert family.name.endswith(("_seconds", "_chunks")), family.name
        assert family.type in ("counter", "gauge", "histogram")


async def test_openmetrics_has_units(registry: CollectorRegistry) -> None:
    """Who asks for the newer format gets what its own, stricter parser takes."""
    async with Hub(instruments=[PrometheusInstrument(registry)]) as hub:
        await (await hub.run("a", words())).wait()
        async with served(metrics_app(registry)) as url, httpx.AsyncClient() as client:
            answer = await client.get(
                url, headers={"accept": "application/openmetrics-text; version=1.0.0"}
            )
    families = text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]
    units = {one.name: one.unit for one in families}

    assert "application/openmetrics-text" in answer.headers["content-type"]
    assert ("seconds", "bytes") == (
        units["streamhub_write_seconds"],
        units["streamhub_stored_bytes"],
    )


async def test_a_scrape_while_the_store_is_away_answers_at_once(
    registry: CollectorRegistry, make_redis: Callable[..., RedisServer]
) -> None:
    """With what is known: nothing is asked of the store for it. ``store_up`` says 0, and 1 once the
    store is back."""
    server = make_redis()
    instrument = PrometheusInstrument(registry)
    async with (
        Hub.from_url(server.url, instruments=[instrument]) as hub,
        served(metrics_app(registry)) as url,
        httpx.AsyncClient(timeout=patience()) as client,
    ):

        async def store_is(up: int) -> None:
            async def said() -> bool:
                seen = Scrape((await client.get(url)).text)
                return up == seen.value("store_up", store=repr(hub._store))

            await until(said)

        stream, _ = await hub.register("a")
        await stream.publish("x")
        await stream.flush()
        await store_is(1)
        server.stop()
        await stream.publish("y")
        await store_is(0)
        seen = Scrape((await client.get(url)).text)
        assert [1, 1, 1] == [
            seen.value(name) for name in ("active_sessions", "stored_chunks_total", "pending_bytes")
        ]
        assert seen.value("store_failures_total", doing="write") > 0
        assert seen.value("store_disconnects_total") > 0
        server.start()
        await store_is(1)
        await until(lambda: _is(registry, "store_reconnects_total", 1))
        await stream.close()


async def test_a_damaged_session_takes_no_store_down(
    registry: CollectorRegistry, redis_url: str, redis_client: redis.asyncio.Redis, session_id: str
) -> None:
    """What the store cannot do for that one is counted; it is there all the same."""
    instrument = PrometheusInstrument(registry)
    config = HubConfig(lease=unhurried(0.4))
    async with Hub.from_url(redis_url, config=config, instruments=[instrument]) as hub:
        await hub.register(session_id)
        await redis_client.hset(f"streamhub:{{{session_id}}}:meta", "terms", "damaged")
        await until(lambda: _is(registry, "store_failures_total", 1, doing="renew"))
        seen = scrape(registry)
        await redis_client.flushall()

    assert [1] == seen.values("store_up")


def test_the_store_is_asked_after_a_silence() -> None:
    """Five seconds after it was last heard of, once, and at each look while it is away; who does
    not answer for as long is away."""
    watch = StoreWatch()
    assert (True, True) == (watch.is_to_be_asked(0.0), watch.up)
    assert not watch.is_to_be_asked(0.5)
    watch.answers()
    assert [False, False, True, False] == [watch.is_to_be_asked(t) for t in (1.0, 5.9, 6.0, 6.5)]
    assert (True, True) == (watch.up, watch.is_to_be_asked(11.0))
    assert not watch.up
    watch.answers()
    assert (True, False) == (watch.up, watch.is_to_be_asked(11.5))
    watch.fails()
    assert (False, True) == (watch.up, watch.is_to_be_asked(12.0))


@pytest.mark.parametrize(
    ("authorization", "status"),
    [(None, 401), ("Bearer x", 401), (f"Basic {TOKEN}", 401), (f"bearer  {TOKEN}", 200)],
)
async def test_a_token_opens_the_metrics(
    registry: CollectorRegistry, authorization: str | None, status: int
) -> None:
    """Of any letters; who has none learns no more than that one is needed."""
    PrometheusInstrument(registry)
    headers = {} if authorization is None else {b"authorization": authorization.encode()}
    async with (
        served(metrics_app(registry, token=TOKEN), lifespan="on") as url,
        httpx.AsyncClient() as client,
    ):
        answer = await client.get(url, headers=headers)

    assert status == answer.status_code
    assert (status == 200) == ("streamhub_hubs" in answer.text)
    assert TOKEN not in answer.text


def test_an_empty_token_is_refused() -> None:
    """It would open the metrics to everybody who sends nothing."""
    with pytest.raises(ValueError, match="token must not be empty"):
        metrics_app(token=" ")


async def test_serve_has_metrics_for_a_token_of_their_own(redis_url: str) -> None:
    """``streamhub serve`` answers ``/metrics`` for that one, which opens nothing else; it says none
    of its tokens."""
    main, metrics = "m41n-token", "m3trics-token"
    env = {"STREAMHUB_TOKEN": main, "STREAMHUB_METRICS_TOKEN": metrics}
    async with start_cli("serve", "--port", "0", url=redis_url, env=env) as process:
        url = await process.address()
        async with httpx.AsyncClient(base_url=url, timeout=patience()) as client:
            statuses = [
                (await client.get(path, headers={"authorization": f"Bearer {token}"})).status_code
                for path in ("/metrics", "/sessions")
                for token in (main, metrics, "x")
            ]
            inside = await client.get(f"/metrics?token={metrics}")
            good = {"authorization": f"Bearer {metrics}"}
            seen = Scrape((await client.get("/metrics", headers=good)).text)
        process.signal(signal.SIGTERM)
        ended = await process.ended()

    assert [401, 200, 401, 200, 401, 401] == statuses
    assert 1 == seen.value("hubs")
    assert [1] == seen.values("store_up")
    assert (401, 0) == (inside.status_code, ended.code)
    assert all(one not in ended.out + ended.err for one in (main, metrics))


async def test_metrics_without_a_token_of_their_own_have_that_of_the_rest(
    registry: CollectorRegistry,
) -> None:
    """Or, without any, are for programs of this machine."""
    async with Hub(instruments=[PrometheusInstrument(registry)]) as hub:
        statuses = []
        for token in (TOKEN, None):
            app = guarded(hub, token=token, metrics=metrics_app(registry))
            async with served(app) as url, httpx.AsyncClient(base_url=url) as client:
                for headers in (
                    {b"authorization": f"Bearer {TOKEN}".encode()},
                    {b"authorization": b"Bearer x"},
                    {b"host": b"evil.example"},
                ):
                    answer = await client.get("/metrics", headers=headers)
                    statuses.append(answer.status_code)
                    assert (answer.status_code == 200) == ("streamhub_hubs 1.0" in answer.text)

    assert [200, 401, 401, 200, 200, 403] == statuses


WORKER = """
import os, sys
os.environ["PROMETHEUS_MULTIPROC_DIR"] = sys.argv[2]
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from streamhub import Hub
from streamhub.instruments.prometheus import PrometheusInstrument, metrics_app

hub = Hub.from_url(sys.argv[1], instruments=[PrometheusInstrument()])
held = []

async def begin(request):
    stream, _ = await hub.register(request.path_params["session"])
    await stream.publish("x")
    await stream.flush()
    held.append(stream)
    return PlainTextResponse(str(os.getpid()))

@asynccontextmanager
async def lifespan(app):
    async with hub:
        yield

app = Starlette(
    routes=[Route("/begin/{session}", begin), Route("/metrics", metrics_app())], lifespan=lifespan
)
"""


async def test_the_workers_of_a_server_answer_as_one(
    serve: Serve, redis_url: str, tmp_path: Path
) -> None:
    """Two processes that write to PROMETHEUS_MULTIPROC_DIR: whichever is asked, counters and
    histograms are those of both, and gauges of all that live. One that was killed leaves what it
    has counted, and none of what it held."""
    directory = tmp_path / "metrics"
    directory.mkdir()
    one = await serve(WORKER, redis_url, str(directory))
    two = await serve(WORKER, redis_url, str(directory))
    async with httpx.AsyncClient(timeout=patience()) as client:
        for worker, session in ((one, "a"), (two, "b"), (two, "c")):
            assert str(worker.pid) == (await client.get(f"{worker.url}/begin/{session}")).text

        async def seen(active: int) -> Scrape:
            found: list[Scrape] = []

            async def said() -> bool:
                found.append(Scrape((await client.get(f"{one.url}/metrics")).text))
                # A process writes one after the other, and may be asked about in between.
                counted = ("stored_chunks_total", "round_chunks_count", "write_seconds_count")
                names = ("active_sessions", *counted)
                return [active, 3, 3, 3] == [found[-1].value(name) for name in names]

            await until(said)
            return found[-1]

        both = await seen(3)
        two.signal(signal.SIGKILL)
        await two.wait()
        rest = await seen(1)

    for scrape in (both, rest):
        assert 3 == scrape.value("claims_total", takeover="restart")
        assert 3 == scrape.value("stored_chunks_total")
        assert 3 == scrape.value("round_chunks_count") == scrape.value("write_seconds_count")
    assert set() == set().union(*rest.labels().values()) - LABELS
    assert (2, 1) == (both.value("hubs"), rest.value("hubs"))
