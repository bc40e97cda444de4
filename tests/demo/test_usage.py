"""Options and requests that are wrong, and ``--check``."""

from __future__ import annotations

import socket
import sys
from urllib.parse import urlsplit

import pytest

from ..support.cli_process import cli
from .running_demo import MODES, Demo, running

pytestmark = pytest.mark.slow

PASSWORD = "pa55-w0rd-of-mine"
#: Runs the demo after breaking something in it.
BROKEN = "{sabotage}\nfrom streamhub.cli import main\nmain()"


@pytest.mark.parametrize("mode", MODES)
async def test_check_plays_everything_by_itself(mode: str) -> None:
    """Without a browser: a cut, a crash, a stop, each told, and the proof that texts are equal."""
    ended = await cli("demo", "--check", "--port", "0", "--pace", "250", *MODES[mode])

    assert 0 == ended.code, ended.out
    for step in ("cut  ", "crashed  ", "continued  ", "resumed  ", "stopped  "):
        assert step in ended.out
    assert 3 == ended.out.count("  equal")
    assert "All is well: nothing lost, nothing doubled." in ended.out


@pytest.mark.parametrize(
    ("sabotage", "complaint"),
    [
        (
            # A producer that continues forgets a word.
            """
import streamhub.demo.model_server as server
def rest(said):
    skipped = len(said[2]["content"]) + 7 if len(said) > 2 else 0
    return server.text_for(said[1]["content"])[skipped:]
server._rest = rest
""",
            "holds another text",
        ),
        (
            # Whoever is cut is told that this is the end.
            """
from streamhub.demo.connections import Connections
Connections.cut = lambda self, name: 0
""",
            "one connection was cut, not 0",
        ),
    ],
)
async def test_check_fails_when_something_is_wrong(sabotage: str, complaint: str) -> None:
    """What goes wrong is said, and the exit code is 1."""
    source = BROKEN.format(sabotage=sabotage)
    ended = await cli(
        *("demo", "--check", "--port", "0", "--memory", "--pace", "250"),
        python=(sys.executable, "-c", source),
    )

    assert 1 == ended.code
    assert "FAILED: " in ended.out
    assert complaint in ended.out


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--memory", "--redis", "redis://127.0.0.1:1/0"], "--memory and --redis exclude"),
        (["--openai-url", "http://127.0.0.1:1/v1"], "--openai-url and --model belong together"),
        (["--model", "x"], "--openai-url and --model belong together"),
        (["--openai-url", "localhost:11434", "--model", "x"], "--openai-url must be as in http://"),
        (["--redis", f"http://user:{PASSWORD}@127.0.0.1/"], "store URL"),
        (["--pace", "0"], "--pace"),
        (["--port", "65536"], "--port"),
    ],
)
async def test_wrong_options_are_refused(options: list[str], complaint: str) -> None:
    """What is wrong and what is allowed, without a traceback or a password; exit code 2."""
    ended = await cli("demo", *options)

    assert (2, "") == (ended.code, ended.out)
    assert complaint in ended.err
    assert "Traceback" not in ended.err
    assert PASSWORD not in ended.err


@pytest.mark.parametrize("before", [True, False])
async def test_an_unreachable_redis_is_one_clear_line(before: bool) -> None:
    """A Redis that was asked for, in front of the command or after it, and is not there ends the
    demo: it is not done without."""
    redis = ["--redis", f"redis://:{PASSWORD}@127.0.0.1:1/0"]
    demo = ["demo", "--port", "0"]
    ended = await cli(*([*redis, *demo] if before else [*demo, *redis]))

    assert (7, "") == (ended.code, ended.out)
    (line,) = ended.err.splitlines()
    assert "127.0.0.1:1" in line
    assert PASSWORD not in line


