"""What stands in Redis: exactly the keys, channels and entries of the layout, each with a TTL
(G11)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from streamhub import Hub, HubConfig, InvalidSessionId, LiveStream, Status, StreamHubError
from streamhub.stores.base import Granted, Release
from streamhub.stores.feeds import Due, Taken
from streamhub.testing.waiting import bounded, patience, unhurried

from ..conftest import MakeHub
from ..support.feed_use import use_feeds
from ..support.listening import listening_to

CONFIG = HubConfig(lease=unhurried(0.5), retention=60.0)
BOUND = 10.0
PAGE = Path(__file__).parents[2] / "docs" / "redis-layout.md"
#: Legal ones, of every odd kind.
ODD_IDS = [
    "a", " ", "  a b  ", "{", "}", "{}", "}{", "a}b", "{a}:meta", "a}:meta", "*", "?", "[a-z]",
    "\\", "a*b?c[d]", "%", "/", "..", "'", '"', "é", "日本語", "🙂", "\u2028", "\ufeff",
    "\u200b", "x" * 512, "é" * 256, "🙂" * 128, "chat:1:2", "-", "+", "$", "0-0", "null",
    "None", "'; DROP", "\\n",
]  # fmt: skip


@pytest.fixture
async def redis_hub(redis_url: str) -> AsyncIterator[Hub]:
    async with bounded(2 * BOUND), Hub.from_url(redis_url, config=CONFIG) as hub:
        yield hub


def table_of(head: str) -> list[list[str]]:
    """The rows of the page's table whose first column is headed so."""
    table = PAGE.read_text().partition(f"| {head} |")[2].partition("\n\n")[0]
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def named(key: str, session_id: str, generation: str) -> str:
    """A key as the page names it."""
    for value, name in (
        (f"{{{session_id}}}", "{<session>}"),
        (f":{generation}", ":<generation>"),
        ("{0}", "{<shard>}"),
        ("owner:ada", "owner:<owner>"),
        ("feed:save", "feed:<feed>"),
    ):
        key = key.replace(value, name)
    return key


async def claimed(hub: Hub, session_id: str) -> LiveStream:
    stream, created = await hub.register(session_id)
    assert created
    return stream


async def keys(client: Any) -> dict[str, float]:
    """Every key of sessions that there is, with its TTL in seconds. Those of the index have one."""
    found = [key async for key in client.scan_iter()]
    index = [key for key in found if key.startswith(b"streamhub:index:")]
    assert [] == [key for key in index if not await client.pttl(key) > 0]
    found = [key for key in found if key not in index]
    return {key.decode(): await client.pttl(key) / 1000 for key in found}


async def assert_bounded(client: Any, session_id: str, *kinds: str) -> None:
    """There are just these keys of the session, and none lives for ever."""
    found = await keys(client)
    assert {f"streamhub:{{{session_id}}}:{kind}" for kind in kinds} == set(found)
    longest = CONFIG.lease + CONFIG.retention
    assert [] == [(key, ttl) for key, ttl in found.items() if not 0 < ttl <= longest]


@pytest.mark.parametrize("end", ["finished", "failed", "cancelled"])
async def test_g11_a_session_has_a_ttl_from_its_claim_to_its_end(
    redis_hub: Hub, redis_client: Any, session_id: str, end: str
) -> None:
    """Created, publishing, with metadata, ended in each way."""
    stream = await claimed(redis_hub, session_id)
    await assert_bounded(redis_client, session_id, "meta")
    await stream.publish("1")
    await stream.flush()
    await assert_bounded(redis_client, session_id, "meta", "chunks")
    await stream.set_metadata({"a": 1})
    await assert_bounded(redis_client, session_id, "meta", "chunks")
    match end:
        case "finished":
            await stream.close()
        case "failed":
            await stream.fail("crashed")
        case _:
            await stream.cancel(wait=patience(BOUND))
    assert Status(end) == (await stream.info()).status
    await assert_bounded(redis_client, session_id, "meta", "chunks")


