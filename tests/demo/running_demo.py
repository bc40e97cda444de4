"""A ``streamhub demo`` in processes of its own, and what its page would ask it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from streamhub.testing.waiting import bounded, patience

from ..support.cli_process import CliProcess, start_cli

__all__ = ["BOUND", "MODES", "Demo", "Read", "gone", "running"]

#: Where the sessions of a demo may be, by its options: processes of their own, or one for all.
MODES = {"redis": [], "memory": ["--memory"]}
#: Within which everything ends, unless it hangs.
BOUND = 60.0
#: Tokens a second: an answer takes about three seconds.
PACE = "200"


@dataclass
class Read:
    """What one connection has brought."""

    text: str = ""
    cursors: list[str] = field(default_factory=list)
    #: ``end`` or ``error`` and its data; None for a connection that broke off.
    end: tuple[str, dict[str, Any]] | None = None

    @property
    def offsets(self) -> list[int]:
        return [int(cursor.partition("-")[2]) for cursor in self.cursors]


class Demo:
    def __init__(self, process: CliProcess, url: str, introduction: str) -> None:
        self.process = process
        self.url = url
        #: What it printed when it was ready.
        self.introduction = introduction
        self.client = httpx.AsyncClient(
            base_url=url, timeout=patience(BOUND), trust_env=False, verify=False
        )

    async def get(self, path: str) -> Any:
        response = await self.client.get(path)
        assert 200 == response.status_code, response.text
        return response.json()

    async def post(self, path: str, body: object = ()) -> Any:
        response = await self.client.post(path, json=body)
        assert response.is_success, response.text
        return response.json()

    async def ask(self, question: str, chat: str = "test") -> str:
        """The session of the answer."""
        session: str = (await self.post(f"/chats/{chat}/ask", {"question": question}))["session"]
        return session

    async def turn(self, session: str, tab: str = "look") -> dict[str, Any]:
        """How the server says that the answer stands."""
        turns = (await self.get(f"/chats/{session.split(':')[1]}?tab={tab}"))["turns"]
        return next(turn for turn in turns if turn["session"] == session)

    async def becomes(self, session: str, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The answer, once it stands so."""
        async with bounded(BOUND):
            while not fits(turn := await self.turn(session)):  # noqa: ASYNC110 - in another process
                await asyncio.sleep(0.02)
        return turn

    async def read(
        self, session: str, *, tab: str = "reader", after: str | None = None, until: int = 0
    ) -> Read:
        """Follow the answer on one connection, to its end or until there are so many chunks."""
        got = Read()
        headers = {} if after is None else {"last-event-id": after}
        url = f"/answers/{session}/stream?tab={tab}"
        with contextlib.suppress(httpx.RemoteProtocolError):
            async with self.client.stream("GET", url, headers=headers) as response:
                assert 200 == response.status_code
                async for event in _events(response):
                    if event.get("event") in ("end", "error"):
                        got.end = event["event"], json.loads(event["data"])
                        continue
                    got.text += event["data"]
                    got.cursors.append(event["id"])
                    if len(got.cursors) == until:
                        break
        return got

    async def read_on(self, session: str, after: str) -> Read:
        """As an EventSource: connect again until there is an end that is none of a lost one."""
        got = Read(cursors=[after])
        while got.end is None or got.end[1]["status"] == "lost":
            more = await self.read(session, after=got.cursors[-1])
            got = Read(got.text + more.text, [*got.cursors, *more.cursors], more.end)
        return Read(got.text, got.cursors[1:], got.end)


@contextlib.asynccontextmanager
async def running(
    *options: str, port: Sequence[str] = ("--port", "0"), env: Mapping[str, str] | None = None
) -> AsyncIterator[Demo]:
    """``streamhub demo options…`` on a free port, ready to be asked."""
    async with start_cli("demo", "--no-open", "--pace", PACE, *port, *options, env=env) as process:
        printed = ""
        while "Ctrl-C" not in printed:
            line = await process.line()
            assert line, (await process.ended()).err
            printed += line
        match = re.search(r"http://127\.0\.0\.1:\d+/$", printed, re.MULTILINE)
        assert match is not None, printed
        demo = Demo(process, match[0], printed)
        async with demo.client:
            yield demo


async def gone(*pids: int) -> None:
    """Wait until these processes are no more."""
    async with bounded(BOUND):
        while any(_exists(pid) for pid in pids):  # noqa: ASYNC110 - nobody tells of them
            await asyncio.sleep(0.02)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with contextlib.suppress(FileNotFoundError):
        stat = Path(f"/proc/{pid}/stat").read_text()
        # Dead, and only not yet collected by whoever inherited it.
        return stat.rpartition(")")[2].split()[0] != "Z"
    return True


async def _events(response: httpx.Response) -> AsyncIterator[dict[str, str]]:
    fields: dict[str, list[str]] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))
        else:
            event = {name: "\n".join(values) for name, values in fields.items()}
            fields = {}
            if "data" in event:
                yield {"id": "", **event}
