"""The connection on which live chunks and cancels come: what happens when it breaks (G3, G9)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from functools import partial

import pytest
from msgspec.msgpack import encode

from streamhub import HubConfig, LiveStream, Status
from streamhub.stores.base import Appended, Ended, LiveEvent, Removed
from streamhub.stores.redis import RedisStore
from streamhub.stores.redis.connections import pubsub
from streamhub.testing.waiting import bounded, patience, until

from ..support.listening import listening_to
from ..support.redis_server import RedisServer
from ..support.redis_stage import BOUND, Stage, assert_whole, channel, claimed, meta, opened, taken

#: Nothing here is made up for by a renewal, or by a look that was due anyway.
QUIET = HubConfig(lease=120.0)


@pytest.fixture
async def stage(redis_server: RedisServer, redis_url: str) -> AsyncIterator[Stage]:
    """On the shared server: nothing here harms more than connections of its own hubs."""
    async with bounded(BOUND), Stage(redis_server) as stage:
        yield stage


async def producing(stage: Stage) -> LiveStream:
    stream = await claimed(stage.hub(QUIET), "chat")
    await stream.publish("0 ")
    await stream.flush()
    return stream


async def test_channels_are_listened_to_again_after_the_connection_broke(stage: Stage) -> None:
    """Those of producers and of subscribers, of all sessions."""
    hub, elsewhere = stage.hub(QUIET), stage.hub(QUIET)
    expected = set()
    waiting = []
    for name in ("one", "two"):
        await claimed(hub, name)
        subscription = await opened(elsewhere, name)
        waiting.append(asyncio.create_task(anext(subscription)))
        expected |= {channel(name, kind).encode() for kind in ("live", "cancel")}
    await listening_to(stage.client, expected)
    await stage.client.client_kill_filter(_type="pubsub")
    await listening_to(stage.client, set())
    await listening_to(stage.client, expected)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_nobody_listens_to_a_session_that_is_done(stage: Stage) -> None:
    """Producer and subscriber let go of their channels at the stream's end."""
    stream = await producing(stage)
    subscription = await opened(stage.hub(QUIET), "chat")
    await taken(subscription, 1)
    await listening_to(
        stage.client, {channel("chat", kind).encode() for kind in ("live", "cancel")}
    )
    await stream.close()
    assert [] == [chunk async for chunk in subscription]
    await listening_to(stage.client, set())


async def test_messages_that_come_together_are_passed_on_in_their_order(stage: Stage) -> None:
    """Those of several channels, around one that cannot be read."""
    store = RedisStore.from_url(stage.server.url)
    heard: list[tuple[str, LiveEvent]] = []

    def listen(name: str) -> Callable[[LiveEvent], None]:
        return lambda event: heard.append((name, event))

    async def has(count: int) -> bool:
        return len(heard) == count

    async with aclosing(store):
        for name in ("one", "two"):
            store.watch(name, listen(name))
        await until(partial(has, 2))
        heard.clear()
        async with stage.client.pipeline(transaction=True) as together:
            together.publish(channel("one", "live"), encode(["7", 0, 15_000, "5", ["first"]]))
            together.publish(channel("two", "live"), encode(["7", 0, 15_000, "5", "unreadable"]))
            together.publish(channel("two", "live"), encode(["7", 0, 15_000, "6", ["second"]]))
            together.publish(channel("one", "live"), b"e 7 1 finished ")
            together.publish(channel("one", "live"), b"r")
            await together.execute()
        await until(partial(has, 4))
        told = [(name, type(event)) for name, event in heard]

    assert [("one", Appended), ("two", Appended), ("one", Ended), ("one", Removed)] == told


