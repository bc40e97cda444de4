"""The read side where sessions change under it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis.asyncio

from streamhub import (
    CursorExpired,
    Hub,
    HubConfig,
    ProducerFailed,
    SessionCorrupted,
    Status,
    StreamReplaced,
)
from streamhub.chunks import Chunk, Cursor, Terms, join, right_after
from streamhub.reading.page_cache import PageCache
from streamhub.stores.memory import MemoryStore

from ..conftest import MakeHub

on_redis = pytest.mark.parametrize("new_hub", ["redis"], indirect=True)

TERMS = Terms.first(1)


async def produce(hub: Hub, session_id: str, *texts: str) -> None:
    stream, created = await hub.register(session_id)
    assert created
    async with stream:
        for text in texts:
            await stream.publish(text)


async def test_a_reader_that_missed_a_restart_gets_an_error_and_nothing_new(
    make_hub: MakeHub, session_id: str
) -> None:
    """Far behind in the log, with its live events lost: what it holds is old text only."""
    hub = make_hub()
    await produce(hub, session_id, *["old "] * 600)
    reader = await make_hub().get(session_id)
    assert reader is not None
    subscription = reader.subscribe(buffer=1)
    received = [(await anext(subscription)).data]
    await produce(hub, session_id, *["new "] * 900)

    async def read() -> None:
        async for chunk in subscription:
            received.append(chunk.data)

    with pytest.raises(StreamReplaced):
        await read()
    assert {"old "} == set(received)


async def test_text_is_of_one_answer_only(session_id: str) -> None:
    """A restart between two pages: the new text whole, and nothing of the old."""
    restarts: list[int] = []

    class Restarting(MemoryStore):
        async def read(self, *args: Any, **options: Any) -> list[Chunk]:
            chunks = await super().read(*args, **options)
            if not restarts:
                restarts.append(1)
                await produce(other, session_id, *["new "] * 10)
            return chunks

    store = Restarting()
    async with Hub(store) as hub, Hub(store) as other:
        await produce(hub, session_id, *["old "] * 3000)
        reader = await hub.get(session_id)
        assert reader is not None

        assert "new " * 10 == await reader.text()


async def test_a_batch_replay_is_of_one_answer_only(session_id: str) -> None:
    """A restart between two pages: an error, and nothing of either answer."""
    restarts: list[int] = []

    class Restarting(MemoryStore):
        async def read_joined(self, *args: Any, **options: Any) -> list[Chunk]:
            chunks = await super().read_joined(*args, **options)
            if not restarts:
                restarts.append(1)
                await produce(other, session_id, *["new "] * 9000)
            return chunks

    store = Restarting()
    async with Hub(store) as hub, Hub(store) as other:
        await produce(hub, session_id, *["old "] * 9000)
        reader = await hub.get(session_id)
        assert reader is not None

        with pytest.raises(StreamReplaced):
            await anext(reader.subscribe(batch_replay=True))
    assert [1] == restarts


class Counting(MemoryStore):
    """Knows which parts of a log it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[tuple[int, int]] = []
        self.joined: list[tuple[int, int]] = []

    async def read(self, session_id: str, after: Cursor, limit: int, **options: Any) -> Any:
        self.parts.append((after.offset, limit))
        await asyncio.sleep(0)
        return await super().read(session_id, after, limit, **options)

    async def read_joined(self, session_id: str, after: Cursor, limit: int) -> Any:
        self.joined.append((after.offset, limit))
        await asyncio.sleep(0)
        return join(await super().read(session_id, after, limit))


async def test_batch_replays_at_once_read_the_log_once(session_id: str) -> None:
    """Those who come back together share each page, as it came from the store."""
    store = Counting()
    async with Hub(store) as hub:
        await produce(hub, session_id, *["x"] * 9000)
        reader = await hub.get(session_id)
        assert reader is not None

        async def replay() -> list[str]:
            return [chunk.data async for chunk in reader.subscribe(batch_replay=True)]

        assert [["x" * 9000]] * 50 == await asyncio.gather(*(replay() for _ in range(50)))
    assert [(0, 8192), (8192, 808)] == store.joined
    assert [] == store.parts


async def test_replays_at_once_read_the_log_once(session_id: str) -> None:
    """A little first, so that it begins soon; then more at a time, and nothing twice."""
    store = Counting()
    texts = [str(n) for n in range(5000)]
    async with Hub(store) as hub:
        await produce(hub, session_id, *texts)
        reader = await hub.get(session_id)
        assert reader is not None

        async def replay() -> list[str]:
            return [chunk.data async for chunk in reader.subscribe()]

        assert [texts] * 20 == await asyncio.gather(*(replay() for _ in range(20)))
    assert [(0, 512), (512, 1536), (2048, 2048), (4096, 904)] == store.parts


