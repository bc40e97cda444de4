"""Messages to producers that are killed, one after the other: which were handled, and how often."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from streamhub import Hub, HubConfig, InboxFull, LiveStream, StoreUnavailable
from streamhub.testing.waiting import patience, unhurried

from ..support.child_processes import PythonProcess

__all__ = ["Figures", "send_through_kills"]

LEASE = unhurried(0.5)

#: Continues the session as soon as it can be had, and answers each message with a chunk.
PRODUCER = """
import asyncio, sys
from streamhub import Hub, HubConfig

async def main(url, session, lease):
    async with Hub.from_url(url, config=HubConfig(lease=float(lease))) as hub:
        print("ready")
        while True:
            stream, created = await hub.register(session, takeover="continue")
            if created:
                break
            await asyncio.sleep(0.02)
        print("claimed")
        async with stream:
            async for message in stream.inbox():
                message.done()
                if message.event == "end":
                    break
                await stream.publish(message.data)

asyncio.run(main(*sys.argv[1:]))
"""


@dataclass
class Figures:
    sent: int = 0
    handled: int = 0
    kills: int = 0
    lost: int = 0
    doubled: int = 0
    in_order: bool = True


async def send_through_kills(
    url: str,
    session: str,
    start: Callable[..., Awaitable[PythonProcess]],
    *,
    kills: int,
    random: Random,
    pause: float = 0.01,
) -> Figures:
    """Send numbers to a session whose producer is killed so often, and count what was answered."""
    figures = Figures(kills=kills)

    async def begin() -> PythonProcess:
        process = await start(PRODUCER, url, session, str(LEASE))
        assert "ready" == await process.line()
        return process

    async with Hub.from_url(url, config=HubConfig(lease=LEASE, max_inbox_messages=1000)) as hub:
        process = await begin()
        assert "claimed" == await process.line()
        stream = await hub.get(session)
        assert stream is not None
        enough = asyncio.Event()

        async def send() -> None:
            while not enough.is_set():
                await _send(stream, f"{figures.sent}")
                figures.sent += 1
                await asyncio.sleep(random.random() * 2 * pause)

        sending = asyncio.create_task(send())
        for _ in range(kills):
            successor = await begin()
            await asyncio.sleep(random.random() * LEASE)
            await process.kill()
            assert "claimed" == await successor.line()
            process = successor
        enough.set()
        await sending
        await _send(stream, "", "end")
        await stream.wait(patience(30))
        answers = Counter[int]()
        last = -1
        async for chunk in stream.subscribe():
            answers[int(chunk.data)] += 1
            figures.in_order &= int(chunk.data) > last
            last = int(chunk.data)
    figures.handled = len(answers)
    figures.lost = figures.sent - len(answers)
    figures.doubled = sum(count - 1 for count in answers.values())
    return figures


async def _send(stream: LiveStream, data: str, event: str | None = None) -> None:
    """Until it is sent, and under one name."""
    while True:
        try:
            await stream.send(data, event, key=data or "end")
        except (StoreUnavailable, InboxFull):
            await asyncio.sleep(0.05)
        else:
            return
