"""What survives a store that loses its data: the producer puts it back (G3, G7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from streamhub import (
    Chunk,
    CursorExpired,
    HubConfig,
    LiveStream,
    ProducerFenced,
    SessionNotFound,
    Status,
    StreamReplaced,
    Subscription,
)
from streamhub.testing.waiting import bounded, patience

from ..support.redis_server import RedisServer
from ..support.redis_stage import BOUND, Stage, assert_whole, chunks, claimed, meta, opened, taken


@pytest.fixture
async def stage(make_redis: Callable[[], RedisServer]) -> AsyncIterator[Stage]:
    async with bounded(2 * BOUND), Stage(make_redis()) as stage:
        yield stage


async def test_g7_a_redis_restarted_empty_in_mid_stream_gets_everything_back(
    stage: Stage,
) -> None:
    """Several producers, each with two open subscribers of whom one lags: all see every chunk."""
    producing, reading = stage.hub(), stage.hub()
    data = [f"{n} " for n in range(1_500)]
    streams = [await claimed(producing, f"chat:{n}") for n in range(4)]
    for stream in streams:
        for text in data[:1_000]:
            await stream.publish(text)
        await stream.flush()
    quick = [await opened(reading, stream.session_id) for stream in streams]
    slow = [await opened(reading, stream.session_id) for stream in streams]
    received = [await taken(one, 1_000) for one in quick] + [await taken(one, 3) for one in slow]

    stage.server.restart()

    async def go_on(stream: LiveStream) -> None:
        async with stream:
            for text in data[1_000:]:
                await stream.publish(text)

    async def read_on(subscription: Subscription, so_far: list[Chunk]) -> None:
        so_far += [chunk async for chunk in subscription]

    async with bounded(BOUND):
        await asyncio.gather(*map(go_on, streams), *map(read_on, [*quick, *slow], received))
    for so_far in received:
        assert_whole(so_far, data)


async def _lose_everything(client: Any) -> None:
    await client.flushall()


async def _lose_chunks(client: Any) -> None:
    await client.delete(chunks("chat"))


async def _lose_meta(client: Any) -> None:
    await client.delete(meta("chat"))


async def _lose_newest(client: Any) -> None:
    entries = await client.xrange(chunks("chat"))
    async with client.pipeline(transaction=True) as pipeline:
        pipeline.delete(chunks("chat"))
        for key, fields in entries[:-3]:
            pipeline.xadd(chunks("chat"), fields, id=key)
        pipeline.hincrby(meta("chat"), "last", -3)
        await pipeline.execute()


async def _lose_middle(client: Any) -> None:
    entries = await client.xrange(chunks("chat"))
    await client.xdel(chunks("chat"), entries[len(entries) // 2][0])


LOSSES = [_lose_everything, _lose_chunks, _lose_meta, _lose_newest, _lose_middle]


@pytest.mark.parametrize("lose", LOSSES)
async def test_g7_a_stream_survives_any_loss_of_its_keys(
    stage: Stage, lose: Callable[[Any], Awaitable[None]]
) -> None:
    """The producer publishes on; an open subscriber and one that comes later see every chunk,
    and metadata and owner stand as before."""
    hub, elsewhere = stage.hub(), stage.hub()
    stream = await claimed(hub, "chat", owner="ann", metadata={"model": "m"})
    for n in range(10):
        await stream.publish(f"{n} ")
    await stream.flush()
    subscription = await opened(elsewhere, "chat")
    received = await taken(subscription, 4)

    await lose(stage.client)

    async with bounded(BOUND), stream:
        await stream.publish("after ", event="note")
    received += [chunk async for chunk in subscription]
    data = [*(f"{n} " for n in range(10)), "after "]
    assert_whole(received, data)
    assert received == [chunk async for chunk in await opened(elsewhere, "chat")]
    info = await stream.info()
    assert ("ann", {"model": "m"}, Status.FINISHED) == (info.owner, info.metadata, info.status)


@pytest.mark.parametrize("lose", LOSSES)
async def test_g7_an_idle_producer_repairs_by_its_renewal(
    stage: Stage, lose: Callable[[Any], Awaitable[None]]
) -> None:
    """A producer that has published and is quiet puts back what is lost, unasked."""
    hub, elsewhere = stage.hub(), stage.hub()
    stream = await claimed(hub, "chat")
    for n in range(10):
        await stream.publish(f"{n} ")
    await stream.flush()
    subscription = await opened(elsewhere, "chat")
    received = await taken(subscription, 4)
    await lose(stage.client)
    async with bounded(BOUND):
        received += await taken(subscription, 6)
        assert_whole(received, [f"{n} " for n in range(10)])
        # One that has seen nothing yet can have it from the store alone.
        late = await stage.hub().get("chat", wait=patience(BOUND))
        assert late is not None
        assert received == await taken(late.subscribe(), 10)


@pytest.mark.parametrize("lose", LOSSES)
async def test_g7_a_stream_that_is_closed_right_after_a_loss_is_whole(
    stage: Stage, lose: Callable[[Any], Awaitable[None]]
) -> None:
    """The end is stored after everything was put back, not on top of what is left."""
    quiet = HubConfig(lease=60.0)
    stream = await claimed(stage.hub(quiet), "chat")
    data = [f"{n} " for n in range(10)]
    for text in data:
        await stream.publish(text)
    await stream.flush()

    await lose(stage.client)
    await stream.close()

    late = await opened(stage.hub(quiet), "chat")
    assert_whole([chunk async for chunk in late], data)
    assert Status.FINISHED == late.status


async def test_g9_a_cancel_that_was_noticed_outlives_the_data(stage: Stage) -> None:
    """Redis has lost that it was asked for when the producer ends: it is cancelled all the same."""

    async def stop() -> None:
        await stage.client.flushall()
        await stream.publish("last ")
        await stream.close()

    stream = await claimed(stage.hub(), "chat", on_cancel=stop)
    await stream.publish("first ")
    await stream.flush()
    reader = await stage.hub().get("chat")
    assert reader is not None
    assert Status.CANCELLED == await reader.cancel(wait=patience(BOUND))
    assert ("first last ", Status.CANCELLED) == (await reader.text(), (await reader.info()).status)


async def test_g3_a_subscriber_at_a_hole_waits_for_its_repair(stage: Stage) -> None:
    """Nobody has noticed yet that a chunk is gone: it delivers what is before the hole, and goes
    on there once the producer has mended it."""
    quiet = HubConfig(lease=60.0)
    stream = await claimed(stage.hub(quiet), "chat")
    data = [f"{n} " for n in range(10)]
    for text in data:
        await stream.publish(text)
    await stream.flush()
    await _lose_middle(stage.client)
    subscription = await opened(stage.hub(quiet), "chat")
    received = await taken(subscription, 5)
    waiting = asyncio.create_task(anext(subscription))
    done, _ = await asyncio.wait([waiting], timeout=0.2)
    assert set() == done

    async with stream:
        await stream.publish("10 ")
    received += [await waiting, *[chunk async for chunk in subscription]]
    assert_whole(received, [*data, "10 "])


async def test_a_hole_that_nobody_mends_is_an_error(stage: Stage) -> None:
    """In an ended session: CursorExpired names the last chunk before it."""
    async with await claimed(stage.hub(), "chat") as stream:
        for n in range(10):
            await stream.publish(f"{n} ")
    await _lose_middle(stage.client)
    subscription = await opened(stage.hub(), "chat")
    received = await taken(subscription, 5)
    with pytest.raises(CursorExpired) as expired:
        await anext(subscription)
    assert received[-1].cursor == expired.value.cursor


async def test_a_lost_log_with_a_hole_is_begun_anew_by_a_continue(stage: Stage) -> None:
    """There is nothing to continue: the new epoch is empty, and owner and metadata stand."""
    first = await claimed(stage.hub(), "chat", owner="ann", metadata={"model": "m"})
    for n in range(10):
        await first.publish(f"{n} ")
    await first.fail("crashed")
    await _lose_middle(stage.client)
    second = await claimed(stage.hub(), "chat", takeover="continue")
    async with second:
        cursor = await second.publish("new")
    info = await second.info()
    assert ("new", 1, "ann", {"model": "m"}) == (
        await second.text(),
        cursor.offset,
        info.owner,
        info.metadata,
    )
    with pytest.raises(StreamReplaced):
        await anext(first.subscribe(after=f"{cursor.term - 1}-1"))


async def test_g7_a_removed_session_is_not_put_back(stage: Stage) -> None:
    """Removing fences a living producer: what it writes afterwards brings nothing back."""
    hub, elsewhere = stage.hub(), stage.hub()
    stream = await claimed(hub, "chat")
    await stream.publish("gone")
    await stream.flush()
    subscription = await opened(elsewhere, "chat")
    await taken(subscription, 1)

    assert await elsewhere.remove("chat")

    async with bounded(BOUND):
        with pytest.raises(SessionNotFound):
            await anext(subscription)
        with pytest.raises(ProducerFenced) as fenced:
            await stream.publish("more")
            await stream.flush()
    assert fenced.value.current is None
    assert await elsewhere.get("chat") is None
    assert 0 == await stage.client.exists(meta("chat"), chunks("chat"))


async def test_a_feed_is_followed_on_through_a_redis_restarted_empty(
    stage: Stage,
) -> None:
    """A worker that waits makes its feed known again, to a store that has nothing left."""
    hub = stage.hub()
    async with hub.ends("save") as ends:
        waiting = asyncio.create_task(anext(ends))
        await asyncio.wait([waiting], timeout=0.2)
        stage.server.restart()
        stream = await claimed(stage.hub(), "chat:1")
        await stream.publish("a")
        await stream.close()
        assert ("chat:1", "a") == ((end := await waiting).session_id, end.text)
