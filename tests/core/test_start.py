"""The pages that newcomers follow step by step, followed to the letter."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from streamhub.testing.waiting import bounded, unhurried

from ..http.serving import Followed
from ..support.http_server import Port

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"
ANSWER = [f"{n}. Why? " for n in range(1, 61)]


def blocks() -> list[str]:
    """The page's Python."""
    return re.findall(r"```python\n(.*?)```", (DOCS / "start.md").read_text(), re.DOTALL)


def application(*, pace: float, url: str, lease: float) -> str:
    """``app.py`` as it stands at the end of the page, whose model is quicker and whose crash shows
    earlier than there."""
    app, second_server = blocks()
    line = next(one for one in app.splitlines() if one.startswith("app = "))
    app = app.replace(line, second_server).replace("sleep(0.25)", f"sleep({pace})")
    opened = 'Hub.from_url(os.environ.get("STREAMHUB_URL", "memory://"))'
    assert opened in app
    given = f"Hub.from_url({url!r}, config=HubConfig(lease={lease}))"
    return "from streamhub import HubConfig\n" + app.replace(opened, given)


async def test_an_answer_survives_a_reload_and_is_stopped(tmp_path: Path) -> None:
    """In memory, as the page begins: who comes again has it from the start, and Stop ends it."""
    app, _ = blocks()
    app = app.replace("sleep(0.25)", f"sleep({unhurried(0.05)})")
    with Port() as port:
        server = await port.serve(app, errors=tmp_path / "errors")
        async with server, httpx.AsyncClient(base_url=port.url, timeout=None) as client:
            assert "EventSource" in (await client.get("/")).text
            await client.post("/chats/1", params={"question": "Why?"})
            async with client.stream("GET", "/chats/1/answer") as response:
                assert ANSWER[:3] == [one.data for one in await Followed(response).take(3)]
            async with client.stream("GET", "/chats/1/answer") as response:
                again = Followed(response)
                assert ANSWER[:4] == [one.data for one in await again.take(4)]
                await client.post("/chats/1/stop")
                end = (await again.rest())[-1]

    assert ("end", True) == (end.event, "cancelled" in end.data)


async def test_an_answer_survives_the_server_that_writes_it(tmp_path: Path, redis_url: str) -> None:
    """On two servers: the other one goes on with the next number, for those who read there."""
    chat = f"/chats/{uuid4().hex}"
    source = application(pace=unhurried(0.05), url=redis_url, lease=unhurried(0.5))
    with Port() as first, Port() as second:
        async with bounded():
            writer, reader = await asyncio.gather(
                first.serve(source, errors=tmp_path / "first"),
                second.serve(source, errors=tmp_path / "second"),
            )
        async with writer, reader, httpx.AsyncClient(timeout=None) as client:
            await client.post(f"{first.url}{chat}", params={"question": "Why?"})
            async with client.stream("GET", f"{second.url}{chat}/answer") as response:
                followed = Followed(response)
                begun = await followed.take(5)
                await writer.kill()
                told = [*begun, *await followed.rest()]

    assert ANSWER == [one.data for one in told if one.event == "message"]
    assert "finished" in told[-1].data


async def test_the_protocol_is_seen_with_curl(tmp_path: Path, redis_url: str) -> None:
    """The commands of the page follow a session, and show what the page says of it."""
    page = (DOCS / "reference" / "http-protocol.md").read_text()
    with Port() as port:
        number = str(port.number)
    commands = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)[0].replace("8080", number)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    async with bounded():
        shell = await asyncio.create_subprocess_exec(
            *("bash", "-e", "-c", commands),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PATH": path, "STREAMHUB_URL": redis_url},
        )
        told, errors = await shell.communicate()
    lines = told.decode().splitlines()

    assert 0 == shell.returncode, errors.decode()
    assert [f"data: line {n}" for n in range(1, 6)] == [one for one in lines if "data: l" in one]
    assert "event: end" in lines
    assert [f"line {n}" for n in range(1, 6)] == [one for one in lines if one[:4] == "line"]
    infos = [one for one in lines if one.startswith('{"session_id"')]
    assert {"finished"} == {json.loads(one)["status"] for one in infos}
    (row,) = re.findall(r"^\| `GET /sessions/\{session\}` \| `\{(.*?), …\}`", page, re.MULTILINE)
    assert set(json.loads(f"[{row}]")) <= set(json.loads(infos[0]))
