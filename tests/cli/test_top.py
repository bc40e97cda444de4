"""``streamhub top``: what its screens show, and what its keys do, with producers elsewhere."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis.asyncio
from textual.pilot import Pilot
from textual.widgets import Static

from streamhub import Hub, Status
from streamhub.board import Query
from streamhub.cli.top.app import TopApp
from streamhub.cli.top.question import Question
from streamhub.cli.top.session_screen import SessionScreen
from streamhub.cli.top.table import SessionTable
from streamhub.testing.waiting import bounded, unhurried, until

from ..conftest import RunPython
from ..support.child_processes import PythonProcess
from ..support.redis_server import RedisServer
from ..support.redis_stage import meta

pytestmark = pytest.mark.slow

LEASE = unhurried(0.6)

#: Produces what it is told to: a JSON array per line, answered when it is done.
PRODUCER = """
import asyncio, json, sys
from streamhub import Hub, HubConfig

async def main(url, lease):
    streams = {}
    async with Hub.from_url(url, config=HubConfig(lease=float(lease), host="gpu-7")) as hub:
        print("ready")
        while line := await asyncio.to_thread(sys.stdin.readline):
            what, name, *given = json.loads(line)
            if what == "register":
                owner, model = given
                streams[name], _ = await hub.register(
                    name, owner=owner, metadata=None if model is None else {"model": model}
                )
            elif what == "publish":
                data, *event = given
                await streams[name].publish(data, event=event[0] if event else None)
                await streams[name].flush()
            else:
                await getattr(streams[name], what)(*given)
            print("done")

asyncio.run(main(*sys.argv[1:]))
"""


class Producer:
    """A process that claims sessions and writes to them."""

    def __init__(self, process: PythonProcess) -> None:
        self.process = process

    @classmethod
    async def start(cls, run_python: RunPython, url: str, lease: float = 30.0) -> Producer:
        process = await run_python(PRODUCER, url, str(lease))
        assert "ready" == await process.line()
        return cls(process)

    async def do(self, what: str, name: str, *given: str | None) -> None:
        async with bounded():
            await self.process.send(json.dumps([what, name, *given]))
            assert "done" == await self.process.line()

    async def register(self, name: str, owner: str | None = None, model: str | None = None) -> None:
        await self.do("register", name, owner, model)


class Top:
    """What somebody sees and types."""

    def __init__(self, app: TopApp, pilot: Pilot[None]) -> None:
        self.app = app
        self._pilot = pilot

    @property
    def rows(self) -> list[str]:
        """The titles and the rows that are in sight."""
        table = self.app.screen_stack[0].query_one(SessionTable)
        lines = [table.render_line(y).text for y in range(table.size.height)]
        assert {80} >= {len(line) for line in lines if line.isascii()}
        return [line.rstrip() for line in lines if line.strip()]

    @property
    def names(self) -> list[str]:
        return [row.split()[0] for row in self.rows[1:]]

    @property
    def selected(self) -> str | None:
        row = self.app.screen_stack[0].query_one(SessionTable).selected
        return None if row is None else row.session_id

    def said(self, where: str) -> str:
        return str(self.app.screen.query_one(f"#{where}", Static).content)

    @property
    def text(self) -> str:
        """What is shown of an open session's text."""
        screen = self.app.screen
        assert isinstance(screen, SessionScreen)
        text = screen.text
        lines = [text.render_line(y).text.rstrip() for y in range(text.size.height)]
        return "\n".join(lines)

    async def press(self, *keys: str) -> None:
        await self._pilot.press(*keys)

    async def until(self, check: Callable[[], Any]) -> None:
        """Wait until somebody sees it."""

        async def seen() -> bool:
            await self._pilot.pause()
            return bool(check())

        try:
            await until(seen)
        except TimeoutError:
            raise AssertionError(self._shown()) from None

    def _shown(self) -> str:
        """All that is in sight."""
        said = [str(one.content) for one in self.app.screen.query(Static)]
        screen = self.app.screen
        return "\n".join(
            [*said, *([self.text] if isinstance(screen, SessionScreen) else self.rows)]
        )


@contextlib.asynccontextmanager
async def top(url: str, **asked: Any) -> AsyncIterator[Top]:
    """``streamhub top`` at 80 columns."""
    async with Hub.from_url(url) as hub:
        app = TopApp(hub, Query(**asked), where=url)
        async with app.run_test(size=(80, 24)) as pilot:
            yield Top(app, pilot)


