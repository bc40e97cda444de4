"""The index of sessions in Redis: what is listed by it, and what becomes of it when it is lost."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
import redis.asyncio

from streamhub import Hub, HubConfig, Status, StreamHubError
from streamhub.board import Query
from streamhub.stores.base import Finish, Granted, Renew
from streamhub.stores.feeds import Due
from streamhub.stores.redis import RedisStore
from streamhub.stores.redis.layout.index import Entry, KnownFeeds
from streamhub.testing.waiting import until, within

from ..support.feed_use import use_feeds

SESSIONS, DUE = "streamhub:index:{0}:sessions", "streamhub:index:{0}:feed:save:due"
FEEDS = "streamhub:index:{0}:feeds"


async def test_an_index_that_is_lost_alone_is_made_again(
    redis_url: str, redis_client: redis.asyncio.Redis, session_id: str
) -> None:
    """As by a shard that falls back: the renewals of a producer put its session into it, and
    whoever reads a feed makes that known again. The end is handed out as ever."""
    client: Any = redis_client
    store, worker = RedisStore.from_url(redis_url), RedisStore.from_url(redis_url)
    await worker.feeds.open("save", unsaved=60.0)
    granted = await store.claim(
        session_id, "g", takeover="restart", lease=0.2, retention=60.0, owner="ada"
    )
    assert isinstance(granted, Granted)
    await client.delete(*[key async for key in client.scan_iter("streamhub:index:*")])
    await worker.feeds.due("save", 10, hold=1.0)

    async def is_listed() -> bool:
        await store.renew([Renew(granted.claim, 0)])
        return session_id in [one async for one in worker.sessions(owner="ada")]

    await until(is_listed)
    assert "save" in [one.name for one in await worker.feeds.known()]
    await store.write([Finish(granted.claim, 0, Status.FINISHED)])

    async def is_due() -> bool:
        return Due(session_id) in (await worker.feeds.due("save", 10, hold=60.0))[0]

    await until(is_due)
    later = await store.claim("later", "h", takeover="restart", lease=60.0, retention=60.0)
    assert isinstance(later, Granted)
    assert ("save",) == later.claim.feeds
    await store.aclose()
    await worker.aclose()


async def test_a_session_that_is_about_to_be_claimed_stays_on_its_schedule(
    redis_url: str, redis_client: redis.asyncio.Redis, session_id: str
) -> None:
    """Its claim is late, and a worker has found nothing there: the entry outlasts that, and the end
    is found by it."""
    client: Any = redis_client
    store = RedisStore.from_url(redis_url)
    await store.feeds.open("save", unsaved=60.0)
    await store._index.enlist([Entry(session_id, None, 60.0, 60.0)], hasten=True)
    found, _ = await store.feeds.due("save", 10, hold=60.0)
    assert [Due(session_id)] == found
    assert None is await store.feeds.take(found[0], "save", "one", lease=1.0, lost_after=0.0)
    await store.feeds.put_off("save", {found[0]: None})
    assert await client.zscore(DUE, session_id) == await client.zscore(SESSIONS, session_id)
    # Once it is not to be expected any more, it goes.
    await client.zadd(SESSIONS, {session_id: 1})
    await client.zadd(DUE, {session_id: 1})
    found, _ = await store.feeds.due("save", 10, hold=60.0)
    assert None is await store.feeds.take(found[0], "save", "one", lease=1.0, lost_after=0.0)
    await store.feeds.put_off("save", {found[0]: None})
    assert None is await client.zscore(DUE, session_id)
    await store.aclose()


async def test_a_claim_and_its_entry_are_one_step(
    redis_url: str, redis_client: redis.asyncio.Redis, session_id: str
) -> None:
    """On one server: no session is there that the index does not have, and no script more is called
    for that, with feeds or without."""
    client: Any = redis_client
    store = RedisStore.from_url(redis_url)
    for feeds in range(2):
        name = f"{session_id}:{feeds}"
        if feeds:
            await store.feeds.open("save", unsaved=60.0)
        await client.config_resetstat()
        granted = await store.claim(name, "g", takeover="restart", lease=5.0, retention=60.0)
        assert isinstance(granted, Granted)
        calls = await client.info("commandstats")
        assert 1 == calls["cmdstat_evalsha"]["calls"]
        assert None is not await client.zscore(SESSIONS, name)
    assert None is not await client.zscore(DUE, f"{session_id}:1")
    assert None is await client.zscore(DUE, f"{session_id}:0")
    await store.aclose()


async def test_a_claim_under_which_a_feed_comes_is_made_again(
    redis_url: str, session_id: str
) -> None:
    """Between its entry and itself: the script sees that there is one more, and claims nothing."""
    store, other = RedisStore.from_url(redis_url), RedisStore.from_url(redis_url)
    await other.feeds.open("save", unsaved=60.0)
    learn, deaf = store._index.learn, [True]

    def hear(shard: int, answer: Any) -> KnownFeeds:
        # The answer of a moment before.
        return KnownFeeds() if deaf and deaf.pop() else learn(shard, answer)

    store._index.learn = hear  # type: ignore[method-assign]
    granted = await store.claim(session_id, "g", takeover="restart", lease=5.0, retention=60.0)
    assert isinstance(granted, Granted)
    assert (("save",), 60.0) == (granted.claim.feeds, granted.claim.unsaved)
    await store.aclose()
    await other.aclose()


async def test_what_is_over_leaves_the_index(
    redis_url: str, redis_client: redis.asyncio.Redis, session_id: str
) -> None:
    """A few entries whose time is over go with each claim; nobody has to look at their sessions."""
    client: Any = redis_client
    async with Hub.from_url(redis_url, config=HubConfig(host="")) as hub:
        await client.zadd(SESSIONS, {f"gone:{n}": n + 1 for n in range(10)})
        await client.pexpire(SESSIONS, 60_000)
        for n in range(2):
            await hub.register(f"{session_id}:{n}")
        found = [info async for info in hub.sessions()]
        assert 2 == await client.zcard(SESSIONS)
    assert [None, None] == [info.host for info in found]
    assert all(info.updated is not None for info in found)


async def test_what_is_done_leaves_the_index_with_its_session(
    redis_url: str, redis_client: redis.asyncio.Redis, session_id: str
) -> None:
    """However long it might have been kept for a feed: a list looks at few that are gone."""
    client: Any = redis_client
    store = RedisStore.from_url(redis_url)
    await store.feeds.open("save", unsaved=10_000.0)
    granted = await store.claim(
        session_id, "g", takeover="restart", lease=1.0, retention=100.0, owner="ada"
    )
    assert isinstance(granted, Granted)

    async def stay() -> set[float]:
        """For how many seconds both sets have it, roughly."""
        seconds, _ = await client.time()
        sets = SESSIONS, SESSIONS.replace(":sessions", ":owner:ada:sessions")
        scores = [await client.zscore(one, session_id) for one in sets]
        return {round(score / 1000 - seconds, -2) for score in scores}

    assert {10_100.0} == await stay()
    await store.write([Finish(granted.claim, 0, Status.FINISHED)])
    due = Due(session_id)
    await store.feeds.take(due, "save", "worker", lease=60.0, lost_after=60.0)
    assert await store.feeds.settle(due, "save", "worker", "done")

    async def is_short() -> bool:
        return {200.0} == await stay()

    await until(is_short)
    await store.aclose()


async def test_g11_every_key_of_the_index_has_a_ttl(
    redis_url: str, redis_client: redis.asyncio.Redis, session_id: str
) -> None:
    """And so has every key of what is set aside, listed as dead or done."""
    client: Any = redis_client
    async with Hub.from_url(redis_url) as hub:
        await use_feeds(hub, session_id)
        keys = [key async for key in client.scan_iter()]
        assert [] == [key for key in keys if await client.pttl(key) <= 0]
        assert {SESSIONS.encode(), DUE.encode()} < set(keys)


@pytest.mark.parametrize("owner", [None, "ada"])
async def test_a_listing_asks_for_nobody_elses_keys(
    redis_url: str, redis_client: redis.asyncio.Redis, owner: str | None
) -> None:
    """Neither those of other programs, which SCAN would go through, nor, of one owner's sessions,
    those of other owners."""
    client: Any = redis_client
    async with Hub.from_url(redis_url) as hub:
        for n in range(6):
            await hub.register(f"chat:{n}", owner="ada" if n % 3 == 0 else "bob")
        await client.config_resetstat()
        found = {info.session_id async for info in hub.sessions(owner=owner)}
        calls = {
            name.removeprefix("cmdstat_"): stats["calls"]
            for name, stats in (await client.info("commandstats")).items()
        }
    assert {f"chat:{n}" for n in range(0, 6, 3 if owner else 1)} == found
    assert "scan" not in calls
    assert calls["hmget"] <= 2 * len(found) + 6  # renewals come in between


async def test_a_feed_that_nobody_reads_keeps_nothing_of_sessions_that_are_gone(
    redis_url: str, redis_client: redis.asyncio.Redis, session_id: str
) -> None:
    """A few go with each claim, once they are overdue for longer than any might be stored. Whoever
    comes back to the feed is given all that there is, as if the feed was new."""
    client: Any = redis_client
    store = RedisStore.from_url(redis_url)
    await store.feeds.open("save", unsaved=60.0)
    await store.claim("there", "g", takeover="restart", lease=60.0, retention=7200.0)
    seconds, _ = await client.time()
    hours_ago = [(seconds - 3600 * hours) * 1000 for hours in (2, 4)]
    await client.zadd(DUE, {"late": hours_ago[0], **{f"gone:{n}": hours_ago[1] for n in range(8)}})
    await client.zrem(DUE, "there")
    await store.claim(session_id, "g", takeover="restart", lease=60.0, retention=7200.0)
    waiting = {name.decode() for name in await client.zrange(DUE, 0, -1)}
    assert {"late", session_id} == {name for name in waiting if "\n" not in name}

    known = (await client.hget(FEEDS, "save")).decode().split()
    known[2] = str(round(hours_ago[0]))
    await client.hset(FEEDS, "save", " ".join(known))
    await store.feeds.open("save", unsaved=60.0)
    found, _ = await store.feeds.due("save", 10, hold=60.0)
    assert {"late", session_id, "there"} == {due.session_id for due in found}
    await store.aclose()


async def test_who_claims_what_is_being_removed_is_listed(redis_url: str, session_id: str) -> None:
    """Whichever of the two comes first: a session that is there is in the index."""
    async with Hub.from_url(redis_url) as hub, Hub.from_url(redis_url) as other:
        await hub.active(["none"])
        await other.active(["none"])
        for n in range(60):
            name = f"{session_id}:{n}"
            old, _ = await hub.register(name)
            await old.close()

            async def claim(name: str = name, steps: int = n) -> None:
                for _ in range(steps % 20):
                    await asyncio.sleep(0)
                stream, _ = await other.register(name)
                with suppress(StreamHubError):
                    await stream.close()

            await asyncio.gather(hub.remove(name), claim())
            if await hub.get(name) is not None:
                assert name in [info.session_id async for info in hub.sessions()]


async def test_an_entry_that_names_nothing_hides_no_session(redis_url: str) -> None:
    """Nobody here writes one; whoever did would take away every list there is."""
    async with Hub.from_url(redis_url) as hub, redis.asyncio.Redis.from_url(redis_url) as client:
        await hub.register("s")
        await client.zadd(SESSIONS, {b"": 1, b"no\0name": 1, b"\xff": 1})

        assert ["s"] == [info.session_id async for info in hub.sessions()]
        async with hub.board().look() as look:
            while not (page := look.page(Query())).complete:
                await within(look.wait_news())
        assert (["s"], None) == ([row.session_id for row in page.rows], page.away)
