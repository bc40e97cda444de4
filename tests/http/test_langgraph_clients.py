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


async def test_a_broken_connection_costs_nothing(serve: Serve, port: Port, redis_url: str) -> None:
    """Both clients come again by themselves, and are told all, once, and then the end."""
    random = Random(7)
    await serve(APP, redis_url, "15", port=port)
    async with asyncio.timeout(BOUND):
        both = await asyncio.gather(*[cut_off(client, port, random) for client in CLIENTS])
    for events in both:
        run_id = events[0]["data"]
        assert {"event": "created", "data": run_id} == events[0]
        assert ("metadata", run_id) == (events[1]["event"], events[1]["data"]["run_id"])
        assert [*range(COUNT)] == numbers(events)
        assert {"run_id": run_id, "status": "success"} == events[-1]["data"]
        assert "end" == events[-1]["event"]
        assert COUNT + 1 == len({one["id"] for one in events[1:]})


async def test_a_run_whose_process_is_killed_ends_in_an_error(
    serve: Serve, port: Port, redis_url: str
) -> None:
    """Another process tells both clients so, once they are there: it never looks complete."""

    async def run(client: str, killed: asyncio.Barrier) -> list[dict[str, Any]]:
        thread = str(uuid4())
        async with started(client, port.url, thread) as process:
            await allow(port, thread, 3)
            events = await told(process, 3)
            await killed.wait()
            events += await told(process)
            await process.wait()
        return events

    first = await serve(APP, redis_url, "0.5", port=port)
    both_read = asyncio.Barrier(len(CLIENTS) + 1)
    async with asyncio.timeout(BOUND), asyncio.TaskGroup() as group:
        reading = [group.create_task(run(client, both_read)) for client in CLIENTS]
        await both_read.wait()
        await first.kill()
        await serve(APP, redis_url, "0.5", port=port)
    for task in reading:
        events = task.result()
        assert [0, 1, 2] == numbers(events)
        assert ("error", {"error": "lost", "message": told_of("lost")}) == (
            events[-1]["event"],
            events[-1]["data"],
        )
        assert "end" not in [one["event"] for one in events]
