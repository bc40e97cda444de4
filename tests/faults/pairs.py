"""Two things at once: a fault, and what happens before its repair is through.

Every fault of the campaign, and those that really lose data, strikes once or twice in a row, while
sessions are claimed, continued, ended, cancelled and removed, with producers that live and that are
dead, and readers of every kind resume and come.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from streamhub.testing.waiting import patience, until

from ..support.redis_server import RedisServer
from . import record
from .campaign import server_for
from .checker import Violation, violations
from .faults import FAULTS, Fault
from .losses import Failover, LossyRedis
from .pair_site import PairSite
from .site import BOUND, LEASE

__all__ = ["FIRSTS", "LOSSES", "Pair", "broken", "draw", "pair"]


#: With what a death shows within a second of its lease, a verdict comes within five.
_PATIENCE = 4.0


class Pair(NamedTuple):
    """A fault of ``FIRSTS``; where ``again``, it strikes a second time right away, and one of
    processes is followed by a kill."""

    first: str
    again: bool
    seed: int

    def __str__(self) -> str:
        again = ", again" if self.again else ""
        return f"{self.first}{again} (seed {self.seed})"


async def _newest_writes_lost(site: PairSite) -> None:
    """By a crash that takes the end of the append-only file."""
    assert isinstance(site.server, LossyRedis)
    site.server.mark()
    await asyncio.sleep(LEASE / 5)
    await site.doom()
    await asyncio.to_thread(site.server.lose)


async def _failover(site: PairSite) -> None:
    """To a replica that has not got the newest writes."""
    failover = Failover(site.server)
    site.keep(failover.replica)
    await failover.hold_back()
    await asyncio.sleep(LEASE / 5)
    await site.doom()
    await site.move_to(failover.happen())


async def _evicted(site: PairSite) -> None:
    """By a Redis that is full, and evicts what it likes of all keys."""
    await site.doom()
    ours = set(await site.client.keys("streamhub:*"))
    evicted: set[bytes] = set()
    used = (await site.client.info("memory"))["used_memory"]
    await site.client.config_set("maxmemory-policy", "allkeys-random")
    await site.client.config_set("maxmemory", used + 200_000)

    async def has_evicted() -> bool:
        await site.client.eval(_FILL, 0)
        # Whether or not a producer has put it back since: some are as quick as this is.
        evicted.update(ours.difference(await site.client.keys("streamhub:*")))
        return len(evicted) > 2

    await until(has_evicted, BOUND)
    await site.client.config_set("maxmemory", 0)
    await site.client.eval(_EMPTY, 0)


_FILL = """
for n = 1, 50 do
  redis.pcall('SET', 'filler:' .. math.random(), string.rep('x', 5000), 'PX', 20000)
end
"""
_EMPTY = "for _, key in ipairs(redis.call('KEYS', 'filler:*')) do redis.call('DEL', key) end"

#: What loses data for good where nobody is left who could put it back.
LOSSES: dict[str, Callable[[PairSite], Awaitable[None]]] = {
    "newest writes lost": _newest_writes_lost,
    "failover": _failover,
    "evicted": _evicted,
}
FIRSTS = (*FAULTS, *LOSSES)


def draw(seed: int, firsts: Sequence[str] = FIRSTS) -> Iterator[Pair]:
    """Pairs without end, drawn from the seed alone: each comes once before any comes again."""
    random = Random(seed)
    while True:
        every = [(first, again) for first in firsts for again in (False, True)]
        for first, again in random.sample(every, len(every)):
            yield Pair(first, again, random.getrandbits(32))


async def broken(one: Pair) -> list[str]:
    """What is not as it should be; empty when every guarantee held."""
    events: list[record.Event] = []
    try:
        found = await pair(one, events)
    except TimeoutError as error:
        return [f"{one}: {error}"]
    for session in {violation.session for violation in found}:
        print(_story(events, session))
    return [f"{one}: {violation}" for violation in found]


def _story(events: Sequence[record.Event], session: str) -> str:
    """What has happened to a session, but for each chunk."""
    each = (record.Publishing, record.Published, record.Delivered, record.Keys)
    told = [
        repr(event)[:200]
        for event in events
        if getattr(event, "session", session) == session and not isinstance(event, each)
    ]
    return "\n".join([f"what happened to {session}:", *told])


async def pair(one: Pair, events: list[record.Event]) -> list[Violation]:
    """What the record of it proves broken, which is added to ``events``.

    :raises TimeoutError: somebody hangs, and the record does not say so.
    """
    random = Random(one.seed)
    with _server(one) as server, tempfile.TemporaryDirectory(prefix="streamhub-") as directory:
        async with PairSite(server, Path(directory), random) as site:
            fault = FAULTS.get(one.first)
            if fault is not None and fault.family != "process":
                await site.doom()
            site.second_things()
            await _strike(site, one.first, fault, random)
            if one.again and fault is not None and fault.family == "process":
                await site.doom()
            elif one.again:
                await _strike(site, one.first, fault, random)
            await site.heard()
            allowed = patience(_PATIENCE) * site.slowness
            try:
                events += await site.finish()
            except TimeoutError:
                events += site.recorded()
                if not (found := violations(events, LEASE, patience=allowed)):
                    raise
                return found
            return violations(events, LEASE, patience=allowed)


def _server(one: Pair) -> RedisServer:
    if one.first == "newest writes lost":
        return LossyRedis()
    fault = FAULTS.get(one.first)
    return RedisServer() if fault is None else server_for(fault)


async def _strike(site: PairSite, name: str, fault: Fault | None, random: Random) -> None:
    wipes = fault is None or fault.wipes
    lapses = fault is None or fault.lapses
    site.record.add(record.Struck(fault=name, wipes=wipes, lapses=lapses))
    try:
        if fault is None:
            await LOSSES[name](site)
        else:
            await fault.strike(site, random)
    finally:
        site.record.add(record.Healed(fault=name))
