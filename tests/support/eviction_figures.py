"""What each eviction policy of a full Redis costs: the table of docs/production.md.

    python -m tests.support.eviction_figures

For each policy: how many answers ended, how many of them can still be read whole, how many are
there in part, and whether a stream that ran all the time, and its reader, had noticed anything.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from streamhub import Hub, HubConfig, StoreUnavailable, StreamHubError

from .redis_server import RedisServer

_POLICIES = ["noeviction"] + [
    f"{keys}-{which}"
    for keys, all_of_them in (
        ("volatile", ("lru", "ttl", "lfu", "random")),
        ("allkeys", ("lru", "lfu", "random")),
    )
    for which in all_of_them
]
_CONFIG = HubConfig(lease=2.0, give_up_after=2.0)
_MEMORY = "12mb"
_ANSWERS, _CHUNKS, _SIZE = 150, 10, 10_000


async def _answer(hub: Hub, name: str) -> None:
    stream, _ = await hub.register(name)
    async with stream:
        for _ in range(_CHUNKS):
            await stream.publish("x" * _SIZE)


async def _whole(hub: Hub, name: str) -> bool | None:
    """Whether it is all there; None where nothing is."""
    with suppress(StreamHubError):
        stream = await hub.get(name)
        return None if stream is None else len(await stream.text()) == _CHUNKS * _SIZE
    return False


async def _policy(policy: str) -> str:
    with RedisServer(maxmemory=_MEMORY, arguments=["--maxmemory-policy", policy]) as server:
        async with (
            Hub.from_url(server.url, config=_CONFIG) as hub,
            Hub.from_url(server.url, config=_CONFIG) as other,
        ):
            live, _ = await hub.register("live")
            reader = await other.get("live")
            assert reader is not None

            async def read() -> list[str]:
                return [chunk.data async for chunk in reader.subscribe()]

            reading = asyncio.create_task(read())
            sent, ended, refused = [], 0, 0
            for n in range(_ANSWERS):
                await live.publish(f"{n}")
                sent.append(f"{n}")
                try:
                    await _answer(hub, f"answer:{n}")
                    ended += 1
                except StoreUnavailable:
                    refused += 1
                    break
            await live.close()
            read_on = sent == await reading
            found = [await _whole(other, f"answer:{n}") for n in range(ended)]
    return (
        f"{policy:16} {ended:6} {refused:8} {found.count(True):6} {found.count(False):5}"
        f"   {'complete' if read_on else 'NOT COMPLETE'}"
    )


async def _main() -> None:
    print(f"{'policy':17}ended  refused  whole  part   the stream that ran")
    for policy in _POLICIES:
        print(await _policy(policy), flush=True)


if __name__ == "__main__":
    asyncio.run(_main())
