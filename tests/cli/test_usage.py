"""The command line as a whole: where it looks, what it refuses, and that it keeps secrets."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from streamhub import Hub
from streamhub.cli.terminal import Warnings
from streamhub.stores.redis.topology.url import SCHEMES as REDIS_SCHEMES

from ..support.cli_process import cli
from ..support.redis_server import RedisServer

pytestmark = pytest.mark.slow

PASSWORD = "pa55-w0rd-of-mine"
COMMANDS = [
    ("ls",),
    ("show", "chat:1"),
    ("cancel", "chat:1"),
    ("rm", "chat:1"),
    ("tail", "chat:1"),
    ("tail", "chat:1", "--json"),
    ("run", "chat:1", "echo", "hi"),
]
UNREACHABLE = "redis://127.0.0.1:1/0"


@pytest.mark.parametrize("missing", ["typer", "rich"])
async def test_without_the_extra_it_says_what_to_install(missing: str) -> None:
    """Where the extra is not installed, one line says how to get it, and the exit code is 2."""
    source = f"import sys; sys.modules[{missing!r}] = None; from streamhub.cli import main; main()"
    ended = await cli("ls", python=(sys.executable, "-c", source))
    assert 2 == ended.code
    assert [
        f'the streamhub command needs {missing}: pip install "streamhub-llm[cli]"'
    ] == ended.err.splitlines()


async def test_without_its_extra_top_says_what_to_install() -> None:
    """Of which all other commands have no need."""
    missing = "import sys; sys.modules['textual'] = None; from streamhub.cli import main; main()"
    python = (sys.executable, "-c", missing)
    ended = await cli("top", url="redis://127.0.0.1:1", python=python)
    assert (2, "") == (ended.code, ended.out)
    assert 'top needs textual: pip install "streamhub-llm[top]"\n' == ended.err
    assert 0 == (await cli("ls", "--help", python=python)).code


async def test_the_installed_command_and_the_module_are_one() -> None:
    """``streamhub`` and ``python -m streamhub`` are the same program."""
    script = shutil.which("streamhub", path=str(Path(sys.executable).parent))
    assert script is not None
    ended = await cli("--help")
    assert 0 == ended.code
    assert ended == await cli("--help", python=(script,))
    assert "streamhub [OPTIONS] COMMAND" in ended.out


@pytest.mark.parametrize("command", COMMANDS)
async def test_without_a_url_it_says_how_to_give_one(command: tuple[str, ...]) -> None:
    """Given neither --redis nor STREAMHUB_URL, every command but the demo says what to do."""
    ended = await cli(*command)
    assert (2, "") == (ended.code, ended.out)
    assert "--redis redis://localhost:6379/0" in ended.err
    assert "STREAMHUB_URL" in ended.err


async def test_memory_is_refused() -> None:
    """A store that nobody else could ever see is refused, and it says why."""
    ended = await cli("ls", "--redis", "memory://")
    assert 2 == ended.code
    assert "nobody else could read it" in ended.err


async def test_where_the_url_comes_from(redis_url: str) -> None:
    """--redis is taken after the command, before it, and from STREAMHUB_URL, in this order."""
    async with Hub.from_url(redis_url) as hub:
        await hub.register("chat:1")
    for ended in (
        await cli("ls", "--json", url=redis_url),
        await cli("--redis", redis_url, "ls", "--json", url=UNREACHABLE),
        await cli("--redis", UNREACHABLE, "ls", "--json", "--redis", redis_url, url=UNREACHABLE),
    ):
        assert "chat:1" == json.loads(ended.out)["session_id"]


@pytest.mark.parametrize("command", COMMANDS)
async def test_an_unreachable_store_is_one_clear_line(command: tuple[str, ...]) -> None:
    """Where no store answers, one line says so, without a traceback."""
    ended = await cli(*command, url=UNREACHABLE)
    assert (125 if command[0] == "run" else 7) == ended.code
    (line,) = ended.err.splitlines()
    assert "127.0.0.1:1" in line
    assert "hi" not in ended.out


@pytest.mark.parametrize(
    ("command", "where"), [*((command, "environment") for command in COMMANDS), (("ls",), "option")]
)
async def test_a_password_is_never_shown(
    make_redis: Callable[..., RedisServer], command: tuple[str, ...], where: str
) -> None:
    """A wrong password is one clear line that does not hold it."""
    server = make_redis(password="another")
    url = f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0"
    if where == "environment":
        ended = await cli(*command, url=url)
    else:
        ended = await cli("--redis", url, *command)
    assert (125 if command[0] == "run" else 7) == ended.code
    assert 1 == len(ended.err.splitlines())
    assert PASSWORD not in ended.out + ended.err


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{PASSWORD}@127.0.0.1:nowhere/0",
        f"redis://user:{PASSWORD}#@[/0",
        f"http://user:{PASSWORD}@127.0.0.1/",
        f"user:{PASSWORD}@127.0.0.1",
        f"redis://:{PASSWORD}@host.invalid/0",
    ],
)
async def test_a_malformed_url_does_not_show_its_password(url: str) -> None:
    """What is wrong with a URL is said without its password."""
    ended = await cli("ls", "--redis", url)
    assert ended.code in (2, 7)
    assert 1 == len(ended.err.splitlines())
    assert PASSWORD not in ended.out + ended.err


@pytest.mark.parametrize("command", ["run", "tail", "ls", "show", "cancel", "rm", "demo"])
async def test_help_is_plain_and_keeps_the_url_to_itself(command: str) -> None:
    """--help without a terminal is plain text, says the exit codes, and shows no URL."""
    ended = await cli(command, "--help", url=f"redis://:{PASSWORD}@127.0.0.1/0")
    assert (0, "") == (ended.code, ended.err)
    assert "Exit code" in ended.out
    assert PASSWORD not in ended.out
    assert not set("\x1b╭│") & set(ended.out)


@pytest.mark.parametrize("session_id", ["", "a\nb", "x" * 513])
async def test_a_bad_session_id_is_wrong_usage(redis_url: str, session_id: str) -> None:
    """A name that no session can have is refused in one line, by run as well."""
    for command in (("show", session_id), ("run", session_id, "echo", "hi")):
        ended = await cli(*command, url=redis_url)
        assert (2, "") == (ended.code, ended.out)
        assert 1 == len(ended.err.splitlines())
        assert "session id" in ended.err


async def test_wrong_usage_is_plain_text() -> None:
    """What is no command is refused with exit code 2, without boxes where no terminal is."""
    ended = await cli("dance")
    assert (2, "") == (ended.code, ended.out)
    assert "No such command 'dance'" in ended.err
    assert not set("\x1b╭│") & set(ended.err)


def test_a_warning_that_repeats_itself_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Through an outage the library warns again and again; the command line says it once."""
    handler = Warnings(f"redis://:{PASSWORD}@host/0")
    for reason in ("refused", "refused", f"timed out at {PASSWORD}@host", "refused"):
        handler.handle(logging.makeLogRecord({"msg": "cannot connect: %s", "args": (reason,)}))
    assert (
        "cannot connect: refused\ncannot connect: timed out at ***@host\n"
        == capsys.readouterr().err
    )


@pytest.mark.parametrize("command", [(), ("ls",), ("tail",), ("doctor",), ("gateway",), ("demo",)])
async def test_help_names_every_scheme(command: tuple[str, ...]) -> None:
    """Where a URL is asked for, all that it may begin with stand beside it."""
    ended = await cli(*command, "--help")
    said = "".join(ended.out.split())
    assert [] == [scheme for scheme in REDIS_SCHEMES if f"{scheme}://" not in said]


async def test_a_wrong_scheme_is_told_which_there_are() -> None:
    """In one line, and none of the URL is shown but its scheme."""
    ended = await cli("ls", "--redis", f"http://user:{PASSWORD}@127.0.0.1/")
    assert (2, "") == (ended.code, ended.out)
    assert [] == [scheme for scheme in REDIS_SCHEMES if f"{scheme}://" not in ended.err]