async def test_who_comes_later_finds_what_others_have_read(session_id: str) -> None:
    """As long as anybody follows the session, an answer of usual length is read once."""
    store = Counting()
    texts = [str(n) for n in range(6_000)]
    async with Hub(store) as hub:
        await produce(hub, session_id, *texts)
        reader = await hub.get(session_id)
        assert reader is not None
        async with reader.subscribe() as first:
            assert texts == [chunk.data for chunk in [await anext(first) for _ in texts]]
            read_once = list(store.parts)
            assert texts == [chunk.data async for chunk in reader.subscribe()]

    assert read_once == store.parts
    assert 6_000 == sum(limit for _, limit in read_once)


async def test_readers_apart_from_each_other_read_hardly_more_than_each_alone() -> None:
    """What is read ahead for one is still there when it comes to it, whatever others read."""
    log = [Chunk("x", Cursor(1, offset)) for offset in range(1, 30_001)]
    parts: list[int] = []

    async def read(after: Cursor, limit: int) -> list[Chunk]:
        parts.append(limit)
        return log[after.offset : after.offset + limit]

    pages = PageCache(
        ahead=4, read=read, row=right_after, spawn=asyncio.create_task, give_up_after=1.0
    )
    starts = [0, 5120, 10_240, 15_360, 20_480]
    positions = [Cursor(1, start) for start in starts]
    while any(position.offset < len(log) for position in positions):
        for at, position in enumerate(positions):
            if position.offset < len(log):
                found = await pages.read(position.offset, TERMS, size=512, end=len(log))
                assert found is not None
                assert found[0].cursor.offset == position.offset + 1
                positions[at] = found[-1].cursor
    assert sum(parts) <= 1.1 * sum(len(log) - start for start in starts)


async def test_what_follows_is_asked_for_though_a_reader_need_not_wait() -> None:
    """Who finds its page read does not go through it before the next one is asked for."""
    log = [Chunk("x", Cursor(1, offset)) for offset in range(1, 10_001)]
    asked: list[int] = []

    async def read(after: Cursor, limit: int) -> list[Chunk]:
        asked.append(after.offset)
        return log[after.offset : after.offset + limit]

    pages = PageCache(
        ahead=4, read=read, row=right_after, spawn=asyncio.create_task, give_up_after=1.0
    )
    await pages.read(0, TERMS, size=512, end=len(log))
    assert [0, 512] == asked
    await pages.read(512, TERMS, size=512, end=len(log))
    assert [0, 512, 2048] == asked


async def test_pages_that_are_forgotten_before_they_are_read_are_read_again() -> None:
    """The log changes hands in the very moment in which a page is asked for."""
    log = [Chunk(text, Cursor(1, offset)) for offset, text in enumerate("abc", 1)]

    async def read(after: Cursor, limit: int) -> list[Chunk]:
        return log[after.offset : after.offset + limit]

    pages = PageCache(
        ahead=1, read=read, row=right_after, spawn=asyncio.create_task, give_up_after=1.0
    )
    reading = asyncio.create_task(pages.read(0, TERMS, size=512, end=3))
    await asyncio.sleep(0)
    pages.forget()

    assert None is await reading
    assert log == await pages.read(0, TERMS, size=512, end=3)


async def test_a_batch_replay_may_begin_anywhere(session_id: str) -> None:
    """From the first whole page on its pages are joined, too."""
    store = Counting()
    async with Hub(store) as hub:
        await produce(hub, session_id, *[f"{n} " for n in range(20_000)])
        reader = await hub.get(session_id)
        assert reader is not None
        after = Cursor((await reader.info()).last.term, 5000)

        replayed = [chunk.data async for chunk in reader.subscribe(after=after, batch_replay=True)]
        assert ["".join(f"{n} " for n in range(5000, 20_000))] == replayed
    assert [(8192, 8192), (16384, 3616)] == store.joined
    assert [(4608, 512), (5120, 1024), (6144, 2048)] == store.parts[:3]


@on_redis
async def test_a_batch_replay_ends_at_a_lost_part(
    make_hub: MakeHub, session_id: str, redis_client: redis.asyncio.Redis
) -> None:
    """What stands before the hole is handed out, and nothing of what stands behind it."""
    hub = make_hub()
    await produce(hub, session_id, *"abcd")
    reader = await hub.get(session_id)
    assert reader is not None
    epoch = (await reader.info()).epoch
    await redis_client.xdel(f"streamhub:{{{session_id}}}:chunks", f"{epoch}-3")

    subscription = reader.subscribe(batch_replay=True)
    assert "ab" == (await anext(subscription)).data
    with pytest.raises(CursorExpired):
        await anext(subscription)


@on_redis
async def test_text_with_a_lost_part_is_an_error(
    make_hub: MakeHub, session_id: str, redis_client: redis.asyncio.Redis
) -> None:
    """What is shown as the answer is the answer: a hole is never passed over."""
    hub = make_hub()
    await produce(hub, session_id, "a", "b", "c")
    reader = await hub.get(session_id)
    assert reader is not None
    log = f"streamhub:{{{session_id}}}:chunks"
    await redis_client.xdel(log, f"{(await reader.info()).epoch}-2")

    with pytest.raises(CursorExpired):
        await reader.text()