@pytest.mark.parametrize("takeover", ["restart", "continue"])
async def test_g11_a_session_has_a_ttl_when_lost_continued_and_cancelled(
    redis_hub: Hub,
    redis_client: Any,
    redis_url: str,
    session_id: str,
    takeover: str,
) -> None:
    """Released by its hub, claimed again, lost again, cancelled on the spot."""
    async with Hub.from_url(redis_url, config=CONFIG) as first:
        await (await claimed(first, session_id)).publish("1")
    await assert_bounded(redis_client, session_id, "meta", "chunks")
    async with Hub.from_url(redis_url, config=CONFIG) as second:
        stream, _ = await second.register(session_id, takeover=takeover)  # type: ignore[arg-type]
        await stream.publish("2")
        await stream.flush()
        await assert_bounded(redis_client, session_id, "meta", "chunks")
    reader = await redis_hub.get(session_id)
    assert reader is not None
    assert Status.CANCELLED == await reader.cancel()
    await assert_bounded(redis_client, session_id, "meta", "chunks")


async def test_g11_a_removed_session_leaves_a_tombstone_that_expires(
    redis_hub: Hub, redis_client: Any, session_id: str
) -> None:
    """While its producer may come back: one key, for as long as the session would have stayed."""
    stream = await claimed(redis_hub, session_id)
    await stream.publish("1")
    await stream.flush()
    assert await redis_hub.remove(session_id)
    found = await keys(redis_client)
    assert {f"streamhub:{{{session_id}}}:removed"} >= set(found)
    assert [] == [ttl for ttl in found.values() if not 0 < ttl <= CONFIG.lease + CONFIG.retention]


async def test_a_removed_session_that_had_ended_leaves_no_key(
    redis_hub: Hub, redis_client: Any, session_id: str
) -> None:
    """Nothing is left to wait for."""
    async with await claimed(redis_hub, session_id) as stream:
        await stream.publish("1")
    assert await redis_hub.remove(session_id)
    assert {} == await keys(redis_client)
    assert not await redis_hub.remove(session_id)
    assert {} == await keys(redis_client)


async def test_g9_reading_and_cancelling_what_is_not_there_creates_nothing(
    redis_hub: Hub, redis_client: Any, session_id: str
) -> None:
    """On an unknown or expired session no call leaves a key."""
    stream = await claimed(redis_hub, session_id)
    await stream.close()
    await redis_client.flushall()
    assert Status.LOST == await stream.cancel(reason="why")
    for call in (stream.info, stream.text, stream.wait, stream.done):
        with pytest.raises(StreamHubError):
            await call()
    assert await redis_hub.get(session_id) is None
    assert {} == await keys(redis_client)


@pytest.mark.parametrize("lost", ["meta", "chunks", "both"])
async def test_g11_repaired_keys_have_a_ttl(
    redis_hub: Hub, redis_client: Any, session_id: str, lost: str
) -> None:
    """What a producer puts back lives no longer than what was lost."""
    stream = await claimed(redis_hub, session_id)
    await stream.publish("1")
    await stream.flush()
    for kind in ("meta", "chunks") if lost == "both" else (lost,):
        await redis_client.delete(f"streamhub:{{{session_id}}}:{kind}")
    await stream.publish("2")
    await stream.flush()
    assert "12" == await stream.text()
    await assert_bounded(redis_client, session_id, "meta", "chunks")


async def test_entries_and_record_are_those_of_the_layout(
    redis_hub: Hub, redis_client: Any, session_id: str
) -> None:
    """Ids are <term>-<offset>, fields d and e; the record is in the shared words."""
    stream = await claimed(redis_hub, session_id)
    await stream.publish("one")
    await stream.publish("", event="note")
    await stream.flush()
    tag = f"streamhub:{{{session_id}}}"
    record = await redis_client.hgetall(f"{tag}:meta")
    epoch = record[b"epoch"]
    assert [(epoch + b"-1", {b"d": b"one"}), (epoch + b"-2", {b"d": b"", b"e": b"note"})] == (
        await redis_client.xrange(f"{tag}:chunks")
    )
    assert (b"active", b"2", (stream.generation or "").encode()) == (
        record[b"status"],
        record[b"last"],
        record[b"gen"],
    )
    assert b"outcome" not in record
    await stream.set_metadata({"a": [1]})
    await stream.fail("why")
    record = await redis_client.hgetall(f"{tag}:meta")
    assert (b"done", b"failed", b"why", b"2", b'{"a":[1]}') == tuple(
        record[name] for name in (b"status", b"outcome", b"error", b"last", b"metadata")
    )
    assert 2 == await redis_client.xlen(f"{tag}:chunks")


