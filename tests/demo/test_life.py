"""The demo as a process: what it starts ends with it, and sessions may outlive it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from streamhub.demo.model_server import MODEL, text_for

from ..conftest import Serve
from .running_demo import MODES, Demo, gone, running

pytestmark = pytest.mark.slow

QUESTION = "Why does bread rise?"
#: A model that outlives the demo.
API = "from streamhub.demo.model_server import model_app\napp = model_app(pace=200)"


@pytest.mark.parametrize(
    ("mode", "number"),
    [("redis", signal.SIGINT), ("redis", signal.SIGTERM), ("memory", signal.SIGINT)],
)
async def test_a_signal_ends_it_cleanly(mode: str, number: signal.Signals) -> None:
    """In the middle of an answer that is followed: exit code 0, and no complaint."""
    async with running(*MODES[mode]) as demo:
        session = await demo.ask(QUESTION)
        url = f"/answers/{session}/stream?tab=open"
        async with demo.client.stream("GET", url) as response:
            await anext(response.aiter_lines())
            demo.process.signal(number)
            ended = await demo.process.ended()

    assert (0, "", "") == (ended.code, ended.out, ended.err)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_nothing_that_it_started_is_left(number: signal.Signals) -> None:
    """Producer, Redis and its folder are gone, also where the demo could not clean up itself."""
    async with running() as demo:
        about = await demo.get("/about")
        producer = (await demo.get("/chats/none?tab=look"))["producer"]["pid"]
        folder = Path(urlsplit(about["redis"]["url"]).path).parent
        assert folder.is_dir()
        for pid in (about["web"], about["redis"]["pid"], producer):
            os.kill(pid, 0)
        demo.process.signal(number)
        await demo.process.code()

        await gone(about["redis"]["pid"], producer)
        await gone(about["web"])
        # Removed by the one that watches over the Redis, right after that.
        while folder.exists():  # noqa: ASYNC110 - nobody tells of that
            await asyncio.sleep(0.01)


async def test_an_answer_survives_its_redis() -> None:
    """Whoever kills the Redis, too, gets an empty one in its place; the running answer is put back
    and completed, and the chat goes on with the next turn."""
    async with running() as demo:
        earlier = await demo.ask(QUESTION)
        await demo.read(earlier)
        session = await demo.ask(QUESTION)
        reading = asyncio.create_task(demo.read(session))
        await demo.becomes(session, lambda turn: turn["chunks"] > 30)
        killed = (await demo.get("/about"))["redis"]["pid"]
        os.kill(killed, signal.SIGKILL)

        read = await reading
        assert text_for(QUESTION) == read.text
        assert [*range(1, len(read.cursors) + 1)] == read.offsets
        assert QUESTION == (await demo.turn(session))["question"]
        about = await demo.get("/about")
        assert killed != about["redis"]["pid"]
        assert 404 == (await demo.client.get(f"/api/sessions/{earlier}")).status_code
        assert "demo:test:3" == await demo.ask(QUESTION)


async def test_an_answer_survives_the_demo_itself(redis_url: str, serve: Serve) -> None:
    """On a Redis that stays, a demo that is started anew continues what the killed one left as
    soon as somebody looks at it."""
    api = await serve(API)
    options = ["--redis", redis_url, "--openai-url", f"{api.url}/v1", "--model", MODEL]
    async with running(*options) as demo:
        session = await demo.ask(QUESTION)
        read = await demo.read(session, until=30)
        producer = (await demo.turn(session))["producers"][0]["pid"]
        demo.process.signal(signal.SIGKILL)
        await demo.process.code()
        await gone(producer)
    async with running(*options) as demo:
        await demo.becomes(session, lambda turn: turn["status"] == "finished")
        rest = await demo.read(session, after=read.cursors[-1])

    assert text_for(QUESTION) == read.text + rest.text


async def test_without_a_redis_server_it_runs_in_memory(tmp_path: Path) -> None:
    """Where none is on the PATH it says so, and answers all the same."""
    async with running(env={"PATH": str(tmp_path)}) as demo:
        about = await demo.get("/about")
        assert (None, "there is no redis-server on the PATH") == (about["redis"], about["note"])
        assert "in memory (there is no redis-server on the PATH)" in demo.introduction
        assert text_for(QUESTION) == (await demo.read(await demo.ask(QUESTION))).text


async def test_a_redis_server_that_is_of_no_use_is_done_without(tmp_path: Path) -> None:
    """One that ends at once does not keep the demo from running."""
    server = tmp_path / "redis-server"
    server.write_text("#!/bin/sh\nexit 3\n")
    server.chmod(0o755)
    async with running(env={"PATH": f"{tmp_path}:/bin:/usr/bin"}) as demo:
        about = await demo.get("/about")

    assert about["redis"] is None
    assert f"{server} is of no use: it ended with exit code 3" == about["note"]


@pytest.mark.parametrize("demo", ["redis"], indirect=True)
async def test_it_says_what_it_is(demo: Demo) -> None:
    """The address, where the sessions are, the model, and what to do."""
    about = await demo.get("/about")
    own = about["redis"]
    for part in (
        demo.url,
        f"a Redis of the demo's own, process {own['pid']}",
        f"streamhub ls --redis '{own['url']}'",
        f"the little server that comes with the demo, at {demo.url}v1",
        "Open the address in a browser. Ctrl-C ends the demo.",
    ):
        assert part in demo.introduction


@pytest.mark.parametrize("demo", ["memory"], indirect=True)
async def test_it_listens_on_this_machine_alone(demo: Demo) -> None:
    """Its port is bound at 127.0.0.1, and at no other address."""
    port = urlsplit(demo.url).port
    assert port is not None
    with socket.socket() as everywhere:
        # Another address of this machine, which one who listens everywhere would hold.
        everywhere.bind(("127.0.0.2", port))
    with pytest.raises(OSError, match="in use"), socket.socket() as same:
        same.bind(("127.0.0.1", port))