async def test_the_list_is_searched_filtered_and_sorted(
    redis_url: str, run_python: RunPython
) -> None:
    """Each session has a row with what is known of it, at 80 columns; / searches, f and o filter
    by status and owner, < and > sort, Esc shows all again."""
    producer = await Producer.start(run_python, redis_url, LEASE)
    await producer.register("chat:lost", "bob", "claude")
    await producer.process.kill()
    producer = await Producer.start(run_python, redis_url)
    await producer.register("chat:failed", "alice", "gpt-5")
    await producer.do("fail", "chat:failed", "out of \x1b[31mluck")
    await producer.register("chat:done", "alice", "gpt-5")
    await producer.do("close", "chat:done")
    await producer.register("chat:live", "carol", "[bold]x[/bold]")
    await producer.do("publish", "chat:live", "hello")

    async with top(redis_url) as seen:
        await seen.until(lambda: "1 lost" in seen.said("head") and len(seen.names) == 4)
        assert "1 active  1 finished  1 failed  1 lost" in seen.said("head")
        assert ["chat:live", "chat:done", "chat:failed", "chat:lost"] == seen.names
        await seen.until(lambda: "[bold]x" in seen.rows[1])
        assert ["chat:live", "active", "carol"] == seen.rows[1].split()[:3]
        assert "gpu-7" in seen.rows[1]

        await seen.press("slash", *"ALICE", "enter")
        await seen.until(lambda: seen.names == ["chat:done", "chat:failed"])
        assert "search ALICE: 2 sessions" in seen.said("asked")
        await seen.press("down")
        await seen.until(lambda: r"out of \x1b[31mluck" in seen.said("why"))
        await seen.press("escape", "home")
        await seen.until(lambda: len(seen.names) == 4)

        # Those that there are, one after the other, and all again.
        for name in ("chat:live", "chat:done", "chat:failed", "chat:lost"):
            await seen.press("f")
            assert [name] == seen.names
        await seen.press("f")
        assert 4 == len(seen.names)

        await seen.press("end", "o")
        assert (["chat:lost"], "owner bob") == (seen.names, seen.said("asked")[:9])
        await seen.press("o", "home")

        sorted_by = {}
        for _ in range(12):
            await seen.press("greater_than_sign")
            title = next(word for word in seen.rows[0].split() if word[-1] in "▲▼")
            sorted_by[title[:-1]] = seen.names
        assert ["chat:done", "chat:failed", "chat:live", "chat:lost"] == sorted_by["session"]
        assert ["chat:lost", "chat:failed", "chat:live", "chat:done"] == sorted_by["status"]
        assert "chat:live" == sorted_by["chunk"][0]
        await seen.press("r")
        assert "age▼" in seen.rows[0]
        assert ["chat:lost", "chat:failed", "chat:done", "chat:live"] == seen.names


async def test_the_selection_stays_with_its_session(redis_url: str, run_python: RunPython) -> None:
    """New sessions come in above it without another one being selected under somebody's fingers;
    what is not there any more leaves its place to the next."""
    producer = await Producer.start(run_python, redis_url)
    for number in range(40):
        await producer.register(f"chat:{number}")
    async with top(redis_url) as seen:
        await seen.until(lambda: len(seen.names) == 18)
        assert seen.names[0] == seen.selected
        # Which it is, and which comes after it, is not by their numbers where two began in the
        # same millisecond.
        await seen.press(*["down"] * 26)
        below = seen.selected
        await seen.press("up")
        selected = seen.selected
        assert [selected, below] == seen.names[-2:]
        await producer.register("chat:new")
        await seen.until(lambda: "41 sessions" in seen.said("head"))
        assert selected == seen.selected
        assert selected in seen.names

        async with Hub.from_url(redis_url) as hub:
            await hub.remove(selected)
        await seen.until(lambda: "40 sessions" in seen.said("head"))
        assert below == seen.selected
        await seen.press("home")
        await producer.register("chat:newest")
        await seen.until(lambda: seen.names[0] == "chat:newest")
        assert "chat:newest" == seen.selected


