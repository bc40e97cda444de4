"""``streamhub run``: what a real command prints becomes a stream, and what stops it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from streamhub import Hub, ProducerFailed, Status

from ..support.cli_process import cli, follow, start_cli

pytestmark = pytest.mark.slow


async def test_output_is_streamed_as_it_comes(redis_url: str, session_id: str) -> None:
    """What the command prints is readable elsewhere while it goes on, and is shown too."""
    command = ("sh", "-c", "printf one; read _; printf two")
    async with Hub.from_url(redis_url) as hub:
        async with start_cli("run", session_id, "--", *command, url=redis_url) as process:
            chunks = (await follow(hub, session_id)).subscribe()
            assert "one" == (await anext(chunks)).data
            assert "one" == await process.read(3)
            await process.send(b"\n")
            assert "two" == (await anext(chunks)).data
            ended = await process.ended()
        assert [] == [chunk async for chunk in chunks]
        assert Status.FINISHED == chunks.status
        assert (0, "two") == (ended.code, ended.out)
        assert "finished; 6 bytes stored" in ended.err


async def test_a_character_split_between_two_reads_stays_whole(
    redis_url: str, session_id: str
) -> None:
    """The bytes of one character may come one by one: nobody ever sees a part of it."""
    source = (
        "import sys\n"
        "for byte in 'aé€😀b'.encode():\n"
        "    sys.stdout.buffer.write(bytes([byte])); sys.stdout.buffer.flush()\n"
        "    if byte < 128: sys.stdin.readline()"
    )
    async with (
        Hub.from_url(redis_url) as hub,
        start_cli("run", session_id, sys.executable, "--", "-c", source, url=redis_url) as process,
    ):
        chunks = (await follow(hub, session_id)).subscribe()
        assert "a" == (await anext(chunks)).data
        await process.send(b"\n\n")
        assert "é€😀b" == "".join([chunk.data async for chunk in chunks])
        assert "aé€😀b" == (await process.ended()).out


async def test_a_split_character_on_standard_input_stays_whole(
    redis_url: str, session_id: str
) -> None:
    """Standard input is streamed as it comes, decoded over the borders of its writes."""
    async with (
        Hub.from_url(redis_url) as hub,
        start_cli("run", session_id, url=redis_url) as process,
    ):
        await process.send("a€".encode()[:2])
        chunks = (await follow(hub, session_id)).subscribe()
        assert "a" == (await anext(chunks)).data
        await process.send("a€".encode()[2:])
        assert "€" == (await anext(chunks)).data
        ended = await process.ended()
        assert [] == [chunk async for chunk in chunks]
        assert Status.FINISHED == chunks.status
        assert (0, "a€") == (ended.code, ended.out)


async def test_bytes_that_are_no_text_become_replacement_characters(
    redis_url: str, session_id: str
) -> None:
    """Invalid UTF-8 is replaced in the stream, also at its end, and shown as it came."""
    ended = await cli("run", session_id, url=redis_url, stdin=b"a\xffb\xe2\x82")
    async with Hub.from_url(redis_url) as hub:
        assert "a\ufffdb\ufffd" == await (await follow(hub, session_id)).text()
    assert (0, "a\udcffb\udce2\udc82") == (ended.code, ended.out)


async def test_a_file_as_standard_input(redis_url: str, session_id: str, tmp_path: Path) -> None:
    """Standard input may be a file, of more than one read."""
    text = "lighthouse €\n" * 20_000
    file = tmp_path / "text"
    file.write_text(text)
    ended = await cli("run", session_id, "--quiet", url=redis_url, stdin=file)
    async with Hub.from_url(redis_url) as hub:
        assert text == await (await follow(hub, session_id)).text()
    assert (0, "", "") == (ended.code, ended.out, ended.err)


async def test_owner_and_metadata(redis_url: str, session_id: str) -> None:
    """--owner and --metadata are kept with the session."""
    options = ("--owner", "alice", "--metadata", '{"model": "m"}')
    await cli("run", session_id, *options, "true", url=redis_url)
    async with Hub.from_url(redis_url) as hub:
        info = await (await follow(hub, session_id)).info()
    assert ("alice", {"model": "m"}) == (info.owner, info.metadata)


async def test_metadata_that_is_not_json(redis_url: str, session_id: str) -> None:
    """Bad metadata is refused before anything is claimed."""
    ended = await cli("run", session_id, "--metadata", "{", "true", url=redis_url)
    assert 2 == ended.code
    assert "--metadata is not JSON" in ended.err
    async with Hub.from_url(redis_url) as hub:
        assert await hub.get(session_id) is None


@pytest.mark.parametrize(
    ("command", "code", "error"),
    [
        ("printf half; exit 3", 3, "exit code 3"),
        ("printf half; kill -SEGV $$", 128 + signal.SIGSEGV, "killed by SIGSEGV"),
    ],
)
async def test_a_command_that_fails(
    redis_url: str, session_id: str, command: str, code: int, error: str
) -> None:
    """A command's failure is the stream's, with what it printed kept, and its code is ours."""
    ended = await cli("run", session_id, "--", "sh", "-c", command, url=redis_url)
    assert (code, "half") == (ended.code, ended.out)
    assert f"failed: {error}" in ended.err
    async with Hub.from_url(redis_url) as hub:
        stream = await follow(hub, session_id)
        assert "half" == await stream.text()
        with pytest.raises(ProducerFailed) as raised:
            _ = [chunk async for chunk in stream.subscribe()]
    assert error == raised.value.error


@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
async def test_a_command_that_is_not_there(
    redis_url: str, session_id: str, quiet: tuple[str, ...]
) -> None:
    """A command that is not found is one clear line, exit code 127, and a failed stream."""
    ended = await cli("run", session_id, *quiet, "no-such-command", url=redis_url)
    assert (127, "") == (ended.code, ended.out)
    (line,) = ended.err.splitlines()
    assert "command not found: no-such-command" in line
    async with Hub.from_url(redis_url) as hub:
        info = await (await follow(hub, session_id)).info()
    assert (Status.FAILED, "command not found: no-such-command") == (info.status, info.error)


async def test_a_command_that_cannot_be_executed(
    redis_url: str, session_id: str, tmp_path: Path
) -> None:
    """A file that is no program is one clear line, exit code 126, and a failed stream."""
    (tmp_path / "file").touch()
    ended = await cli("run", session_id, str(tmp_path / "file"), url=redis_url)
    assert (126, 1) == (ended.code, len(ended.err.splitlines()))
    async with Hub.from_url(redis_url) as hub:
        assert Status.FAILED == await (await follow(hub, session_id)).wait()


async def test_a_session_of_somebody_else(redis_url: str, session_id: str, tmp_path: Path) -> None:
    """A session with a live producer is named with its owner, and the command is not started."""
    async with Hub.from_url(redis_url) as hub:
        stream, _ = await hub.register(session_id, owner="alice")
        ended = await cli("run", session_id, "touch", str(tmp_path / "started"), url=redis_url)
        assert (123, "") == (ended.code, ended.out)
        (line,) = ended.err.splitlines()
        assert "'alice'" in line
        assert str(stream.generation) in line
        assert Status.ACTIVE == (await stream.info()).status
    assert [] == list(tmp_path.iterdir())  # noqa: ASYNC240 - nothing else runs now


async def test_takeover_continue_goes_on(redis_url: str, session_id: str) -> None:
    """--takeover continue appends to what failed, and has nothing to do once it is finished."""
    run = ("run", session_id, "--takeover", "continue", "--", "sh", "-c")
    assert 1 == (await cli(*run, "printf one; exit 1", url=redis_url)).code
    assert 0 == (await cli(*run, "printf two", url=redis_url)).code
    refused = await cli(*run, "printf three", url=redis_url)
    assert (123, "") == (refused.code, refused.out)
    assert "nothing to continue" in refused.err
    async with Hub.from_url(redis_url) as hub:
        assert "onetwo" == await (await follow(hub, session_id)).text()


async def test_takeover_restart_begins_anew(redis_url: str, session_id: str) -> None:
    """Without --takeover, a session that has ended begins anew."""
    for text in ("one", "two"):
        assert 0 == (await cli("run", session_id, "printf", text, url=redis_url)).code
    async with Hub.from_url(redis_url) as hub:
        assert "two" == await (await follow(hub, session_id)).text()
