"""``streamhub tail``: what a reader gets, how it is told the end, and where it goes on."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from streamhub import Cursor, Hub, HubConfig, LiveStream, Status, parts
from streamhub.cli.output import Output
from streamhub.testing.waiting import patience, unhurried

from ..support.cli_process import WAIT, CliProcess, cli, start_cli
from ..support.redis_server import RedisServer

pytestmark = pytest.mark.slow

#: Nothing in here is a line, and much of it would move a cursor or be cut off by a careless hand.
ODD_TEXT = "a\r\n\n b\t\x1b[31mred\x00 \u2028é€😀 [bold]not markup[/bold] no newline"


async def produce(hub: Hub, session_id: str, *chunks: str) -> LiveStream:
    """Claim the session and store the chunks."""
    stream, created = await hub.register(session_id)
    assert created
    for chunk in chunks:
        await stream.publish(chunk)
    await stream.flush()
    return stream


async def subscribed(monitor: redis.asyncio.client.Monitor, session_id: str) -> None:
    """Return when somebody listens to the session."""
    async for command in monitor.listen():
        if session_id in command["command"] and "SUBSCRIBE" in command["command"].upper():
            return


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


async def test_text_is_written_byte_for_byte(redis_url: str, session_id: str) -> None:
    """Standard output gets the text and nothing else; how it ended goes to standard error."""
    async with Hub.from_url(redis_url) as hub:
        stream = await produce(hub, session_id, *ODD_TEXT)
        await stream.close()
    ended = await cli("tail", session_id, url=redis_url)
    assert (0, ODD_TEXT) == (ended.code, ended.out)
    (line,) = ended.err.splitlines()
    assert line.startswith(f"finished after {len(ODD_TEXT)} chunks, cursor ")


async def test_it_follows_live(redis_url: str, session_id: str) -> None:
    """What is published is written at once, while the session goes on."""
    async with Hub.from_url(redis_url) as hub:
        stream = await produce(hub, session_id, "one")
        async with start_cli("tail", session_id, url=redis_url) as process:
            assert "one" == await process.read(3)
            for text in ("é", "two"):
                await stream.publish(text)
                assert text == await process.read(len(text.encode()))
            await stream.close()
            assert (0, "") == ((ended := await process.ended()).code, ended.out)


async def test_a_large_session(redis_url: str, session_id: str) -> None:
    """Many chunks through a pipe that fills many times: none is lost, none comes twice."""
    chunks = [f"{number:07}\n" for number in range(50_000)]
    async with Hub.from_url(redis_url) as hub:
        stream = await produce(hub, session_id, *chunks)
        await stream.close()
    ended = await cli("tail", session_id, url=redis_url)
    assert "".join(chunks) == ended.out


async def test_chunks_with_an_event_type_are_no_text(redis_url: str, session_id: str) -> None:
    """As in text(), they are left out of plain output; --cursors and --json show them."""
    async with Hub.from_url(redis_url) as hub:
        stream = await produce(hub, session_id, "a\n")
        await stream.publish("{}", event="tool")
        await stream.publish("b")
        await stream.close()
        epoch = (await stream.info()).epoch
    assert "a\nb" == (await cli("tail", session_id, url=redis_url)).out
    assert (
        f'{epoch}-1\t"a\\n"\n{epoch}-2\t"{{}}"\t"tool"\n{epoch}-3\t"b"\n'
        == (await cli("tail", session_id, "--cursors", url=redis_url)).out
    )
    assert [
        {"data": "a\n", "cursor": f"{epoch}-1", "event": None},
        {"data": "{}", "cursor": f"{epoch}-2", "event": "tool"},
        {"data": "b", "cursor": f"{epoch}-3", "event": None},
        {"status": "finished", "cursor": f"{epoch}-3", "error": None},
    ] == lines((await cli("tail", session_id, "--json", url=redis_url)).out)


async def test_some_of_a_session(redis_url: str, session_id: str) -> None:
    """The last chunks, some event types, or both; beside the text what tools do, if asked for."""
    async with Hub.from_url(redis_url) as hub:
        stream = await produce(hub, session_id, "a", "b")
        for text in "cd":
            await stream.publish(text, event="tool")
        await stream.publish(parts.TextDelta("1", "e"))
        await stream.publish(parts.ToolOutputError("x", "no"))
        await stream.publish("f")
        await stream.close()

    async def tail(*options: str) -> str:
        ended = await cli("tail", session_id, *options, url=redis_url)
        assert 0 == ended.code
        return ended.out

    assert "abef" == await tail("--last", "7")
    assert "f" == await tail("--last", "1")
    assert "abf" == await tail("--events", "message,tool")
    assert "abe\n[tool] x failed: no\nf" == await tail("--show", "tools")
    *chunks, end = lines(await tail("--events", "tool, ui:text-delta", "--last", "2", "--json"))
    assert [("d", None), (None, "e")] == [
        (line.get("data"), line.get("part", {}).get("delta")) for line in chunks
    ]
    assert end["cursor"].endswith("-7")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--last", "0"], "--last"),
        (["--last", "2", "--after", "now"], "--after and --last"),
        (["--events", "a,"], "'a,'"),
        (["--show", "all"], "reasoning or tools"),
        (["--show", "tools", "--json"], "--show is for text"),
    ],
)
async def test_what_cannot_be_asked_for_is_refused(
    redis_url: str, session_id: str, options: list[str], named: str
) -> None:
    """Before anything is read."""
    ended = await cli("tail", session_id, *options, url=redis_url)

    assert (2, "") == (ended.code, ended.out)
    assert named in ended.err


async def test_batch(redis_url: str, session_id: str) -> None:
    """--batch takes what is stored as one chunk, and what comes then as it comes."""
    async with Hub.from_url(redis_url) as hub:
        stream = await produce(hub, session_id, "a", "b", "c")
        async with start_cli("tail", session_id, "--batch", "--json", url=redis_url) as process:
            first = json.loads(await process.line())
            cursor = await stream.publish("d")
            second = json.loads(await process.line())
    assert ("abc", "d") == (first["data"], second["data"])
    assert str(cursor) == second["cursor"]


async def test_after_now(redis_url: str, session_id: str) -> None:
    """--after now leaves out what was stored before."""
    async with Hub.from_url(redis_url) as hub:
        stream = await produce(hub, session_id, "old")
        async with start_cli("tail", session_id, "--after", "now", url=redis_url) as process:
            first = asyncio.create_task(process.read(3))
            # Nothing tells from outside when it has begun to listen.
            while not first.done():
                await stream.publish("new")
                await stream.flush()
            assert "new" == await first


async def test_wait(redis_url: str, redis_client: redis.asyncio.Redis, session_id: str) -> None:
    """--wait is there before its session is, and gets all of it."""
    async with (
        Hub.from_url(redis_url) as hub,
        redis_client.monitor() as monitor,
        start_cli("tail", session_id, "--wait", "60", url=redis_url) as process,
    ):
        await subscribed(monitor, session_id)
        stream = await produce(hub, session_id, "hello")
        assert "hello" == await process.read(5)
        await stream.close()
        assert 0 == (await process.ended()).code


async def test_an_outage_of_the_store(
    make_redis: Callable[..., RedisServer], session_id: str
) -> None:
    """A store that comes back empty costs neither run nor tail a word; both warn of it."""
    server = make_redis()
    run = ("run", session_id, "--", "sh", "-c", "printf one; read _; printf two")
    async with (
        start_cli(*run, url=server.url) as producer,
        start_cli("tail", session_id, "--wait", "60", url=server.url) as reader,
    ):
        assert "one" == await reader.read(3)
        server.restart()
        await producer.send(b"\n")
        assert "two" == await reader.read(3)
        ends = await asyncio.gather(producer.ended(), reader.ended())
    assert [0, 0] == [ended.code for ended in ends]
    for ended in ends:
        assert "cannot be reached" in ended.err


async def test_a_failed_stream(redis_url: str, session_id: str) -> None:
    """The producer's error is the last line, and the exit code is 1."""
    async with Hub.from_url(redis_url) as hub:
        stream = await produce(hub, session_id, "half")
        await stream.fail("out of\x1b[31m luck")
    ended = await cli("tail", session_id, url=redis_url)
    assert (1, "half") == (ended.code, ended.out)
    (line,) = ended.err.splitlines()
    assert line.startswith("failed after 1 chunk, cursor ")
    assert line.endswith(r": out of\x1b[31m luck")


