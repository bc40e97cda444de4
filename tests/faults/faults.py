"""Every fault of the campaign: how it strikes, and what it may cost.

Where one sleeps, that is how long the fault lasts.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any, NamedTuple

from streamhub.testing.waiting import bounded, patience, until

from ..support.faulty_proxy import FaultyProxy, Kind
from ..support.redis_server import HOST
from . import record
from .site import BOUND, LEASE, Child, Site

__all__ = ["FAULTS", "PERSISTENT", "Fault", "inflict"]

#: What a server is started with that keeps its data. Each write is with the kernel before it is
#: answered, which outlives the server; waiting for a disk would only hold it up, or, where that is
#: left to another thread, hold back writes for up to two seconds.
PERSISTENT = ("--appendonly", "yes", "--appendfsync", "no")
#: And what makes it load that again at a millisecond a key, answering LOADING meanwhile.
_SLOWLY = ("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
_KEYS_TO_LOAD = 1_000

After = Callable[[], Awaitable[None]]
Strike = Callable[[Site, Random], Awaitable[After | None]]


class Fault(NamedTuple):
    name: str
    family: str
    #: Returns once the fault is over; what it returns is still to be done when streams flow again.
    strike: Strike
    wipes: bool
    lapses: bool
    persistent: bool


FAULTS: dict[str, Fault] = {}


def _fault(
    family: str, *, wipes: bool = False, lapses: bool = False, persistent: bool = False
) -> Callable[[Strike], Strike]:
    def add(strike: Strike) -> Strike:
        name = strike.__name__.strip("_").replace("_", " ")
        FAULTS[name] = Fault(name, family, strike, wipes, lapses, persistent)
        return strike

    return add


async def inflict(site: Site, fault: Fault, random: Random) -> None:
    """Let the fault strike, and wait until all streams flow again."""
    site.concerned = ()
    site.record.add(record.Struck(fault=fault.name, wipes=fault.wipes, lapses=fault.lapses))
    try:
        after = await fault.strike(site, random)
    finally:
        site.record.add(record.Healed(fault=fault.name, sessions=site.concerned))
    await site.flow()
    if after is not None:
        await after()
        await site.flow()


_KINDS: tuple[Kind | None, ...] = (None, "pubsub", "writer")


def _network(name: str, *, lapses: bool = False) -> Callable[[Any], Any]:
    """Faults of both proxies: on all connections, or on those of one kind only."""

    def add(disturb: Callable[[Sequence[FaultyProxy], Kind | None], Awaitable[None]]) -> object:
        for kind in _KINDS:

            async def strike(site: Site, random: Random, kind: Kind | None = kind) -> None:
                await disturb([site.writing, site.reading], kind)

            strike.__name__ = name if kind is None else f"{name} {kind} only"
            _fault("network", lapses=lapses and kind is None)(strike)
        return disturb

    return add


async def _some(proxies: Sequence[FaultyProxy], harm: Callable[[FaultyProxy], int]) -> None:
    """Harm at least one connection: one that is just being made anew is waited for."""

    async def has_harmed() -> bool:
        return sum(map(harm, proxies)) > 0

    await until(has_harmed, BOUND)


@_network("connections cut")
async def _cut(proxies: Sequence[FaultyProxy], kind: Kind | None) -> None:
    await _some(proxies, lambda proxy: proxy.cut(kind))


@_network("half open", lapses=True)
async def _half_open(proxies: Sequence[FaultyProxy], kind: Kind | None) -> None:
    await _some(proxies, lambda proxy: proxy.go_half_open(kind))


@_network("reset in mid answer")
async def _reset(proxies: Sequence[FaultyProxy], kind: Kind | None) -> None:
    resets = [asyncio.create_task(proxy.reset_next_answer(kind).wait()) for proxy in proxies]
    # Either may have nothing to answer: whoever takes a stream over writes from then on.
    done, waiting = await asyncio.wait(
        resets, timeout=patience(BOUND), return_when=asyncio.FIRST_COMPLETED
    )
    for task in waiting:
        task.cancel()
    for proxy in proxies:
        proxy.heal()
    assert done


@_network("delayed")
async def _delay(proxies: Sequence[FaultyProxy], kind: Kind | None) -> None:
    for proxy in proxies:
        proxy.slow_down(kind, delay=0.1)
    await asyncio.sleep(LEASE)
    for proxy in proxies:
        proxy.heal()


@_network("throttled")
async def _throttle(proxies: Sequence[FaultyProxy], kind: Kind | None) -> None:
    for proxy in proxies:
        proxy.slow_down(kind, bytes_per_second=20_000)
    await asyncio.sleep(LEASE)
    for proxy in proxies:
        proxy.heal()


@_fault("server", wipes=True)
async def _killed_and_restarted_empty(site: Site, random: Random) -> None:
    site.server.kill()
    site.server.forget()
    await asyncio.to_thread(site.server.start)


@_fault("server", persistent=True)
async def _killed_and_restarted_from_its_aof(site: Site, random: Random) -> None:
    site.server.kill()
    await asyncio.to_thread(site.server.start)


@_fault("server", persistent=True)
async def _loading(site: Site, random: Random) -> None:
    """Restarted with so much data that it answers LOADING for half a lease."""
    async with site.client.pipeline(transaction=False) as pipeline:
        for n in range(_KEYS_TO_LOAD):
            pipeline.set(f"filler:{n}", "x" * 100)
        await pipeline.execute()
    site.server.kill()
    starting = asyncio.create_task(asyncio.to_thread(site.server.start, *_SLOWLY))

    async def is_loading() -> bool:
        assert not starting.done(), "it was loaded before anybody saw it loading"
        return (await _told(site, "PING")).startswith("-LOADING")

    await until(is_loading, BOUND)
    await asyncio.sleep(LEASE / 2)
    assert "+OK" == await _told(site, "CONFIG SET key-load-delay 0")
    await starting
    await site.client.delete(*(f"filler:{n}" for n in range(_KEYS_TO_LOAD)))


async def _told(site: Site, command: str) -> str:
    """What the server answers, without all that a client asks when it connects."""
    try:
        reader, writer = await asyncio.open_connection(HOST, site.server.port)
    except OSError as error:
        return str(error)
    writer.write(f"{command}\r\n".encode())
    async with bounded(BOUND):
        answer = await reader.readline()
    writer.close()
    return answer.decode().rstrip()


@_fault("server")
async def _frozen_for_two_leases(site: Site, random: Random) -> None:
    site.server.pause()
    await asyncio.sleep(2 * LEASE)
    site.server.resume()


@_fault("server")
async def _client_kill(site: Site, random: Random) -> None:
    for kind in ("normal", "pubsub"):

        async def kills(kind: str = kind) -> bool:
            return bool(await site.client.client_kill_filter(_type=kind, skipme=True))

        await until(kills, BOUND)


@_fault("server")
async def _script_flush(site: Site, random: Random) -> None:
    await site.client.script_flush()


@_fault("server")
async def _client_pause(site: Site, random: Random) -> None:
    await site.client.client_pause(int(1.5 * LEASE * 1000))
    await site.client.ping()


@_fault("server", lapses=True)
async def _client_pause_of_writes(site: Site, random: Random) -> None:
    await site.client.client_pause(int(1.5 * LEASE * 1000), all=False)
    await asyncio.sleep(1.5 * LEASE)


@_fault("server")
async def _out_of_memory(site: Site, random: Random) -> None:
    await site.client.config_set("maxmemory", "1mb")
    await asyncio.sleep(1.5 * LEASE)
    await site.client.config_set("maxmemory", 0)


@_fault("server", lapses=True)
async def _read_only_replica(site: Site, random: Random) -> None:
    # Of nobody: it keeps its data, and its connections.
    await site.client.replicaof("127.0.0.1", "1")
    await asyncio.sleep(1.5 * LEASE)
    await site.client.replicaof("NO", "ONE")


@_fault("server")
async def _pubsub_buffer_overflow(site: Site, random: Random) -> None:
    """The readers' process takes its messages so slowly that Redis drops its connection."""
    site.reading.slow_down("pubsub", bytes_per_second=1_000)
    await site.client.config_set("client-output-buffer-limit", "pubsub 64kb 0 0")
    channels: list[bytes] = []

    async def are_some() -> bool:
        channels[:] = await site.client.pubsub_channels("*:live")
        return bool(channels)

    # Who was cut off before may just be coming back.
    await until(are_some, BOUND)
    listeners = await _listeners(site)

    async def has_overflowed() -> bool:
        await site.client.publish(channels[0], b"?" * 1_000_000)
        return not listeners <= await _listeners(site)

    await until(has_overflowed, BOUND)
    await site.client.config_set("client-output-buffer-limit", "pubsub 32mb 8mb 60")
    site.reading.heal()


