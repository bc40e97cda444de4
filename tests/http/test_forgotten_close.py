"""Web applications that never close their hub: their server stops all the same."""

from __future__ import annotations

import signal

import httpx
import pytest

from streamhub import Hub
from streamhub.testing.waiting import until, within

from ..conftest import RunPython
from ..support.child_processes import PythonProcess
from ..support.http_server import Port

_APP = """
import asyncio, sys
from fastapi import FastAPI
from streamhub import Hub
from streamhub.http import chat_routes

url, number = sys.argv[1], int(sys.argv[2])
hub = Hub.from_url(url)
app = FastAPI()

async def answer(body):
    try:
        yield "a"
        await asyncio.Event().wait()
    finally:
        print("stopped")

app.router.routes.extend(chat_routes(hub, answer))
"""

_UVICORN = """
import uvicorn
uvicorn.run(app, port=number, log_level="warning")
"""

_HYPERCORN = """
from hypercorn.asyncio import serve
from hypercorn.config import Config
from hypercorn.run import run
import sys, types

module = sys.modules["application"] = types.ModuleType("application")
module.app = app
config = Config.from_mapping(
    application_path="application:app", bind=f"127.0.0.1:{number}", workers=0, loglevel="WARNING",
    graceful_timeout=1.0,
)
run(config)
"""

_QUESTION = {"id": "c", "messages": [{"role": "user", "parts": [{"type": "text", "text": "q"}]}]}


async def _begin_an_answer(number: int) -> None:
    """Post a question, and go away when the answer has begun."""

    async def is_answered() -> bool:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{number}") as client:
            try:
                async with client.stream("POST", "/api/chat", json=_QUESTION) as response:
                    assert 200 == response.status_code
                    async for line in response.aiter_lines():
                        if '"a"' in line:
                            return True
            except httpx.ConnectError:
                return False
        return False

    await until(is_answered)


@pytest.fixture
def number() -> int:
    """Of a port that is free."""
    with Port() as port:
        return port.number


async def _stops(process: PythonProcess) -> str:
    """What it has written to its standard error, once it has ended."""
    assert "stopped" == await within(process.line())
    await within(process.wait())
    return process.stderr


@pytest.mark.parametrize("store", ["memory", "redis"])
@pytest.mark.parametrize(
    ("server", "stop"),
    [(_UVICORN, signal.SIGINT), (_HYPERCORN, signal.SIGTERM)],
    ids=["uvicorn", "hypercorn"],
)
async def test_a_server_stops_while_an_answer_runs(
    server: str,
    stop: signal.Signals,
    store: str,
    number: int,
    run_python: RunPython,
    request: pytest.FixtureRequest,
) -> None:
    """The answer is stopped and its session left to others, with one warning."""
    url = "memory://" if store == "memory" else request.getfixturevalue("redis_url")
    process = await run_python(_APP + server, url, str(number))
    await _begin_an_answer(number)

    process.signal(stop)

    assert 1 == (await _stops(process)).count("aclose()"), process.stderr
    if store == "redis":
        async with Hub.from_url(url) as elsewhere:
            stream, created = await elsewhere.register("chat:c", takeover="continue")
            assert created
            await stream.close()


_TEST_CLIENT = """
from starlette.testclient import TestClient
from streamhub import HubInOtherLoop
import warnings

client = TestClient(app)
client.post("/api/chat/d/stop")
question = {"id": "c", "messages": [{"role": "user", "parts": [{"type": "text", "text": "q"}]}]}
for path in ("/api/chat/c/stream", "/api/chat/c/stop"):
    try:
        print(client.request("GET" if path.endswith("stream") else "POST", path).status_code)
    except HubInOtherLoop as error:
        print("with TestClient(app)" in str(error))
with TestClient(app) as client:
    try:
        print(client.post("/api/chat/d/stop").status_code)
    except HubInOtherLoop:
        print("other")
"""


async def test_a_test_client_that_is_not_entered_is_told(run_python: RunPython) -> None:
    """Each of its requests has an event loop of its own: the second one says what to do, and does
    not wait for ever."""
    process = await run_python(_APP + _TEST_CLIENT, "memory://", "0")

    assert ["True", "True", "other"] == [await within(process.line()) for _ in range(3)]
    assert 0 == await within(process.wait())
