"""``streamhub top`` and ``ls --watch`` on real terminals, and where there is none."""

from __future__ import annotations

import json
import re
import signal

import pytest

from streamhub import Hub, HubConfig

from ..support.cli_process import cli, start_cli, start_on_terminal

pytestmark = pytest.mark.slow

#: What a program sends to have the terminal as it was: the screen from before, and the cursor.
AS_BEFORE = ("\x1b[?1049l", "\x1b[?25h")
COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:[34][0-8]|9[0-7]|10[0-7])(?:;[0-9;]*)?m")


async def test_a_terminal_is_left_as_it_was(redis_url: str) -> None:
    """What is seen fits into 80 columns and into those that a window is made to have; Ctrl-C
    ends it wherever one is, with exit code 0."""
    async with Hub.from_url(redis_url) as hub:
        stream, _ = await hub.register("chat:1", owner="alice", metadata={"model": "gpt-5"})
        await stream.publish("hello")
        async with start_on_terminal("top", url=redis_url, size=(80, 24)) as terminal:
            modes = terminal.modes()
            await terminal.stands("chat:1", "alice", "gpt-5", "q Quit")
            assert modes != terminal.modes()
            terminal.resize(120, 10)
            lines = await terminal.stands("chat:1", "q Quit", "host")
            assert (10, "q Quit") == (len(lines), lines[-1][-6:])
            await terminal.type("\r")
            await terminal.stands("hello", "esc Back")
            terminal.resize(60, 15)
            await terminal.stands("hello", "esc Back", without="q Quit")
            await terminal.type("\x1b")
            await terminal.stands("chat:1", "1 session")
            await terminal.type("s")
            await terminal.stands("Stop chat:1?")
            await terminal.type("\x03")
            assert 0 == await terminal.code()
            assert modes == terminal.modes()
        assert COLOUR.search(terminal.screen)
        assert all(code in terminal.screen for code in AS_BEFORE)
        assert "Traceback" not in terminal.screen


async def test_without_colours_and_by_a_signal(redis_url: str) -> None:
    """NO_COLOR is kept to, and SIGTERM leaves the terminal as it was, with exit code 130."""
    async with Hub.from_url(redis_url) as hub:
        stream, _ = await hub.register("chat:1")
        await stream.fail("out of luck")
        env = {"NO_COLOR": "1"}
        async with start_on_terminal("top", url=redis_url, env=env) as terminal:
            modes = terminal.modes()
            await terminal.stands("chat:1", "failed", "out of luck")
            await terminal.type("x")
            await terminal.stands("Remove chat:1")
            terminal.signal(signal.SIGTERM)
            assert 130 == await terminal.code()
            assert modes == terminal.modes()
        assert "interrupted by SIGTERM" in terminal.screen
        assert not COLOUR.search(terminal.screen)
        assert all(code in terminal.screen for code in AS_BEFORE)


async def test_where_it_cannot_be_shown(redis_url: str) -> None:
    """Without a terminal that is said, with exit code 2, as of what it does not have; where no
    store answers it is 7."""
    piped = await cli("top", url=redis_url)
    assert (2, "") == (piped.code, piped.out)
    assert "top needs a terminal" in piped.err
    for option, value in (("sort", "colour"), ("status", "asleep")):
        wrong = await cli("top", f"--{option}", value, url=redis_url)
        assert 2 == wrong.code
        assert f"--{option} must be one of" in wrong.err
        assert f"not '{value}'" in wrong.err
    async with start_on_terminal("top", url="redis://:hunter22@127.0.0.1:1") as terminal:
        assert 7 == await terminal.code()
    assert "cannot be reached" in terminal.screen
    assert "hunter22" not in terminal.screen


async def test_ls_is_watched_on_a_terminal(redis_url: str) -> None:
    """The list is drawn anew in its place, as far as the terminal has room; Ctrl-C ends it."""
    async with Hub.from_url(redis_url) as hub:
        for number in range(20):
            await hub.register(f"chat:{number}", owner="alice" if number % 2 else "bob")
        asked = ("ls", "--watch", "--owner", "alice")
        async with start_on_terminal(*asked, url=redis_url, size=(80, 10)) as terminal:
            lines = await terminal.stands("7 of 10")
            assert [f"chat:{number}" for number in range(19, 5, -2)] == [
                line.split()[0] for line in lines[1:8]
            ]
            await hub.register("chat:new", owner="alice")
            await hub.remove("chat:19")
            lines = await terminal.stands("chat:new", without="chat:19")
            assert "chat:new" == lines[1].split()[0]
            await terminal.type("\x03")
            assert 130 == await terminal.code()
        assert "Traceback" not in terminal.screen


async def test_ls_tells_programs_what_changes(redis_url: str) -> None:
    """--watch --json writes what is known of each session that changes, and which one is gone;
    --status and --limit choose."""
    async with (
        Hub.from_url(redis_url, config=HubConfig(host="gpu-7")) as hub,
        start_cli(
            *("ls", "--watch", "--json", "--status", "active", "--limit", "2"), url=redis_url
        ) as process,
    ):
        stream, _ = await hub.register("chat:1", owner="alice", metadata={"model": "gpt-5"})
        first = json.loads(await process.line())
        while first["model"] is None:
            first = json.loads(await process.line())
        assert ("chat:1", "active", "alice", "gpt-5", "gpu-7") == tuple(
            first[name] for name in ("session_id", "status", "owner", "model", "host")
        )
        await stream.publish("hello")
        await stream.flush()
        told = first
        while told["chunks"] != 1:
            told = json.loads(await process.line())
        assert told["last_chunk"] > told["created"]
        await stream.close()
        while "gone" not in told:
            told = json.loads(await process.line())
        assert {"session_id": "chat:1", "gone": True} == told
        process.signal(signal.SIGINT)
        assert 130 == (await process.ended()).code


async def test_ls_tells_files_what_changes(redis_url: str) -> None:
    """Without a terminal a line is written for each session that changes; --watch has no
    sessions of the Go library."""
    async with Hub.from_url(redis_url) as hub, start_cli("ls", "--watch", url=redis_url) as process:
        await hub.register("chat:1", owner="al\x1b[2Jice")
        assert "session" == (await process.line()).split("\t")[0]
        row = (await process.line()).rstrip("\n").split("\t")
        assert ["chat:1", "active", "0", "0", r"al\x1b[2Jice"] == [*row[:4], row[6]]
        await hub.remove("chat:1")
        while (line := await process.line()).startswith("chat:1\tactive"):
            pass
        assert "chat:1\tgone\n" == line
        process.signal(signal.SIGTERM)
        assert 130 == (await process.ended()).code
    refused = await cli("ls", "--watch", "--foreign", url=redis_url)
    assert 2 == refused.code
    assert "--watch and --foreign exclude each other" in refused.err
