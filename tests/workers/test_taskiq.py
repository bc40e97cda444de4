"""Tasks of taskiq that stream: in this process, and in workers of their own."""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from streamhub import Hub, HubConfig, LiveStream, ProducerFailed, Status, parts
from streamhub.testing.waiting import until, within

from ..conftest import RunPython
from .scripts import SCRIPT, Script

taskiq = pytest.importorskip("taskiq")
streaming = pytest.importorskip("streamhub.taskiq")

pytestmark = pytest.mark.integrations

#: Arguments: where Redis answers.
WORKER = f"""
import asyncio, sys
import streamhub.taskiq
from streamhub import Hub, HubConfig
from taskiq import TaskiqEvents
from taskiq.cli.worker.args import WorkerArgs
from taskiq.cli.worker.run import start_listen
from taskiq_redis import RedisStreamBroker
{SCRIPT}
url = sys.argv[1]
server = redis.Redis.from_url(url, socket_timeout=None)
broker = RedisStreamBroker(
    url, idle_timeout=300, xread_block=100, unacknowledged_lock_timeout=0.5, socket_timeout=None
)
hub = Hub.from_url(url, config=HubConfig(lease=2.0))

@streamhub.taskiq.task(broker, hub=hub, session="chat:{{chat}}", task_name="scripted")
async def scripted(chat):
    said = await streamhub.taskiq.current_stream().text()
    yield f"<after {{said!r}}>"
    words = script(chat, server)
    while (word := await asyncio.to_thread(next, words, None)) is not None:
        yield word

@streamhub.taskiq.task(broker, hub=hub, session="chat:{{chat}}", task_name="patient")
async def patient(chat):
    yield await streamhub.taskiq.current_stream().text() or "begun"
    while not await asyncio.to_thread(server.exists, f"go:{{chat}}"):
        await asyncio.sleep(0.01)

@broker.task("nothing")
async def nothing(chat):
    pass

@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def ready(_):
    print("ready")

start_listen(WorkerArgs(broker="__main__:broker", modules=[], wait_tasks_timeout=0.1))
"""


@pytest.fixture
async def broker() -> AsyncIterator[Any]:
    broker = taskiq.InMemoryBroker()
    await broker.startup()
    yield broker
    await broker.shutdown()


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with Hub() as hub:
        yield hub


async def _said(hub: Hub, session_id: str) -> list[str]:
    stream = await within(hub.get(session_id, wait=20.0))
    assert stream is not None
    return [chunk.data async for chunk in stream.subscribe()]


async def test_a_task_streams_what_it_yields(broker: Any, hub: Hub) -> None:
    """Text and parts; the result is how it ended."""

    @streaming.task(  # type: ignore[untyped-decorator]
        broker, hub=hub, session="chat:{chat}", owner="user", metadata=lambda chat, user: [chat]
    )
    async def answer(chat: str, user: str) -> AsyncIterator[str | parts.AnyPart]:
        yield parts.ReasoningDelta("r", "hm")
        yield "so"

    task = await answer.kiq("1", user="ada")
    assert [parts.encode(parts.ReasoningDelta("r", "hm")), "so"] == await _said(hub, "chat:1")
    result = (await within(task.wait_result())).return_value
    assert ("chat:1", "finished", None) == (
        result["session_id"],
        result["status"],
        result["error"],
    )
    stream = await hub.get("chat:1")
    assert stream is not None
    info = await stream.info()
    assert ("ada", ["1"]) == (info.owner, info.metadata)


async def test_a_plain_generator_blocks_nobody(broker: Any, hub: Hub) -> None:
    """It is drawn from in a thread of its own."""
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    @streaming.task(broker, hub=hub, session="chat")  # type: ignore[untyped-decorator]
    def answer(chat: str) -> Iterator[str]:
        asyncio.run_coroutine_threadsafe(begun.wait(), loop).result()
        yield "a"

    await answer.kiq("1")
    assert await hub.get("1", wait=20.0) is not None
    begun.set()
    assert ["a"] == await _said(hub, "1")


