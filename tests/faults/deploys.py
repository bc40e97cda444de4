"""A rolling restart under answers that are written: what their readers see of it.

Two instances serve one port, as behind a load balancer, with a supervisor in each. One after the
other is told to stop, and replaced. ``python -m tests.faults.deploys`` prints the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from streamhub import Hub
from streamhub.formats.sse import EventParser
from streamhub.testing.waiting import patience

from ..support.http_server import Port, ServerProcess
from ..support.redis_server import RedisServer

__all__ = ["Seen", "deploy", "logged"]

#: An application as docs/deploys.md has it. Its answers are numbers, so that it shows what is
#: missing, and go on until there is a session ``over``. Arguments: the URL of Redis, the options of
#: ``lifespan`` as JSON.
APP = """
import asyncio, json, os, sys
from contextlib import asynccontextmanager, suppress
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from streamhub import Hub, HubClosed, HubConfig
from streamhub.http import SSEResponse, lifespan

hub = Hub.from_url(sys.argv[1], config=HubConfig(lease=15.0))

over = asyncio.Event()

async def wait_over():
    with suppress(HubClosed):
        await hub.get("over", wait=3600)
        over.set()

async def numbers(after, pace):
    while not over.is_set():
        await asyncio.sleep(pace)
        after += 1
        yield f"{after} "

async def resume(lost):
    return numbers(len(lost.text.split()), lost.metadata["pace"])

@asynccontextmanager
async def living(app):
    waiting = asyncio.create_task(wait_over())
    async with lifespan(hub, **json.loads(sys.argv[2]))(app), hub.supervise(resume):
        yield
    await waiting

async def ask(request):
    about = await request.json()
    stream = await hub.run(request.path_params["name"], numbers(0, about["pace"]), metadata=about)
    return JSONResponse({"created": stream.generation is not None, "pid": os.getpid()})

async def follow(request):
    return SSEResponse(hub.get(request.path_params["name"], wait=10))

app = Starlette(
    lifespan=living,
    routes=[
        Route("/answers/{name}", ask, methods=["POST"]),
        Route("/answers/{name}", follow),
    ],
)
"""

#: How long a reader waits before it connects again, in seconds.
_RECONNECT = 0.1


@dataclass
class Seen:
    """What the reader of one answer has seen."""

    offsets: list[int] = field(default_factory=list)
    text: str = ""
    end: str | None = None
    connections: int = 0
    resumes: int = 0
    #: The longest time between two chunks, in seconds.
    pause: float = 0.0

    @property
    def expected(self) -> str:
        """What so many chunks say."""
        return "".join(f"{number} " for number in range(1, len(self.offsets) + 1))


async def deploy(
    redis_url: str,
    directory: Path,
    *,
    answers: int,
    pace: float,
    between: float = 0.0,
    drain: float = 0.0,
    kill: bool = False,
    rolling: bool = True,
) -> list[Seen]:
    """Restart two instances, one after the other, while they write so many answers.

    :param pace: how many seconds a chunk takes.
    :param between: how many seconds pass before each restart, and after the last.
    :param kill: with SIGKILL instead of SIGTERM.
    :param rolling: otherwise one of the two is stopped, and that is all.
    """
    async with AsyncExitStack() as stack:
        port = stack.enter_context(Port())
        started = 0

        async def start() -> ServerProcess:
            nonlocal started
            started += 1
            options = f'{{"drain": {drain}}}'
            errors = directory / f"instance-{started}"
            process = await port.serve(APP, redis_url, options, errors=errors)
            return await stack.enter_async_context(process)

        instances = [await start(), await start()]
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        client = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url=port.url, timeout=patience(60), limits=limits, trust_env=False
            )
        )
        writers: Counter[int] = Counter()
        for n in range(answers):
            response = await client.post(f"/answers/answer-{n}", json={"pace": pace})
            assert response.json()["created"]
            writers[response.json()["pid"]] += 1
        readers = [asyncio.create_task(_read(client, f"answer-{n}")) for n in range(answers)]
        busiest = max(instances, key=lambda one: writers[one.pid])
        for old in instances[:] if rolling else [busiest]:
            await asyncio.sleep(between)
            if rolling:
                instances.append(await start())
            old.signal(signal.SIGKILL if kill else signal.SIGTERM)
            await old.wait()
            instances.remove(old)
        await asyncio.sleep(between)
        async with Hub.from_url(redis_url) as hub:
            await (await hub.run("over", ["over"])).wait()
            seen = await asyncio.gather(*readers)
            for n, one in enumerate(seen):
                stream = await hub.get(f"answer-{n}")
                assert stream is not None
                one.resumes = (await stream.info()).resumes
        for process in instances:
            process.signal(signal.SIGTERM)
            await process.wait()
        return seen


async def _read(client: httpx.AsyncClient, name: str) -> Seen:
    """Read an answer as an EventSource does, which connects again until there is an end."""
    seen = Seen()
    cursor: str | None = None
    last: float | None = None
    while seen.end is None:
        headers = {} if cursor is None else {"last-event-id": cursor}
        parser = EventParser()
        seen.connections += 1
        try:
            async with client.stream("GET", f"/answers/{name}", headers=headers) as response:
                async for piece in response.aiter_raw():
                    for event in parser.feed(piece):
                        if event.event in ("end", "error", "reset"):
                            seen.end = f"{event.event} {event.data}"
                            continue
                        now = time.monotonic()
                        if last is not None:
                            seen.pause = max(seen.pause, now - last)
                        last, cursor = now, event.id
                        assert cursor is not None
                        seen.offsets.append(int(cursor.partition("-")[2]))
                        seen.text += event.data
        except httpx.TransportError:
            pass
        if seen.end is None:
            await asyncio.sleep(_RECONNECT)
    return seen


def _figures(seen: list[Seen]) -> dict[str, Any]:
    pauses = sorted(one.pause for one in seen)
    return {
        "answers": len(seen),
        "reached their end": sum('"finished"' in (one.end or "") for one in seen),
        "chunks": sum(len(one.offsets) for one in seen),
        "chunks missing": sum(max(one.offsets) - len({*one.offsets}) for one in seen),
        "chunks doubled": sum(len(one.offsets) - len({*one.offsets}) for one in seen),
        "with another text": sum(one.text != one.expected for one in seen),
        "resumes": sum(one.resumes for one in seen),
        "connections": sum(one.connections for one in seen),
        "longest pause, s": round(pauses[-1], 3),
        "median of the longest pauses, s": round(median(pauses), 3),
    }


def logged(directory: Path) -> str:
    """What all instances have printed to their standard error."""
    return "".join(log.read_text() for log in sorted(directory.glob("instance-*")))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=100)
    parser.add_argument("--pace", type=float, default=0.1)
    parser.add_argument("--between", type=float, default=3.0)
    parser.add_argument("--drain", type=float, default=0.0)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--rolling", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    with RedisServer() as server, tempfile.TemporaryDirectory() as directory:
        seen = await deploy(server.url, Path(directory), **vars(options))
        for name, figure in _figures(seen).items():
            print(f"{name:32} {figure}")
        sys.stderr.write(logged(Path(directory)))


if __name__ == "__main__":
    asyncio.run(main())