async def test_producers_that_cannot_start_are_not_waited_for(redis_url: str) -> None:
    """A process that ends whenever it is started ends the demo with one line, not in silence."""
    sabotage = (
        "from types import SimpleNamespace\n"
        "import streamhub.demo.processes\n"
        "streamhub.demo.processes.sys = SimpleNamespace(executable='/bin/false')"
    )
    ended = await cli(
        *("demo", "--port", "0", "--redis", redis_url),
        python=(sys.executable, "-c", BROKEN.format(sabotage=sabotage)),
    )

    assert (9, "") == (ended.code, ended.out)
    assert [
        "the producer process ends as soon as it is started; see what it printed"
    ] == ended.err.splitlines()


async def test_a_port_that_is_taken_is_said_to_be() -> None:
    """Only the default port gives way to the next."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = await cli("demo", "--memory", "--port", str(port))

    assert (2, "") == (ended.code, ended.out)
    assert f"port {port} is in use; --port 0 takes any free one" in ended.err


@pytest.mark.parametrize("missing", ["openai", "starlette"])
async def test_without_the_extra_it_says_what_to_install(missing: str) -> None:
    """Where the extra is not installed, one line says how to get it, and the exit code is 2."""
    source = BROKEN.format(sabotage=f"import sys; sys.modules[{missing!r}] = None")
    ended = await cli("demo", python=(sys.executable, "-c", source))

    assert 2 == ended.code
    assert [f'the demo needs {missing}: pip install "streamhub-llm[demo]"'] == (
        ended.err.splitlines()
    )


async def test_the_redis_of_the_environment_is_left_alone(redis_url: str) -> None:
    """STREAMHUB_URL may name one that is in use, and a demo is to be tried without a thought."""
    async with running("--memory", env={"STREAMHUB_URL": redis_url}) as demo:
        assert (await demo.get("/about"))["redis"] is None
    async with running(env={"STREAMHUB_URL": redis_url}) as demo:
        assert (await demo.get("/about"))["redis"]["url"] != redis_url


async def test_two_demos_get_along() -> None:
    """Without --port, the second takes the next free one, and each has sessions of its own."""
    async with running("--memory", port=()) as one, running("--memory", port=()) as other:
        session = await one.ask("Why does bread rise?")
        assert 8421 <= urlsplit(one.url).port < urlsplit(other.url).port  # type: ignore[operator]
        assert 404 == (await other.client.get(f"/answers/{session}/stream?tab=x")).status_code


@pytest.mark.parametrize("demo", ["memory"], indirect=True)
async def test_bad_requests_are_refused(demo: Demo) -> None:
    """With a status that says why, and never a 500."""
    post, get = demo.client.post, demo.client.get
    refusals = [
        await get("/chats/a%20b?tab=x"),
        await get("/chats/a"),
        await get(f"/chats/{'a' * 65}?tab=x"),
        await post("/chats/a/ask", json={"question": " "}),
        await post("/chats/a/ask", json=[]),
        await post("/chats/a/ask", content="{", headers={"content-type": "application/json"}),
        await post("/chats/a/ask", json={"question": "x" * 8_001}),
        await post("/chats/a/ask", content='{"question": "x"}'),
        await post("/answers/demo:a:1/stop", json=()),
        await get("/answers/demo:a:1/stream?tab=x"),
        await get("/answers/demo:a:1/stream"),
        await get("/answers/%00/stream?tab=x"),
        await get("/nothing/here"),
    ]
    assert [400, 400, 400, 400, 400, 400, 413, 415, 404, 404, 404, 400, 404] == [
        refusal.status_code for refusal in refusals
    ]


@pytest.mark.parametrize("demo", ["memory"], indirect=True)
async def test_other_sites_are_kept_out(demo: Demo) -> None:
    """A name of somebody else's that points here is refused, and so is what a page of another
    site can send without asking first."""
    elsewhere = await demo.client.get("/", headers={"host": "example.org"})
    blind = await demo.client.post("/producer/crash", headers={"content-type": "text/plain"})

    assert (400, 415) == (elsewhere.status_code, blind.status_code)
