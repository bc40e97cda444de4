"""Ends as webhooks: signed, tried again, and given up only by who says so."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import pytest
from standardwebhooks.webhooks import Webhook

from streamhub import Hub
from streamhub.http import webhook
from streamhub.http.webhook import WebhookTarget
from streamhub.testing.waiting import bounded, until, within

pytestmark = pytest.mark.parametrize("new_hub", ["memory"], indirect=True)

SECRETS = [f"whsec_{base64.b64encode(letter * 32).decode()}" for letter in (b"a", b"b")]
#: What a target does with a request: its status, and more headers; None to say nothing.
Answers = Callable[[int], tuple[int, str] | None]


class Target:
    """A real server, which checks each request as its author is told to."""

    def __init__(self, answers: Answers) -> None:
        self.got: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.paths: list[str] = []
        self._answers = answers
        self._news = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            fields = [line.partition(": ") for line in head[1:] if line]
            headers = {name.lower(): value for name, _, value in fields}
            body = await reader.readexactly(int(headers["content-length"]))
            for secret in SECRETS:
                Webhook(secret).verify(body, headers)
            self.ids.append(headers["webhook-id"])
            self.paths.append(head[0])
            answer = self._answers(len(self.ids))
            self.got.append(json.loads(body))
            self._news.set()
            if answer is None:
                await reader.read()
                return
            status, more = answer
            writer.write(
                f"HTTP/1.1 {status} x\r\ncontent-length: 0\r\n{more}"
                "connection: close\r\n\r\n".encode()
            )
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def many(self, count: int) -> None:
        """Wait for so many requests."""
        async with bounded(20):
            while len(self.got) < count:
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def _serving(answers: Answers) -> AsyncIterator[tuple[Target, str]]:
    target = Target(answers)
    server = await asyncio.start_server(target.serve, "127.0.0.1", 0)
    try:
        yield target, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@asynccontextmanager
async def _delivering(hub: Hub, url: str, **options: float) -> AsyncIterator[asyncio.Task[None]]:
    """Deliver in the background, until the hub is closed."""
    target = WebhookTarget(f"{url}/hook/s3cret?a=b", SECRETS, **options)
    delivering = asyncio.create_task(target.deliver(hub, "webhook"))
    try:
        yield delivering
    finally:
        await within(hub.aclose())
        with suppress(asyncio.CancelledError):
            await within(delivering)


async def _ended(hub: Hub, text: str = "a") -> str:
    session_id = f"chat:{uuid4().hex}"
    stream, _ = await hub.register(session_id, owner="me", metadata={"n": 1})
    async with stream:
        await stream.publish(text)
        await stream.publish("{}", event="usage")
    return session_id


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "_FIRST_RETRY", 0.02)
    monkeypatch.setattr(webhook, "_LONGEST_RETRY", 0.02)


async def test_an_end_is_posted_once_and_signed(hub: Hub) -> None:
    """Whoever has the secret can check it, while it is changed for another, too; all of the end is
    in it."""
    async with _serving(lambda _: (204, "")) as (target, url), _delivering(hub, url):
        expected = [await _ended(hub, "é\u2028") for _ in range(20)]
        await target.many(20)
        await until(lambda: _is_idle(hub))

    assert Counter(expected) == Counter(each["data"]["session_id"] for each in target.got)
    assert [each["data"]["key"] for each in target.got] == target.ids
    assert {"POST /hook/s3cret?a=b HTTP/1.1"} == set(target.paths)
    first = target.got[0]
    assert ("session.finished", "é\u2028", [{"event": "usage", "data": "{}"}]) == (
        first["type"], first["data"]["text"], first["data"]["events"],
    )  # fmt: skip
    assert ("me", {"n": 1}, "finished", 2) == tuple(
        first["data"][name] for name in ("owner", "metadata", "status", "chunks")
    )


async def _is_idle(hub: Hub) -> bool:
    """Whether nothing is left to be delivered."""
    feeds = hub._store.feeds
    assert feeds is not None
    return not (await feeds.due("webhook", 1, hold=0.0))[0]


@pytest.mark.parametrize(
    "failure",
    [(500, ""), (302, "location: /elsewhere\r\n"), (429, "retry-after: 1\r\n"), (404, ""), None],
)
async def test_any_other_answer_is_tried_again_under_the_same_id(
    hub: Hub, failure: tuple[int, str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A target that fails, redirects, says when to come again, or says nothing. The operator hears
    once that it fails and once that it does not any more; nobody hears of the secrets."""
    caplog.set_level(logging.INFO, "streamhub")
    async with (
        _serving(lambda n: failure if n <= 2 else (200, "")) as (target, url),
        _delivering(hub, url, timeout=1.0 if failure is None else 60.0),
    ):
        await _ended(hub)
        await target.many(3)
        await until(lambda: _is_idle(hub))

    assert 3 == len(target.ids)
    assert 1 == len(set(target.ids))
    assert {"POST /hook/s3cret?a=b HTTP/1.1"} == set(target.paths)
    failed, again = [record.getMessage() for record in caplog.records if record.levelno > 20]
    told = "it has not answered within 1 s" if failure is None else f"it answered {failure[0]}"
    assert f"webhook {url}: {told}; ends are tried again" == failed
    assert f"webhook {url}: it takes ends again, after 2 failures" == again
    assert not any(secret in caplog.text for secret in (*SECRETS, "s3cret"))


