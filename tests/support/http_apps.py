"""Applications that tests serve in processes of their own; see ``serve``."""

from __future__ import annotations

__all__ = ["COUNTING_BYTES", "SESSIONS"]

#: Has the process count the bytes of its Python objects, which slows it down.
COUNTING_BYTES = "import tracemalloc; tracemalloc.start()\n"

#: Arguments: URL of the Redis; the lease in seconds, if not the usual one. This is ``create_app``,
#: with two routes beside it: ``POST /run/{session}`` starts a producer in this process, which
#: publishes what is pushed to the Redis list of the session's name, and ``GET /held`` counts what
#: the process holds; bytes only where ``COUNTING_BYTES`` stands in front. Every response names its
#: process in ``x-pid``.
SESSIONS = """
import asyncio, gc, os, sys, tracemalloc
from contextlib import asynccontextmanager
import redis.asyncio
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from streamhub import Hub, HubConfig
from streamhub.http import create_app

url, *lease = sys.argv[1:]
hub = Hub.from_url(url, config=HubConfig(lease=float(lease[0])) if lease else None)

@asynccontextmanager
async def lifespan(app):
    async with hub:
        yield

async def run(request):
    session_id = request.path_params["session"]
    async def source(stream):
        async with redis.asyncio.Redis.from_url(url) as pushed:
            while True:
                await stream.publish((await pushed.blpop(session_id))[1].decode())
    stream = await hub.run(session_id, source)
    return JSONResponse({"created": stream.generation is not None})

async def held(request):
    if tracemalloc.is_tracing():
        gc.collect()
    return JSONResponse({
        "bytes": tracemalloc.get_traced_memory()[0],
        "tasks": len(asyncio.all_tasks()),
        "sessions followed": hub.statistics().sessions_followed,
        "files": len(os.listdir("/dev/fd")),
    })

class NamesItsProcess:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def named(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-pid", b"%d" % os.getpid())]
            await send(message)
        await self.app(scope, receive, named)

app = NamesItsProcess(Starlette(
    routes=[
        Route("/run/{session}", run, methods=["POST"]),
        Route("/held", held),
        Mount("/", create_app(hub)),
    ],
    lifespan=lifespan,
))
"""
