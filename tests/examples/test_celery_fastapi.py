"""The example of a Celery worker and a FastAPI reader, in processes as its page starts them."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from streamhub.formats.sse import Event
from streamhub.testing.waiting import unhurried, until, within

from .following import Running
from .services import Services, numbers

pytest.importorskip("celery")

pytestmark = [pytest.mark.integrations, pytest.mark.slow]

WORKER = "celery -A tasks worker --concurrency 2 --loglevel INFO"
WEB = "uvicorn app:app --port 8000"
ASK = 'curl -X POST "http://localhost:8000/answers/1?question=Why"'
READ = "curl -N http://localhost:8000/answers/1/events"
STANDING = "curl http://localhost:8000/answers/1"
STOP = "curl -X POST http://localhost:8000/answers/1/stop"


class Site(NamedTuple):
    """The web server, and a worker."""

    web: Services
    worker: Running

    async def status(self) -> str:
        standing: dict[str, str] = json.loads(await self.web.curl(STANDING))
        return standing["status"]


@pytest.fixture
async def site(tmp_path: Path, redis_url: str) -> AsyncIterator[Site]:
    changes = {
        "PAUSE = 0.25": f"PAUSE = {unhurried(0.05)}",
        "LEASE = 5.0": f"LEASE = {unhurried(0.5)}",
    }
    services = Services("celery_fastapi", tmp_path, changes=changes, STREAMHUB_URL=redis_url)
    async with await services.run(WORKER) as worker, services.served(WEB):

        async def works() -> bool:
            assert worker.is_running, worker.said
            return " ready." in worker.said

        await until(works)
        yield Site(services, worker)


async def test_a_worker_that_is_killed_is_followed_by_another(site: Site) -> None:
    """Its reader reads on with the next number, at once or when it comes again; Stop ends the next
    answer where its task runs. Where no worker is left, readers are told that it is lost."""
    web = site.web
    told: list[Event] = []
    assert "task" in json.loads(await web.curl(ASK))
    async with web.followed("/answers/1/events") as response:
        told += await response.take(5)
        first = json.loads(await web.curl(STANDING))
        os.kill(first["metadata"]["process"], signal.SIGKILL)
        told += await response.rest()

    await web.read_on("/answers/1/events", told)
    second = json.loads(await web.curl(STANDING))
    assert [*range(1, 61)] == numbers(told)
    assert "finished" == second["status"]
    assert first["metadata"]["process"] != second["metadata"]["process"]

    async def is_written() -> bool:
        return await site.status() == "active"

    await web.curl(ASK)
    await until(is_written)
    assert {"status": "cancelled"} == json.loads(await web.curl(STOP))

    await web.curl(ASK)
    await until(is_written)
    async with await web.run(READ) as reading:
        assert await reading.line()
        await site.worker.kill()
        _, seen = await within(reading.ended())
    assert '"status":"lost"' in seen
