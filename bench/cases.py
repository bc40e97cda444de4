"""What is measured: the cases by name, each with its sides, in groups that take turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Self

from . import byhand, durable, faces, gateway, hub, peers, resumable, web
from .cold import cold
from .importing import importing
from .postgres import Database
from .workers import Figures, Side

__all__ = ["LINGERS", "Group", "Sizes", "groups", "warm_up"]

#: Seconds, for the curve of delay against cost.
LINGERS = (0.0, 0.01, 0.03, 0.1)

# Baselines to which the ratio is far from its aim, or has none: they take part in no more rounds.
_DISTANT = frozenset(
    {
        *("round trip", "reader each", "assistant-stream", "fastapi-resumable-stream"),
        *("dbos on Postgres", "dbos on SQLite"),
    }
)
_ROUNDS_OF_DISTANT = 2


@dataclass(frozen=True)
class Sizes:
    """How much of everything; ``tiny`` is for a test that it runs."""

    publish: int = 150_000
    awaited: int = 3_000
    streams: int = 256
    per_stream: int = 500
    awaited_per_stream: int = 12
    hops: int = 150
    hop_rate: float = 150.0
    subscribers: int = 1_000
    ticks: int = 50
    tick_rate: float = 20.0
    many: int = 1_000
    per_many: int = 20
    many_rate: float = 10.0
    replay: int = 10_000
    replays: int = 10
    cold: int = 3
    imports: int = 10
    storm: int = 2_000
    own_storm: int = 100
    sessions: int = 1_000
    renewals_s: float = 5.0
    idle_s: float = 15.0
    size: int = 1_000
    clients: int = 1_000
    sent: int = 40
    web_rate: float = 20.0
    web_sent: int = 10
    web_many_rate: float = 5.0
    answers: int = 1_000
    said: int = 10
    said_rate: float = 2.0
    asks: int = 200
    most: int = 10_000
    longest: int = 100_000
    lingering: int = 200
    lingered: int = 50
    linger_rate: float = 50.0

    @classmethod
    def tiny(cls) -> Self:
        sizes = cls()
        small = {
            field.name: max(4, getattr(sizes, field.name) // 100)
            for field in fields(cls)
            if isinstance(getattr(sizes, field.name), int)
        }
        return replace(sizes, renewals_s=0.2, idle_s=0.2, **{**small, "cold": 1})


@dataclass(frozen=True)
class Group:
    """Cases that are compared with each other, and so measured one right after the other."""

    name: str
    cases: dict[str, Sequence[Side]]
    #: In how many rounds it takes part: what takes long in fewer, what is short in more.
    rounds: int

    def cases_of(self, number: int) -> Iterator[tuple[str, Sequence[Side]]]:
        """What is measured in the round of that number, of which the first one is 0."""
        for name, sides in self.cases.items():
            rounds = min(self.rounds, _ROUNDS_OF_DISTANT) if name in _DISTANT else self.rounds
            if number < rounds:
                yield name, sides


def warm_up(chosen: Sequence[Group]) -> list[Group]:
    """Of tiny cases those that play what the ones before do not, once."""
    played: set[object] = set()
    warming: list[Group] = []
    for group in chosen:
        cases: dict[str, Sequence[Side]] = {}
        for name, sides in group.cases.items():
            programs = {_program(side) for side in sides}
            if not programs <= played:
                played |= programs
                cases[name] = sides
        if cases:
            warming.append(Group(group.name, cases, rounds=1))
    return warming


def _program(side: Side) -> object:
    """What it runs, whatever the numbers: its function, and what is switched on there."""
    assert isinstance(side, partial)
    return side.func, frozenset(name for name, value in side.keywords.items() if value is True)


def groups(url: str, database: Database, sizes: Sizes, rounds: int) -> list[Group]:
    # What takes a third of a second is at the mercy of the moment, and has the most rounds.
    most, often, more, few = 3 * rounds + 2, 2 * rounds + 1, rounds + 2, (rounds + 1) // 2
    return [
        Group("publish one", _publish_one(url, database, sizes), most),
        Group("publish many", _publish_many(url, sizes), most),
        Group("hop", _hop(url, database, sizes), often),
        Group("fan-out", _fan_out(url, sizes), more),
        Group("many", _many(url, sizes), few),
        Group("many, two processes", _many(url, sizes, apart=True), few),
        Group("replay", _replay(url, database, sizes), more),
        Group("cold replay", _cold_replay(url, database, sizes), more),
        Group("import", _import(sizes), more),
        Group("storm", _storm(url, sizes), few),
        Group("idle", _idle(url, sizes), 1),
        Group("size", _size(url, sizes), 1),
        Group("memory", _memory(sizes), rounds),
        Group("instruments", _instruments(url, sizes), often),
        Group("faces", _faces(sizes), rounds),
        Group("http, one stream", _http(url, sizes, one=True), few),
        Group("http, many streams", _http(url, sizes, one=False), few),
        Group("gateway", _gateway(url, sizes), 1),
        Group("first token", _first_token(url, sizes), few),
        Group("streams", _streams(url, sizes), few),
        Group("subscribers", _subscribers(url, sizes), few),
        Group("length", _lengths(url, sizes), rounds),
        Group("linger", _linger(url, sizes), few),
    ]


def _publish_one(url: str, database: Database, n: Sizes) -> dict[str, Sequence[Side]]:
    return {
        "hub": [partial(hub.publish, url, streams=1, chunks=n.publish)],
        "round trip": [partial(byhand.round_trip, url, streams=1, chunks=n.awaited)],
        "bare": [partial(byhand.batches, url, streams=1, chunks=n.publish)],
        **_peer([partial(peers.append, url, chunks=n.awaited // 2)]),
        **_resumable([partial(resumable.append, url, chunks=n.awaited // 2)]),
        **_dbos(database, [partial(durable.append, url, database.url, chunks=n.awaited // 2)]),
    }


def _publish_many(url: str, n: Sizes) -> dict[str, Sequence[Side]]:
    return {
        "hub": [partial(hub.publish, url, streams=n.streams, chunks=n.per_stream)],
        "round trip": [
            partial(byhand.round_trip, url, streams=n.streams, chunks=n.awaited_per_stream)
        ],
        "bare": [partial(byhand.batches, url, streams=n.streams, chunks=n.per_stream)],
    }


def _hop(url: str, database: Database, n: Sizes) -> dict[str, Sequence[Side]]:
    pace: dict[str, Any] = {"chunks": n.hops, "rate": n.hop_rate}
    return {
        "hub": [
            partial(hub.produce, url, streams=1, **pace),
            partial(hub.subscribe, url, subscribers=1, chunks=n.hops),
        ],
        "bare": [
            partial(byhand.send, url, **pace),
            partial(byhand.listen, url, chunks=n.hops),
        ],
        "reader each": [
            partial(byhand.produce, url, streams=1, **pace),
            partial(byhand.subscribe, url, subscribers=1, chunks=n.hops),
        ],
        **_peer(
            [
                partial(peers.produce, url, **pace),
                partial(peers.follow, url, subscribers=1, chunks=n.hops),
            ]
        ),
        **_resumable(
            [
                partial(resumable.produce, url, **pace),
                partial(resumable.follow, url, subscribers=1, chunks=n.hops),
            ]
        ),
        **_dbos(
            database,
            [
                partial(durable.produce, url, database.url, **pace),
                partial(durable.follow, url, database.url, chunks=n.hops),
            ],
        ),
    }


def _fan_out(url: str, n: Sizes) -> dict[str, Sequence[Side]]:
    pace: dict[str, Any] = {"chunks": n.ticks, "rate": n.tick_rate}
    readers: dict[str, Any] = {"subscribers": n.subscribers, "chunks": n.ticks}
    return {
        "hub": [
            partial(hub.produce, url, streams=1, **pace),
            partial(hub.subscribe, url, **readers),
        ],
        "bare": [partial(byhand.send, url, **pace), partial(byhand.wake, url, **readers)],
        "reader each": [
            partial(byhand.produce, url, streams=1, **pace),
            partial(byhand.subscribe, url, **readers),
        ],
        **_peer([partial(peers.produce, url, **pace), partial(peers.follow, url, **readers)]),
        **_resumable(
            [partial(resumable.produce, url, **pace), partial(resumable.follow, url, **readers)]
        ),
    }


def _many(url: str, n: Sizes, *, apart: bool = False) -> dict[str, Sequence[Side]]:
    pace: dict[str, Any] = {"streams": n.many, "chunks": n.per_many, "rate": n.many_rate}
    readers: dict[str, Any] = {"subscribers": 1, "chunks": n.per_many}
    cases: dict[str, Sequence[Side]] = {
        "hub": [partial(hub.produce, url, **pace), partial(hub.subscribe, url, **readers)],
        "by hand": [
            partial(byhand.produce, url, **pace),
            partial(byhand.subscribe, url, **readers),
        ],
    }
    if apart:
        return cases
    return {name: [partial(_in_one_process, *sides)] for name, sides in cases.items()}


async def _in_one_process(produce: Side, subscribe: Side) -> Figures:
    """Play both sides in this process, whose time each of them has measured."""
    produced, subscribed = await asyncio.gather(produce(), subscribe())
    cpu = max(produced["producer_cpu"], subscribed["subscriber_cpu"])
    return {**produced, **subscribed, "producer_cpu": cpu, "subscriber_cpu": 0.0}


def _replay(url: str, database: Database, n: Sizes) -> dict[str, Sequence[Side]]:
    stored: dict[str, Any] = {"chunks": n.replay, "streams": n.replays}
    return {
        "hub": [partial(hub.replay, url, **stored)],
        "hub, joined": [partial(hub.replay, url, batch=True, **stored)],
        "hub, just opened": [partial(hub.cold_replay, url, **stored)],
        "xrange": [partial(byhand.xrange, url, **stored)],
        **_peer([partial(peers.replay, url, chunks=n.replay, times=n.replays)]),
        **_resumable([partial(resumable.replay, url, chunks=n.replay, times=n.replays)]),
        **_dbos(
            database,
            [partial(durable.replay, url, database.url, chunks=n.replay, times=n.replays)],
        ),
    }


def _import(n: Sizes) -> dict[str, Sequence[Side]]:
    return {
        "hub": [partial(importing, "streamhub", times=n.imports)],
        "needed": [partial(importing, "asyncio, msgspec", times=n.imports)],
    }


def _cold_replay(url: str, database: Database, n: Sizes) -> dict[str, Sequence[Side]]:
    much: dict[str, Any] = {"chunks": n.replay, "times": n.cold}
    return {
        "hub": [partial(cold, hub.prepare, "hub", url, **much)],
        "xrange": [partial(cold, hub.prepare, "xrange", url, **much)],
        **_peer([partial(cold, peers.prepare, "assistant-stream", url, **much)]),
        **_resumable([partial(cold, resumable.prepare, "fastapi-resumable-stream", url, **much)]),
        **_dbos(database, [partial(cold, durable.prepare, "dbos", database.url, **much)]),
    }


def _storm(url: str, n: Sizes) -> dict[str, Sequence[Side]]:
    return {
        "hub": [partial(hub.storm, url, subscribers=n.subscribers, chunks=n.storm)],
        "xrange each": [partial(byhand.storm, url, subscribers=n.own_storm, chunks=n.storm)],
    }


def _idle(url: str, n: Sizes) -> dict[str, Sequence[Side]]:
    return {
        "hub": [
            partial(hub.own, url, sessions=n.sessions, settle=n.renewals_s, seconds=n.idle_s),
            partial(hub.idle, url),
        ],
        "reader each": [partial(byhand.idle, url, sessions=n.sessions, seconds=n.idle_s / 5)],
    }


def _size(url: str, n: Sizes) -> dict[str, Sequence[Side]]:
    return {
        "hub": [partial(hub.size, url, chunks=n.size)],
        "plain": [partial(byhand.size, url, chunks=n.size)],
    }


def _memory(n: Sizes) -> dict[str, Sequence[Side]]:
    return {"hub": [partial(hub.memory, chunks=n.publish, subscribers=4)]}


def _instruments(url: str, n: Sizes) -> dict[str, Sequence[Side]]:
    """The same with and without, one right after the other."""
    cases: dict[str, Sequence[Side]] = {}
    pace: dict[str, Any] = {"streams": n.many, "chunks": n.per_many, "rate": n.many_rate}
    readers: dict[str, Any] = {"subscribers": 1, "chunks": n.per_many}
    for name, instrumented in (("without", False), ("with", True)):
        cases[f"publish, {name}"] = [
            partial(
                hub.publish,
                url,
                streams=n.streams,
                chunks=n.per_stream,
                instrumented=instrumented,
            )
        ]
        cases[f"deliver, {name}"] = [
            partial(
                _in_one_process,
                partial(hub.produce, url, **pace, instrumented=instrumented),
                partial(hub.subscribe, url, **readers, instrumented=instrumented),
            )
        ]
    return cases


def _faces(n: Sizes) -> dict[str, Sequence[Side]]:
    answer: dict[str, Any] = {"chunks": n.replay, "times": n.replays // 2}
    return {
        "sse": [partial(faces.written, "sse", **answer)],
        "ui messages": [partial(faces.written, "ui messages", **answer)],
        "folded": [partial(faces.folded, **answer)],
    }


def _http(url: str, n: Sizes, *, one: bool) -> dict[str, Sequence[Side]]:
    if one:
        produce = partial(hub.produce, url, streams=1, chunks=n.sent, rate=n.web_rate)
        load = partial(web.load, url, clients=n.clients, chunks=n.sent)
    else:
        produce = partial(
            hub.produce, url, streams=n.clients, chunks=n.web_sent, rate=n.web_many_rate
        )
        load = partial(web.load, url, clients=1, chunks=n.web_sent)
    cases: dict[str, Sequence[Side]] = {"hub": [produce, load, partial(web.serve, url)]}
    if web.PEER_INSTALLED:
        cases["sse-starlette"] = [produce, load, partial(web.serve, url, peer=True)]
    return cases


def _gateway(url: str, n: Sizes) -> dict[str, Sequence[Side]]:
    model = partial(gateway.model, url, chunks=n.said, rate=n.said_rate)
    load = partial(gateway.load, url, clients=n.answers, chunks=n.said)
    return {
        "hub": [model, load, partial(gateway.proxy, url)],
        "plain": [model, load, partial(gateway.proxy, url, plain=True)],
    }


def _first_token(url: str, n: Sizes) -> dict[str, Sequence[Side]]:
    model = partial(gateway.model, url, chunks=3)
    first = partial(gateway.first, url, asks=n.asks)
    return {
        "hub": [model, first, partial(gateway.proxy, url)],
        "plain": [model, first, partial(gateway.proxy, url, plain=True)],
    }


def _streams(url: str, n: Sizes) -> dict[str, Sequence[Side]]:
    """Ten chunks to each stream and a flush, however many streams there are."""
    cases: dict[str, Sequence[Side]] = {}
    for streams in (1, n.most):
        repeats = max(1, min(100, n.most // streams // 10))
        cases[str(streams)] = [
            partial(hub.publish, url, streams=streams, chunks=10 * repeats, each=10)
        ]
    return cases


def _subscribers(url: str, n: Sizes) -> dict[str, Sequence[Side]]:
    return {
        str(subscribers): [
            partial(hub.produce, url, streams=1, chunks=10, rate=5.0),
            partial(hub.subscribe, url, subscribers=subscribers, chunks=10),
        ]
        for subscribers in (1, n.most)
    }


def _lengths(url: str, n: Sizes) -> dict[str, Sequence[Side]]:
    """Appends to a stream of that length, ten chunks at a time; and its replay."""
    cases: dict[str, Sequence[Side]] = {}
    for length in (1_000, n.longest):
        cases[f"append, {length}"] = [
            partial(hub.appended, url, length=length, rounds=1_500, each=10)
        ]
        cases[f"replay, {length}"] = [partial(hub.replay, url, chunks=length)]
    return cases


def _linger(url: str, n: Sizes) -> dict[str, Sequence[Side]]:
    return {
        f"{linger:g}": [
            partial(
                hub.produce,
                url,
                streams=n.lingering,
                chunks=n.lingered,
                rate=n.linger_rate,
                linger=linger,
            ),
            partial(hub.subscribe, url, subscribers=1, chunks=n.lingered),
        ]
        for linger in LINGERS
    }


def _peer(sides: Sequence[Callable[..., object]]) -> dict[str, Sequence[Side]]:
    """The case of assistant-stream, where that is installed."""
    return {"assistant-stream": sides} if peers.INSTALLED else {}  # type: ignore[dict-item]


def _resumable(sides: Sequence[Side]) -> dict[str, Sequence[Side]]:
    return {"fastapi-resumable-stream": sides} if resumable.INSTALLED else {}


def _dbos(database: Database, sides: Sequence[Side]) -> dict[str, Sequence[Side]]:
    return {f"dbos on {database.kind}": sides} if durable.INSTALLED else {}
