"""Tasks of Celery that stream, in workers of their own, with Redis as the broker."""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from streamhub import Hub, ProducerFailed, ProducerLost, Status, parts
from streamhub.testing.waiting import patience, until, within

from ..support.child_processes import PythonProcess
from ..support.redis_server import RedisServer
from .scripts import SCRIPT, Script

celery = pytest.importorskip("celery")
streamhub_celery = pytest.importorskip("streamhub.celery")

pytestmark = pytest.mark.integrations

#: Arguments: where Redis answers, what the worker's process is called, and how it is run.
WORKER = f"""
import sys
from celery import Celery, signals
from streamhub import Hub, HubConfig
import streamhub.celery
{SCRIPT}
url, name, *options = sys.argv[1:]
app = Celery(name, broker=url, backend=url)
app.conf.update(worker_redirect_stdouts=False, worker_prefetch_multiplier=1)
server = redis.Redis.from_url(url, socket_timeout=None)

def opened():
    return Hub.from_url(url, config=HubConfig(lease=2.0))

def stream(**options):
    return streamhub.celery.task(app, hub=opened, session="chat:{{chat}}", **options)

@stream(name="plain", owner="user", metadata=lambda chat, user=None: {{"asked": chat}})
def plain(chat, user=None):
    yield from script(chat, server)

@stream(name="late", acks_late=True, reject_on_worker_lost=True, bind=True)
def late(self, chat):
    yield f"<after {{self.stream.text()!r}}>"
    yield from script(chat, server)

@stream(name="retried", autoretry_for=(ValueError,), max_retries=1, default_retry_delay=0)
def retried(chat):
    yield from script(chat, server)

@stream(name="again", takeover="restart", bind=True, max_retries=1)
def again(self, chat):
    try:
        yield from script(chat, server)
    except ValueError as error:
        raise self.retry(exc=error, countdown=0)

@stream(name="threaded")
def threaded(chat):
    # The signal is somebody else's meanwhile.
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        yield from script(chat, server)
    finally:
        signal.signal(signal.SIGUSR2, before)

@stream(name="limited", time_limit=1)
def limited(chat):
    yield from script(chat, server)

@stream(name="softly_limited", soft_time_limit=1)
def softly_limited(chat):
    yield from script(chat, server)

@stream(name="handed_over", drain=0.1)
def handed_over(chat):
    yield from script(chat, server)

class Checked(streamhub.celery.StreamTask):
    abstract = True

    def before_start(self, task_id, args, kwargs):
        raise PermissionError("not today")

@stream(name="checked", base=Checked)
def checked(chat):
    yield "never"

@stream(name="asynchronous")
async def asynchronous(chat):
    import asyncio
    try:
        yield "begun"
        await asyncio.get_running_loop().create_future()
    finally:
        server.rpush(f"closed:{{chat}}", "closed")

@signals.worker_ready.connect(weak=False)
def ready(**_):
    print("ready")

app.worker_main(["worker", "-Q", name, "-l", "WARNING", "--without-gossip", "--without-mingle",
                 "-n", name + "@%h", *options])
"""


class Site:
    """A Redis, the workers that take their tasks from it, and a client."""

    def __init__(self, url: str, directory: Path, processes: AsyncExitStack) -> None:
        self.url = url
        self.client = redis.asyncio.Redis.from_url(url, socket_timeout=None)
        self.hub = Hub.from_url(url)
        self.app = celery.Celery("client", broker=url, backend=url)
        self._directory = directory
        self._processes = processes

    async def work(self, queue: str, *options: str) -> PythonProcess:
        """Start a worker of this queue."""
        errors = self._directory / f"{queue}-{uuid.uuid4().hex}"
        started = await PythonProcess.start(WORKER, self.url, queue, *options, errors=errors)
        worker = await self._processes.enter_async_context(started)
        while "ready" != await within(worker.line()):
            pass  # what it says of itself
        return worker

    def send(self, task: str, script: Script, *, queue: str = "pool", **options: Any) -> Any:
        kwargs = {"chat": script.chat, **options.pop("kwargs", {})}
        return self.app.send_task(task, kwargs=kwargs, queue=queue, **options)

    def script(self) -> Script:
        return Script(self.client, uuid.uuid4().hex)

    async def read(self, script: Script, after: Any = None) -> list[str]:
        stream = await within(self.hub.get(script.session_id, wait=20.0))
        assert stream is not None
        return [chunk.data async for chunk in stream.subscribe(after=after)]

    async def follow(self, script: Script) -> list[str]:
        """The same, read on where it was whenever there is nobody who produces."""
        said: list[str] = []
        cursor = None
        stream = await within(self.hub.get(script.session_id, wait=20.0))
        assert stream is not None
        while True:
            try:
                async for chunk in stream.subscribe(after=cursor):
                    said.append(chunk.data)
                    cursor = chunk.cursor
                return said
            except ProducerLost:
                await asyncio.sleep(0)

    async def info(self, script: Script) -> Any:
        stream = await self.hub.get(script.session_id, wait=20.0)
        assert stream is not None
        return await stream.info()

    async def wait_status(self, script: Script, status: Status) -> None:
        """Wait until the session stands so."""

        async def stands() -> bool:
            return (await self.info(script)).status is status

        await until(stands)

    async def is_leaving(self, script: Script) -> bool:
        """Whether the session is released; sends it a word if not, at which it may be."""
        if not await script.unread():
            await script.send("b")
        return (await self.info(script)).status is Status.LOST

    async def wait_said(self, script: Script, text: str) -> None:
        """Wait until so much of the answer is stored."""
        stream = await self.hub.get(script.session_id, wait=20.0)
        assert stream is not None

        async def said() -> bool:
            return await stream.text() == text

        await until(said)