async def test_a_cancelled_stream(redis_url: str, session_id: str) -> None:
    """A cancelled stream ends with exit code 3."""
    async with Hub.from_url(redis_url) as hub:
        stream = await produce(hub, session_id, "half")
        assert Status.CANCELLED == await stream.cancel(wait=patience(WAIT))
    ended = await cli("tail", session_id, url=redis_url)
    assert (3, "half") == (ended.code, ended.out)
    assert ended.err.startswith("cancelled after 1 chunk")


async def test_a_lost_producer(redis_url: str, session_id: str) -> None:
    """A producer that goes away ends an open tail with exit code 4, and where to go on."""
    async with Hub.from_url(redis_url, config=HubConfig(lease=unhurried(0.5))) as hub:
        stream = await produce(hub, session_id, "half")
        cursor = (await stream.info()).last
        async with start_cli("tail", session_id, "--json", url=redis_url) as process:
            assert "half" == json.loads(await process.line())["data"]
            await hub.aclose()
            ended = await process.ended()
    assert 4 == ended.code
    (end,) = lines(ended.out)
    assert ("lost", str(cursor)) == (end["status"], end["cursor"])
    first, second = ended.err.splitlines()
    assert first.startswith("lost after 1 chunk")
    assert f"resume with --after {cursor}" == second


