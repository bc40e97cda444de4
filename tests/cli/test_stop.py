"""``streamhub run``: what ends it early, and what does not."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamhub import Hub, Status
from streamhub.testing.waiting import bounded, patience

from ..support.cli_process import WAIT, cli, follow, start_cli
from ..support.redis_server import RedisServer

pytestmark = pytest.mark.slow


class Alive:
    """Tells, by a pipe that they hold open, when a command and all that it started are gone.

    A command that begins with ``hold`` holds it, as soon as it has printed something after that.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / "alive"
        os.mkfifo(path)
        self.hold = f"exec 3>{path}"
        self._pipe = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0)

    async def wait_for_end(self) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._pipe
        )
        try:
            async with bounded(WAIT):
                assert b"" == await reader.read()
        finally:
            transport.close()

    def close(self) -> None:
        self._pipe.close()


@pytest.fixture
def alive(tmp_path: Path) -> Iterator[Alive]:
    pipe = Alive(tmp_path)
    yield pipe
    pipe.close()


async def test_cancel_ends_the_command_and_its_children(
    redis_url: str, session_id: str, alive: Alive
) -> None:
    """A cancel from elsewhere ends the command and all that it started; the code is 124."""
    command = f"{alive.hold}; sleep 60 & printf up; sleep 60"
    async with (
        Hub.from_url(redis_url) as hub,
        start_cli("run", session_id, "--", "sh", "-c", command, url=redis_url) as process,
    ):
        assert "up" == await process.read(2)
        assert Status.CANCELLED == await (await follow(hub, session_id)).cancel(wait=patience(WAIT))
        await alive.wait_for_end()
        ended = await process.ended()
    assert 124 == ended.code
    assert "cancelled; 2 bytes stored" in ended.err


async def test_the_last_words_of_a_cancelled_command(redis_url: str, session_id: str) -> None:
    """What a command prints while it is being ended still belongs to the stream."""
    command = "trap 'printf bye; exit 0' TERM; printf up; while :; do sleep 0.01; done"
    async with (
        Hub.from_url(redis_url) as hub,
        start_cli("run", session_id, "--", "sh", "-c", command, url=redis_url) as process,
    ):
        assert "up" == await process.read(2)
        stream = await follow(hub, session_id)
        assert Status.CANCELLED == await stream.cancel(wait=patience(WAIT))
        assert "upbye" == await stream.text()
        ended = await process.ended()
    assert (124, "bye") == (ended.code, ended.out)


async def test_a_command_that_does_not_listen_is_killed(
    redis_url: str, session_id: str, alive: Alive
) -> None:
    """What ignores SIGTERM is killed after the grace."""
    command = f"trap '' TERM; {alive.hold}; printf up; sleep 60; sleep 60"
    run = ("run", session_id, "--grace", "0.2", "--", "sh", "-c", command)
    async with Hub.from_url(redis_url) as hub, start_cli(*run, url=redis_url) as process:
        assert "up" == await process.read(2)
        assert Status.CANCELLED == await (await follow(hub, session_id)).cancel(wait=patience(WAIT))
        await alive.wait_for_end()
        assert 124 == (await process.ended()).code


@pytest.mark.parametrize(("by", "code"), [("cancel", 124), ("signal", 143)])
async def test_reading_of_standard_input_is_ended(
    redis_url: str, session_id: str, by: str, code: int
) -> None:
    """A cancel and a signal end a run that waits for more standard input."""
    async with (
        Hub.from_url(redis_url) as hub,
        start_cli("run", session_id, url=redis_url) as process,
    ):
        await process.send(b"a")
        assert "a" == await process.read(1)
        if by == "cancel":
            assert Status.CANCELLED == await (await follow(hub, session_id)).cancel(
                wait=patience(WAIT)
            )
        else:
            process.signal(signal.SIGTERM)
        assert code == (await process.ended(close_stdin=False)).code


async def test_a_second_signal_waits_for_nothing(
    make_redis: Callable[..., RedisServer], session_id: str, alive: Alive
) -> None:
    """With a store that does not answer, or a command that does not end, the second one counts."""
    server = make_redis()
    command = f"trap 'printf no' TERM; {alive.hold}; printf up; while :; do sleep 0.01; done"
    run = ("run", session_id, "--grace", "60", "--", "sh", "-c", command)
    async with start_cli(*run, url=server.url) as process:
        assert "up" == await process.read(2)
        server.pause()
        process.signal(signal.SIGINT)
        assert "no" == await process.read(2)
        process.signal(signal.SIGINT)
        ended = await process.ended()
        await alive.wait_for_end()
    assert 130 == ended.code
    assert "ended at once" in ended.err


