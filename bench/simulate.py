"""What a shard and a process carry, calculated from measured costs: ``python -m bench.simulate``.

Producers' processes gather what their sessions publish and send it in rounds, as the writer does;
one Redis carries the rounds out one after the other. Measured are the costs per call and chunk,
per event and per byte; simulated is how rounds and queues follow from them; assumed is what
``Assumptions`` holds, which the options change.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from random import Random
from statistics import median
from textwrap import wrap
from typing import Any, Self

from streamhub.producing.pacing import distance

from .report import number

__all__ = ["Assumptions", "Costs", "Load", "main", "simulate"]

_MEASURED = Path(__file__).resolve().parent.parent / "docs" / "speed.json"
_SECONDS = 5.0
_SCALES = (10_000, 1_000_000, 10_000_000)
_LINGERS = (0.0, 0.03, 0.1, 0.25)


@dataclass(frozen=True)
class Costs:
    """Measured: seconds of processor time, and bytes."""

    #: Redis, for each append and for each chunk in it.
    redis_call: float
    redis_chunk: float
    #: The process that produces, likewise.
    producer_call: float
    producer_chunk: float
    #: The process that follows by ``subscribe``, for each append that it hears of.
    subscriber_event: float
    #: The process that serves Server-Sent Events, for each append that it hears of.
    http_event: float
    #: What Redis gets and sends for each append, and keeps for each chunk.
    bytes_in: float
    bytes_out: float
    stored: float

    @classmethod
    def measured(cls, report: Mapping[str, Any]) -> Self:
        """From the JSON of ``make bench``."""
        figures = report["figures"]

        def of(group: str, case: str, name: str) -> float:
            return float(median([one[name] for one in figures[group][case]]))

        apart = "many, two processes"
        chunks = of(apart, "hub", "chunks")
        # With 10 chunks a second and stream, an append holds one chunk.
        redis, producer = (
            of(apart, "hub", name) / chunks for name in ("redis_cpu", "producer_cpu")
        )
        redis_chunk = of("publish one", "hub", "redis_us") / 1e6
        producer_chunk = of("publish one", "hub", "process_us") / 1e6
        served = of("http, many streams", "hub", "deliveries")
        return cls(
            redis_call=redis - redis_chunk,
            redis_chunk=redis_chunk,
            producer_call=producer - producer_chunk,
            producer_chunk=producer_chunk,
            subscriber_event=of(apart, "hub", "subscriber_cpu") / chunks,
            http_event=of("http, many streams", "hub", "server_cpu") / served,
            bytes_in=of(apart, "hub", "redis_in") / chunks,
            bytes_out=of(apart, "hub", "redis_out") / chunks,
            stored=of("size", "hub", "bytes_per_chunk"),
        )


@dataclass(frozen=True)
class Assumptions:
    """Not measured: how the sessions are, how full a machine may be, and what it costs."""

    #: Chunks a second and session, chunks of an answer, bytes of a chunk, and processes in which a
    #: session is read.
    rate: float = 30.0
    answer: float = 1_000.0
    chunk_bytes: float = 6.0
    readers: float = 1.0
    #: How long an ended session is kept, in seconds, and what its record takes, in bytes.
    retention: float = 3_600.0
    record: float = 800.0
    #: How busy a processor may be, so that bursts and failovers find room.
    busy: float = 0.6
    #: The 99th percentile of the delay that is still good.
    delay: float = 0.5
    #: Prices, in any currency: one processor for an hour, and one GiB of Redis memory for an hour.
    price_core: float = 0.04
    price_gib: float = 0.01


@dataclass(frozen=True)
class Load:
    """What came out of a simulation of one shard."""

    sessions: int
    linger: float
    redis_busy: float
    chunks_per_call: float
    p50: float
    p99: float


def simulate(costs: Costs, sessions: int, rate: float, linger: float, *, processes: int) -> Load:
    """One Redis, and ``processes`` that produce ``sessions`` at ``rate`` chunks a second each."""
    dice = Random(1)
    share = sessions / processes
    ready = [(dice.random() * max(linger, distance(share)), at) for at in range(processes)]
    heapq.heapify(ready)
    gathered_since = [0.0] * processes
    redis_free = redis_work = calls = chunks = 0.0
    delays: list[tuple[float, float]] = []
    while ready[0][0] < _SECONDS:
        start, at = heapq.heappop(ready)
        waited = start - gathered_since[at]
        gathered_since[at] = start
        came = _poisson(dice, share * rate * waited)
        # How many of the sessions these chunks are of: each is as likely as any other.
        of_sessions = share * -math.expm1(-came / share)
        sent = start + of_sessions * costs.producer_call + came * costs.producer_chunk
        work = of_sessions * costs.redis_call + came * costs.redis_chunk
        redis_free = max(redis_free, sent) + work
        redis_work += work
        calls += of_sessions
        chunks += came
        delays += [(redis_free - start + waited * part / 4, came) for part in range(5)]
        pause = max(linger, distance(of_sessions))
        heapq.heappush(ready, (max(redis_free, start + pause), at))
    return Load(
        sessions,
        linger,
        redis_work / max(redis_free, _SECONDS),
        chunks / max(calls, 1e-9),
        _percentile(delays, 0.5),
        _percentile(delays, 0.99),
    )


def capacity(costs: Costs, assumed: Assumptions, linger: float) -> Load:
    """The most sessions that one shard carries within what is assumed."""
    low, high = 1, 1_000_000
    best = _shard(costs, assumed, low, linger)
    while high - low > max(1, low // 50):
        middle = (low + high) // 2
        load = _shard(costs, assumed, middle, linger)
        if load.redis_busy <= assumed.busy and load.p99 <= assumed.delay:
            low, best = middle, load
        else:
            high = middle
    return best


def _shard(costs: Costs, assumed: Assumptions, sessions: int, linger: float) -> Load:
    # As many processes as the work of producing needs.
    per_chunk = costs.producer_call + costs.producer_chunk
    processes = math.ceil(sessions * assumed.rate * per_chunk / assumed.busy)
    return simulate(costs, sessions, assumed.rate, linger, processes=processes)


def report(costs: Costs, assumed: Assumptions) -> Iterator[str]:
    """What one shard carries, and what so many sessions need."""
    yield from (*wrap("Measured: " + _list(costs) + ".", 100), "")
    yield from (*wrap("Assumed: " + _list(assumed) + ".", 100), "")
    yield "| linger | sessions per shard | Redis busy | chunks per append | p50 | p99 |"
    yield "|--:|--:|--:|--:|--:|--:|"
    loads = {linger: capacity(costs, assumed, linger) for linger in _LINGERS}
    for linger, load in loads.items():
        yield (
            f"| {1000 * linger:g} ms | {number(load.sessions)} | {load.redis_busy:.0%} "
            f"| {load.chunks_per_call:.2g} | {1000 * load.p50:.3g} ms | {1000 * load.p99:.3g} ms |"
        )
    yield ""
    yield (
        "| sessions at once | linger | shards | producing processes | serving processes "
        "| Redis in + out | Redis memory | per million tokens |"
    )
    yield "|--:|--:|--:|--:|--:|--:|--:|--:|"
    for sessions in _SCALES:
        for linger in (0.0, 0.1):
            yield _needs(costs, assumed, sessions, loads[linger])


def check(costs: Costs, figures: Mapping[str, Any]) -> Iterator[str]:
    """The simulation beside what was measured of the same load: one process, a quiet Redis."""
    measured = figures["linger"]
    yield "| linger | simulated p50 | measured p50 | simulated p99 | measured p99 |"
    yield "|--:|--:|--:|--:|--:|"
    for linger, rounds in measured.items():
        load = simulate(costs, 200, 50.0, float(linger), processes=1)
        p50, p99 = (median([one[name] for one in rounds]) for name in ("p50_ms", "p99_ms"))
        yield (
            f"| {1000 * float(linger):g} ms | {number(1000 * load.p50)} ms | {number(p50)} ms "
            f"| {number(1000 * load.p99)} ms | {number(p99)} ms |"
        )


def _needs(costs: Costs, assumed: Assumptions, sessions: int, load: Load) -> str:
    chunks = sessions * assumed.rate
    appends = chunks / load.chunks_per_call
    shards = math.ceil(sessions / load.sessions)
    producing = appends * costs.producer_call + chunks * costs.producer_chunk
    serving = appends * assumed.readers * costs.http_event
    processes = [math.ceil(work / assumed.busy) for work in (producing, serving)]
    # A chunk that shares its append costs only what it holds.
    shared = (chunks - appends) * assumed.chunk_bytes
    traffic = appends * (costs.bytes_in + costs.bytes_out * assumed.readers)
    traffic += shared * (1 + assumed.readers)
    # Those that are written now are half full on average; those that have ended are kept.
    ended = chunks / assumed.answer * assumed.retention
    memory = (sessions / 2 + ended) * assumed.answer * costs.stored
    memory += (sessions + ended) * assumed.record
    gib = memory / 2**30
    an_hour = (shards + sum(processes)) * assumed.price_core + gib * assumed.price_gib
    per_million = an_hour / (chunks * 3600 / 1e6)
    return (
        f"| {sessions:,} | {1000 * load.linger:g} ms | {shards:,} | {processes[0]:,} "
        f"| {processes[1]:,} | {number(traffic * 8 / 1e9)} Gbit/s "
        f"| {number(gib)} GiB | {per_million:.2g} |"
    )


def _list(values: Costs | Assumptions) -> str:
    found = []
    for field in fields(values):
        value = getattr(values, field.name)
        unit = "" if isinstance(values, Assumptions) else " µs" if value < 0.01 else " bytes"
        found.append(f"`{field.name}` {number(1e6 * value if unit == ' µs' else value)}{unit}")
    return ", ".join(found)


def _poisson(dice: Random, mean: float) -> float:
    """Close to a Poisson number: exact where it is small, its normal limit where it is large."""
    if mean > 50:
        return max(0.0, round(dice.gauss(mean, math.sqrt(mean))))
    limit, count, product = math.exp(-mean), 0, dice.random()
    while product > limit:
        count += 1
        product *= dice.random()
    return count


def _percentile(weighted: Sequence[tuple[float, float]], share: float) -> float:
    left = share * sum(weight for _, weight in weighted)
    for value, weight in sorted(weighted):
        left -= weight
        if left <= 0:
            return value
    return 0.0


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.simulate", description=__doc__)
    parser.add_argument("--measured", type=Path, default=_MEASURED, help="speed.json of the bench")
    for field in fields(Assumptions):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=float, default=field.default)
    options = parser.parse_args(arguments)
    measured = json.loads(options.measured.read_text())
    costs = Costs.measured(measured)
    assumed = Assumptions(**{f.name: getattr(options, f.name) for f in fields(Assumptions)})
    print("\n".join([*report(costs, assumed), "", *check(costs, measured["figures"])]))


if __name__ == "__main__":
    main()
