"""Readers that want some of a session: chunks of some event types, or the last ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import redis.asyncio

from streamhub import (
    Chunk,
    Cursor,
    CursorExpired,
    Hub,
    HubConfig,
    LiveStream,
    ProducerFailed,
    Status,
    StreamReplaced,
    Subscription,
    parts,
)
from streamhub.chunks import right_after
from streamhub.stores.base import Appended, LiveEvent, Store, Watch
from streamhub.stores.redis import RedisStore
from streamhub.stores.wrapped import WrappedStore
from streamhub.testing.waiting import until, within

from ..conftest import MakeHub

both = pytest.mark.parametrize("new_hub", ["memory", "redis"], indirect=True)
on_redis = pytest.mark.parametrize("new_hub", ["redis"], indirect=True)


async def produced(hub: Hub, session_id: str) -> LiveStream:
    stream, created = await hub.register(session_id)
    assert created
    return stream


def stands(subscription: Subscription, cursor: Cursor) -> Callable[[], Awaitable[bool]]:
    """Whether the reader has come to ``cursor``."""

    async def check() -> bool:
        return subscription.cursor == cursor

    return check


def offsets(chunks: list[Chunk]) -> list[int]:
    return [chunk.cursor.offset for chunk in chunks]


@both
async def test_only_wanted_chunks_come_from_the_log_and_live(hub: Hub, session_id: str) -> None:
    """By iteration and in rows, beside each other; the end comes to all of them."""
    stream = await produced(hub, session_id)
    for n in range(600):
        await stream.publish(f"{n}", event="status" if n % 100 == 0 else None)
    await stream.flush()
    statuses, texts = stream.subscribe(events=["status"]), stream.subscribe(events={None})
    seen = [await within(anext(statuses)) for _ in range(6)]
    taken: list[Chunk] = []
    while len(taken) < 594:
        taken += await within(texts.take())
    for n in range(600, 610):
        await stream.publish(f"{n}", event="status" if n == 605 else None)
    await stream.close()
    seen += [chunk async for chunk in statuses]
    while more := await within(texts.take()):
        taken += more

    assert [1, 101, 201, 301, 401, 501, 606] == offsets(seen)
    assert {"status"} == {chunk.event for chunk in seen}
    assert sorted({*range(1, 611)} - {*offsets(seen)}) == offsets(taken)
    assert [Status.FINISHED] * 2 == [statuses.status, texts.status]


@both
async def test_the_cursor_goes_on_with_what_is_passed_over(hub: Hub, session_id: str) -> None:
    """Whoever resumes there gets the next wanted chunk, and none twice."""
    stream = await produced(hub, session_id)
    await stream.publish("one", event="status")
    subscription = stream.subscribe(events=["status"])
    await within(anext(subscription))
    waiting = asyncio.create_task(anext(subscription))
    passed_over = await stream.publish("x")
    await until(stands(subscription, passed_over))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await stream.publish("two", event="status")
    await stream.close()
    resumed = [chunk async for chunk in stream.subscribe(after=passed_over, events=["status"])]

    assert ["two"] == [chunk.data for chunk in resumed]
    assert ["two"] == [chunk.data async for chunk in subscription]


@both
async def test_a_failure_comes_whatever_is_wanted(hub: Hub, session_id: str) -> None:
    """Nothing that a reader does not want hides how the session went on."""
    stream = await produced(hub, session_id)
    await stream.publish("x")
    subscription = stream.subscribe(events=["status"])
    waiting = asyncio.create_task(anext(subscription))
    await stream.fail("no more")

    with pytest.raises(ProducerFailed, match="no more"):
        await within(waiting)
    with pytest.raises(ProducerFailed):
        await anext(subscription)


@both
async def test_a_new_epoch_is_told_whatever_is_wanted(hub: Hub, session_id: str) -> None:
    """``StreamReplaced`` also reaches who has passed over all of the old one."""
    stream = await produced(hub, session_id)
    passed_over = await stream.publish("x")
    subscription = stream.subscribe(events=["status"])
    waiting = asyncio.create_task(anext(subscription))
    await until(stands(subscription, passed_over))
    await stream.close()
    with pytest.raises(StopAsyncIteration):
        await within(waiting)
    cursor = subscription.cursor
    await produced(hub, session_id)

    with pytest.raises(StreamReplaced):
        await within(anext(stream.subscribe(after=cursor, events=["status"])))


@both
async def test_text_that_is_joined_comes_without_what_is_not_wanted(
    hub: Hub, session_id: str
) -> None:
    """Rows are those of the log: what stands between them parts them, wanted or not."""
    stream = await produced(hub, session_id)
    for text, event in (("a", None), ("b", None), ("s", "status"), ("c", None), ("d", None)):
        await stream.publish(text, event=event)
    await stream.close()
    chunks = [one async for one in stream.subscribe(events=[None], batch_replay=True)]

    assert [("ab", 2), ("cd", 5)] == [(one.data, one.cursor.offset) for one in chunks]


@both
async def test_the_last_chunks_come_and_then_what_is_live(hub: Hub, session_id: str) -> None:
    """As many as there are, or as were asked for, from a log of several pages; the cursor stands
    before the first of them."""
    stream = await produced(hub, session_id)
    empty = stream.subscribe(last=5)
    await within(empty.open())
    for n in range(1, 1201):
        await stream.publish("{}", event=f"kind{n % 3}")
    await stream.flush()
    few, many = stream.subscribe(last=3), stream.subscribe(last=1100)
    some = stream.subscribe(last=2, events=["kind1"])
    for subscription in (few, many, some):
        await within(subscription.open())
    befores = [one.cursor.offset for one in (few, many, some) if one.cursor is not None]
    await stream.publish("{}", event="kind1")
    await stream.close()

    assert [1197, 100, 1194] == befores
    assert [1198, 1199, 1200, 1201] == offsets([chunk async for chunk in few])
    assert [*range(101, 1202)] == offsets([chunk async for chunk in many])
    assert [1195, 1198, 1201] == offsets([chunk async for chunk in some])
    assert [*range(1, 1202)] == offsets([chunk async for chunk in empty])


class _Behind(WrappedStore):
    """Keeps live events of chunks back, once it is told to."""

    keeps = False

    def watch(
        self, session_id: str, sink: Callable[[LiveEvent], None], *, cancels: bool = False
    ) -> Watch:
        def pass_on(event: LiveEvent) -> None:
            if not (self.keeps and isinstance(event, Appended)):
                sink(event)

        return super().watch(session_id, pass_on, cancels=cancels)


@on_redis
async def test_last_and_now_are_those_of_the_store(
    hub: Hub, session_id: str, redis_client: redis.asyncio.Redis
) -> None:
    """What other readers of this process have heard of may be behind what is stored."""
    stream = await produced(hub, session_id)
    store = _Behind(RedisStore(redis_client))
    async with Hub(store) as elsewhere:
        reader = await elsewhere.get(session_id)
        assert reader is not None
        other = reader.subscribe()
        first = await stream.publish("1")
        assert first == (await within(anext(other))).cursor
        store.keeps = True
        for n in range(2, 11):
            await stream.publish(f"{n}", event="n")
        await stream.flush()
        last, now = reader.subscribe(last=3), reader.subscribe(after="now")
        for subscription in (last, now):
            await within(subscription.open())
        befores = [one.cursor.offset for one in (last, now) if one.cursor is not None]

        assert [7, 10] == befores


@both
async def test_the_last_chunks_begin_with_the_start_of_a_part(hub: Hub, session_id: str) -> None:
    """However many deltas ago that was; and a continued log is one log."""
    stream = await produced(hub, session_id)
    await stream.publish("x")
    await stream.publish(parts.TextStart("1"))
    await stream.publish(parts.TextDelta("1", "so "))
    await stream.fail("on the way")
    stream, created = await hub.register(session_id, takeover="continue")
    assert created
    for _ in range(700):
        await stream.publish(parts.TextDelta("1", "on "))
    await stream.close()
    chunks = [chunk async for chunk in stream.subscribe(last=2)]

    assert [*range(2, 704)] == offsets(chunks)
    assert parts.TextStart("1") == parts.decode(chunks[0].data)


@both
async def test_a_start_is_named_once(hub: Hub, session_id: str) -> None:
    """A cursor and a number of chunks at once are a mistake, which names both."""
    stream = await produced(hub, session_id)
    with pytest.raises(ValueError, match=r"after='5-3' and last=2"):
        stream.subscribe(after="5-3", last=2)
    await stream.close()


@on_redis
async def test_the_last_chunks_are_waited_for_while_a_log_is_mended(
    make_hub: MakeHub, session_id: str, redis_client: redis.asyncio.Redis
) -> None:
    """A log of which the store has lost a piece is put back by its producer, and not begun after
    the hole; one that nobody mends says so."""
    config = HubConfig(lease=2.0)
    # Its producer notices nothing before it publishes.
    stream = await produced(make_hub(HubConfig(lease=600.0)), session_id)
    await stream.publish(parts.TextStart("1"))
    for _ in range(4):
        await stream.publish(parts.TextDelta("1", "x"))
    await stream.flush()
    key = f"streamhub:{{{session_id}}}:chunks"
    await redis_client.xtrim(key, maxlen=2, approximate=False)
    store = _Reads(RedisStore(redis_client))
    async with Hub(store, config=config) as elsewhere:
        reader = await elsewhere.get(session_id)
        assert reader is not None
        reading = asyncio.create_task(anext(reader.subscribe(last=2)))
        await within(store.hole.wait())
        await stream.publish(parts.TextDelta("1", "y"))

        assert 1 == (await within(reading)).cursor.offset
        await stream.close()
    await redis_client.xtrim(key, maxlen=1, approximate=False)
    late = await make_hub().get(session_id)
    assert late is not None
    with pytest.raises(CursorExpired):
        await within(anext(late.subscribe(last=2)))


class _Reads(WrappedStore):
    """Tells when a hole was read."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.hole = asyncio.Event()

    async def read(
        self, session_id: str, after: Cursor, limit: int, *, generation: str | None = None
    ) -> list[Chunk]:
        found = await super().read(session_id, after, limit, generation=generation)
        if not right_after(found, after):
            self.hole.set()
        return found
