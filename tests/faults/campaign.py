"""One run of the campaign: streams on a server of their own, a takeover, a fault, the proof."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random

from ..support.redis_server import RedisServer
from . import record
from .faults import FAULTS, PERSISTENT, Fault, inflict
from .site import Site

__all__ = ["campaign", "server_for"]


def server_for(*faults: Fault) -> RedisServer:
    """A server, not yet started, that these faults can strike."""
    persistent = any(fault.persistent for fault in faults)
    return RedisServer(arguments=PERSISTENT if persistent else ())


async def campaign(fault: Fault, random: Random) -> list[record.Event]:
    """Let ``fault`` strike streams of which two were taken over before, and one is cancelled
    meanwhile; what was recorded."""
    with (
        server_for(fault) as server,
        tempfile.TemporaryDirectory(prefix="streamhub-") as directory,
    ):
        async with Site(server, Path(directory)) as site:
            if fault.family != "process":
                await inflict(site, FAULTS["producers killed"], random)
            (cancelled,) = site.produce(1)
            await site.flow()
            site.cancel(cancelled)
            await inflict(site, fault, random)
            late = random.choice(site.sessions)
            site.read(late)
            return await site.finish()
