"""What failovers and moving slots cost: ``python -m tests.support.topology_figures [runs]``.

For each fault, over all runs: chunks published and delivered, how many were lost, doubled or out of
order, and over all streams that it concerns the time from the fault to the first chunk that was
published after it; where slots move, the longest time between two chunks.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from functools import partial
from statistics import median
from typing import Any, NamedTuple

from streamhub import Hub, HubConfig

from .load import Figures, Load
from .redis_cluster import RedisCluster, slot_of, until
from .redis_sentinel import Watched

SESSIONS = [f"chat:{n}" for n in range(30)]
_RUNS = 5


class Fault(NamedTuple):
    name: str
    servers: Callable[[], AbstractContextManager[Any]]
    #: Strikes; answers how long it kept each stream that it concerns.
    strike: Callable[[Any, Load], Awaitable[Callable[[], list[float]]]]


async def sentinel_failover(watched: Watched, load: Load) -> Callable[[], list[float]]:
    master = watched.master()
    await load.strike(master.kill)
    await asyncio.to_thread(until, lambda: watched.master() is not master)
    return partial(load.times, SESSIONS)


async def sentinel_failover_with_loss(watched: Watched, load: Load) -> Callable[[], list[float]]:
    await asyncio.to_thread(watched.cut_off)
    await load.flow(20)
    return await sentinel_failover(watched, load)


async def cluster_failover(cluster: RedisCluster, load: Load) -> Callable[[], list[float]]:
    primary = cluster.primaries[0]
    concerned = [one for one in SESSIONS if cluster.owner_of(one) is primary]
    await load.strike(primary.kill)
    await asyncio.to_thread(until, lambda: cluster.owner_of(concerned[0]) is not primary)
    return partial(load.times, concerned)


async def cluster_failover_with_loss(
    cluster: RedisCluster, load: Load
) -> Callable[[], list[float]]:
    await asyncio.to_thread(cluster.cut_off, cluster.primaries[0])
    await load.flow(20)
    return await cluster_failover(cluster, load)


async def slots_moved(cluster: RedisCluster, load: Load) -> Callable[[], list[float]]:
    def move_all() -> None:
        for slot in {slot_of(session) for session in SESSIONS}:
            at = cluster.primaries.index(cluster.owner(slot))
            cluster.move(slot, cluster.primaries[(at + 1) % 3])

    await load.strike(move_all)
    return load.pauses


FAULTS = [
    Fault("Sentinel failover", Watched, sentinel_failover),
    Fault("Sentinel failover, newest writes lost", Watched, sentinel_failover_with_loss),
    Fault("Cluster failover", lambda: RedisCluster(3, replicas=1), cluster_failover),
    Fault(
        "Cluster failover, newest writes lost",
        lambda: RedisCluster(3, replicas=1),
        cluster_failover_with_loss,
    ),
    Fault("All slots moved", lambda: RedisCluster(3), slots_moved),
]


async def measure(fault: Fault) -> tuple[Figures, list[float]]:
    with fault.servers() as servers:

        def open_hub(config: HubConfig) -> Hub:
            return Hub.from_url(servers.url, config=config)

        async with Load(open_hub, SESSIONS) as load:
            times = await fault.strike(servers, load)
            await load.flow(50)
            figures = await load.finish()
            return figures, times()


def main() -> None:
    logging.disable(logging.WARNING)
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else _RUNS
    print(
        "fault | runs | published | delivered | lost | doubled | out of order | median s | worst s"
    )
    for fault in FAULTS:
        all_figures: list[Figures] = []
        times: list[float] = []
        for _ in range(runs):
            figures, found = asyncio.run(measure(fault))
            all_figures.append(figures)
            times += found
        sums = [sum(column) for column in zip(*all_figures, strict=True)]
        print(
            fault.name,
            runs,
            *sums,
            f"{median(times):.2f}",
            f"{max(times):.2f}",
            sep=" | ",
            flush=True,
        )


if __name__ == "__main__":
    main()
