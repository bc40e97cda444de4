"""G7 at a size: a Redis without persistence is killed under fifty streams at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from streamhub.testing.waiting import unhurried

from ..support.redis_server import RedisServer
from . import record
from .checker import assert_holds
from .history import History
from .site import Site

pytestmark = pytest.mark.slow

STREAMS = 50
#: Longer than elsewhere: on a busy machine putting fifty streams back takes more than a second.
LEASE = unhurried(2.0)


async def test_g7_fifty_streams_survive_a_redis_killed_and_restarted_empty(
    make_redis: Callable[[], RedisServer], tmp_path: Path
) -> None:
    """At once and after two leases, while chunks flow in this process and from another one: all
    producers live, and every subscriber, those who come afterwards too, ends with every chunk,
    once, in order, under the cursors of one epoch."""
    server = make_redis()
    async with Site(server, tmp_path, streams=STREAMS - 10, lease=LEASE) as site:
        await site.child(10)
        for outage in (0.0, 2 * LEASE):
            site.record.add(record.Struck(fault="restart", wipes=True))
            server.kill()
            await asyncio.sleep(outage)
            await asyncio.to_thread(server.start)
            site.record.add(record.Healed(fault="restart"))
            await site.flow()
        for session in site.sessions:
            site.read(session)
        events = await site.finish()
    assert_holds(events, LEASE)
    sessions = History(events).sessions.values()
    # Nobody was excused, and everybody came to the end.
    assert [STREAMS, 0] == [len(sessions), sum(session.forfeited for session in sessions)]
    ends = [event.status for event in events if isinstance(event, record.Ended)]
    assert ["finished"] * (3 * STREAMS) == ends
    raised = [event for event in events if isinstance(event, record.Raised)]
    assert [] == raised
