"""The example of two services that share a Redis Cluster, all of them started as its page says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from streamhub.testing.waiting import unhurried

from ..support.redis_server import free_port
from .following import Example, Running
from .services import Services, numbers

pytestmark = pytest.mark.slow

CLUSTER = "sh cluster.sh 7000"
PRODUCERS = ["uvicorn producer:app --port 8001", "uvicorn producer:app --port 8002"]
WEB = "uvicorn app:app --port 8000"
ASK = 'curl -X POST "http://localhost:8000/chats/1?question=Why"'
READ = "curl -N http://localhost:8000/chats/1/answer"
STOP = "curl -X POST http://localhost:8000/chats/1/stop"


@asynccontextmanager
async def cluster(directory: Path) -> AsyncIterator[str]:
    """The one that the page has one start, on other ports; where it is."""
    folder = Example("two_services_cluster", directory).folder
    for _ in range(5):
        # Their buses are 10000 above: below what systems hand out to outgoing connections.
        first = free_port(range(10_000, 20_000))
        command = CLUSTER.replace("7000", str(first))
        async with await Running.start(command, folder, {"TMPDIR": str(directory)}) as running:
            while line := await running.line():
                if "The cluster is ready: " in line:
                    yield line.rpartition(" ")[2].strip()
                    return
    raise RuntimeError("no cluster began")


async def test_one_service_writes_and_the_other_reads(tmp_path: Path) -> None:
    """Through a cluster: Stop, said to the service that reads, ends what the other one writes; a
    producer that is killed is followed by another, and readers are told nothing of it."""
    changes = {
        "PAUSE = 0.25": f"PAUSE = {unhurried(0.05)}",
        "LEASE = 5.0": f"LEASE = {unhurried(0.5)}",
    }
    async with AsyncExitStack() as running:
        url = await running.enter_async_context(cluster(tmp_path / "cluster"))
        site = Services("two_services_cluster", tmp_path, changes=changes, STREAMHUB_URL=url)
        producer_url = f"http://127.0.0.1:{site.port_of('8001')}"
        producer, *_ = await asyncio.gather(
            running.enter_async_context(site.served(PRODUCERS[0])),
            running.enter_async_context(site.served(PRODUCERS[1])),
            running.enter_async_context(site.served(WEB, PRODUCER_URL=producer_url)),
        )

        assert {"begun": True} == json.loads(await site.curl(ASK))
        assert {"status": "cancelled"} == json.loads(await site.curl(STOP))

        await site.curl(ASK)
        async with site.followed("/chats/1/answer") as response:
            told = await response.take(5)
            await producer.kill()
            told += await response.rest()
        await site.read_on("/chats/1/answer", told)
        assert [*range(1, 61)] == numbers(told)
        assert "finished" in told[-1].data
        assert 60 == (await site.curl(READ)).count(". Why ")
        # The web service still asks the one that was killed.
        assert "no producer at" in await site.curl(ASK)
