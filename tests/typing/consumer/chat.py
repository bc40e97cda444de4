"""Produce, read, stop, save and look after sessions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, TypedDict, assert_type

from streamhub import (
    Chunk,
    Cursor,
    DeadEnd,
    End,
    Ends,
    Hub,
    HubConfig,
    HubStatistics,
    Inbox,
    LiveStream,
    LostSession,
    Message,
    SessionInfo,
    Status,
    Subscription,
    Supervisor,
    TakenEnd,
    __version__,
    parts,
)
from streamhub.stores.base import Store
from streamhub.stores.memory import MemoryStore
from streamhub.stores.redis import RedisStore


@dataclass
class Answer:
    model: str


class Asked(TypedDict):
    prompt: str


async def tokens(prompt: str) -> AsyncIterator[str]:
    yield prompt


async def typed_parts() -> AsyncIterator[str | parts.AnyPart]:
    yield parts.ReasoningDelta("r1", "Let me see")
    yield "It is "


async def body(stream: LiveStream) -> None:
    await stream.publish("by itself")


def stop() -> None: ...


async def stop_soon() -> None: ...


async def saved(end: End) -> None:
    assert_type(end.status, Status)


def stores(url: str) -> tuple[Hub, Hub, Hub]:
    config = HubConfig(lease=5.0, key_prefix="app:")
    assert_type(config.lease, float)
    memory: Store = MemoryStore()
    return Hub(memory, config=config), Hub(RedisStore.from_url(url)), Hub()


async def produce(hub: Hub) -> Cursor:
    claimed = await hub.register(
        "chat:1",
        on_cancel=stop,
        on_end=saved,
        takeover="continue",
        owner="ada",
        metadata={"model": "m"},
        request="r1",
        same_owner=True,
        replaces="",
    )
    assert_type(claimed, tuple[LiveStream, bool])
    stream, created = claimed
    assert_type(created, bool)
    async with stream as entered:
        assert_type(entered, LiveStream)
        assert_type(await stream.publish("Hello", event="greeting"), Cursor)
        assert_type(await stream.publish(parts.TextDelta("t", "x")), Cursor)
        await stream.flush()
        await stream.set_metadata(Answer("m"))
        async for message in stream.inbox():
            assert_type(message, Message)
            assert_type((message.id, message.data, message.event), tuple[str, str, str | None])
            message.done()
    inbox = stream.inbox()
    assert_type(inbox, Inbox)
    await inbox.aclose()
    await stream.fail(ValueError("x"))
    await stream.close()
    await stream.release()
    return await stream.publish("the last")


async def run(hub: Hub) -> None:
    assert_type(await hub.run("chat:1", tokens("a"), on_end=saved), LiveStream)
    await hub.run("chat:1", ["a", "b", None])
    await hub.run("chat:1", typed_parts())
    await hub.run("chat:1", body, takeover="restart")
    await hub.register("chat:1", stop_soon)


async def read(hub: Hub) -> list[Chunk]:
    stream = await hub.get("chat:1", wait=5.0, after="1-2")
    assert_type(stream, LiveStream | None)
    if stream is None:
        return []
    read: list[Chunk] = []
    async for chunk in stream.subscribe(after="now"):
        assert_type(chunk, Chunk)
        assert_type((chunk.data, chunk.cursor, chunk.event), tuple[str, Cursor, str | None])
        read.append(chunk)
    async with stream.subscribe(last=20, events=["ui:tool-*", None], buffer=8) as subscription:
        assert_type(subscription, Subscription)
        assert_type(subscription.cursor, Cursor | None)
        assert_type(subscription.status, Status)
    cursor = Cursor.parse("1-2")
    assert_type((cursor.term, cursor.offset, str(cursor)), tuple[int, int, str])
    stream.subscribe(after=cursor, batch_replay=True)
    return read


async def look(hub: Hub, stream: LiveStream) -> Status:
    info = await stream.info()
    assert_type(info, SessionInfo)
    assert_type((info.session_id, info.status, info.owner), tuple[str, Status, str | None])
    assert_type((info.last, info.lease, info.error), tuple[Cursor, float | None, str | None])
    assert_type(await stream.metadata(Answer), Answer | None)
    assert_type(await stream.metadata(Asked), Asked | None)
    assert_type(await stream.text(), str)
    message = await stream.message()
    assert_type(message, parts.Message)
    assert_type(message.to_dict(), dict[str, Any])
    assert_type(await stream.done(), bool)
    assert_type(await stream.wait(1.0), Status)
    await stream.wait_replaced()
    assert_type(stream.generation, str | None)
    assert_type(await stream.send("stop", "steer", key="k"), str)
    assert_type(await stream.hand_over(), Status)
    async for one in hub.sessions(owner="ada", status=Status.ACTIVE):
        assert_type(one, SessionInfo)
    assert_type(await hub.active(["chat:1"]), set[str])
    assert_type(await hub.remove("chat:1"), bool)
    statistics = hub.statistics()
    assert_type(statistics, HubStatistics)
    assert_type((statistics.producers, statistics.loop_lag), tuple[int, float])
    assert_type(hub.config, HubConfig)
    assert_type(__version__, str)
    return await stream.cancel(wait=5.0, reason="enough")


async def save(hub: Hub) -> None:
    async with hub.ends("save", lease=30.0) as ends:
        assert_type(ends, Ends)
        async for end in ends:
            assert_type(end, TakenEnd)
            assert_type((end.key, end.text, end.attempt), tuple[str, str, int])
            assert_type(end.message, parts.Message)
            assert_type(end.events, tuple[tuple[str, str], ...])
            await end.done()
            await end.retry(5.0, reason="later")
            await end.fail("never")
        async for dead in ends.dead():
            assert_type(dead, DeadEnd)
            assert_type(await dead.retry(), bool)


async def look_after(hub: Hub) -> None:
    async def resume(lost: LostSession) -> AsyncIterator[str] | None:
        assert_type((lost.session_id, lost.text), tuple[str, str])
        assert_type(lost.chunks, list[Chunk])
        return None if lost.resumes else tokens(lost.text)

    async with hub.supervise(resume, max_resumes=2) as supervisor:
        assert_type(supervisor, Supervisor)


async def main(url: str) -> None:
    async with Hub.from_url(url, config=HubConfig()) as hub:
        assert_type(hub, Hub)
        await produce(hub)
    await hub.aclose(drain=5.0)