async def test_g11_who_follows_a_session_that_is_gone_leaves_nothing(
    redis_hub: Hub, redis_client: Any, session_id: str
) -> None:
    """How many follow is announced after a look, and it may have been removed in between. Of one
    that is there it has the TTL."""
    await redis_hub._store.announce({session_id: 1}, hub="one", lasts=60.0)
    assert {} == await keys(redis_client)
    stream = await claimed(redis_hub, session_id)
    await redis_hub._store.announce({session_id: 1}, hub="one", lasts=60.0)
    assert 1 == (await stream.info()).subscribers
    await assert_bounded(redis_client, session_id, "meta")


async def test_the_page_has_every_field_of_a_record(
    redis_hub: Hub, redis_client: Any, redis_url: str, session_id: str
) -> None:
    """docs/redis-layout.md says of each what it is, and of none that is never there."""
    said = {name for row in table_of("field of the record") for name in quoted(row[0])}
    meta = f"streamhub:{{{session_id}}}:meta"

    feeds = redis_hub._store.feeds
    assert feeds is not None
    await feeds.open("save", unsaved=60.0)
    async with await claimed(redis_hub, session_id):
        pass
    first, _ = await redis_hub.register(session_id, owner="a", metadata=1, request="b")
    await first.publish("one")
    await first.fail("why")
    there = set(await redis_client.hkeys(meta))
    second, _ = await redis_hub.register(session_id, lambda: None, takeover="continue")
    message = await second.send("hello")
    there |= set(await redis_client.hkeys(meta))
    await second.cancel(reason="enough")
    there |= set(await redis_client.hkeys(meta))
    await second.close()
    await redis_hub._store.announce({session_id: 1}, hub="one", lasts=5.0)
    there |= set(await redis_client.hkeys(meta))
    async with Hub.from_url(redis_url) as other:
        await claimed(other, session_id)
    there |= set(await redis_client.hkeys(meta))
    resumed = await redis_hub._store.claim(
        session_id, "resumed", takeover="resume", lease=5.0, retention=5.0, traceparent="00-1"
    )
    assert isinstance(resumed, Granted)
    await redis_hub._store.write([Release(resumed.claim, last=0, in_vain=True)])
    there |= set(await redis_client.hkeys(meta))

    fields = {field.decode() for field in there}
    assert f"message:{message}" in fields
    assert fields - {f"message:{message}"} | {"message:<number>-<token>"} == said


async def test_the_page_has_every_key_and_its_type(
    redis_hub: Hub, redis_client: Any, session_id: str
) -> None:
    """docs/redis-layout.md has each key that anything leaves, and none that nothing does."""
    said = {quoted(row[0])[0]: row[1] for row in table_of("key")}
    feeds = redis_hub._store.feeds
    assert feeds is not None
    await feeds.open("save", unsaved=60.0)
    found: dict[str, str] = {}

    async def look() -> None:
        async for key in redis_client.scan_iter():
            kind = {"zset": "sorted set"}.get(name := (await redis_client.type(key)).decode(), name)
            found[named(key.decode(), session_id, generation)] = kind

    async with (await redis_hub.register(session_id, owner="ada"))[0] as first:
        await first.publish("1")
    taken = await feeds.take(Due(session_id), "save", "one", lease=5.0, lost_after=0.0)
    assert isinstance(taken, Taken)
    generation = first.generation or ""
    await look()
    second, _ = await redis_hub.register(session_id, owner="ada")
    generation = second.generation or ""
    due = Due(session_id, generation)
    assert await feeds.settle(due, "save", "one", "dead", error="why")
    await look()
    await redis_hub.remove(session_id)
    await look()

    assert said == found


