"""A wait that lasts too long is interrupted, and nothing else. Time passes only as tests say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from streamhub import Hub
from streamhub.http import SSEResponse
from streamhub.serving.heartbeat import Heartbeat
from streamhub.testing.waiting import within

from .serving import stored

LIMIT = 1000.0

Pass = Callable[[float], None]


@pytest.fixture
async def pass_time(monkeypatch: pytest.MonkeyPatch) -> Pass:
    """Puts on the clock of the event loop."""
    loop = asyncio.get_running_loop()
    real, ahead = loop.time, 0.0

    def put_on(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds

    monkeypatch.setattr(loop, "time", lambda: real() + ahead)
    return put_on


async def look_around() -> None:
    """Until every timer that is due has fired, and those that it wakes have run."""
    for _ in range(5):
        await asyncio.sleep(0)


class Waiting:
    """A task that waits for one thing after the other, and what became of each wait."""

    def __init__(self) -> None:
        self.news = asyncio.Queue[str]()
        self.seen: list[str] = []
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        silence = Heartbeat(LIMIT)
        try:
            while True:
                silence.begin()
                try:
                    self.seen.append(await self.news.get())
                except asyncio.CancelledError:
                    if not silence.end():
                        raise
                    self.seen.append("silence")
                else:
                    silence.end()
        finally:
            silence.close()


@asynccontextmanager
async def waiting() -> AsyncIterator[Waiting]:
    one = Waiting()
    await look_around()
    yield one
    one.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(one.task)


async def test_each_wait_that_lasts_too_long_is_interrupted(pass_time: Pass) -> None:
    """Also right after one that was; the task is none that is being cancelled then."""
    async with waiting() as one:
        for _ in range(3):
            pass_time(LIMIT + 1)
            await look_around()

        assert ["silence"] * 3 == one.seen
        assert 0 == one.task.cancelling()


async def test_a_wait_is_as_long_as_it_may_be_whenever_it_began(pass_time: Pass) -> None:
    """Its limit does not run from where the timer was set."""
    async with waiting() as one:
        pass_time(0.9 * LIMIT)
        one.news.put_nowait("a")
        await look_around()
        pass_time(0.9 * LIMIT)
        await look_around()
        assert ["a"] == one.seen
        pass_time(0.2 * LIMIT)
        await look_around()
        assert ["a", "silence"] == one.seen


@pytest.mark.parametrize("first", ["silence", "cancel"])
async def test_a_cancel_at_the_moment_of_an_interruption_is_obeyed(
    pass_time: Pass, first: str
) -> None:
    """Whichever of the two comes first."""
    one = Waiting()
    await look_around()
    loop = asyncio.get_running_loop()
    pass_time(LIMIT + 1)
    if first == "cancel":
        loop.call_soon(one.task.cancel)
    else:
        # Of the timers that are due the older one fires first.
        loop.call_at(loop.time() - 0.5, one.task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await within(one.task)


async def test_a_client_that_reads_slowly_is_not_interrupted(
    session_id: str, pass_time: Pass
) -> None:
    """What it is being sent goes on where it was; silence begins when that is over."""
    read, stuck, over = asyncio.Event(), asyncio.Event(), asyncio.Event()
    sent: list[bytes] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        if message.get("body"):
            stuck.set()
            await read.wait()
            sent.append(message["body"])
            over.set()

    scope = {"type": "http", "method": "GET", "headers": [], "query_string": b""}
    async with Hub() as hub:
        stream, _ = await hub.register(session_id)
        await stored(stream, "a", "b")
        response = SSEResponse(stream, heartbeat=LIMIT)
        serving = asyncio.create_task(response(scope, receive, send))
        await within(stuck.wait())
        for _ in range(3):
            pass_time(LIMIT + 1)
            await look_around()
        assert [] == sent
        read.set()
        await within(over.wait())

        assert 2 == sent[0].count(b"data: ")
        # As a server does that shuts down: the response ends, and nothing is raised into its log.
        serving.cancel()
        await within(serving)
