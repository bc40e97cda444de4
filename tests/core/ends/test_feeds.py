"""Feeds of ends: each end reaches one worker, until it is done, whatever happens in between."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import cast

import pytest

from streamhub import (
    End,
    EndFenced,
    Hub,
    HubClosed,
    HubConfig,
    Status,
    StoreUnsupported,
)
from streamhub.chunks import Item
from streamhub.stores.base import Store
from streamhub.stores.memory import MemoryStore
from streamhub.stores.wrapped import WrappedStore
from streamhub.testing.hub.stage import crash
from streamhub.testing.waiting import until, within

from ...conftest import MakeHub
from .conftest import CALM, ended, next_end

pytestmark = pytest.mark.parametrize("new_hub", ["memory", "redis"], indirect=True)


async def test_every_end_comes_to_every_feed_with_all_of_it(hub: Hub, session_id: str) -> None:
    """Finished, failed and cancelled; with the text, the typed chunks and the metadata. What is
    done does not come again."""
    async with hub.ends("save") as save, hub.ends("count") as count:
        stream, _ = await hub.register(session_id, owner="me", metadata={"n": 1})
        async with stream:
            await stream.publish("a")
            await stream.publish("{}", event="usage")
            await stream.publish("é")
        end = await next_end(save)
        info = await stream.info()
        items: list[Item] = ["a", ("{}", "usage"), "é"]
        message = await stream.message()
        assert "aé" == message.text
        expected = End.of(info, items, message=message, ended=end.ended)
        assert [getattr(expected, name) for name in End.__struct_fields__] == [
            getattr(end, name) for name in End.__struct_fields__
        ]
        assert ("aé", (("usage", "{}"),), stream.generation) == (end.text, end.events, end.key)
        assert 1 == end.attempt
        await end.done()
        assert end.key == (await next_end(count)).key

        failing, _ = await hub.register(f"{session_id}:2")
        await failing.fail("in vain")
        end = await next_end(save)
        assert (f"{session_id}:2", Status.FAILED, "in vain") == (
            end.session_id, end.status, end.reason,
        )  # fmt: skip
        await end.done()
        cancelled, _ = await hub.register(f"{session_id}:3")
        await cancelled.cancel(reason="enough")
        end = await next_end(save)
        assert (f"{session_id}:3", Status.CANCELLED, "enough") == (
            end.session_id, end.status, end.reason,
        )  # fmt: skip
        await end.done()


async def test_ends_from_before_the_feed_was_known_come_too(hub: Hub) -> None:
    """As far as the store still has them: a worker that is deployed late misses nothing."""
    expected = {await ended(hub, "a") for _ in range(3)}

    async with hub.ends("save") as ends:
        seen = set()
        for _ in expected:
            end = await next_end(ends)
            seen.add(end.session_id)
            await end.done()

    assert expected == seen


async def test_done_twice_is_done_and_after_another_word_refused(hub: Hub) -> None:
    """An end is settled once: who has given it back does not have it any more."""
    await ended(hub)
    async with hub.ends("save") as ends:
        end = await next_end(ends)
        await end.retry(0.0, reason="later")
        with pytest.raises(EndFenced, match="settled before, as 'again'") as caught:
            await end.done()
        assert (end.key, "save") == (caught.value.key, caught.value.feed)
        end = await next_end(ends)
        assert 2 == end.attempt
        await end.done()
        await end.done()
        with pytest.raises(EndFenced):
            await end.fail("after all")


@pytest.mark.parametrize("settles", [True, False])
async def test_closing_the_hub_waits_for_the_end_in_hand_and_gives_back_the_rest(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, settles: bool
) -> None:
    """A worker that iterates hears ``HubClosed``; an end that it is about to save may still be
    done, and is another's at once if it is not."""
    monkeypatch.setattr("streamhub.engine._GIVING_BACK", 20.0 if settles else 0.05)
    leaving, staying = make_hub(), make_hub()
    await ended(staying)
    ends = leaving.ends("save", lease=300.0)
    async with ends, leaving.ends("save") as idle:
        end = await next_end(ends)
        waiting = asyncio.create_task(within(anext(idle)))
        await asyncio.sleep(0)
        closing = asyncio.create_task(leaving.aclose())
        with pytest.raises(HubClosed):
            await waiting
        if settles:
            await end.done()
        await within(closing)
        with pytest.raises(HubClosed):
            await next_end(ends)
        if not settles:
            with pytest.raises(HubClosed):
                await end.done()

    last = await ended(staying)
    async with staying.ends("save") as others:
        seen = []
        while last not in seen:
            again = await next_end(others)
            seen.append(again.session_id)
            await again.done()
    assert [last] == seen if settles else [end.session_id, last] == sorted(seen, key=last.__eq__)


async def test_the_end_of_a_dead_producer_is_lost_after_a_grace(hub: Hub, session_id: str) -> None:
    """What it had stored is the text; nobody can end the stream otherwise any more."""
    async with hub.ends("save", lost_after=0.2) as ends:
        waiting = asyncio.create_task(next_end(ends))
        await asyncio.sleep(0)
        claim = await crash(hub._store, session_id, ["a", "b"], lease=0.2)
        end = await waiting
        await end.done()

    stream = await hub.get(session_id)
    assert stream is not None
    assert (Status.LOST, "ab", claim.generation) == (end.status, end.text, end.key)
    assert Status.LOST is (await stream.info()).status


