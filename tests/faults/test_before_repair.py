"""Readers who come, or wait, while a living producer has not put back yet what the store lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

import streamhub.sync
from streamhub import (
    Chunk,
    Cursor,
    HubConfig,
    LiveStream,
    SessionNotFound,
    Status,
    Subscription,
)
from streamhub.http import create_app
from streamhub.testing.waiting import bounded, patience, unhurried, until

from ..http.conftest import Open, open_client
from ..http.serving import follow, path_of
from ..support.cli_process import start_cli
from ..support.redis_server import RedisServer
from ..support.redis_stage import BOUND, Stage, chunks, claimed, meta, taken

__all__ = ["open_client"]

pytestmark = pytest.mark.slow

#: Of a producer that notices nothing by itself for as long as a test lasts.
SILENT = HubConfig(lease=240.0)
#: More chunks than a process keeps of a session.
MANY = 9_000
#: And more than it keeps of them.
KEPT = 1_000


@pytest.fixture
async def stage(make_redis: Callable[..., RedisServer]) -> AsyncIterator[Stage]:
    async with bounded(3 * BOUND), Stage(make_redis()) as stage:
        yield stage


async def _flushall(stage: Stage) -> None:
    await stage.client.flushall()


async def _record_deleted(stage: Stage) -> None:
    await stage.client.delete(meta("chat"))


async def _evicted(stage: Stage) -> None:
    """By a Redis that is full, and evicts what nobody has asked for lately."""
    await stage.client.config_set("maxmemory-policy", "allkeys-lru")
    await stage.client.config_set("maxmemory", 3_000_000)

    async def is_gone() -> bool:
        async with stage.client.pipeline(transaction=False) as pipeline:
            for _ in range(20):
                pipeline.execute_command("EVAL", _FILL, 0)
            await pipeline.execute()
        return not await stage.client.exists(meta("chat"))

    await until(is_gone)
    await stage.client.config_set("maxmemory", 0)


_FILL = (
    "redis.call('SET', 'filler:' .. redis.call('TIME')[2] .. math.random(), string.rep('x', 9000))"
)

LOSSES = [_flushall, _record_deleted, _evicted]
Lose = Callable[[Stage], Awaitable[None]]


class Scene:
    """A session of three chunks whose producer is silent, and the handles of those who know it."""

    def __init__(self, stage: Stage, producer: LiveStream, seen: list[Chunk]) -> None:
        self.stage = stage
        self.producer = producer
        self.seen = seen

    @property
    def after(self) -> Cursor:
        """Where somebody stands who has read two of the chunks."""
        return self.seen[1].cursor

    async def put_back(self) -> None:
        """Have the producer notice, and end."""
        await self.producer.publish("4 ")
        await self.producer.close()

    async def listens(self, work: asyncio.Task[Any]) -> None:
        """Return when ``work`` listens to the session; raises where it has failed."""

        async def does() -> bool:
            return work.done() or bool(await self.stage.client.pubsub_channels("*:live"))

        await until(does)
        if work.done():
            await work


@pytest.fixture
async def scene(stage: Stage) -> Scene:
    producer = await claimed(stage.hub(SILENT), "chat")
    data = ["1 ", "2 ", "3 "]
    cursors = [await producer.publish(text) for text in data]
    await producer.flush()
    seen = [Chunk(text, cursor) for text, cursor in zip(data, cursors, strict=True)]
    return Scene(stage, producer, seen)


@pytest.mark.parametrize("lose", LOSSES)
async def test_g4_a_reader_with_a_cursor_waits_for_the_repair(scene: Scene, lose: Lose) -> None:
    """Nobody of its process has followed the session before it comes; it gets what comes after
    its cursor once the producer has put everything back."""
    hub = scene.stage.hub(SILENT)
    stream = await hub.get("chat")
    assert stream is not None
    await lose(scene.stage)
    reading = asyncio.create_task(_all(stream.subscribe(after=scene.after)))
    await scene.listens(reading)
    await scene.put_back()
    assert ["3 ", "4 "] == await reading


async def _all(subscription: Subscription) -> list[str]:
    return [chunk.data async for chunk in subscription]


async def test_g4_a_thread_with_a_cursor_waits_for_the_repair(scene: Scene) -> None:
    """As in the event loop."""

    def read(before: asyncio.Event, gone: Any, loop: asyncio.AbstractEventLoop) -> list[str]:
        with streamhub.sync.Hub.from_url(scene.stage.server.url, config=SILENT) as hub:
            stream = hub.get("chat")
            assert stream is not None
            loop.call_soon_threadsafe(before.set)
            asyncio.run_coroutine_threadsafe(gone.wait(), loop).result()
            return [chunk.data for chunk in stream.subscribe(after=scene.after)]

    has_it, gone = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    reading = asyncio.create_task(asyncio.to_thread(read, has_it, gone, loop))
    await has_it.wait()
    await _flushall(scene.stage)
    gone.set()
    await scene.listens(reading)
    await scene.put_back()
    assert ["3 ", "4 "] == await reading


async def test_g4_who_waits_for_the_end_waits_for_the_repair(scene: Scene) -> None:
    """By a handle that was opened before: ``wait`` says how it ended, and not that there is no such
    session."""
    found = await scene.stage.hub(SILENT).get("chat")
    assert found is not None
    await _flushall(scene.stage)
    waiting = asyncio.create_task(found.wait())
    await scene.listens(waiting)
    await scene.put_back()
    assert Status.FINISHED is await waiting


async def test_g9_who_waits_for_a_cancel_asks_again_after_the_repair(scene: Scene) -> None:
    """``cancel(wait=)`` does not say that the stream is lost which its producer puts back."""
    found = await scene.stage.hub(SILENT).get("chat")
    assert found is not None
    await _flushall(scene.stage)
    assert Status.LOST is await found.cancel()
    cancelling = asyncio.create_task(found.cancel(wait=patience(BOUND)))
    await scene.listens(cancelling)
    await scene.producer.publish("4 ")
    assert Status.CANCELLED is await cancelling


@pytest.mark.parametrize("lose", LOSSES)
@pytest.mark.parametrize("by", ["header", "query"])
async def test_g4_a_client_with_a_cursor_waits_for_the_repair(
    scene: Scene, open_client: Open, lose: Lose, by: str
) -> None:
    """Over SSE, by ``Last-Event-ID`` or by ``?after=``: never a 404, upon which an EventSource
    stops for good."""
    client = await open_client(create_app(scene.stage.hub(SILENT)))
    await lose(scene.stage)
    asking = asyncio.create_task(_events(client, str(scene.after), by))
    await scene.listens(asking)
    await scene.put_back()
    assert (200, ["3 ", "4 "]) == await asking


async def _events(client: httpx.AsyncClient, after: str, by: str) -> tuple[int, list[str]]:
    options: dict[str, Any] = {"params": {"after": after}} if by == "query" else {"after": after}
    async with follow(client, path_of("chat"), **options) as response:
        if response.response.status_code != 200:
            return response.response.status_code, []
        return 200, [event.data for event in (await response.rest())[:-1]]


async def test_g4_tail_with_a_cursor_waits_for_the_repair(scene: Scene) -> None:
    """On the command line: ``--after`` says that the session was there."""
    await _flushall(scene.stage)
    async with start_cli(
        "tail", "chat", "--after", str(scene.after), url=scene.stage.server.url
    ) as tail:
        ending = asyncio.create_task(tail.ended())
        await _until_it_listens_or_ends(scene.stage, ending)
        await scene.put_back()
        ended = await ending
    assert (0, "3 4 ") == (ended.code, ended.out)


async def _until_it_listens_or_ends(stage: Stage, ending: asyncio.Task[Any]) -> None:
    async def does() -> bool:
        return ending.done() or bool(await stage.client.pubsub_channels("*:live"))

    await until(does)


async def test_g4_a_cursor_of_what_nobody_puts_back_gets_a_verdict(
    stage: Stage, open_client: Open
) -> None:
    """Its producer is gone, too: in Python ``SessionNotFound``, over HTTP the same, within lease
    and five seconds. Who comes without a cursor is told at once, as ever."""
    config = HubConfig(lease=unhurried(1.0))
    producing = stage.hub(config)
    producer = await claimed(producing, "chat")
    cursor = await producer.publish("1 ")
    hub = stage.hub(config)
    await producer.flush()
    stream = await hub.get("chat")
    assert stream is not None
    await producing.aclose()
    await _flushall(stage)

    assert await hub.get("chat") is None
    client = await open_client(create_app(stage.hub(config)))
    async with bounded(config.lease + 5.0):
        with pytest.raises(SessionNotFound):
            await anext(stream.subscribe(after=cursor))
    async with bounded(config.lease + 5.0):
        answer = await client.get(path_of("chat"), headers={"last-event-id": str(cursor)})
    assert 404 == answer.status_code or "gone" in answer.text


@pytest.mark.parametrize("ends", [True, False])
async def test_g4_readers_far_behind_read_on_when_the_log_was_put_back(
    stage: Stage, ends: bool
) -> None:
    """They pause, at places all over the log, while more passes than a process keeps; the log is
    deleted, and they go on reading before the producer has put it back. They get everything,
    whether the producer ends right after that or goes on for ever."""
    proxy = await stage.proxy()
    usual = HubConfig()
    producer = await claimed(stage.hub(usual, url=proxy.url), "chat")
    stream = await stage.hub(usual).get("chat")
    assert stream is not None
    data = [f"{n} " for n in range(MANY)]
    paused: list[tuple[Subscription, int]] = []
    for n, text in enumerate(data):
        cursor = await producer.publish(text)
        if not n % 500 and n < MANY - KEPT:
            await producer.flush()
            paused.append((subscription := stream.subscribe(after=cursor), n))
            await subscription.open()
    await producer.flush()

    # So that it is put back piece by piece, while they look at it.
    proxy.slow_down("writer", bytes_per_second=100_000)
    await stage.client.delete(chunks("chat"))
    reading = [asyncio.create_task(_to(one, MANY - 1 - n)) for one, n in paused]
    # Until they have found that the log has nothing for them.
    await _asked(stage)
    publishing = asyncio.create_task(_publish_on(producer, ends))
    try:
        async with bounded(BOUND):
            received = await asyncio.gather(*reading)
    finally:
        publishing.cancel()
        await asyncio.gather(publishing, *reading, return_exceptions=True)
    assert [data[n + 1 :] for _, n in paused] == received


async def _to(subscription: Subscription, count: int) -> list[str]:
    return [chunk.data for chunk in await taken(subscription, count)]


async def _publish_on(producer: LiveStream, ends: bool) -> None:
    """Have the loss noticed, and end at once; or go on, at a pace that leaves no pause."""
    await producer.publish("more")
    if ends:
        await producer.close()
    while not ends:
        await producer.publish("more")
        await asyncio.sleep(0.01)


async def _asked(stage: Stage) -> None:
    """Return when the empty log has been read."""
    before = await _reads(stage)

    async def again() -> bool:
        return await _reads(stage) > before

    await until(again)


async def _reads(stage: Stage) -> int:
    calls: dict[str, Any] = await stage.client.info("commandstats")
    names = ("xrange", "xread")
    return sum(int(calls.get(f"cmdstat_{name}", {"calls": 0})["calls"]) for name in names)