async def test_a_session_that_is_not_there(redis_url: str, session_id: str) -> None:
    """An unknown session is exit code 5, with --wait when that is over."""
    for more in ((), ("--wait", "0.1")):
        ended = await cli("tail", session_id, *more, url=redis_url)
        assert (5, "") == (ended.code, ended.out)
        assert "there is no session" in ended.err


async def test_a_session_that_is_removed(redis_url: str, session_id: str) -> None:
    """A session that is removed under an open tail is exit code 5, never a quiet end."""
    async with Hub.from_url(redis_url) as hub:
        await produce(hub, session_id, "half")
        async with start_cli("tail", session_id, url=redis_url) as process:
            assert "half" == await process.read(4)
            assert await hub.remove(session_id)
            ended = await process.ended()
    assert (5, "") == (ended.code, ended.out)


async def test_cursors_that_do_not_fit(redis_url: str, session_id: str) -> None:
    """One of another log, or beyond the end of an ended one, is exit code 6; malformed it is 2."""
    async with Hub.from_url(redis_url) as hub:
        stream = await produce(hub, session_id, "one")
        await stream.close()
        epoch = (await stream.info()).epoch
    for after, code in (("7-1", 6), ("nonsense", 2), (f"{epoch}-9", 6)):
        ended = await cli("tail", session_id, "--after", after, url=redis_url)
        assert (code, "") == (ended.code, ended.out)
        assert 1 == len(ended.err.splitlines())


async def interrupted(process: CliProcess) -> tuple[str, str, int]:
    """What it had written that was not read yet, the cursor that it names, and how many bytes of
    the chunk after that it has written."""
    ended = await process.ended()
    assert 130 == ended.code
    return ended.out, *resumption(ended.err)