async def test_chunks_that_were_told_while_the_connection_was_broken_are_read(
    stage: Stage,
) -> None:
    """A subscriber that was waiting gets what it missed, and the rest live."""
    stream = await producing(stage)
    subscription = await opened(stage.hub(QUIET), "chat")
    received = await taken(subscription, 1)
    for n in range(1, 4):
        await stage.client.client_kill_filter(_type="pubsub")
        await stream.publish(f"{n} ")
        received += await taken(subscription, 1)
    async with stream:
        await stream.publish("4 ")
    received += [chunk async for chunk in subscription]
    assert_whole(received, [f"{n} " for n in range(5)])


async def test_g9_a_cancel_that_came_while_the_connection_was_broken_is_noticed(
    stage: Stage,
) -> None:
    """Long before the next renewal: the producer looks once it listens again."""
    stream = await producing(stage)
    await listening_to(stage.client, {channel("chat", "cancel").encode()})
    await stage.client.hset(meta("chat"), "cancel", "1")
    await stage.client.client_kill_filter(_type="pubsub")
    assert Status.CANCELLED == await stream.wait()


async def test_g9_a_cancel_that_came_before_the_block_was_entered_interrupts_it(
    stage: Stage,
) -> None:
    """However long the body would wait for something else, the block ends quietly."""
    stream = await producing(stage)
    reader = await stage.hub(QUIET).get("chat")
    assert reader is not None
    assert Status.CANCELLED == await reader.cancel(wait=patience(BOUND))
    async with stream:
        await asyncio.Event().wait()
    assert Status.CANCELLED == (await stream.info()).status


async def test_a_connection_that_fell_silent_is_replaced(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing closes it, and nothing comes: it is asked for a sign of life and given up."""
    monkeypatch.setattr(pubsub, "_PING_AFTER", 0.1)
    monkeypatch.setattr(pubsub, "_GIVE_UP_AFTER", 0.5)
    proxy = await stage.proxy()
    stream = await producing(stage)
    subscription = await opened(stage.hub(QUIET, url=f"{proxy.url}?socket_timeout=0.3"), "chat")
    received = await taken(subscription, 1)
    waiting = asyncio.create_task(anext(subscription))
    await listening_to(
        stage.client, {channel("chat", kind).encode() for kind in ("live", "cancel")}
    )
    proxy.fall_silent()
    await stream.publish("1 ")
    await stream.flush()
    received.append(await waiting)
    async with stream:
        await stream.publish("2 ")
    received += [chunk async for chunk in subscription]
    assert_whole(received, ["0 ", "1 ", "2 "])


async def test_a_quiet_connection_is_kept(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answers when it is asked is not given up, however little there is to tell."""
    monkeypatch.setattr(pubsub, "_PING_AFTER", 0.05)
    monkeypatch.setattr(pubsub, "_GIVE_UP_AFTER", 0.3)
    stream = await producing(stage)
    subscription = await opened(stage.hub(QUIET), "chat")
    await taken(subscription, 1)
    before = {one["id"] for one in await stage.client.client_list(_type="pubsub")}
    waiting = asyncio.create_task(anext(subscription))
    done, _ = await asyncio.wait([waiting], timeout=1.0)
    assert set() == done
    assert before == {one["id"] for one in await stage.client.client_list(_type="pubsub")}
    await stream.publish("1 ")
    assert "1 " == (await waiting).data


async def test_a_second_subscriber_reads_live_from_the_first_one_s_channel(stage: Stage) -> None:
    """It comes when the channel is long listened to, and trusts it at once."""
    stream = await producing(stage)
    hub = stage.hub(QUIET)
    first = await opened(hub, "chat")
    received = await taken(first, 1)
    on_cancel = asyncio.Event()
    # A producer in the same hub begins to listen where a subscriber does not, and the reverse.
    other, _ = await hub.register("other", on_cancel=on_cancel.set)
    second, third = await opened(hub, "chat"), await opened(hub, "other")
    assert received == await taken(second, 1)
    waiting = asyncio.create_task(anext(third))
    await stream.publish("1 ")
    await other.publish("a")
    assert ["1 ", "1 ", "a"] == [
        (await anext(first)).data,
        (await anext(second)).data,
        (await waiting).data,
    ]
