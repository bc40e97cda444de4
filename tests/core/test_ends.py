"""Feeds of ends: each end reaches one worker, until it is done, whatever happens in between."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import cast
from uuid import uuid4

import pytest

from streamhub import (
    End,
    EndFenced,
    Ends,
    Hub,
    HubClosed,
    HubConfig,
    Status,
    StoreUnsupported,
    StreamHubError,
    TakenEnd,
)
from streamhub.ends import hold
from streamhub.ends.hold import backoff
from streamhub.stores.base import Store
from streamhub.stores.feeds import Taken
from streamhub.stores.memory import MemoryStore
from streamhub.stores.wrapped import WrappedStore
from streamhub.testing.hub.stage import crash
from streamhub.testing.waiting import until, within

from ..conftest import MakeHub

pytestmark = pytest.mark.parametrize("new_hub", ["memory", "redis"], indirect=True)

CALM = HubConfig(lease=300.0, retention=300.0)


@pytest.fixture
def make_hub(make_hub: MakeHub) -> MakeHub:
    return lambda config=None: make_hub(config or CALM)


@pytest.fixture
def hub(make_hub: MakeHub) -> Hub:
    return make_hub()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not done comes again within moments."""
    monkeypatch.setattr(hold, "_FIRST_RETRY", 0.02)
    monkeypatch.setattr(hold, "_LONGEST_RETRY", 0.02)


async def _ended(hub: Hub, *texts: str, session_id: str = "") -> str:
    """A session that has ended; its name."""
    session_id = session_id or f"chat:{uuid4().hex}"
    stream, created = await hub.register(session_id, owner="me", metadata={"n": 1})
    assert created
    async with stream:
        for text in texts:
            await stream.publish(text)
    return session_id


async def _next(ends: Ends) -> TakenEnd:
    return await within(anext(ends))


async def test_every_end_comes_to_every_feed_with_all_of_it(hub: Hub, session_id: str) -> None:
    """Finished, failed and cancelled; with the text, the typed chunks and the metadata. What is
    done does not come again."""
    async with hub.ends("save") as save, hub.ends("count") as count:
        stream, _ = await hub.register(session_id, owner="me", metadata={"n": 1})
        async with stream:
            await stream.publish("a")
            await stream.publish("{}", event="usage")
            await stream.publish("é")
        end = await _next(save)
        info = await stream.info()
        expected = End.of(info, ["a", ("{}", "usage"), "é"], ended=end.ended)
        assert [getattr(expected, name) for name in End.__struct_fields__] == [
            getattr(end, name) for name in End.__struct_fields__
        ]
        assert ("aé", (("usage", "{}"),), stream.generation) == (end.text, end.events, end.key)
        assert 1 == end.attempt
        await end.done()
        assert end.key == (await _next(count)).key

        failing, _ = await hub.register(f"{session_id}:2")
        await failing.fail("in vain")
        end = await _next(save)
        assert (f"{session_id}:2", Status.FAILED, "in vain") == (
            end.session_id, end.status, end.reason,
        )  # fmt: skip
        await end.done()
        cancelled, _ = await hub.register(f"{session_id}:3")
        await cancelled.cancel(reason="enough")
        end = await _next(save)
        assert (f"{session_id}:3", Status.CANCELLED, "enough") == (
            end.session_id, end.status, end.reason,
        )  # fmt: skip
        await end.done()


async def test_ends_from_before_the_feed_was_known_come_too(hub: Hub) -> None:
    """As far as the store still has them: a worker that is deployed late misses nothing."""
    expected = {await _ended(hub, "a") for _ in range(3)}

    async with hub.ends("save") as ends:
        seen = set()
        for _ in expected:
            end = await _next(ends)
            seen.add(end.session_id)
            await end.done()

    assert expected == seen


@pytest.mark.parametrize("form", ["raises", "forgets", "leaves"])
@pytest.mark.usefixtures("soon")
async def test_what_is_not_done_comes_again(hub: Hub, form: str) -> None:
    """An exception that leaves the block, a ``done`` that is forgotten, a loop that is left: the
    end comes again, under the same key."""
    session_id = await _ended(hub, "a")
    first: TakenEnd | None = None
    try:
        async with hub.ends("save") as ends:
            first = await _next(ends)
            if form == "raises":
                raise ValueError("no disk")
            if form == "forgets":
                again = await _next(ends)
                assert (first.key, 2) == (again.key, again.attempt)
    except ValueError:
        pass

    assert first is not None
    async with hub.ends("save") as ends:
        again = await _next(ends)
        assert (first.key, session_id) == (again.key, again.session_id)
        assert (3 if form == "forgets" else 2) == again.attempt
        await again.done()