async def _listeners(site: Site) -> set[str]:
    return {client["id"] for client in await site.client.client_list(_type="pubsub")}


@_fault("server", wipes=True)
async def _flushall(site: Site, random: Random) -> None:
    await site.client.flushall()


@_fault("server", wipes=True)
async def _flushdb(site: Site, random: Random) -> None:
    await site.client.flushdb()


def _loss_of_keys(name: str, *kinds: str, expire: bool = False) -> None:
    async def strike(site: Site, random: Random) -> None:
        for kind in kinds:
            keys = await _some_keys(site, kind)
            async with site.client.pipeline(transaction=True) as pipeline:
                for key in keys:
                    if expire:
                        pipeline.pexpire(key, 1)
                    else:
                        pipeline.delete(key)
                await pipeline.execute()

    strike.__name__ = name
    _fault("server", wipes=True)(strike)


async def _some_keys(site: Site, kind: str) -> list[bytes]:
    """The keys of this kind, once there are any."""
    keys: list[bytes] = []

    async def are_some() -> bool:
        nonlocal keys
        keys = await site.client.keys(f"streamhub:*:{kind}")
        return bool(keys)

    await until(are_some, BOUND)
    return keys


_loss_of_keys("records deleted", "meta")
_loss_of_keys("logs deleted", "chunks")
_loss_of_keys("all keys deleted", "meta", "chunks")
_loss_of_keys("records expired", "meta", expire=True)
_loss_of_keys("logs expired", "chunks", expire=True)