@pytest.fixture(scope="module")
def own_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
async def site(
    own_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    async with AsyncExitStack() as processes:
        site = Site(own_redis.url, tmp_path_factory.mktemp("workers"), processes)
        await site.work("pool", "-P", "prefork", "-c", "3")
        async with site.client, site.hub:
            yield site
        site.app.close()


async def test_a_task_streams_what_it_yields(site: Site) -> None:
    """A reader that was there first gets each chunk as it comes; the result is how it ended."""
    script = site.script()
    result = site.send("plain", script, kwargs={"user": "ada"})
    await script.send("a", "b", "end")

    assert ["a", "b"] == await site.read(script)
    info = await site.info(script)
    assert {
        "session_id": script.session_id,
        "status": "finished",
        "cursor": str(info.last),
        "error": None,
    } == await _result(result)
    assert ("ada", {"asked": script.chat}) == (info.owner, info.metadata)


async def test_a_cancel_stops_the_function(site: Site) -> None:
    """The stream ends at once; and the function, which waits for its model, is closed."""
    script = site.script()
    result = site.send("plain", await script.send("a"))
    stream = await within(site.hub.get(script.session_id, wait=20.0))
    assert stream is not None
    await site.wait_said(script, "a")

    assert Status.CANCELLED == await stream.cancel(wait=20.0, reason="Stop")
    await script.wait_closed()
    told = await _result(result)
    assert ("cancelled", "Stop") == (told["status"], told["error"])


async def test_a_cancel_stops_a_function_that_cannot_be_interrupted(site: Site) -> None:
    """As in a thread: it is closed at its next word, and no more is drawn."""
    script = site.script()
    result = site.send("threaded", await script.send("a"))
    await site.wait_said(script, "a")
    stream = await site.hub.get(script.session_id)
    assert stream is not None

    assert Status.CANCELLED == await stream.cancel(wait=20.0)
    await script.send("b", "c")
    await script.wait_closed()
    assert 1 == await script.unread()
    assert "cancelled" == (await _result(result))["status"]


async def test_a_cancel_interrupts_an_async_generator(site: Site) -> None:
    """One that waits for its model is closed then and there."""
    script = site.script()
    result = site.send("asynchronous", script)
    await site.wait_said(script, "begun")
    stream = await site.hub.get(script.session_id)
    assert stream is not None

    assert Status.CANCELLED == await stream.cancel(wait=20.0)
    await script.wait_closed()
    assert "cancelled" == (await _result(result))["status"]


@pytest.mark.parametrize(
    ("task", "arguments", "reason"),
    [
        pytest.param("checked", {}, "PermissionError: not today", id="in before_start"),
        pytest.param("plain", {"wrong": 1}, "TypeError", id="in its arguments"),
    ],
)
async def test_who_waits_hears_of_a_task_that_failed_before_it_claimed(
    site: Site, task: str, arguments: dict[str, Any], reason: str
) -> None:
    """The session is there, and has failed, for the task's reason."""
    script = site.script()
    reading = asyncio.create_task(site.read(script))
    site.send(task, script, kwargs=arguments)

    with pytest.raises(ProducerFailed, match=reason):
        await within(reading)


async def test_who_waits_hears_of_a_task_that_was_revoked(site: Site) -> None:
    """One that no worker has begun leaves a session that has failed."""
    script, task_id = site.script(), uuid.uuid4().hex
    reading = asyncio.create_task(site.read(script))
    await asyncio.to_thread(site.app.control.revoke, task_id, reply=True)
    site.send("plain", script, task_id=task_id)

    with pytest.raises(ProducerFailed, match="the task was revoked"):
        await within(reading)


async def test_who_waits_hears_of_a_task_that_has_expired(site: Site) -> None:
    """One that came too late leaves a session that has failed."""
    script = site.script()
    site.send("plain", script, expires=datetime.now(UTC) - timedelta(seconds=60))

    with pytest.raises(ProducerFailed, match="the task has expired"):
        await site.read(script)


async def test_a_revocation_cancels_what_runs(site: Site) -> None:
    """With ``terminate``, what was said is stored, and the end is a cancel."""
    script = site.script()
    result = site.send("plain", await script.send("a"))
    await site.wait_said(script, "a")
    await asyncio.to_thread(site.app.control.revoke, result.id, terminate=True)

    await site.wait_status(script, Status.CANCELLED)
    info = await site.info(script)
    assert ("the task was revoked", 1) == (info.error, info.last.offset)


async def test_a_retry_continues(site: Site) -> None:
    """A cursor of the first attempt is good for what the second says; no reader is told that it
    failed, or anything twice."""
    script = site.script()
    following = asyncio.create_task(site.follow(script))
    result = site.send("retried", await script.send("a", "raise", "b", "end"))
    told = await _result(result)
    info = await site.info(script)

    assert ("finished", str(info.last)) == (told["status"], told["cursor"])
    assert ["a", "b"] == await within(following)
    assert ["b"] == await site.read(script, after=info.terms.cursor(1))


async def test_the_last_retry_fails_the_stream(site: Site) -> None:
    """Its readers are told what the task's caller is told."""
    script = site.script()
    result = site.send("retried", await script.send("a", "raise", "b", "raise"))

    with pytest.raises(ValueError, match="the model broke"):
        await _result(result)
    with pytest.raises(ProducerFailed, match="ValueError: the model broke"):
        await site.read(script)


async def test_a_retry_restarts(site: Site) -> None:
    """With ``takeover="restart"`` nothing of the first attempt is left."""
    script = site.script()
    result = site.send("again", await script.send("a", "raise", "b", "end"))

    assert "finished" == (await _result(result))["status"]
    assert ["b"] == await site.read(script)


async def test_a_task_delivered_twice_produces_once(site: Site) -> None:
    """A second delivery waits for the first and is told the same; so is a third, afterwards."""
    script, task_id = site.script(), uuid.uuid4().hex
    await script.send("a")
    site.send("again", script, task_id=task_id)
    await site.wait_said(script, "a")
    site.send("again", script, task_id=task_id)
    await script.send("b", "end")
    await site.wait_status(script, Status.FINISHED)
    ended = await site.info(script)
    await within(_forgotten(site.app.AsyncResult(task_id)))
    third = site.send("again", script, task_id=task_id)

    assert str(ended.last) == (await _result(third))["cursor"]
    assert ["a", "b"] == await site.read(script)
    assert ended.terms == (await site.info(script)).terms


async def test_a_killed_task_goes_on_where_it_is_delivered_again(site: Site) -> None:
    """``acks_late`` and ``reject_on_worker_lost``: the next process continues after what the
    killed one had stored."""
    script = site.script()
    result = site.send("late", await script.send("a"))
    await site.wait_said(script, "<after ''>a")
    await script.send("die", "b", "end")

    assert "finished" == (await _result(result))["status"]
    assert ["<after ''>", "a", "<after \"<after ''>a\">", "b"] == await site.read(script)


@pytest.mark.parametrize(
    ("task", "word", "reason"),
    [
        pytest.param("plain", "die", "WorkerLostError", id="killed"),
        pytest.param("limited", "a", "TimeLimitExceeded", id="over its time limit"),
        pytest.param("softly_limited", "a", "SoftTimeLimitExceeded", id="over its soft limit"),
    ],
)
async def test_a_task_that_is_not_delivered_again_ends_as_failed(
    site: Site, task: str, word: str, reason: str
) -> None:
    """Though the process that produced is gone, the end says what has become of it."""
    script = site.script()
    site.send(task, await script.send(word))

    await site.wait_status(script, Status.FAILED)
    assert reason in ((await site.info(script)).error or "")


async def test_a_worker_that_shuts_down_hands_over(site: Site) -> None:
    """After ``drain``, the function is stopped at its next word, and another worker goes on; so it
    does, with ``acks_late``, where a worker shuts down at once. The session is released at once."""

    async def hand_over(pool: str) -> None:
        script, queue = site.script(), f"leaving-{pool}"
        leaving = await site.work(queue, "-P", pool, "-c", "1")
        site.send("handed_over", await script.send("a"), queue=queue)
        await site.wait_said(script, "a")
        leaving.signal(signal.SIGTERM)
        await until(lambda: site.is_leaving(script))

        assert 0 == await within(leaving.wait())
        info = await site.info(script)
        assert (Status.LOST, None) == (info.status, info.error), leaving.stderr
        await asyncio.to_thread(site.app.control.add_consumer, queue, reply=True)
        await script.send("end")
        await site.wait_status(script, Status.FINISHED)
        said = await site.read(script)
        assert ["a"] + ["b"] * (len(said) - 1) == said

    async def leave() -> None:
        script, queue = site.script(), "cold"
        leaving = await site.work(queue, "-P", "prefork", "-c", "1")
        result = site.send("late", await script.send("a"), queue=queue)
        await site.wait_said(script, "<after ''>a")
        leaving.signal(signal.SIGQUIT)
        await within(leaving.wait())
        info = await site.info(script)
        assert (Status.LOST, 0.0) == (info.status, info.lease), leaving.stderr
        await asyncio.to_thread(site.app.control.add_consumer, queue, reply=True)
        await script.send("b", "end")
        assert "finished" == (await _result(result))["status"]
        assert ["<after ''>", "a", "<after \"<after ''>a\">", "b"] == await site.read(script)

    await asyncio.gather(hand_over("prefork"), hand_over("threads"), leave())


async def test_the_page_on_workers_streams(site: Site) -> None:
    """What docs/workers.md defines, applied here."""

    class Model:
        def stream(self, prompt: str) -> list[str]:
            return [prompt, "!"]

    page = (Path(__file__).parents[2] / "docs" / "workers.md").read_text()
    code = page.split("## Celery")[1].split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {"model": Model()}
    exec(compile(code.replace("redis://localhost:6379/0", site.url), "workers.md", "exec"), names)
    script = site.script()
    await asyncio.to_thread(names["answer"].apply, (script.chat, "Why?"))

    assert ["Why?", "!"] == await site.read(script)
    names["app"].close()


async def test_a_task_called_directly_is_its_function(site: Site) -> None:
    """For tests of one's own, and for what produces elsewhere."""
    app = celery.Celery("direct")

    @streamhub_celery.task(app, hub=site.url, session="chat")  # type: ignore[untyped-decorator]
    def answer(chat: str) -> Iterator[str]:
        yield f"to {chat}"

    assert ["to you"] == list(answer("you"))
    app.close()


async def test_a_task_that_is_applied_streams_here(site: Site) -> None:
    """``apply`` runs it in the calling thread, with all that a worker does."""
    script, app = site.script(), celery.Celery("eager")

    @streamhub_celery.task(app, hub=site.url, session="chat:{chat}")  # type: ignore[untyped-decorator]
    def answer(chat: str) -> Iterator[str | parts.AnyPart]:
        yield parts.ReasoningDelta("r", "hm")
        yield "so"

    result = await asyncio.to_thread(answer.apply, (script.chat,))
    assert "finished" == result.get(disable_sync_subtasks=False)["status"]
    assert [parts.encode(parts.ReasoningDelta("r", "hm")), "so"] == await site.read(script)
    app.close()


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"hub": Hub()}, TypeError, "not a hub: every process of a worker opens one"),
        ({"hub": 1}, TypeError, "hub must be a URL or a function .* not int"),
        ({"session": "user"}, TypeError, r"'user', which is no argument of .*answer\(chat\)"),
        ({"session": "{chat}:{day}"}, TypeError, "'day', which is no argument"),
        ({"session": 1}, TypeError, "session must be .* not int"),
        ({"owner": "user"}, TypeError, "owner='user' names 'user'"),
        ({"metadata": {}}, TypeError, "metadata must be a function"),
        ({"takeover": "glue"}, ValueError, "'restart' or 'continue', not 'glue'"),
        ({"drain": -1}, ValueError, "drain must be a number of seconds"),
    ],
)
def test_a_wrong_option_is_told_where_the_task_is_defined(
    options: dict[str, Any], error: type[Exception], said: str
) -> None:
    """And what would be right."""
    app = celery.Celery("wrong")
    with pytest.raises(error, match=said):

        @streamhub_celery.task(app, **{"hub": "memory://", "session": "chat", **options})  # type: ignore[untyped-decorator]
        def answer(chat: str) -> Iterator[str]:
            yield chat

    app.close()


async def _result(result: Any) -> Any:
    return await within(asyncio.to_thread(result.get, timeout=patience()))


async def _forgotten(result: Any) -> None:
    """Once both deliveries have left their result, which has one place."""
    await _result(result)
    result.forget()
