"""Programs that end, or are told to end, while their hub is open: they end."""

from __future__ import annotations

import signal

import pytest

from streamhub import Hub
from streamhub.testing.waiting import within

from .conftest import RunPython

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
