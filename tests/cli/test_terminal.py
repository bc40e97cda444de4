"""The command line on a terminal: colours, typing Ctrl-C, and text that stays readable."""

from __future__ import annotations

import re

import pytest

from streamhub import Hub, Status

from ..support.cli_process import start_on_terminal

pytestmark = pytest.mark.slow

COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?3[0-9]m")


@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
async def test_colours(redis_url: str, env: dict[str, str], coloured: bool) -> None:
    """A terminal gets colours, unless NO_COLOR says otherwise."""
    async with Hub.from_url(redis_url) as hub:
        await hub.register("chat:1", owner="[bold]alice")
        async with start_on_terminal("ls", url=redis_url, env=env) as terminal:
            assert 0 == await terminal.code()
    assert "chat:1" in terminal.screen
    assert "[bold]alice" in terminal.screen
    assert coloured == bool(COLOUR.search(terminal.screen))


async def test_tail_says_how_it_ended_on_a_line_of_its_own(redis_url: str, session_id: str) -> None:
    """After a text without a final line break, the last line still begins on its own."""
    async with Hub.from_url(redis_url) as hub:
        stream, _ = await hub.register(session_id)
        await stream.publish("no line break")
        await stream.close()
        async with start_on_terminal("tail", session_id, url=redis_url) as terminal:
            assert 0 == await terminal.code()
    plain = re.sub(r"\x1b\[[0-9;]*m", "", terminal.screen)
    assert re.fullmatch(r"no line break\r\nfinished after 1 chunk, cursor \d+-1\r\n", plain)


async def test_ctrl_c_in_a_tail(redis_url: str, session_id: str) -> None:
    """Ctrl-C ends a tail, and it says where to go on."""
    async with Hub.from_url(redis_url) as hub:
        stream, _ = await hub.register(session_id)
        cursor = await stream.publish("hello")
        async with start_on_terminal("tail", session_id, url=redis_url) as terminal:
            await terminal.shows("hello")
            await terminal.type("\x03")
            assert 130 == await terminal.code()
        assert Status.ACTIVE == (await stream.info()).status
    assert f"resume with --after {cursor}\r\n" in terminal.screen


async def test_ctrl_c_in_a_run(redis_url: str, session_id: str) -> None:
    """Ctrl-C ends the command as a cancel does: it may still have its last words."""
    command = "trap 'printf bye; exit 0' TERM; printf up; while :; do sleep 0.01; done"
    async with Hub.from_url(redis_url) as hub:
        run = ("run", session_id, "--", "sh", "-c", command)
        async with start_on_terminal(*run, url=redis_url) as terminal:
            await terminal.shows("up")
            await terminal.type("\x03")
            assert 130 == await terminal.code()
        stream = await hub.get(session_id)
        assert stream is not None
        assert Status.CANCELLED == await stream.wait()
        assert "upbye" == await stream.text()


async def test_a_command_reads_the_terminal(redis_url: str, session_id: str) -> None:
    """A command may ask whoever sits at the terminal."""
    async with Hub.from_url(redis_url) as hub:
        run = ("run", session_id, "--", "sh", "-c", "printf 'name? '; read n; printf 'hi %s' $n")
        async with start_on_terminal(*run, url=redis_url) as terminal:
            await terminal.shows("name? ")
            await terminal.type("alice\n")
            await terminal.shows("hi alice")
            assert 0 == await terminal.code()
        stream = await hub.get(session_id)
        assert stream is not None
        assert "name? hi alice" == await stream.text()


async def test_ctrl_c_in_the_demo() -> None:
    """The demo can be left at any time, and ends cleanly."""
    async with start_on_terminal("demo", "--no-open", "--port", "0") as terminal:
        await terminal.shows("Ctrl-C ends the demo.")
        await terminal.type("\x03")
        assert 0 == await terminal.code()
    assert "Traceback" not in terminal.screen
