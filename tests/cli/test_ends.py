"""``streamhub ends``, and the ends that ``streamhub serve`` posts."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from streamhub import Hub
from streamhub.testing.waiting import bounded

from ..support.cli_process import cli, start_cli

pytestmark = pytest.mark.slow

SECRET = "whsec_" + "c2VjcmV0" * 5


async def _ended(hub: Hub, session_id: str, *texts: str) -> None:
    stream, _ = await hub.register(session_id, owner="me", metadata={"n": 1})
    async with stream:
        for text in texts:
            await stream.publish(text)


async def test_ends_are_written_as_they_come_each_once(redis_url: str, session_id: str) -> None:
    """A line for each, with all of it; who follows the same name later gets the others, and maybe
    once more the last one before, whose line came just when the first was told to stop."""
    async with Hub.from_url(redis_url) as hub:
        await _ended(hub, f"{session_id}:1", "a\n", "é\u2028")
        async with start_cli("ends", url=redis_url) as process:
            first: dict[str, Any] = json.loads(await process.line())
            assert (f"{session_id}:1", "finished", "a\né\u2028", "me", {"n": 1}, 1) == tuple(
                first[name]
                for name in ("session_id", "status", "text", "owner", "metadata", "attempt")
            )
            for name in (f"{session_id}:2", f"{session_id}:3"):
                await _ended(hub, name)
                assert name == json.loads(await process.line())["session_id"]
            process.signal(signal.SIGTERM)
            ended = await process.ended()
            assert (130, "", "interrupted by SIGTERM\n") == (ended.code, ended.out, ended.err)
        await _ended(hub, f"{session_id}:4")
        later = await cli("ends", "--wait", "1", url=redis_url)
        assert (0, "") == (later.code, later.err)
        told = [json.loads(line)["session_id"] for line in later.out.splitlines()]
        assert [f"{session_id}:4"] == [one for one in told if one != f"{session_id}:3"]


async def test_what_was_given_up_is_listed_and_tried_again(redis_url: str, session_id: str) -> None:
    """``--dead`` says why, and with ``--retry`` it comes again."""
    async with Hub.from_url(redis_url) as hub:
        await _ended(hub, session_id)
        async with hub.ends("cli") as ends:
            await (await anext(ends)).fail("no disk")
        for options, retried in (((), False), (("--retry",), True)):
            listed = await cli("ends", "--dead", *options, url=redis_url)
            (line,) = map(json.loads, listed.out.splitlines())
            assert (0, session_id, 1, "no disk", retried) == (
                listed.code, line["session"]["session_id"], line["attempts"], line["error"],
                line["retried"],
            )  # fmt: skip
        async with hub.ends("cli") as ends, bounded(20):
            assert session_id == (await anext(ends)).session_id


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("ends", "--name", "A b"), "--name: a feed's name is 1 to 64 of the signs a-z 0-9"),
        (("ends", "--retry"), "--retry goes with --dead"),
        (("serve", "--webhook", "http://a"), "--webhook needs a secret"),
        (("serve", "--webhook", "a", "--webhook-secret", SECRET), "--webhook: a webhook is the"),
        (
            ("serve", "--webhook", "http://a", "--webhook-secret", "hidden"),
            "--webhook: a webhook s",
        ),
        (
            ("serve", "--webhook", "http://a", "--webhook-secret", SECRET, "--webhook-name", "A"),
            "--webhook: a feed's name is",
        ),
    ],
)
async def test_what_cannot_work_is_refused(
    redis_url: str, arguments: tuple[str, ...], told: str
) -> None:
    """Before anything begins, and without a word of the secret."""
    ended = await cli(*arguments, url=redis_url)
    assert (2, "") == (ended.code, ended.out)
    assert ended.err.startswith(told)
    assert "hidden" not in ended.err


async def test_serve_posts_ends_signed_and_says_nothing_of_the_secret(
    redis_url: str, session_id: str
) -> None:
    """The secret comes in the environment; what ends while the server runs is posted."""
    got: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = [line.partition(": ") for line in head[1:] if line]
        headers = {name.lower(): value for name, _, value in fields}
        body = await reader.readexactly(int(headers["content-length"]))
        got.put_nowait(Webhook(SECRET).verify(body, headers))
        writer.write(b"HTTP/1.1 204 x\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    target = await asyncio.start_server(take, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{target.sockets[0].getsockname()[1]}/s3cret"
    env = {"STREAMHUB_WEBHOOK": url, "STREAMHUB_WEBHOOK_SECRET": SECRET}
    async with (
        Hub.from_url(redis_url) as hub,
        start_cli("serve", "--port", "0", url=redis_url, env=env) as process,
        bounded(30),
    ):
        await _ended(hub, session_id, "a")
        posted = await got.get()
        assert ("session.finished", session_id, "a") == (
            posted["type"], posted["data"]["session_id"], posted["data"]["text"],
        )  # fmt: skip
        process.signal(signal.SIGTERM)
        ended = await process.ended()
    target.close()
    assert 0 == ended.code
    assert not any(word in ended.err for word in (SECRET, "s3cret", "Traceback"))
