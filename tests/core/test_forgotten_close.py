"""Programs that end, or are told to end, while their hub is open: they end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import pytest

from streamhub import Hub
from streamhub.testing.waiting import within

from ..conftest import RunPython
from ..support.redis_server import RedisServer

_PROGRAM = """
import asyncio, sys, threading
from streamhub import Hub, HubConfig

url, kind, end = sys.argv[1:]
hub = Hub.from_url(url)

async def generator():
    try:
        yield "a"
        await asyncio.Event().wait()
    finally:
        print("stopped")

def iterable():
    yield "a"
    threading.Event().wait()

async def function(stream):
    await stream.publish("a")
    try:
        await asyncio.Event().wait()
    finally:
        print("stopped")

async def block():
    stream, _ = await hub.register("chat")
    async with stream:
        await function(stream)

async def main():
    if kind == "block":
        producing = asyncio.create_task(block())
        stream = await hub.get("chat", wait=10)
    else:
        source = {"generator": generator, "iterable": iterable, "function": lambda: function}[kind]
        stream = await hub.run("chat", source())
    await anext(stream.subscribe())
    print("running")
    if end == "raises":
        raise ValueError("of the program itself")
    if end == "signal":
        await asyncio.Event().wait()

asyncio.run(main())
"""

STORES = pytest.mark.parametrize("store", ["memory", "redis"])


@pytest.fixture
def url(store: str, request: pytest.FixtureRequest) -> str:
    found: str = "memory://" if store == "memory" else request.getfixturevalue("redis_url")
    return found


@STORES
@pytest.mark.parametrize("kind", ["generator", "iterable", "function", "block"])
@pytest.mark.parametrize("end", ["returns", "raises", "signal"])
async def test_a_program_ends_though_its_hub_was_not_closed(
    url: str, run_python: RunPython, kind: str, end: str
) -> None:
    """Its source is stopped, its exception is shown, and one warning names what was forgotten; on
    a store that others share the session can be continued at once."""
    process = await run_python(_PROGRAM, url, kind, end)
    assert "running" == await within(process.line())
    if end == "signal":
        process.signal(signal.SIGINT)

    if kind != "iterable":  # a thread goes with its process
        assert "stopped" == await within(process.line())
    code = await within(process.wait())

    assert (code != 0) == (end != "returns")
    assert ("ValueError: of the program itself" in process.stderr) == (end == "raises")
    assert ("KeyboardInterrupt" in process.stderr) == (end == "signal")
    assert 1 == process.stderr.count("aclose()"), process.stderr
    if url.startswith("redis"):
        async with Hub.from_url(url) as elsewhere:
            stream, created = await elsewhere.register("chat", takeover="continue")
            assert created
            assert (await stream.text()).startswith("a")
            await stream.close()


_ALL_AT_WORK = """
import asyncio, sys
from streamhub import Hub

async def main():
    hub = Hub.from_url(sys.argv[1])
    if sys.argv[2] == "frozen":
        stream = await hub.run(f"chat:{sys.argv[3]}", endless)
        reading = stream.subscribe()
        await anext(reading)
    calls = [
        lambda: hub.register("one"),
        lambda: hub.run("two", endless),
        lambda: hub.get("three", wait=3600),
        lambda: hub.active(["four"]),
        lambda: anext(hub.sessions()),
        lambda: hub.remove("five"),
    ]
    if sys.argv[2] == "frozen":
        calls += [
            lambda: anext(reading),
            lambda: stream.subscribe(after="now").take(),
            lambda: stream.cancel(wait=3600),
            stream.wait,
            stream.text,
            lambda: stream.set_metadata(1),
            stream.flush,
            stream.close,
        ]
    print("ready")
    await asyncio.to_thread(sys.stdin.readline)
    tasks = [asyncio.ensure_future(call()) for call in calls for _ in range(3)]
    for _ in range(int(sys.argv[3])):
        await asyncio.sleep(0)
    if sys.argv[3] == "0":
        # Long enough for each of them to wait for the store, which nothing tells.
        await asyncio.sleep(0.2)
    raise ValueError("of the program itself")

async def endless(stream):
    n = 0
    while True:
        await stream.publish("x" * 1000)
        await asyncio.sleep(0.001)

asyncio.run(main())
"""


@pytest.mark.parametrize("away", ["frozen", "dead", "silent"])
async def test_a_program_ends_whatever_its_tasks_wait_for(
    away: str, make_redis: Callable[..., RedisServer], run_python: RunPython
) -> None:
    """With a store that cannot be reached (any more, at all, or that does not answer who connects),
    and calls of every kind under way for so many turns: no task of the hub keeps what cancels it to
    itself."""
    server = make_redis()
    url = f"{server.url}?socket_timeout=0.5"
    if away == "dead":
        server.kill()
    elif away == "silent":
        server.pause()
    processes = await asyncio.gather(
        *(run_python(_ALL_AT_WORK, url, away, turns) for turns in ("0", "1", "3", "9", "30"))
    )
    for process in processes:
        assert "ready" == await within(process.line())
    if away == "frozen":
        server.pause()
    for process in processes:
        await process.send("go")

    for process in processes:
        assert 1 == await within(process.wait())
        assert "ValueError: of the program itself" in process.stderr
        assert 1 == process.stderr.count("aclose()"), process.stderr