async def test_one_slow_end_does_not_hold_up_the_others(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several are under way at a time."""
    async with (
        _serving(lambda n: None if n == 1 else (200, "")) as (target, url),
        _delivering(hub, url, timeout=300.0) as delivering,
    ):
        await _ended(hub)
        await target.many(1)
        for _ in range(10):
            await _ended(hub)
        await target.many(11)
        monkeypatch.setattr("streamhub.engine._GIVING_BACK", 0.05)
        await within(hub.aclose())
        delivering.cancel()


async def test_a_target_that_cannot_be_reached_gets_its_ends_when_it_can(hub: Hub) -> None:
    """Whatever was in between, and until the last attempt."""
    async with _serving(lambda _: (200, "")) as (_, url):
        pass
    async with _delivering(hub, url):
        session_id = await _ended(hub)
        target = Target(lambda _: (200, ""))
        port = int(url.rpartition(":")[2])
        server = await asyncio.start_server(target.serve, "127.0.0.1", port)
        await target.many(1)
        server.close()

    assert [session_id] == [each["data"]["session_id"] for each in target.got]


async def test_410_ends_the_deliveries_and_loses_nothing(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    """The target does not want any more: the ends wait for who is started again."""
    async with (
        _serving(lambda _: (410, "")) as (target, url),
        _delivering(hub, url) as delivering,
    ):
        session_id = await _ended(hub)
        await within(delivering)
        async with hub.ends("webhook") as ends:
            assert session_id == (await within(anext(ends))).session_id

    assert 1 == len(target.got)
    (told,) = caplog.messages
    assert told.startswith(f"webhook {url}: it answered 410: nothing is sent there any more")


@pytest.mark.parametrize(
    ("url", "secrets", "told"),
    [
        ("ftp://a/b", SECRETS, "http://"),
        ("a/b", SECRETS, "http://"),
        ("http://a:port/hidden-w0rd", SECRETS, "http://"),
        ("http://xn--/", SECRETS, "http://"),
        ("http://a", [], "needs a secret"),
        ("http://a", ["hidden-w0rd"], "openssl rand -base64 32"),
        ("http://a", ["whsec_hidden-w0rd"], "openssl rand -base64 32"),
        ("http://a", [SECRETS[0], "whsec_aGlkZGVuLXcwcmQ="], "24 bytes or more"),
    ],
)
async def test_what_cannot_work_is_refused(
    hub: Hub, url: str, secrets: list[str], told: str
) -> None:
    """At the door, and without a word of the secret."""
    with pytest.raises(ValueError, match=told) as caught:
        WebhookTarget(url, secrets)
    assert not any(part in str(caught.value) for part in ("hidden", "aGlk"))
