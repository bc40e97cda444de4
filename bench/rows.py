"""What the table says: which figure of which case, against which baseline, and what it aims at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from .workers import Figures

__all__ = ["ROWS", "Line", "Results", "Row", "cpu_of_all", "cpu_of_redis", "lines"]

#: Of each group, of each case, the figures of each round.
Results = Mapping[str, Mapping[str, Sequence[Figures]]]


@dataclass(frozen=True)
class Measure:
    """A figure of a case: by its name, or calculated from several."""

    group: str
    case: str
    figure: str | Callable[[Figures], float]

    def of(self, results: Results) -> list[float]:
        """Its value in each round; none if the case was not measured."""
        rounds = results.get(self.group, {}).get(self.case, ())
        if callable(self.figure):
            return [self.figure(figures) for figures in rounds]
        return [figures[self.figure] for figures in rounds]


@dataclass(frozen=True)
class Aim:
    """What the ratio to the baseline is to be, or the value itself where ``of_value`` is set."""

    sign: str
    bound: float
    of_value: bool = False

    def __str__(self) -> str:
        return f"{self.sign} {self.bound:g}" + ("" if self.of_value else " x")

    def is_met(self, number: float) -> bool:
        return number >= self.bound if self.sign == "≥" else number <= self.bound


@dataclass(frozen=True)
class Row:
    what: str
    unit: str
    measure: Measure
    #: Each baseline: what it is called, its measure, and the aim if there is one.
    baselines: Sequence[tuple[str, Measure | None, Aim | None]]
    #: Whether the picture shows it, and by which short name.
    pictured: str = ""
    more_is_better: bool = False


@dataclass(frozen=True)
class Line:
    """One row against one baseline, as it came out."""

    row: Row
    value: float
    baseline: str
    base_value: float | None
    #: The median of the rounds' ratios: the two were measured one right after the other.
    ratio: float | None
    aim: Aim | None

    @property
    def met(self) -> bool | None:
        if self.aim is None:
            return None
        number = self.value if self.aim.of_value else self.ratio
        return number is not None and self.aim.is_met(number)


def lines(results: Results) -> Iterator[Line]:
    """All rows against all baselines that were measured."""
    for row in ROWS:
        values = row.measure.of(results)
        if not values:
            continue
        for name, measure, aim in row.baselines:
            base = [] if measure is None else measure.of(results)
            if measure is not None and not base:
                continue
            ratios = [one / other for one, other in zip(values, base, strict=False) if other]
            yield Line(
                row,
                median(values),
                name,
                median(base) if base else None,
                median(ratios) if ratios else None,
                aim,
            )


def cpu_of_all(figures: Figures) -> float:
    """Milliseconds of all processes per 10,000 chunks."""
    spent = figures["producer_cpu"] + figures["subscriber_cpu"] + figures["redis_cpu"]
    return 1e7 * spent / figures["chunks"]


def cpu_of_redis(figures: Figures) -> float:
    return 1e7 * figures["redis_cpu"] / figures["chunks"]


def _ours(group: str, figure: str | Callable[[Figures], float], case: str = "hub") -> Measure:
    return Measure(group, case, figure)


def _delivery_cpu(figures: Figures) -> float:
    """Microseconds of the server's process for each event that it has sent."""
    return 1e6 * figures["server_cpu"] / figures["deliveries"]


def _passing_cpu(figures: Figures) -> float:
    """Milliseconds of the gateway's process, and of Redis, for 1,000 events."""
    spent = figures["server_cpu"] + figures.get("redis_cpu", 0.0)
    return 1e6 * spent / figures["deliveries"]


def _reading_cpu(figures: Figures) -> float:
    return 1e6 * figures["subscriber_cpu"] / figures["deliveries"]


def _growth(
    what: str, group: str, small: str, large: str, figure: str | Callable[[Figures], float]
) -> Row:
    """Cost per chunk at the largest size, against that at the smallest."""
    at_least = f"with {int(small.rpartition(' ')[2]):,}"
    return Row(
        f"growth: CPU {what}",
        "µs",
        Measure(group, large, figure),
        ((at_least, Measure(group, small, figure), Aim("≤", 1.5)),),
    )


def _others(
    group: str, figure: str | Callable[[Figures], float], *, dbos: bool = True
) -> Sequence[tuple[str, Measure, None]]:
    """What people use now, as far as it was measured."""
    names = ["assistant-stream", "fastapi-resumable-stream"]
    names += ["dbos on Postgres", "dbos on SQLite"] if dbos else []
    return [(name, Measure(group, name, figure), None) for name in names]


_PUBLISHED, _STREAMS, _HOP, _FAN = "publish one", "publish many", "hop", "fan-out"
_APART = "many, two processes"
_RATE = "chunks_per_s"