async def test_a_dead_producer_is_found_though_nothing_told_of_it(
    make_hub: MakeHub, session_id: str
) -> None:
    """A worker that has just found nothing to do for a long time looks again in time."""
    hub = make_hub(HubConfig(lease=0.2))
    async with hub.ends("save", lost_after=0.2) as ends:
        waiting = asyncio.create_task(within(anext(ends)))
        # It has looked, and sleeps.
        await asyncio.wait([waiting], timeout=0.3)
        await crash(hub._store, session_id, ["a"], lease=0.2)
        assert Status.LOST is (await waiting).status


async def test_who_continues_in_time_ends_the_stream_once(hub: Hub, session_id: str) -> None:
    """No end is told of what was lost and is continued within the grace."""
    async with hub.ends("save", lost_after=20.0) as ends:
        await crash(hub._store, session_id, ["a"], lease=0.1)
        other = await hub.get(session_id)
        assert other is not None
        assert Status.LOST is await within(other.wait())
        await hub.run(session_id, ["b"], takeover="continue")
        end = await next_end(ends)
        await end.done()
        assert (Status.FINISHED, "ab", 1) == (end.status, end.text, end.attempt)


async def test_a_session_that_begins_anew_keeps_the_end_that_is_not_done(hub: Hub) -> None:
    """Restarted while its end is worked on, and before it is: every stream's end comes, with its
    own text, and ``done`` is for the one that was taken."""
    async with hub.ends("save") as ends:
        session_id = await ended(hub, "one")
        first = await next_end(ends)
        await ended(hub, "two", session_id=session_id)
        await ended(hub, "three", session_id=session_id)
        await first.done()
        texts = {first.text}
        for _ in range(2):
            end = await next_end(ends)
            texts.add(end.text)
            await end.done()

        other = await ended(hub)
        assert other == (await next_end(ends)).session_id
    assert {"one", "two", "three"} == texts


async def test_many_workers_get_each_end_once(make_hub: MakeHub) -> None:
    """In one process and in several hubs, while sessions end."""
    hubs = [make_hub(), make_hub()]
    seen = Counter[str]()
    expected: list[str] = []

    async def work(hub: Hub) -> None:
        async with hub.ends("save") as ends:
            async for end in ends:
                seen[end.session_id] += 1
                await asyncio.sleep(0)
                await end.done()

    workers = [asyncio.create_task(work(hubs[n % 2])) for n in range(6)]
    for _ in range(40):
        expected.append(await ended(hubs[0], "a"))

    async def all_seen() -> bool:
        return len(seen) == len(expected)

    await until(all_seen)
    for worker in workers:
        worker.cancel()
    await within(asyncio.wait(workers))
    assert Counter(expected) == seen


async def test_who_is_busy_keeps_nothing_from_others(hub: Hub) -> None:
    """A worker that finds several ends due takes one; the others are there for whoever is free."""
    async with hub.ends("save", lease=300.0) as busy, hub.ends("save", lease=300.0) as free:
        busy._at_once = 64
        expected = {await ended(hub) for _ in range(3)}
        seen = {(await next_end(busy)).session_id}
        for _ in range(2):
            end = await next_end(free)
            seen.add(end.session_id)
            await end.done()
    assert expected == seen


@pytest.mark.parametrize("name", ["", "Save", "a b", "é", "x" * 65, ":supervise", 7, None])
async def test_a_name_that_is_none_is_refused(hub: Hub, name: str) -> None:
    """The error says what is allowed."""
    with pytest.raises(ValueError, match="1 to 64 of the signs a-z 0-9 _ - and"):
        hub.ends(name)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("lease", 0), ("lease", "30"), ("lost_after", -1), ("max_unsaved", float("inf")),
        ("max_attempts", 0), ("max_attempts", 2.5), ("timeout", float("nan")), ("lease", True),
    ],
)  # fmt: skip
async def test_a_number_that_is_none_is_refused(hub: Hub, option: str, value: object) -> None:
    """Before anything is asked of the store."""
    with pytest.raises(ValueError, match=f"{option} must be a number"):
        hub.ends("save", **{option: value})  # type: ignore[arg-type]


async def test_a_store_without_feeds_says_so(hub: Hub) -> None:
    """At once, and not when the first end is due."""

    class Bare(WrappedStore):
        @property
        def feeds(self) -> None:
            return None

    async with Hub(Bare(MemoryStore())) as bare:
        with pytest.raises(StoreUnsupported, match="keeps no feeds"):
            bare.ends("save")


async def test_ends_come_within_a_block_and_to_one_task(hub: Hub) -> None:
    """What would leave leases behind is refused."""
    ends = hub.ends("save")
    with pytest.raises(RuntimeError, match="async with"):
        await anext(ends)
    async with ends:
        waiting = asyncio.create_task(within(anext(ends)))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="once for each worker"):
            await anext(ends)
        waiting.cancel()
    with pytest.raises(RuntimeError, match="entered before"):
        await ends.__aenter__()


async def test_an_idle_worker_asks_for_nothing(make_hub: MakeHub) -> None:
    """It is told of what comes, and looks by itself once a minute."""
    asked = Counter[str]()

    class Counting:
        def __init__(self, feeds: object) -> None:
            self._feeds = feeds

        def __getattr__(self, name: str) -> object:
            asked[name] += 1
            return getattr(self._feeds, name)

    class Counted(WrappedStore):
        @property
        def feeds(self) -> object:  # type: ignore[override]
            return counting

    hub = make_hub()
    counting = Counting(hub._store.feeds)
    store = cast("Store", Counted(hub._store))
    async with Hub(store, config=CALM) as counted, counted.ends("save") as ends:
        await counted.register("running")
        with pytest.raises(TimeoutError):
            await within(anext(ends), 1.0)

    assert 1 == asked["open"]
    assert asked["due"] <= 4
    assert asked["take"] <= 2