async def test_done_twice_is_done_and_after_another_word_refused(hub: Hub) -> None:
    """An end is settled once: who has given it back does not have it any more."""
    await _ended(hub)
    async with hub.ends("save") as ends:
        end = await _next(ends)
        await end.retry(0.0, reason="later")
        with pytest.raises(EndFenced, match="settled before, as 'again'") as caught:
            await end.done()
        assert (end.key, "save") == (caught.value.key, caught.value.feed)
        end = await _next(ends)
        assert 2 == end.attempt
        await end.done()
        await end.done()
        with pytest.raises(EndFenced):
            await end.fail("after all")


async def test_who_takes_too_long_loses_it_and_is_fenced(hub: Hub) -> None:
    """Its lease is not renewed for ever: another worker gets the end, and the late ``done``
    changes nothing."""
    await _ended(hub)
    async with hub.ends("save", lease=0.2, timeout=0.2) as slow, hub.ends("save") as other:
        late = await _next(slow)
        again = await _next(other)
        assert (late.key, 2) == (again.key, again.attempt)
        with pytest.raises(EndFenced, match="lapsed"):
            await late.done()
        await again.done()


async def test_a_lease_is_renewed_while_an_end_is_worked_on(hub: Hub) -> None:
    """Nobody else gets it, however many leases that takes."""
    await _ended(hub)
    async with hub.ends("save", lease=0.3) as slow, hub.ends("save", lease=0.3) as other:
        end = await _next(slow)
        with pytest.raises(TimeoutError):
            await within(anext(other), 1.0)
        await end.done()


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("form", ["not done", "retry", "fail"])
async def test_what_fails_too_often_is_given_up_and_listed(hub: Hub, form: str) -> None:
    """``dead`` says what, how often and why; one that is retried comes as if for the first time."""
    session_id = await _ended(hub, "a")
    async with hub.ends("save", max_attempts=2) as ends:
        for attempt in (1, 2):
            end = await _next(ends)
            assert attempt == end.attempt
            if form == "retry":
                await end.retry(0.0, reason="no disk")
            elif form == "fail":
                await end.fail("no disk")
                break
        other = await _ended(hub)
        end = await _next(ends)
        assert other == end.session_id
        await end.done()

        (dead,) = [dead async for dead in hub.ends("save").dead()]
        reason = "it was not done when the next was asked for" if form == "not done" else "no disk"
        assert (session_id, 1 if form == "fail" else 2, reason) == (
            dead.session_id, dead.attempts, dead.error,
        )  # fmt: skip
        assert (Status.FINISHED, {"n": 1}) == (dead.info.status, dead.info.metadata)
        assert await dead.retry()
        assert not await dead.retry()
        end = await _next(ends)
        assert (dead.key, 1, "a") == (end.key, end.attempt, end.text)
        await end.done()
        assert [] == [dead async for dead in hub.ends("save").dead()]


@pytest.mark.parametrize("when", ["working", "waiting"])
async def test_a_cancelled_worker_leaves_nothing_to_its_lease(hub: Hub, when: str) -> None:
    """Whoever is free goes on with its end at once."""
    began = asyncio.Event()

    async def work() -> None:
        async with hub.ends("save", lease=300.0) as ends:
            if when == "working":
                await _next(ends)
            began.set()
            await (asyncio.Event().wait() if when == "working" else anext(ends))

    if when == "working":
        await _ended(hub)
    working = asyncio.create_task(work())
    await within(began.wait())
    if when == "waiting":
        await _ended(hub)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(working)

    async with hub.ends("save") as ends:
        end = await _next(ends)
        await end.done()


async def test_a_worker_that_is_stopped_costs_no_attempt(hub: Hub) -> None:
    """However often the workers are deployed while they save an end, it is not given up."""
    await _ended(hub)
    for _ in range(3):
        with pytest.raises(asyncio.CancelledError):
            async with hub.ends("save", max_attempts=1) as ends:
                assert 1 == (await _next(ends)).attempt
                raise asyncio.CancelledError
    async with hub.ends("save", max_attempts=1) as ends:
        end = await _next(ends)
        assert 1 == end.attempt
        await end.done()


async def test_a_wait_that_is_given_up_loses_nothing(hub: Hub) -> None:
    """Who asks again, in the same block, gets what came meanwhile."""
    async with hub.ends("save", lease=300.0) as ends:
        seen = Counter[str]()
        expected = [await _ended(hub) for _ in range(20)]
        n = 0
        while len(seen) < len(expected):
            n += 1
            try:
                async with asyncio.timeout(0.001 * (n % 5)):
                    end = await anext(ends)
            except TimeoutError:
                continue
            await end.done()
            seen[end.session_id] += 1

    assert Counter(expected) == seen