def resumption(err: str) -> tuple[str, int]:
    """The cursor that it names, and how many bytes of the chunk after that it has written."""
    said = re.search(
        r"^resume with --after (\S+)\n(?:\(the first (\d+) bytes of the chunk after it .*\n)?\Z",
        err,
        re.MULTILINE,
    )
    assert said is not None, err
    return said[1], int(said[2] or 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_an_interrupted_tail_is_resumed(
    redis_url: str, session_id: str, number: signal.Signals
) -> None:
    """The cursor that an interrupted tail prints goes on with exactly what is missing."""
    async with Hub.from_url(redis_url) as hub:
        stream = await produce(hub, session_id, "one ", "two ")
        async with start_cli("tail", session_id, url=redis_url) as process:
            read = await process.read(8)
            process.signal(number)
            rest, cursor, partial = await interrupted(process)
        assert 0 == partial
        await stream.publish("three")
        await stream.close()
    again = await cli("tail", session_id, "--after", cursor, url=redis_url)
    assert (0, "one two three") == (again.code, read + rest + again.out)


async def test_a_tail_interrupted_in_full_flow_is_resumed(redis_url: str, session_id: str) -> None:
    """Interrupted in the middle of writing, over and over: nothing is lost or doubled."""
    chunks = [f"{number:06}\n" for number in range(60_000)]
    async with Hub.from_url(redis_url) as hub:
        stream = await produce(hub, session_id, *chunks)
        await stream.close()
    text = ""
    after: tuple[str, ...] = ()
    for size in (7, 70_000, 140_000):
        async with start_cli("tail", session_id, *after, url=redis_url) as process:
            text += await process.read(size)
            process.signal(signal.SIGINT)
            rest, cursor, partial = await interrupted(process)
        text += rest
        text, after = text[: len(text) - partial], ("--after", cursor)
    text += (await cli("tail", session_id, *after, url=redis_url)).out
    assert "".join(chunks) == text


async def test_a_tail_interrupted_in_a_chunk_says_how_much_of_it_is_written(
    redis_url: str, session_id: str
) -> None:
    """A reader that takes no more in the middle of a chunk can tell where that chunk began."""
    # More than the pipe and what the test reads ahead hold together.
    large = "".join(f"{number:06}\n" for number in range(100_000))
    async with Hub.from_url(redis_url) as hub:
        stream = await produce(hub, session_id, "one ", large)
        await stream.close()
    async with start_cli("tail", session_id, url=redis_url) as process:
        text = await process.read(200_000)
        process.signal(signal.SIGINT)
        # Nothing more is read before it has ended.
        cursor, partial = resumption(await process.error_output())
        rest = (await process.ended()).out
    assert "one " + large[:partial] == text + rest
    assert len(text) - len("one ") <= partial < len(large)
    again = await cli("tail", session_id, "--after", cursor, url=redis_url)
    assert (0, large) == (again.code, again.out)


async def test_a_chunk_that_is_begun_is_written_whole(tmp_path: Path) -> None:
    """Where there is room, stopping in the middle of writing never leaves half a chunk."""
    for attempt in range(20):
        with (tmp_path / f"output-{attempt}").open("wb+") as file:
            async with Output(file.fileno()) as output:
                for number in range(1, 101):
                    await output.write(b"%09999d\n" % number, Cursor(1, number))
            assert 0 == output.partial
            assert output.cursor is not None
            written = range(1, output.cursor.offset + 1)
            file.seek(0)
            assert b"".join(b"%09999d\n" % number for number in written) == file.read()


async def test_a_closed_pipe_ends_a_tail_at_once(redis_url: str, session_id: str) -> None:
    """When its reader goes away, a tail that has nothing to write ends too, and is resumed."""
    reading, writing = os.pipe()
    async with Hub.from_url(redis_url) as hub:
        stream = await produce(hub, session_id, "one ")
        async with start_cli("tail", session_id, url=redis_url, stdout=writing) as process:
            os.close(writing)
            assert b"one " == await asyncio.to_thread(os.read, reading, 100)
            os.close(reading)
            assert 130 == await process.code()
            first, second = (await process.error_output()).splitlines()
        assert "nobody reads standard output any more" in first
        await stream.publish("two")
        await stream.close()
    cursor = second.removeprefix("resume with --after ")
    assert "two" == (await cli("tail", session_id, "--after", cursor, url=redis_url)).out


async def test_interrupted_before_the_first_chunk(
    redis_url: str, redis_client: redis.asyncio.Redis, session_id: str
) -> None:
    """Interrupted with nothing new read, it names the cursor that it was given, if there was."""
    async with Hub.from_url(redis_url) as hub:
        stream = await produce(hub, session_id, "one")
        cursor = str((await stream.info()).last)
        async with redis_client.monitor() as monitor:
            tail = ("tail", session_id, "--after", cursor)
            async with start_cli(*tail, url=redis_url) as process:
                await subscribed(monitor, session_id)
                process.signal(signal.SIGINT)
                assert ("", cursor, 0) == await interrupted(process)
    for after in ((), ("--after", cursor)):
        async with (
            redis_client.monitor() as monitor,
            start_cli("tail", "not-yet", "--wait", "60", *after, url=redis_url) as process,
        ):
            await subscribed(monitor, "not-yet")
            process.signal(signal.SIGINT)
            ended = await process.ended()
        assert (130, "") == (ended.code, ended.out)
        expected = f"resume with --after {cursor}" if after else "begin again with the same command"
        assert expected in ended.err
