"""Two server processes behind one port, on one Redis: a client never knows which one it meets."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from streamhub.formats.sse import EventParser
from streamhub.testing.waiting import bounded, patience

from ..conftest import Serve
from ..support.http_apps import SESSIONS
from ..support.http_server import Port, ServerProcess

pytestmark = pytest.mark.slow

BOUND = 30.0


class Pair:
    """Two processes on one port."""

    def __init__(self, first: ServerProcess, second: ServerProcess) -> None:
        self.first, self.second = first, second

    @asynccontextmanager
    async def connected(self, process: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
        """A client whose one connection that process has accepted: the other one was frozen."""
        other = self.second if process is self.first else self.first
        async with httpx.AsyncClient(
            base_url=process.url, timeout=patience(BOUND), limits=httpx.Limits(max_connections=1)
        ) as client:
            other.signal(signal.SIGSTOP)
            try:
                await client.get("/health")
            finally:
                other.signal(signal.SIGCONT)
            yield client

    async def ask(self, process: ServerProcess, method: str, path: str) -> httpx.Response:
        """One request, answered by that process."""
        async with self.connected(process) as client:
            response = await client.request(method, path)
        assert str(process.pid) == response.headers["x-pid"]
        return response

    @asynccontextmanager
    async def follow(
        self, process: ServerProcess, session_id: str, after: str = ""
    ) -> AsyncIterator[AsyncIterator[tuple[str, str, str]]]:
        """The events of the session, as that process sends them: type, data, id."""
        path = f"/sessions/{session_id}/stream?wait=10"
        headers = {"last-event-id": after} if after else {}
        async with (
            self.connected(process) as client,
            client.stream("GET", path, headers=headers) as response,
        ):
            assert (200, str(process.pid)) == (response.status_code, response.headers["x-pid"])
            yield _events(response)


async def _events(response: httpx.Response) -> AsyncIterator[tuple[str, str, str]]:
    parser = EventParser()
    async for piece in response.aiter_bytes():
        for event in parser.feed(piece):
            yield event.event, event.data, event.id


@pytest.fixture
async def pair(serve: Serve, port: Port, redis_url: str) -> AsyncIterator[Pair]:
    async with bounded(2 * BOUND):
        started = [await serve(SESSIONS, redis_url, port=port) for _ in range(2)]
        yield Pair(*started)


@pytest.mark.parametrize("canceller", ["the one that produces", "the other one"])
async def test_start_on_one_resume_on_the_other_cancel_from_either(
    pair: Pair, redis_client: Any, session_id: str, canceller: str
) -> None:
    """Both follow the same chunks to the same end, wherever the producer runs."""
    first, second = pair.first, pair.second
    begun = await pair.ask(first, "POST", f"/run/{session_id}")
    again = await pair.ask(second, "POST", f"/run/{session_id}")
    assert [True, False] == [begun.json()["created"], again.json()["created"]]
    await redis_client.rpush(session_id, "<1>", "<2>")
    async with pair.follow(first, session_id) as events:
        seen = [await anext(events), await anext(events)]
    await redis_client.rpush(session_id, "<3>")
    async with pair.follow(second, session_id, seen[-1][2]) as events:
        seen.append(await anext(events))
        await redis_client.rpush(session_id, "<4>")
        seen.append(await anext(events))
        process = first if canceller == "the one that produces" else second
        cancelled = await pair.ask(process, "POST", f"/sessions/{session_id}/cancel?wait=20")
        rest = [event async for event in events]

    assert [f"<{number}>" for number in range(1, 5)] == [data for _, data, _ in seen]
    assert (200, "cancelled") == (cancelled.status_code, cancelled.json()["status"])
    assert [("end", "cancelled")] == [(kind, json.loads(data)["status"]) for kind, data, _ in rest]


async def test_a_client_may_come_before_the_producer(
    pair: Pair, redis_client: Any, session_id: str
) -> None:
    """It waits on one process for a session that the other one begins."""

    async def first_event() -> tuple[str, str, str]:
        async with pair.follow(pair.first, session_id) as events:
            return await anext(events)

    waiting = asyncio.create_task(first_event())
    while not await redis_client.pubsub_channels(f"*{session_id}*"):
        await redis_client.ping()
    await pair.ask(pair.second, "POST", f"/run/{session_id}")
    await redis_client.rpush(session_id, "Hello")

    assert ("message", "Hello") == (await waiting)[:2]
