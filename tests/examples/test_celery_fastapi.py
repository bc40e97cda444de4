"""The example of a Celery worker and a FastAPI reader, in processes as its page starts them."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streamhub.testing.waiting import unhurried, until, within

from .services import Services, numbers

pytest.importorskip("celery")

pytestmark = [pytest.mark.integrations, pytest.mark.slow]

WORKER = "celery -A tasks worker --concurrency 2 --loglevel INFO"
WEB = "uvicorn app:app --port 8000"
ASK = 'curl -X POST "http://localhost:8000/answers/1?question=Why"'
READ = "curl -N http://localhost:8000/answers/1/events"
STANDING = "curl http://localhost:8000/answers/1"
STOP = "curl -X POST http://localhost:8000/answers/1/stop"


@pytest.fixture
async def site(tmp_path: Path, redis_url: str) -> AsyncIterator[Services]:
    changes = {
        "PAUSE = 0.25": f"PAUSE = {unhurried(0.02)}",
        "LEASE = 5.0": f"LEASE = {unhurried(0.5)}",
    }
    services = Services("celery_fastapi", tmp_path, changes=changes, STREAMHUB_URL=redis_url)
    async with await services.run(WORKER) as worker, services.served(WEB):

        async def works() -> bool:
            assert worker.is_running, worker.said
            return " ready." in worker.said

        await until(works)
        yield services


async def test_a_worker_that_is_killed_is_followed_by_another(site: Services) -> None:
    """Its reader is told that it is lost, comes again, and reads on with the next number; Stop ends
    the next answer where its task runs."""
    assert "task" in json.loads(await site.curl(ASK))
    async with await site.run(READ) as reading, site.followed("/answers/1/events") as response:
        begun = await response.take(5)
        first = json.loads(await site.curl(STANDING))
        os.kill(first["metadata"]["process"], signal.SIGKILL)
        told = [*begun, *await response.rest()]
        _, seen = await within(reading.ended())
    assert ("error", "lost") == (told[-1].event, json.loads(told[-1].data)["status"])
    assert '"status":"lost"' in seen

    # As an EventSource, which comes again until it is told the end.
    async def read_on() -> bool:
        after = [one.id for one in told if one.id][-1]
        async with site.followed("/answers/1/events", after=after) as response:
            told.extend(await response.rest())
        return told[-1].event == "end"

    await until(read_on)
    second = json.loads(await site.curl(STANDING))
    assert [*range(1, 61)] == numbers(told)
    assert ("end", "finished") == (told[-1].event, second["status"])
    assert first["metadata"]["process"] != second["metadata"]["process"]

    await site.curl(ASK)

    async def is_written() -> bool:
        standing: dict[str, object] = json.loads(await site.curl(STANDING))
        return standing["status"] == "active"

    await until(is_written)
    assert {"status": "cancelled"} == json.loads(await site.curl(STOP))