async def test_a_cancel_closes_the_generator(broker: Any, hub: Hub) -> None:
    """Then and there, though it waits for its model."""
    closed = asyncio.Event()

    @streaming.task(broker, hub=hub, session="chat")  # type: ignore[untyped-decorator]
    async def answer(chat: str) -> AsyncIterator[str]:
        try:
            yield "a"
            await asyncio.get_running_loop().create_future()
        finally:
            closed.set()

    task = await answer.kiq("1")
    stream = await hub.get("1", wait=20.0)
    assert stream is not None
    assert "a" == (await within(anext(stream.subscribe()))).data
    assert Status.CANCELLED == await stream.cancel(wait=20.0, reason="Stop")
    await within(closed.wait())
    result = (await within(task.wait_result())).return_value
    assert ("cancelled", "Stop") == (result["status"], result["error"])


async def test_who_waits_hears_of_a_task_that_failed_before_it_claimed(
    broker: Any, hub: Hub
) -> None:
    """Here in a dependency, which taskiq asks for before it calls the function."""

    async def permission() -> None:
        raise PermissionError("not today")

    @streaming.task(broker, hub=hub, session="chat")  # type: ignore[untyped-decorator]
    async def answer(chat: str, _: None = taskiq.TaskiqDepends(permission)) -> AsyncIterator[str]:
        yield "never"

    reading = asyncio.create_task(_said(hub, "1"))
    await answer.kiq("1")
    with pytest.raises(ProducerFailed, match="PermissionError: not today"):
        await within(reading)


@pytest.mark.parametrize(
    ("takeover", "after", "said"),
    [("continue", ["", "a"], ["a", "b"]), ("restart", [""], ["b"])],
)
async def test_a_retry_goes_on_as_takeover_says(
    broker: Any, hub: Hub, takeover: str, after: list[str], said: list[str]
) -> None:
    """It is a retry of taskiq's own middleware that the first failure leads to."""
    broker.add_middlewares(taskiq.SimpleRetryMiddleware())
    words: Iterator[str | Exception] = iter(["a", ValueError("the model broke"), "b"])

    @streaming.task(  # type: ignore[untyped-decorator]
        broker, hub=hub, session="chat", takeover=takeover, retry_on_error=True
    )
    async def answer(chat: str) -> AsyncIterator[str | parts.AnyPart]:
        yield parts.Data("after", await streaming.current_stream().text())
        for word in words:
            if isinstance(word, Exception):
                raise word
            yield word

    task = await answer.kiq("1")
    assert "finished" == (await within(task.wait_result())).return_value["status"]
    stream = await hub.get("1")
    assert stream is not None
    found = [chunk async for chunk in stream.subscribe()]
    told = [parts.decode(chunk.data) for chunk in found if chunk.event]
    assert [parts.Data("after", text) for text in after] == told
    assert said == [chunk.data for chunk in found if not chunk.event]


async def test_the_last_retry_fails_the_stream(broker: Any, hub: Hub) -> None:
    """Its readers are told what the task's caller is told; so they are of a timeout."""

    @streaming.task(  # type: ignore[untyped-decorator]
        broker, hub=hub, session="chat", timeout=0.05
    )
    async def answer(chat: str) -> AsyncIterator[str]:
        yield "a"
        await asyncio.get_running_loop().create_future()

    await answer.kiq("1")
    with pytest.raises(ProducerFailed, match="TimeoutError"):
        await _said(hub, "1")


async def test_a_task_delivered_twice_produces_once(broker: Any, hub: Hub) -> None:
    """The second waits for the end of the first, and is told the same; so is a third, later."""
    calls: list[str] = []
    results: list[Any] = []
    go = asyncio.Event()

    class Results(taskiq.TaskiqMiddleware):  # type: ignore[name-defined, misc]
        def post_save(self, message: Any, result: Any) -> None:
            results.append(result.return_value)

    broker.add_middlewares(Results())

    @streaming.task(  # type: ignore[untyped-decorator]
        broker, hub=hub, session="chat", takeover="restart"
    )
    async def answer(chat: str) -> AsyncIterator[str]:
        calls.append(chat)
        yield "a"
        await go.wait()

    await answer.kicker().with_task_id("one").kiq("1")
    assert await hub.get("1", wait=20.0) is not None
    await answer.kicker().with_task_id("one").kiq("1")
    go.set()
    await within(broker.wait_all())
    await answer.kicker().with_task_id("one").kiq("1")
    await within(broker.wait_all())

    assert ["1"] == calls
    assert (3, "finished") == (len(results), results[0]["status"])
    assert [results[0]] * 3 == results


