"""Measure on a private redis-server, with medians of several rounds: ``make bench``."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
from statistics import median

from redis.asyncio import Redis

from streamhub import Hub
from tests.redis_server import RedisServer

from .cases import call_per_chunk, publish, replay


async def measure(url: str, chunks: int, calls: int, rounds: int) -> dict[str, list[float]]:
    """Chunks per second of each case and round; the cases take turns, so that they share luck."""
    rates: dict[str, list[float]] = {"publish": [], "call per chunk": [], "replay": []}
    async with Redis.from_url(url) as client:
        for number in range(1, rounds + 1):
            print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
            # A new hub a round: nothing that one has kept may help another.
            async with Hub.from_url(url) as hub, Hub.from_url(url) as other:
                rates["publish"].append(chunks / await publish(hub, chunks))
                rates["call per chunk"].append(calls / await call_per_chunk(client, calls))
                rates["replay"].append(chunks / await replay(hub, other, chunks))
    return rates


async def environment(url: str) -> dict[str, str | int | None]:
    async with Redis.from_url(url) as client:
        server = await client.info("server")
    return {
        "redis": str(server["redis_version"]),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
    }


def report(rates: dict[str, list[float]], chunks: int, calls: int) -> str:
    what = {
        "publish": f"publish {chunks:,} chunks, then flush",
        "call per chunk": f"await a script call for each of {calls:,} chunks",
        "replay": f"replay {chunks:,} chunks",
    }
    lines = [f"{'one stream':48} {'chunks/s':>10} {'slowest':>10} {'fastest':>10}"]
    lines += [
        f"{what[case]:48} {median(of):>10,.0f} {min(of):>10,.0f} {max(of):>10,.0f}"
        for case, of in rates.items()
    ]
    lines.append(f"publish is {_ratio(rates):.1f} times as fast as a call per chunk")
    return "\n".join(lines)


def _ratio(rates: dict[str, list[float]]) -> float:
    return median(rates["publish"]) / median(rates["call per chunk"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--chunks", type=int, default=100_000, help="chunks per stream")
    parser.add_argument("--calls", type=int, default=10_000, help="script calls per round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with RedisServer() as server:
        about = asyncio.run(environment(server.url))
        rates = asyncio.run(measure(server.url, options.chunks, options.calls, options.rounds))
    print(report(rates, options.chunks, options.calls))
    print(
        json.dumps(
            {
                **about,
                "chunks": options.chunks,
                "calls": options.calls,
                "chunks_per_second": {
                    case: [round(one) for one in of] for case, of in rates.items()
                },
                "publish_over_call_per_chunk": round(_ratio(rates), 2),
            }
        )
    )


if __name__ == "__main__":
    main()