@pytest.mark.parametrize(
    ("number", "status", "error"),
    [
        (signal.SIGINT, Status.CANCELLED, "interrupted"),
        (signal.SIGTERM, Status.FAILED, "ended by SIGTERM"),
        (signal.SIGHUP, Status.FAILED, "ended by SIGHUP"),
    ],
)
async def test_signals_end_command_and_stream(
    redis_url: str,
    session_id: str,
    alive: Alive,
    number: signal.Signals,
    status: Status,
    error: str,
) -> None:
    """A signal to us ends the command and the stream: cancelled by SIGINT, failed by others."""
    command = f"{alive.hold}; printf up; sleep 60"
    async with (
        Hub.from_url(redis_url) as hub,
        start_cli("run", session_id, "--", "sh", "-c", command, url=redis_url) as process,
    ):
        assert "up" == await process.read(2)
        process.signal(number)
        await alive.wait_for_end()
        assert 128 + number == (await process.ended()).code
        stream = await follow(hub, session_id)
        info = await stream.info()
        assert (status, error) == (info.status, info.error)
        assert "up" == await stream.text()


async def test_a_removed_session_ends_a_silent_command(
    redis_url: str, session_id: str, alive: Alive
) -> None:
    """A command whose stream is gone is ended even if it prints nothing more; the code is 125."""
    command = f"{alive.hold}; printf up; sleep 60"
    async with (
        Hub.from_url(redis_url) as hub,
        start_cli("run", session_id, "--", "sh", "-c", command, url=redis_url) as process,
    ):
        assert "up" == await process.read(2)
        await follow(hub, session_id)
        assert await hub.remove(session_id)
        await alive.wait_for_end()
        ended = await process.ended()
    assert 125 == ended.code
    assert "the session was removed" in ended.err


async def test_too_much_text_ends_the_command(redis_url: str, session_id: str) -> None:
    """A command that prints more than a stream may hold is ended, and the stream has failed."""
    ended = await cli("run", session_id, "--quiet", "yes", url=redis_url)
    assert (125, "") == (ended.code, ended.out)
    assert "max_stream_bytes" in ended.err
    async with Hub.from_url(redis_url) as hub:
        info = await (await follow(hub, session_id)).info()
    assert Status.FAILED == info.status
    assert "StreamTooLarge" in str(info.error)


async def test_a_closed_standard_output_does_not_end_the_stream(
    redis_url: str, session_id: str
) -> None:
    """When nobody reads our standard output any more, the stream goes on to its end."""
    reading, writing = os.pipe()
    command = ("sh", "-c", "printf one; read _; printf two; read _; printf three")
    async with Hub.from_url(redis_url) as hub:
        async with start_cli(
            "run", session_id, "--", *command, url=redis_url, stdout=writing
        ) as process:
            os.close(writing)
            chunks = (await follow(hub, session_id)).subscribe()
            assert "one" == (await anext(chunks)).data
            os.close(reading)
            for expected in ("two", "three"):
                await process.send(b"\n")
                assert expected == (await anext(chunks)).data
            assert 0 == await process.code()
        assert Status.FINISHED == await (await follow(hub, session_id)).wait()


async def test_a_stalled_standard_output_does_not_hold_up_a_cancel(
    redis_url: str, session_id: str
) -> None:
    """When our standard output takes nothing more, a cancel is heard, with the last words."""
    reading, writing = os.pipe()
    command = "trap 'printf bye; exit' TERM; yes | head -c 900000; while :; do sleep 0.01; done"
    try:
        async with (
            Hub.from_url(redis_url) as hub,
            start_cli(
                "run", session_id, "--", "sh", "-c", command, url=redis_url, stdout=writing
            ) as process,
        ):
            os.close(writing)
            stream = await follow(hub, session_id)
            chunks = stream.subscribe()
            size = 0
            # More than the pipe and what waits before it take: by then all is full.
            while size < 320_000:
                size += len((await anext(chunks)).data)
            assert Status.CANCELLED == await stream.cancel(wait=patience(WAIT))
            assert 124 == await process.code()
            assert (await stream.text()).endswith("bye")
    finally:
        os.close(reading)