async def test_a_task_called_directly_is_its_function(broker: Any, hub: Hub) -> None:
    """For tests of one's own."""

    @streaming.task(broker, hub=hub, session="chat")  # type: ignore[untyped-decorator]
    async def answer(chat: str) -> AsyncIterator[str]:
        yield f"to {chat}"

    assert ["to you"] == [token async for token in await answer("you")]
    with pytest.raises(RuntimeError, match="no task that streams"):
        streaming.current_stream()


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"hub": 1}, TypeError, "hub must be a URL or a streamhub.Hub, not int"),
        ({"session": "user"}, TypeError, r"'user', which is no argument of .*answer\(chat\)"),
        ({"metadata": {}}, TypeError, "metadata must be a function"),
        ({"takeover": "glue"}, ValueError, "'restart' or 'continue', not 'glue'"),
    ],
)
def test_a_wrong_option_is_told_where_the_task_is_defined(
    options: dict[str, Any], error: type[Exception], said: str
) -> None:
    """And what would be right."""
    with pytest.raises(error, match=said):

        @streaming.task(  # type: ignore[untyped-decorator]
            taskiq.InMemoryBroker(), **{"hub": "memory://", "session": "chat", **options}
        )
        def answer(chat: str) -> Iterator[str]:
            yield chat


async def test_the_page_on_workers_streams(redis_url: str) -> None:
    """What docs/workers.md defines, sent to its broker."""

    class Model:
        async def stream(self, prompt: str) -> AsyncIterator[str]:
            yield prompt
            yield "!"

    page = (Path(__file__).parents[2] / "docs" / "workers.md").read_text()
    code = page.split("## taskiq")[1].split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {"model": Model(), "__name__": __name__}
    exec(compile(code.replace("redis://localhost:6379/0", redis_url), "workers.md", "exec"), names)
    await names["broker"].startup()
    await names["reply"].kiq("1", "Why?")
    async with Hub.from_url(redis_url) as hub:
        assert ["Why?", "!"] == await _said(hub, "chat:1")
    await names["broker"].shutdown()


async def _kick(url: str, task: str, chat: str) -> None:
    from taskiq_redis import RedisStreamBroker

    broker = RedisStreamBroker(url)
    await broker.startup()
    await taskiq.kicker.AsyncKicker(task, broker, {}).kiq(chat)
    await broker.shutdown()


async def test_another_worker_goes_on(redis_url: str, run_python: RunPython) -> None:
    """After a SIGKILL, as soon as the broker delivers the task again and the lease has lapsed;
    after a SIGTERM, at once."""
    client = redis.asyncio.Redis.from_url(redis_url, socket_timeout=None)
    killed, told, last = await asyncio.gather(*(run_python(WORKER, redis_url) for _ in range(3)))
    told.signal(signal.SIGSTOP)
    last.signal(signal.SIGSTOP)
    assert "ready" == await within(killed.line())
    async with Hub.from_url(redis_url, config=HubConfig(lease=2.0)) as hub, client:

        async def begun(task: str, script: Script) -> LiveStream:
            await _kick(redis_url, task, script.chat)
            stream = await within(hub.get(script.session_id, wait=20.0))
            assert stream is not None
            await within(anext(stream.subscribe()))
            return stream

        async def said(stream: LiveStream) -> list[str]:
            async def finished() -> bool:
                # The broker looks for what a killed worker has left after each new message.
                await _kick(redis_url, "nothing", "")
                return (await stream.info()).status is Status.FINISHED

            await until(finished)
            return [chunk.data async for chunk in stream.subscribe()]

        scripted = Script(client, uuid.uuid4().hex)
        stream = await begun("scripted", scripted)
        await killed.kill()
        told.signal(signal.SIGCONT)
        await scripted.send("b", "end")
        assert ["<after ''>", "<after \"<after ''>\">", "b"] == await said(stream)

        patient = Script(client, uuid.uuid4().hex)
        stream = await begun("patient", patient)
        told.signal(signal.SIGTERM)
        await within(told.wait())
        last.signal(signal.SIGCONT)
        await client.set(f"go:{patient.chat}", 1)
        assert ["begun", "begun"] == await said(stream)
