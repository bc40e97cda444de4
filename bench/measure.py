"""What all sides measure by: costs, delays, and the pace at which chunks come."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from math import ceil
from statistics import median
from time import perf_counter, perf_counter_ns, process_time
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import uuid4

from redis.asyncio import Redis

from .workers import Figures

__all__ = [
    "Cost",
    "Pace",
    "Received",
    "allocated",
    "announce",
    "announced",
    "complete",
    "connected",
    "delays",
    "hear",
    "name",
    "own_connection",
    "readers",
    "ready",
    "replayed",
    "stamped",
    "tell",
    "whole",
]

T = TypeVar("T")

_TO_READERS, _TO_PRODUCERS = "bench:to-readers", "bench:to-producers"
_PATIENCE = 60


class Cost:
    """Seconds, the processor time of this process and of Redis, and the bytes that Redis has got
    and sent, between enter and exit."""

    def __init__(self, url: str) -> None:
        self._client = own_connection(url)

    async def __aenter__(self) -> Self:
        # The server's figures are first asked for on a connection that is there already.
        await self._client.ping()
        self._server = await self._of_server()
        self._cpu, self._start = process_time(), perf_counter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.seconds = perf_counter() - self._start
        self.cpu = process_time() - self._cpu
        spent = [
            after - before
            for after, before in zip(await self._of_server(), self._server, strict=True)
        ]
        self.server_cpu, self.bytes_in, self.bytes_out = spent
        await self._client.aclose()

    async def _of_server(self) -> tuple[float, float, float]:
        info = await self._client.info("cpu", "stats")
        cpu = float(info["used_cpu_user"]) + float(info["used_cpu_sys"])
        return cpu, float(info["total_net_input_bytes"]), float(info["total_net_output_bytes"])


class Received:
    """What one subscriber has received, and when."""

    __slots__ = ("_arrivals", "_data")

    def __init__(self) -> None:
        self._data: list[str] = []
        self._arrivals: list[int] = []

    def take(self, data: str) -> None:
        self._arrivals.append(perf_counter_ns())
        self._data.append(data)

    def delays(self, chunks: int) -> list[float]:
        """Milliseconds from ``stamped`` to ``take``.

        :raises AssertionError: it is not every chunk, once, in order.
        """
        sent = [data.partition(":") for data in self._data]
        whole([int(number) for number, _, _ in sent], range(chunks))
        return [
            (arrival - int(stamp)) / 1e6
            for arrival, (_, _, stamp) in zip(self._arrivals, sent, strict=True)
        ]


def stamped(number: int) -> str:
    """A chunk that says which it is and when it was sent: clocks are shared by all processes."""
    return f"{number}:{perf_counter_ns()}"


def delays(received: Sequence[Received], chunks: int) -> Figures:
    """The figures of all that was received, each chunk by each subscriber counted once."""
    every = [delay for one in received for delay in one.delays(chunks)]
    return {"p50_ms": median(every), "p99_ms": _percentile(every, 0.99), "deliveries": len(every)}


async def replayed(
    url: str,
    streams: Sequence[T],
    read: Callable[[T], Awaitable[Sequence[object]]],
    expected: Sequence[object],
    *,
    chunks: int,
) -> Figures:
    """The figures of reading streams of ``chunks`` each, one after another.

    One alone lasts for a few milliseconds, in which a kernel may have the server and its client
    share a processor, because they have hardly done anything before.
    """
    async with Cost(url) as cost:
        received = [await read(one) for one in streams]
    for each in received:
        whole(each, expected)
    total = len(streams) * chunks
    return {
        "chunks_per_s": total / cost.seconds,
        "cpu_us": 1e6 * (cost.cpu + cost.server_cpu) / total,
    }


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[ceil(share * len(values)) - 1]


def whole(actual: Sequence[object], expected: Sequence[object]) -> None:
    """:raises AssertionError: something is missing, doubled or out of order."""
    if list(actual) != list(expected):
        raise AssertionError(f"{len(actual)} of {len(expected)} are there, or out of order")


def complete(actual: float, expected: float, what: str) -> None:
    """:raises AssertionError: the numbers differ."""
    if actual != expected:
        raise AssertionError(f"{actual:,} {what} instead of {expected:,}")


class Pace:
    """``rate`` chunks a second for each who waits. Who is late catches up: the load is the same for
    all. What falls into one millisecond, which is as fine as an event loop's timers are, comes
    together: a timer for each would cost as much as what is measured."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._loop = asyncio.get_running_loop()
        #: Those who wait for each millisecond, and the order of these.
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        self._order: list[int] = []
        self._timer: asyncio.TimerHandle | None = None

    def until(self, number: int, start: float) -> asyncio.Future[None]:
        """The moment of chunk ``number``, the first of which comes at ``start`` by the loop's
        clock."""
        moment = ceil(1000 * (start + number / self._rate))
        waiting = self._waiting.get(moment)
        if waiting is None:
            waiting = self._waiting[moment] = []
            heappush(self._order, moment)
            if self._order[0] == moment:
                self._set_timer()
        waiter: asyncio.Future[None] = self._loop.create_future()
        waiting.append(waiter)
        return waiter

    def _ring(self) -> None:
        now = self._loop.time()
        while self._order and self._order[0] <= 1000 * now:
            for waiter in self._waiting.pop(heappop(self._order)):
                if not waiter.done():
                    waiter.set_result(None)
        if self._order:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._order[0] / 1000, self._ring)


async def announce(url: str, word: str = "") -> None:
    """To the readers' side, from the producers': these are the streams, or: go on."""
    await tell(url, _TO_READERS, word)


async def announced(url: str) -> str:
    """Wait for the producers' side."""
    return await hear(url, _TO_READERS)


async def ready(url: str) -> None:
    """To the producers' side, from the readers'."""
    # Else what the set-up has made is gone through while something else is measured.
    gc.collect()
    await tell(url, _TO_PRODUCERS, "")


async def readers(url: str) -> None:
    """Wait for the readers' side."""
    gc.collect()
    await hear(url, _TO_PRODUCERS)


async def tell(url: str, key: str, word: str) -> None:
    """Say a word to the side that hears it."""
    async with connected(url) as client:
        await client.rpush(key, word)


async def hear(url: str, key: str) -> str:
    """The word, once it is told."""
    async with connected(url) as client:
        answer = await client.blpop([key], timeout=_PATIENCE)
    if answer is None:
        raise TimeoutError(f"the other side was not ready within {_PATIENCE} s")
    return str(answer[1].decode())


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    """A plain client with one connection."""
    client = own_connection(url)
    try:
        yield client
    finally:
        await client.aclose()


def own_connection(url: str) -> Any:
    """A plain client that keeps one connection, and never gives up on a blocking command."""
    return Redis.from_url(url, single_connection_client=True, socket_timeout=None)


def allocated() -> float:
    """Bytes of memory that objects of this process take, while ``tracemalloc`` traces."""
    gc.collect()
    return float(tracemalloc.get_traced_memory()[0])


def name(number: int = 0) -> str:
    return f"bench:{number}:{uuid4().hex}"