async def test_a_session_is_followed(redis_url: str, run_python: RunPython) -> None:
    """Enter opens one: its text as it comes, with tools and data, whatever it holds; how it ended;
    and the next answer once it begins anew."""
    producer = await Producer.start(run_python, redis_url)
    await producer.register("chat:1", "alice", "gpt-5")
    await producer.do("publish", "chat:1", "a" * 1_000_000)
    await producer.do("publish", "chat:1", "\n[red]first[/red] \x1b[2J\nline\n")
    async with top(redis_url) as seen:
        await seen.until(lambda: seen.names == ["chat:1"])
        await seen.press("enter")
        await seen.until(lambda: r"[red]first[/red] \x1b[2J" in seen.text)
        assert "alice" in seen.said("facts")
        assert 'metadata {"model": "gpt-5"}' in seen.said("facts")

        await producer.do("publish", "chat:1", "more ")
        await seen.until(lambda: seen.text.endswith("more"))
        call = {"type": "tool-input-available", "toolCallId": "1", "toolName": "find", "input": {}}
        await producer.do("publish", "chat:1", json.dumps(call), "ui")
        await producer.do("publish", "chat:1", '{"percent": 3}', "progress")
        await seen.until(lambda: '[tool] find {}\n[progress] {"percent": 3}' in seen.text)
        await producer.do("fail", "chat:1", "out of luck")
        await seen.until(lambda: "failed: out of luck" in seen.said("state"))
        await seen.until(lambda: "out of luck" in seen.said("facts"))

        await producer.register("chat:1", "alice", "gpt-5")
        await producer.do("publish", "chat:1", "once more")
        await seen.until(lambda: seen.text.strip() == "once more")
        screen = seen.app.screen
        assert isinstance(screen, SessionScreen)
        await seen.press("escape")
        assert ["chat:1"] == seen.names
        # Who follows may have news while, and after, the screen is taken down.
        await seen.until(lambda: not screen.children)
        screen._say("following")


async def test_stop_and_remove_ask_first(redis_url: str, run_python: RunPython) -> None:
    """Nothing is done without a yes, and what a mistyped key says is no. q quits."""
    producer = await Producer.start(run_python, redis_url)
    await producer.register("chat:1")
    async with top(redis_url) as seen, Hub.from_url(redis_url) as hub:
        stream = await hub.get("chat:1")
        assert stream is not None
        await seen.until(lambda: seen.names == ["chat:1"])
        await seen.press("s", "n", "s", "enter")
        assert isinstance(seen.app.screen, Question)
        await seen.press("escape", "x", "q")
        # What was asked of the store before this is done by then.
        await producer.do("publish", "chat:1", "hello")
        await seen.until(lambda: ["chat:1", "active", "1"] == seen.rows[1].split()[:3])
        assert not (await stream.info()).cancelling
        assert seen.app.is_running

        await seen.press("enter", "s", "y")
        await seen.until(lambda: "cancelled" in seen.said("state"))
        assert Status.CANCELLED == (await stream.info()).status
        await seen.press("escape", "x")
        # What begins in its place meanwhile is not what was seen.
        again, _ = await hub.register("chat:1", takeover="restart")
        await seen.press("y")
        await seen.until(lambda: list(seen.app._notifications))
        assert Status.ACTIVE is (await again.info()).status
        await again.close()
        await seen.until(lambda: "finished" in seen.rows[1])
        await seen.press("x", "y")
        await seen.until(lambda: not seen.names)
        assert await hub.get("chat:1") is None
        await seen.press("q")
        await seen.until(lambda: not seen.app.is_running)


async def test_a_damaged_record_is_shown_as_such(redis_url: str, run_python: RunPython) -> None:
    """With what is damaged about it; it can be opened, and removed."""
    producer = await Producer.start(run_python, redis_url)
    for name in ("chat:1", "chat:2"):
        await producer.register(name)
        await producer.do("publish", name, "hello")
        await producer.do("close", name)
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        await client.hset(meta("chat:1"), "last", "many\x1b[2J")
    async with top(redis_url) as seen:
        await seen.until(lambda: seen.names == ["chat:2", "chat:1"])
        assert "1 damaged" in seen.said("head")
        await seen.press("end")
        await seen.until(lambda: "is not a number" in seen.said("why"))
        await seen.press("enter")
        await seen.until(lambda: "its stored data is damaged" in seen.said("state"))
        await seen.press("x", "y")
        await seen.until(lambda: "is not there any more" in seen.said("facts"))
        await seen.press("escape")
        assert ["chat:2"] == seen.names


async def test_redis_goes_away_and_comes_back(
    make_redis: Callable[..., RedisServer], run_python: RunPython
) -> None:
    """What was there stays in sight, and it is said that it is old; an open session goes on."""
    server = make_redis()
    producer = await Producer.start(run_python, server.url)
    await producer.register("chat:1")
    await producer.do("publish", "chat:1", "before")
    async with top(server.url) as seen:
        await seen.until(lambda: seen.names == ["chat:1"])
        server.kill()
        await seen.until(lambda: "what is shown is old" in seen.said("asked"))
        assert ["chat:1"] == seen.names
        await seen.press("s", "y")
        await seen.press("enter")
        server.start()
        # Its producer puts it back.
        await producer.do("publish", "chat:1", " and after")
        await seen.until(lambda: "before and after" in seen.text)
        await seen.press("escape")
        await seen.until(lambda: "what is shown is old" not in seen.said("asked"))
        await seen.until(lambda: seen.names == ["chat:1"])
