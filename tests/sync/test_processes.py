"""Signals, forks and the exit of the interpreter."""

from __future__ import annotations

import asyncio
import signal

import pytest

import streamhub
from streamhub import (
    Status,
)
from streamhub.sync import Hub
from streamhub.testing.waiting import patience, within

from ..conftest import RunPython
from .scene import on_redis

_INTERRUPTED = """
import sys, threading
from streamhub.sync import Hub

with Hub.from_url(sys.argv[1]) as hub:
    stream, _ = hub.register("chat")
    stream.publish("a")
    subscription = stream.subscribe()
    try:
        print(next(subscription).data)
        next(subscription)
    except KeyboardInterrupt:
        print("interrupted")
    stream.publish("b")
    stream.close()
    try:
        print([chunk.data for chunk in subscription])
        hub.get("nobody", wait=60.0)
    except KeyboardInterrupt:
        print("interrupted")
print("closed")
"""


async def test_ctrl_c_interrupts_a_wait(url: str, run_python: RunPython) -> None:
    """It raises KeyboardInterrupt out of an iteration, which can go on afterwards with nothing
    lost or doubled, and out of any other call; the hub closes properly."""
    process = await run_python(_INTERRUPTED, url)

    assert "a" == await within(process.line())
    process.signal(signal.SIGINT)
    assert "interrupted" == await within(process.line())
    assert "['b']" == await within(process.line())
    process.signal(signal.SIGINT)
    assert "interrupted" == await within(process.line())
    assert "closed" == await within(process.line())
    assert 0 == await within(process.wait())
    assert "" == process.stderr


_ABANDONED = """
import asyncio, threading
from streamhub.stores.memory import MemoryStore
from streamhub.sync import Hub

class Stuck(MemoryStore):
    async def look(self, session_ids, *, metadata=False):
        print("waiting")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

cancelled = threading.Event()
hub = Hub(Stuck())
try:
    hub.get("chat")
except KeyboardInterrupt:
    print(cancelled.wait(10.0))
hub.close()
"""


async def test_ctrl_c_cancels_what_it_interrupts(run_python: RunPython) -> None:
    """A call that nobody waits for any more does not go on behind the back of its caller."""
    process = await run_python(_ABANDONED)

    assert "waiting" == await within(process.line())
    process.signal(signal.SIGINT)
    assert "True" == await within(process.line())
    assert 0 == await within(process.wait())


_LEFT_OPEN = """
import sys, threading
from streamhub import HubClosed
from streamhub.sync import Hub

hub = Hub.from_url(sys.argv[1])
stream, _ = hub.register("chat")
subscription = hub.run("run", lambda stream: threading.Event().wait()).subscribe()

def read():
    try:
        next(subscription)
    except HubClosed:
        pass

threading.Thread(target=read, daemon=True).start()
for n in range(100):
    stream.publish(f"{n} ")
"""


async def test_a_hub_left_open_does_not_hold_the_interpreter(
    url: str, run_python: RunPython
) -> None:
    """The process exits, without a complaint, whatever its threads wait for."""
    process = await run_python(_LEFT_OPEN, url)

    assert 0 == await within(process.wait())
    assert "" == process.stderr


_RAISES = """
import sys, threading, time
from streamhub.sync import Hub

hub = Hub.from_url(sys.argv[1])

def iterable():
    yield "a"
    threading.Event().wait()

def function(stream):
    stream.publish("a")
    threading.Event().wait()

async def generator():
    import asyncio
    yield "a"
    await asyncio.Event().wait()

sources = {"iterable": iterable, "function": lambda: function, "generator": generator}
stream = hub.run("chat", sources[sys.argv[2]]())
print(next(stream.subscribe()).data)
raise ValueError("of the program itself")
"""


@pytest.mark.parametrize("kind", ["iterable", "function", "generator"])
async def test_a_program_ends_though_a_source_runs(
    url: str, run_python: RunPython, kind: str
) -> None:
    """Its exception is shown, and its session can be continued at once by another process."""
    process = await run_python(_RAISES, url, kind)

    assert "a" == await within(process.line())
    assert 1 == await within(process.wait())
    assert process.stderr.endswith("ValueError: of the program itself\n"), process.stderr
    if url.startswith("redis"):
        async with streamhub.Hub.from_url(url) as hub:
            stream, created = await hub.register("chat", takeover="continue")
            assert created
            await stream.close()


@on_redis
async def test_g5_a_hub_left_open_loses_nothing(url: str, run_python: RunPython) -> None:
    """What was published is stored when the interpreter exits, and the lease released."""
    process = await run_python(_LEFT_OPEN, url)
    assert 0 == await within(process.wait())
    async with streamhub.Hub.from_url(url) as hub:
        stream = await hub.get("chat")
        assert stream is not None

        assert "".join(f"{n} " for n in range(100)) == await stream.text()
        assert Status.LOST is (await stream.info()).status


_FORKED = """
import os, sys, warnings
from streamhub.sync import Hub

warnings.simplefilter("ignore", DeprecationWarning)
hub = Hub.from_url(sys.argv[1])
unused = Hub.from_url(sys.argv[1])
stream, _ = hub.register("chat")
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
for call in (lambda: stream.publish("a"), hub.close):
    try:
        call()
    except RuntimeError as error:
        print("forked" in str(error))
print(unused.get("nobody"))
"""


async def test_a_forked_child_is_told_to_open_its_own(url: str, run_python: RunPython) -> None:
    """There is no thread in it that could answer, so nothing may wait for one; a hub that was
    not used before works."""
    process = await run_python(_FORKED, url)

    assert ["True", "True", "None"] == [await within(process.line()) for _ in range(3)]
    assert 0 == await within(process.wait())
    assert "" == process.stderr


async def test_an_event_loop_of_the_callers_is_no_obstacle(session_id: str) -> None:
    """The hub may be used where a loop runs, from its worker threads."""
    with Hub() as hub:
        stream = await asyncio.to_thread(hub.run, session_id, ["a"])

        assert Status.FINISHED is await asyncio.to_thread(stream.wait, patience())