@_fault("process")
async def _producers_killed(site: Site, random: Random) -> None:
    child = await site.child()
    site.concerned = child.sessions
    site.stopped(child, signal.SIGKILL)


@_fault("process")
async def _producers_frozen(site: Site, random: Random) -> After:
    """SIGSTOP until others have taken over; then they go on, and find that they may not write."""
    child = await site.child()
    site.concerned = child.sessions
    site.stopped(child, signal.SIGSTOP, revives=True)

    async def thaw() -> None:
        child.process.signal(signal.SIGCONT)
        await _fenced(site, child)

    return thaw


@_fault("process")
async def _event_loop_blocked(site: Site, random: Random) -> After:
    """As when frozen, by a call that holds the loop, while the kernel goes on taking data."""
    child = await site.child()
    site.concerned = child.sessions
    site.record.add(record.Stopped(process=child.name, revives=True))
    await child.process.send(f"block {3 * LEASE}")

    async def unblocked() -> None:
        await _fenced(site, child)

    return unblocked


async def _fenced(site: Site, child: Child) -> None:
    """Wait until its producers know that they are stale; it ends by itself then."""
    async with bounded(BOUND):
        assert 0 == await child.process.wait(), child.process.stderr
    fenced = {
        event.session
        for event in record.read((), [site.directory / f"{child.name}.jsonl"])
        if isinstance(event, record.Fenced)
    }
    assert set(child.sessions) == fenced


@_fault("process")
async def _processes_terminated(site: Site, random: Random) -> None:
    """SIGTERM, on which a program closes its hub."""
    child = await site.child()
    site.concerned = child.sessions
    child.process.signal(signal.SIGTERM)
    async with bounded(BOUND):
        assert 0 == await child.process.wait(), child.process.stderr


@_fault("process")
async def _hub_closed_in_use(site: Site, random: Random) -> None:
    async with site.leaving() as (hub, sessions):
        site.concerned = tuple(sessions)
        async with bounded(BOUND):
            await hub.aclose()