@pytest.mark.parametrize("session_id", ["a}b", "{x}", "a b*"])
async def test_channels_are_those_of_the_layout(
    redis_hub: Hub, redis_client: Any, session_id: str
) -> None:
    """A producer listens on cancel, a subscriber on live, and on nothing else."""
    stream = await claimed(redis_hub, session_id)
    await stream.publish("1")
    subscription = stream.subscribe()
    await anext(subscription)
    waiting = asyncio.create_task(anext(subscription))
    expected = {f"streamhub:{{{session_id}}}:{kind}".encode() for kind in ("cancel", "live")}
    await listening_to(redis_client, expected)
    await stream.publish("2")
    await waiting


async def test_scripts_are_called_by_sha_and_declare_every_key(
    redis_hub: Hub, redis_client: Any, session_id: str
) -> None:
    """What a script touches is among its declared keys; after the first call of each, no script
    travels in full."""

    async def everything(name: str, act: Callable[[], Awaitable[None]] | None = None) -> None:
        stream = await claimed(redis_hub, name)
        await stream.publish("1")
        await stream.set_metadata(1)
        await stream.flush()
        await redis_client.delete(f"streamhub:{{{name}}}:chunks")
        await stream.publish("2")
        await stream.flush()
        await stream.cancel(wait=patience(BOUND))
        again, _ = await redis_hub.register(name, takeover="continue")
        await again.close()
        await use_feeds(redis_hub, name)
        await redis_hub.remove(name)

    await everything("warm")
    seen: list[str] = []
    async with redis_client.monitor() as monitor:

        async def watch() -> None:
            async for command in monitor.listen():
                seen.append(f"{command['client_type']} {command['command']}")
                if "the last one" in command["command"]:
                    return

        watching = asyncio.create_task(watch())
        await everything(session_id)
        await redis_client.echo("the last one")
        async with bounded(BOUND):
            await watching
    assert [] == [line for line in seen if re.match(r"\S+ EVAL ", line)]
    declared: set[str] = set()
    named = re.compile(r"streamhub:(?:index:)?\{[^}]*\}:[\w:-]+")
    for line in seen:
        client, _, command = line.partition(" ")
        if command.startswith("EVALSHA "):
            declared = set(named.findall(command))
        elif client == "lua":
            assert set(named.findall(command)) <= declared, line
    assert any(line.startswith("lua ") for line in seen)


async def test_every_legal_session_id_is_a_session_of_its_own(make_hub: MakeHub) -> None:
    """Braces, spaces, glob signs, other scripts, 512 bytes: claimed, read, listed, removed, and
    never taken for one another."""
    hub, other = make_hub(), make_hub()
    async with bounded(BOUND):
        for session_id in ODD_IDS:
            async with await claimed(hub, session_id) as stream:
                await stream.publish(f"text of {session_id}")
        assert sorted(ODD_IDS) == sorted([info.session_id async for info in other.sessions()])
        for session_id in ODD_IDS:
            found = await other.get(session_id)
            assert found is not None
            assert [f"text of {session_id}"] == [chunk.data async for chunk in found.subscribe()]
            assert await other.remove(session_id)
            assert await hub.get(session_id) is None
        assert [] == [info.session_id async for info in other.sessions()]


async def test_foreign_keys_under_the_prefix_disturb_nobody(
    redis_hub: Hub, redis_client: Any, session_id: str
) -> None:
    """sessions() lists what are sessions and nothing else."""
    await claimed(redis_hub, session_id)
    for key in (
        b"streamhub:x",
        b"streamhub:{}:meta",
        b"streamhub:{s}:meta",
        b"streamhub:{\xff}:meta",
    ):
        await redis_client.set(key, "a string", px=60_000)
    await redis_client.hset("streamhub:{h}:meta", "something", "else")
    await redis_client.set("other:{x}:meta", "theirs", px=60_000)
    assert [session_id] == [info.session_id async for info in redis_hub.sessions()]
    assert await redis_hub.get("h") is None
    with pytest.raises(InvalidSessionId):
        await redis_hub.get("")