ROWS: Sequence[Row] = (
    Row(
        "publish on 1 stream, 6-byte chunks, flushed",
        "chunks/s",
        _ours(_PUBLISHED, _RATE),
        (
            ("round trip", Measure(_PUBLISHED, "round trip", _RATE), Aim("≥", 20)),
            ("bare", Measure(_PUBLISHED, "bare", _RATE), Aim("≥", 0.8)),
            *_others(_PUBLISHED, _RATE),
        ),
        pictured="publish, 1 stream",
        more_is_better=True,
    ),
    Row(
        "publish on 256 streams at once, one hub",
        "chunks/s",
        _ours(_STREAMS, _RATE),
        (
            ("round trip", Measure(_STREAMS, "round trip", _RATE), None),
            ("bare", Measure(_STREAMS, "bare", _RATE), Aim("≥", 0.7)),
        ),
        pictured="publish, 256 streams",
        more_is_better=True,
    ),
    Row(
        "… its connections to Redis",
        "",
        _ours(_STREAMS, "connections"),
        (("one per stream", None, Aim("≤", 4, of_value=True)),),
    ),
    Row(
        "publish to delivery, 1 subscriber, p50",
        "ms",
        _ours(_HOP, "p50_ms"),
        (
            ("bare hop", Measure(_HOP, "bare", "p50_ms"), Aim("≤", 1.3)),
            ("reader each", Measure(_HOP, "reader each", "p50_ms"), None),
            *_others(_HOP, "p50_ms"),
        ),
        pictured="delivery, 1 subscriber, p50",
    ),
    *(
        Row(
            f"publish to delivery, 1,000 subscribers of 1 stream, {short}",
            "ms",
            _ours(_FAN, figure),
            (
                ("bare waking", Measure(_FAN, "bare", figure), Aim("≤", 1.5)),
                ("reader each", Measure(_FAN, "reader each", figure), Aim("≤", 0.2)),
                *_others(_FAN, figure, dbos=False),
            ),
            pictured="delivery, 1,000 subscribers, p50" if short == "p50" else "",
        )
        for short, figure in (("p50", "p50_ms"), ("p99", "p99_ms"))
    ),
    Row(
        "1,000 streams with 1 subscriber each in one process, 10 chunks/s: CPU of it and of Redis"
        " per 10,000 chunks",
        "ms",
        _ours("many", cpu_of_all),
        (("round trip + reader each", Measure("many", "by hand", cpu_of_all), Aim("≤", 0.3)),),
        pictured="CPU, 1,000 streams",
    ),
    Row(
        "… of Redis alone",
        "ms",
        _ours("many", cpu_of_redis),
        (("round trip + reader each", Measure("many", "by hand", cpu_of_redis), None),),
    ),
    Row(
        "… publish to delivery, p99",
        "ms",
        _ours("many", "p99_ms"),
        (("round trip + reader each", Measure("many", "by hand", "p99_ms"), None),),
    ),
    Row(
        "… with the subscribers in a process of their own: CPU of all",
        "ms",
        _ours(_APART, cpu_of_all),
        (("round trip + reader each", Measure(_APART, "by hand", cpu_of_all), Aim("≤", 0.3)),),
    ),
    Row(
        "replay of 10,000 chunks",
        "chunks/s",
        _ours("replay", _RATE),
        (
            ("redis-py's xrange", Measure("replay", "xrange", _RATE), Aim("≥", 1.5)),
            *_others("replay", _RATE),
        ),
        pictured="replay",
        more_is_better=True,
    ),
    Row(
        "… with batch_replay",
        "chunks/s",
        _ours("replay", _RATE, "hub, joined"),
        (("redis-py's xrange", Measure("replay", "xrange", _RATE), Aim("≥", 3)),),
        more_is_better=True,
    ),
    Row(
        "… each on a hub that was just opened",
        "chunks/s",
        _ours("replay", _RATE, "hub, just opened"),
        (("on a hub at work", _ours("replay", _RATE), None),),
        more_is_better=True,
    ),
    Row(
        "first replay of a new process, 10,000 chunks, from opening its client",
        "ms",
        _ours("cold replay", "ms"),
        (
            ("redis-py's xrange", Measure("cold replay", "xrange", "ms"), None),
            *_others("cold replay", "ms"),
        ),
        pictured="first replay of a process",
    ),
    Row(
        "import streamhub, beyond an empty interpreter",
        "ms",
        _ours("import", "ms"),
        (
            (
                "asyncio and msgspec, which it needs",
                Measure("import", "needed", "ms"),
                Aim("≤", 80, of_value=True),
            ),
        ),
    ),
    Row(
        "reconnect storm, 1,000 subscribers of 2,000 chunks: bytes read from Redis",
        "",
        _ours("storm", "redis_bytes"),
        (("the stream once", _ours("storm", "stream_bytes"), Aim("≤", 10)),),
    ),
    Row(
        "… time per chunk and subscriber",
        "µs",
        _ours("storm", "us_per_chunk"),
        (("xrange each", Measure("storm", "xrange each", "us_per_chunk"), None),),
        pictured="reconnect storm",
    ),
    Row(
        "1,000 idle subscribers on 1,000 sessions: commands/s of the subscribers",
        "",
        _ours("idle", "commands_per_s"),
        (
            (
                "reader each",
                Measure("idle", "reader each", "commands_per_s"),
                Aim("≤", 100, of_value=True),
            ),
        ),
        pictured="commands/s when idle",
    ),
    Row(
        "… their connections",
        "",
        _ours("idle", "connections"),
        (
            (
                "reader each",
                Measure("idle", "reader each", "connections"),
                Aim("≤", 4, of_value=True),
            ),
        ),
    ),
    Row(
        "… memory per subscriber",
        "bytes",
        _ours("idle", "bytes_per_subscriber"),
        (("reported", None, None),),
    ),
    Row(
        "Redis memory per 4-byte chunk, 1,000 chunks",
        "bytes",
        _ours("size", "bytes_per_chunk"),
        (
            (
                "plain stream",
                Measure("size", "plain", "bytes_per_chunk"),
                Aim("≤", 24, of_value=True),
            ),
        ),
    ),
    Row(
        "memory store: publish on 1 stream",
        "chunks/s",
        _ours("memory", _RATE),
        (("on Redis", _ours(_PUBLISHED, _RATE), Aim("≥", 1)),),
        more_is_better=True,
    ),
    Row(
        "memory store: replay to 4 subscribers",
        "chunks/s",
        _ours("memory", "delivered_per_s"),
        (("on Redis", _ours("replay", _RATE), Aim("≥", 1)),),
        more_is_better=True,
    ),
    Row(
        "logs, metrics and traces of all: publish on 256 streams at once, CPU per chunk",
        "µs",
        _ours("instruments", "process_us", "publish, with"),
        (
            (
                "without instruments",
                Measure("instruments", "publish, without", "process_us"),
                Aim("≤", 1.05),
            ),
        ),
    ),
    Row(
        "… 1,000 streams with 1 subscriber each in one process: CPU of it and of Redis per 10,000"
        " chunks",
        "ms",
        _ours("instruments", cpu_of_all, "deliver, with"),
        (
            (
                "without instruments",
                Measure("instruments", "deliver, without", cpu_of_all),
                Aim("≤", 1.05),
            ),
        ),
    ),
    Row(
        "1,000 chunks of an answer with tools as Server-Sent Events: CPU",
        "ms",
        Measure("faces", "sse", "ms_per_1000"),
        (("reported", None, None),),
    ),
    Row(
        "… as UI messages of the AI SDK",
        "ms",
        Measure("faces", "ui messages", "ms_per_1000"),
        (("as plain events", Measure("faces", "sse", "ms_per_1000"), None),),
    ),
    Row(
        "… 10,000 of them folded into a message",
        "ms",
        Measure("faces", "folded", "ms"),
        (("reported", None, None),),
    ),
    *(
        row
        for group, clients, sent in (
            ("http, one stream", "1,000 SSE clients of 1 stream", "20 chunks/s"),
            ("http, many streams", "1,000 SSE clients of a stream each", "5 chunks/s each"),
        )
        for row in (
            Row(
                f"HTTP: {clients}, {sent}, p99",
                "ms",
                _ours(group, "p99_ms"),
                (("sse-starlette", Measure(group, "sse-starlette", "p99_ms"), None),),
            ),
            Row(
                "… CPU of the server per event",
                "µs",
                _ours(group, _delivery_cpu),
                (("sse-starlette", Measure(group, "sse-starlette", _delivery_cpu), None),),
                pictured="HTTP CPU, 1 stream" if "one" in group else "HTTP CPU, 1,000 streams",
            ),
        )
    ),
    Row(
        "gateway: 1,000 answers at once, 2 events/s each: CPU of it and of Redis per 1,000 events",
        "ms",
        _ours("gateway", _passing_cpu),
        (("a plain reverse proxy", Measure("gateway", "plain", _passing_cpu), None),),
        pictured="gateway CPU",
    ),
    Row(
        "… from the model to its client, p50",
        "ms",
        _ours("gateway", "p50_ms"),
        (("a plain reverse proxy", Measure("gateway", "plain", "p50_ms"), None),),
    ),
    Row(
        "… what it adds to the first event of an answer, one at a time, p50",
        "ms",
        _ours("first token", "added_ms"),
        (
            (
                "a plain reverse proxy",
                Measure("first token", "plain", "added_ms"),
                Aim("≤", 2, of_value=True),
            ),
        ),
    ),
    _growth("per chunk, 10 to each of 10,000 streams", "streams", "1", "10000", "cpu_us"),
    _growth(
        "per delivery to 10,000 subscribers of 1 stream", "subscribers", "1", "10000", _reading_cpu
    ),
    _growth("per chunk appended to 100,000", "length", "append, 1000", "append, 100000", "cpu_us"),
    _growth(
        "per chunk of a replay of 100,000", "length", "replay, 1000", "replay, 100000", "cpu_us"
    ),
)
