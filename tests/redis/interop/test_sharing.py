"""Sharing a session with the Go library: reading its sessions, and it ours."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio

from streamhub import (
    Hub,
    ProducerLost,
    SessionNotFound,
    Status,
    StreamClosed,
)
from streamhub.testing.waiting import patience

from ...support.go_session import GoSession
from .conftest import BOUND, found


async def test_a_go_session_is_read_live_to_its_end(
    hub: Hub, go: GoSession, session_id: str
) -> None:
    """What is stored is replayed, what comes is followed, and the stored end ends it."""
    await go.register()
    ids = await go.publish("a ", "b ")
    stream = await found(hub, session_id)
    subscription = stream.subscribe()
    seen = [await anext(subscription) for _ in range(2)]
    ids += await go.publish("c ")
    seen.append(await anext(subscription))
    ids += await go.publish("d ")
    await go.close()
    seen += [chunk async for chunk in subscription]
    assert list(zip(["a ", "b ", "c ", "d "], ids, strict=True)) == [
        (chunk.data, str(chunk.cursor)) for chunk in seen
    ]
    assert Status.FINISHED == subscription.status
    assert ("a b c d ", Status.FINISHED) == (await stream.text(), (await stream.info()).status)


async def test_the_last_entries_of_a_go_session_are_counted(
    hub: Hub, go: GoSession, session_id: str
) -> None:
    """Its cursors come from a clock: so many entries from the end, then what is live."""
    await go.register()
    ids = await go.publish(*"abcdef")
    stream = await found(hub, session_id)
    some, all_of_it = stream.subscribe(last=2, events=[None]), stream.subscribe(last=7)
    assert go.generation == (await some.open()).generation
    assert ids[3] == str(some.cursor)
    await go.publish("g")
    await go.close()

    assert ["e", "f", "g"] == [chunk.data async for chunk in some]
    assert [*"abcdefg"] == [chunk.data async for chunk in all_of_it]


async def test_a_go_session_is_resumed_by_cursor(hub: Hub, go: GoSession, session_id: str) -> None:
    """A cursor is the id of the entry: reading goes on right after it, and "now" at the end."""
    await go.register()
    ids = await go.publish("a", "b", "c")
    stream = await found(hub, session_id)
    tail = stream.subscribe(after="now")
    waiting = asyncio.create_task(anext(tail))
    resumed = stream.subscribe(after=ids[0])
    assert ["b", "c"] == [(await anext(resumed)).data for _ in range(2)]
    await go.publish("d")
    await go.close()
    assert ["d"] == [chunk.data async for chunk in resumed]
    assert "d" == (await waiting).data


async def test_a_long_go_session_is_replayed_whole(
    hub: Hub, go: GoSession, session_id: str, redis_client: redis.asyncio.Redis
) -> None:
    """Entry ids are compared and not counted: thousands of them, several in a millisecond."""
    await go.register()
    async with redis_client.pipeline(transaction=False) as pipeline:
        for n in range(3_000):
            pipeline.xadd(go.chunks, {"d": f"{n} "})
        await pipeline.execute()
    await go.close()
    stream = await found(hub, session_id)
    text = "".join(f"{n} " for n in range(3_000))
    assert text == "".join([chunk.data async for chunk in stream.subscribe()])
    (joined,) = [chunk.data async for chunk in stream.subscribe(batch_replay=True)]
    assert (text, text) == (joined, await stream.text())


async def test_a_vanished_go_session_is_no_end(
    hub: Hub, go: GoSession, session_id: str, redis_client: redis.asyncio.Redis
) -> None:
    """It is alive while its meta key exists: once that is gone, an open subscriber raises."""
    await go.register()
    await go.publish("a")
    subscription = (await found(hub, session_id)).subscribe()
    await anext(subscription)
    await redis_client.delete(go.meta, go.chunks)
    with pytest.raises((SessionNotFound, ProducerLost)):
        await anext(subscription)


async def test_a_go_session_is_cancelled_by_flag_and_message(
    hub: Hub, go: GoSession, session_id: str, redis_client: redis.asyncio.Redis
) -> None:
    """cancel() sets the flag it reads, sends the message it listens for, and learns of its end."""
    await go.register()
    await go.publish("a")
    stream = await found(hub, session_id)
    async with redis_client.pubsub() as listener:
        await listener.subscribe(go.cancel_channel)
        await listener.get_message(timeout=patience(BOUND))
        assert Status.ACTIVE == await stream.cancel()
        message = await listener.get_message(
            ignore_subscribe_messages=True, timeout=patience(BOUND)
        )
        assert message is not None
    assert b"1" == await redis_client.hget(go.meta, "cancel")
    assert 0 < await redis_client.ttl(go.meta) <= go.TTL
    waiting = asyncio.create_task(stream.cancel(wait=patience(BOUND)))
    await go.close()
    assert Status.CANCELLED == await waiting
    subscription = stream.subscribe()
    assert ["a"] == [chunk.data async for chunk in subscription]
    assert Status.CANCELLED == subscription.status


async def test_a_go_reader_reads_what_python_writes(
    hub: Hub, go: GoSession, session_id: str
) -> None:
    """It needs the status, entries with growing ids, and their data: also over a continue."""
    stream, _ = await hub.register(session_id)
    await stream.publish("a")
    await stream.publish("b", event="note")
    await stream.flush()
    assert ("active", ["a", "b"]) == await go.read()
    await stream.fail("crashed")
    assert ("done", ["a", "b"]) == await go.read()
    more, _ = await hub.register(session_id, takeover="continue")
    await more.publish("c")
    await more.close()
    assert ("done", ["a", "b", "c"]) == await go.read()
    again, _ = await hub.register(session_id)
    await again.publish("d")
    await again.flush()
    assert ("active", ["d"]) == await go.read()


@pytest.mark.parametrize("told", [True, False], ids=["flag and message", "flag alone"])
async def test_a_go_cancel_stops_a_python_producer(
    hub: Hub, go: GoSession, session_id: str, redis_client: redis.asyncio.Redis, told: bool
) -> None:
    """HSET cancel 1 is enough; the message only makes it sooner."""
    stream, _ = await hub.register(session_id)
    await stream.publish("a")
    await stream.flush()
    await redis_client.hset(go.meta, "cancel", "1")
    if told:
        await redis_client.publish(go.cancel_channel, "")
    assert Status.CANCELLED == await stream.wait(patience(BOUND))
    with pytest.raises(StreamClosed):
        await stream.publish("b")
    assert ("done", ["a"]) == await go.read()


async def test_a_waiting_get_finds_a_session_that_the_go_side_begins(
    hub: Hub, go: GoSession, session_id: str
) -> None:
    """get(wait=) does not depend on messages that the Go side never sends."""
    waiting = asyncio.create_task(hub.get(session_id, wait=patience(BOUND)))
    await asyncio.sleep(0)
    await go.register()
    stream = await waiting
    assert stream is not None
    assert go.generation == (await stream.info()).generation