@on_redis
async def test_a_damaged_session_leaves_the_others_of_its_hub_alone(
    make_hub: MakeHub, session_id: str, redis_client: redis.asyncio.Redis
) -> None:
    """Its own calls say what is wrong; the stream next to it, in the same round trip, goes on."""
    hub = make_hub()
    damaged, _ = await hub.register(f"{session_id}-damaged")
    healthy, _ = await hub.register(session_id)
    await redis_client.hset(
        f"streamhub:{{{session_id}-damaged}}:meta",
        mapping={"status": "done", "outcome": "completed"},
    )

    await damaged.publish("a")
    await healthy.publish("a")
    with pytest.raises(SessionCorrupted, match="completed"):
        await damaged.flush()
    await healthy.close()

    with pytest.raises(SessionCorrupted):
        await damaged.cancel()
    assert "a" == await healthy.text()


async def test_waiting_for_a_session_that_was_just_removed_waits_for_the_next(
    make_hub: MakeHub, session_id: str
) -> None:
    """What an open subscriber still remembers is not taken for a session."""
    hub = make_hub()
    stream, _ = await hub.register(session_id)
    subscription = stream.subscribe()
    await stream.publish("a")
    await anext(subscription)
    await make_hub().remove(session_id)

    waiting = asyncio.create_task(hub.get(session_id, wait=30))
    await asyncio.sleep(0)
    again, _ = await make_hub().register(session_id)
    found = await waiting

    assert found is not None
    assert again.generation == (await found.info()).generation
    await subscription.aclose()


async def test_a_subscription_that_failed_fails_again(hub: Hub, session_id: str) -> None:
    """Who asks a second time does not take the error for the end."""
    stream, _ = await hub.register(session_id)
    await stream.fail("broke")
    subscription = stream.subscribe()

    for _ in range(3):
        with pytest.raises(ProducerFailed, match="broke"):
            await anext(subscription)
    assert Status.FAILED is subscription.status


async def test_the_cursor_of_a_reader_from_now_on_is_where_it_began(
    make_hub: MakeHub, session_id: str
) -> None:
    """Cut off before its first chunk, it resumes there, and misses nothing that came meanwhile."""
    hub = make_hub(HubConfig(lease=600.0))
    stream, _ = await hub.register(session_id)
    last = await stream.publish("before")
    await stream.flush()
    subscription = stream.subscribe(after="now")
    waiting = asyncio.create_task(anext(subscription))
    while subscription.cursor is None:  # noqa: ASYNC110 - nothing tells that a reader began
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    await stream.publish("after")
    await stream.close()

    assert last == subscription.cursor
    rest = [chunk.data async for chunk in stream.subscribe(after=subscription.cursor)]
    assert ["after"] == rest


async def test_opening_says_how_the_session_stands(hub: Hub, session_id: str) -> None:
    """``open`` finds the session before the first chunk, and takes none of them."""
    stream = await hub.run(session_id, ["one", "two"])
    await stream.wait()
    subscription = stream.subscribe()
    info = await subscription.open()

    assert Status.FINISHED == info.status
    assert Cursor(info.last.term, 0) == subscription.cursor
    assert ["one", "two"] == [chunk.data async for chunk in subscription]


async def test_opening_refuses_what_iteration_would(hub: Hub, session_id: str) -> None:
    """``open`` raises the error of a start in another epoch, and so does iteration after it."""
    stream = await hub.run(session_id, ["one"])
    await stream.wait()
    subscription = stream.subscribe(after="1-1")

    with pytest.raises(StreamReplaced):
        await subscription.open()
    with pytest.raises(StreamReplaced):
        await anext(subscription)


async def test_subscriptions_share_what_one_has_made(hub: Hub, session_id: str) -> None:
    """``shared`` makes a thing once for all subscriptions of a session, and not for others."""
    first = await hub.run(session_id, ["one"])
    other = await hub.run(f"{session_id}:other", ["one"])
    subscriptions = [first.subscribe(), first.subscribe(), other.subscribe()]
    for subscription in subscriptions:
        await subscription.open()
    things = [subscription.shared("a key", object) for subscription in subscriptions]

    assert things[0] is things[1]
    assert things[0] is not things[2]


async def test_g10_large_chunks_are_read_one_by_one(session_id: str) -> None:
    """A reader that does not go on has one of them in memory, and not as many as a page of small
    ones holds."""
    store = Counting()
    config = HubConfig(max_pending_bytes=64 * 1024)
    async with Hub(store, config=config) as hub:
        await produce(hub, session_id, *["x" * 32 * 1024] * 20)
        reader = await hub.get(session_id)
        assert reader is not None
        async with reader.subscribe() as chunks:
            await anext(chunks)
            await anext(chunks)
            assert [(0, 1), (1, 1)] == store.parts
