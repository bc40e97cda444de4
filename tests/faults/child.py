"""A process full of producers, for a campaign to kill, freeze, block and send home.

Arguments: URL, lease, file of its record, its name, pace, sessions. Obeys ``stop`` (close all
streams and end) and ``block S`` (the event loop); SIGTERM closes the hub.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Any

from streamhub import Hub, HubConfig

from .actors import Cast
from .record import Record

__all__ = ["main", "watch_lag"]

_LOOK_EVERY = 0.02


async def watch_lag(record_of: Record, process: str) -> None:
    """Record how late the event loop is, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _LOOK_EVERY
        await asyncio.sleep(_LOOK_EVERY)
        record_of.lagged(process, loop.time() - due)


def main() -> None:
    url, lease, path, name, pace, *sessions = sys.argv[1:]
    asyncio.run(_main(url, float(lease), Path(path), name, float(pace), sessions))


async def _main(
    url: str, lease: float, path: Path, name: str, pace: float, sessions: list[str]
) -> None:
    own = Record(path)
    loop = asyncio.get_running_loop()
    leaving = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, leaving.set)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with Hub.from_url(url, config=HubConfig(lease=lease)) as hub:
        cast = Cast(hub, own, process=name, pace=pace)

        async def obey() -> None:
            while line := await reader.readline():
                verb, _, argument = line.decode().strip().partition(" ")
                if verb == "block":
                    time.sleep(float(argument))  # noqa: ASYNC251 - that is what was asked for
                else:
                    cast.stop.set()

        lag = asyncio.create_task(watch_lag(own, name))
        obeying = asyncio.create_task(obey())
        left = asyncio.create_task(leaving.wait())
        producing = asyncio.gather(*(cast.produce(session) for session in sessions))
        ends: list[asyncio.Future[Any]] = [left, producing]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    # Closing the hub ended what was still producing.
    await producing
    for task in (lag, obeying, left):
        task.cancel()
    own.close()
