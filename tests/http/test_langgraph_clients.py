"""LangGraph's own clients, unchanged: connections break, and the server's process is killed."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any
from uuid import uuid4

import httpx
import pytest

from streamhub.formats.endings import told_of
from streamhub.testing.waiting import bounded, unhurried

from ..conftest import Serve
from ..support.faulty_proxy import FaultyProxy
from ..support.http_server import Port
from ..support.langgraph_client import APP, CLIENTS

pytest.importorskip("langgraph_sdk")

pytestmark = [pytest.mark.integrations, pytest.mark.slow]

COUNT = 20
BOUND = 60.0


@asynccontextmanager
async def started(client: str, url: str, thread: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(*CLIENTS[client], url, thread, stdout=PIPE)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def told(process: Process, count: int | None = None) -> list[dict[str, Any]]:
    """What it prints next; of ``count`` numbers, or to its end."""
    found: list[dict[str, Any]] = []
    assert process.stdout is not None
    while count is None or count > 0:
        line = await process.stdout.readline()
        if not line:
            assert count is None, f"it ended after {found}"
            break
        found.append(json.loads(line))
        if count is not None and found[-1]["event"] == "custom":
            count -= 1
    return found


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return [one["data"]["number"] for one in events if one["event"] == "custom"]


def last(events: list[dict[str, Any]]) -> tuple[str, Any]:
    return events[-1]["event"], events[-1]["data"]


async def allow(port: Port, thread: str, count: int) -> None:
    async with httpx.AsyncClient(verify=False) as client:
        await client.post(f"{port.url}/allow/{thread}", params={"count": count})


async def cut_off(client: str, port: Port, random: Random) -> list[dict[str, Any]]:
    """All that a client was told whose connection broke twice: between two events, while others
    were streamed, and in the middle of one."""
    thread = str(uuid4())
    first = random.randint(1, COUNT - 2)
    second = random.randint(1, COUNT - first - 1)
    async with (
        FaultyProxy(port.number) as proxy,
        started(client, f"http://127.0.0.1:{proxy.port}", thread) as process,
    ):
        await allow(port, thread, first)
        events = await told(process, first)
        proxy.cut()
        await allow(port, thread, second)
        events += await told(process, second)
        broken = proxy.reset_next_answer()
        await allow(port, thread, COUNT - first - second)
        await broken.wait()
        events += await told(process)
        assert 0 == await process.wait()
    return events


async def killed(client: str, port: Port, read: asyncio.Barrier) -> list[dict[str, Any]]:
    """All that a client was told of a run whose process is killed once all have read of theirs."""
    thread = str(uuid4())
    async with started(client, port.url, thread) as process:
        await allow(port, thread, 3)
        events = await told(process, 3)
        await read.wait()
        return events + await told(process)


async def test_broken_connections_and_a_killed_process(
    serve: Serve, port: Port, redis_url: str
) -> None:
    """Both clients come again by themselves. They are told all, once, and then the end; of a run
    whose process is gone, an error, by another process: it never looks complete."""
    random = Random(7)
    lease = str(unhurried(2.0))
    first = await serve(APP, redis_url, lease, port=port)
    async with bounded(BOUND):
        finished = await asyncio.gather(*[cut_off(client, port, random) for client in CLIENTS])
    for events in finished:
        run_id = events[0]["data"]
        assert {"event": "created", "data": run_id} == events[0]
        assert ("metadata", run_id) == (events[1]["event"], events[1]["data"]["run_id"])
        assert [*range(COUNT)] == numbers(events)
        assert ("end", {"run_id": run_id, "status": "success"}) == last(events)
        assert COUNT + 1 == len({one["id"] for one in events[1:]})

    read = asyncio.Barrier(len(CLIENTS) + 1)
    async with bounded(BOUND), asyncio.TaskGroup() as group:
        reading = [group.create_task(killed(client, port, read)) for client in CLIENTS]
        await read.wait()
        await first.kill()
        await serve(APP, redis_url, lease, port=port)
    for task in reading:
        assert [0, 1, 2] == numbers(task.result())
        assert ("error", {"error": "lost", "message": told_of("lost")}) == last(task.result())
        assert "end" not in [one["event"] for one in task.result()]