@pytest.mark.parametrize("settles", [True, False])
async def test_closing_the_hub_waits_for_the_end_in_hand_and_gives_back_the_rest(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, settles: bool
) -> None:
    """A worker that iterates hears ``HubClosed``; an end that it is about to save may still be
    done, and is another's at once if it is not."""
    monkeypatch.setattr("streamhub.engine._GIVING_BACK", 20.0 if settles else 0.05)
    leaving, staying = make_hub(), make_hub()
    await _ended(staying)
    ends = leaving.ends("save", lease=300.0)
    async with ends, leaving.ends("save") as idle:
        end = await _next(ends)
        waiting = asyncio.create_task(within(anext(idle)))
        await asyncio.sleep(0)
        closing = asyncio.create_task(leaving.aclose())
        with pytest.raises(HubClosed):
            await waiting
        if settles:
            await end.done()
        await within(closing)
        with pytest.raises(HubClosed):
            await _next(ends)
        if not settles:
            with pytest.raises(HubClosed):
                await end.done()

    last = await _ended(staying)
    async with staying.ends("save") as others:
        seen = []
        while last not in seen:
            again = await _next(others)
            seen.append(again.session_id)
            await again.done()
    assert [last] == seen if settles else [end.session_id, last] == sorted(seen, key=last.__eq__)


async def test_the_end_of_a_dead_producer_is_lost_after_a_grace(hub: Hub, session_id: str) -> None:
    """What it had stored is the text; nobody can end the stream otherwise any more."""
    async with hub.ends("save", lost_after=0.2) as ends:
        waiting = asyncio.create_task(_next(ends))
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
        end = await _next(ends)
        await end.done()
        assert (Status.FINISHED, "ab", 1) == (end.status, end.text, end.attempt)


async def test_a_session_that_begins_anew_keeps_the_end_that_is_not_done(hub: Hub) -> None:
    """Restarted while its end is worked on, and before it is: every stream's end comes, with its
    own text, and ``done`` is for the one that was taken."""
    async with hub.ends("save") as ends:
        session_id = await _ended(hub, "one")
        first = await _next(ends)
        await _ended(hub, "two", session_id=session_id)
        await _ended(hub, "three", session_id=session_id)
        await first.done()
        texts = {first.text}
        for _ in range(2):
            end = await _next(ends)
            texts.add(end.text)
            await end.done()

        other = await _ended(hub)
        assert other == (await _next(ends)).session_id
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
        expected.append(await _ended(hubs[0], "a"))

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
        expected = {await _ended(hub) for _ in range(3)}
        seen = {(await _next(busy)).session_id}
        for _ in range(2):
            end = await _next(free)
            seen.add(end.session_id)
            await end.done()
    assert expected == seen


async def test_an_end_whose_workers_die_is_not_handed_out_for_ever(
    make_hub: MakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    """One that kills whoever works on it is given up like one that fails."""
    hub = make_hub()
    session_id = await _ended(hub)
    feeds = hub._store.feeds
    assert feeds is not None
    await feeds.open("save", unsaved=300.0)
    for n in range(2):

        async def taken(worker: str = f"worker-{n}") -> bool:
            found, _ = await feeds.due("save", 10, hold=0.05)
            takes = [feeds.take(one, "save", worker, lease=0.05, lost_after=60.0) for one in found]
            return any([isinstance(await take, Taken) for take in takes])

        await until(taken)

    other = await _ended(hub)
    async with hub.ends("save", max_attempts=2) as ends:
        assert other == (await _next(ends)).session_id

        async def buried() -> bool:
            asking = asyncio.create_task(anext(ends))
            await asyncio.wait([asking], timeout=0.1)
            assert not asking.done()
            asking.cancel()
            return [session_id] == [dead.session_id async for dead in ends.dead()]

        await until(buried)


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


def test_ends_come_again_later_and_later(new_hub: object) -> None:
    """1, 2, 4 … seconds and at most five minutes, each up to a tenth less."""
    assert [1, 2, 4, 8] == [backoff(attempt, chance=1.0) for attempt in (1, 2, 3, 4)]
    assert 300 == backoff(10, chance=1.0) == backoff(10_000, chance=1.0)
    assert 0.9 == backoff(1, chance=0.0)
    assert issubclass(EndFenced, StreamHubError)
