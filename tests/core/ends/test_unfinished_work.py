"""Ends that a worker has not done: they come again, later and later, and are given up at last."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from streamhub import (
    EndFenced,
    Hub,
    Status,
    StreamHubError,
    TakenEnd,
)
from streamhub.ends.hold import backoff
from streamhub.stores.feeds import Taken
from streamhub.testing.waiting import until, within

from ...conftest import MakeHub
from .conftest import ended, next_end

pytestmark = pytest.mark.parametrize("new_hub", ["memory", "redis"], indirect=True)


@pytest.mark.parametrize("form", ["raises", "forgets", "leaves"])
@pytest.mark.usefixtures("soon")
async def test_what_is_not_done_comes_again(hub: Hub, form: str) -> None:
    """An exception that leaves the block, a ``done`` that is forgotten, a loop that is left: the
    end comes again, under the same key."""
    session_id = await ended(hub, "a")
    first: TakenEnd | None = None
    try:
        async with hub.ends("save") as ends:
            first = await next_end(ends)
            if form == "raises":
                raise ValueError("no disk")
            if form == "forgets":
                again = await next_end(ends)
                assert (first.key, 2) == (again.key, again.attempt)
    except ValueError:
        pass

    assert first is not None
    async with hub.ends("save") as ends:
        again = await next_end(ends)
        assert (first.key, session_id) == (again.key, again.session_id)
        assert (3 if form == "forgets" else 2) == again.attempt
        await again.done()


async def test_who_takes_too_long_loses_it_and_is_fenced(hub: Hub) -> None:
    """Its lease is not renewed for ever: another worker gets the end, and the late ``done``
    changes nothing."""
    await ended(hub)
    async with hub.ends("save", lease=0.2, timeout=0.2) as slow, hub.ends("save") as other:
        late = await next_end(slow)
        again = await next_end(other)
        assert (late.key, 2) == (again.key, again.attempt)
        with pytest.raises(EndFenced, match="lapsed"):
            await late.done()
        await again.done()


async def test_a_lease_is_renewed_while_an_end_is_worked_on(hub: Hub) -> None:
    """Nobody else gets it, however many leases that takes."""
    await ended(hub)
    async with hub.ends("save", lease=0.3) as slow, hub.ends("save", lease=0.3) as other:
        end = await next_end(slow)
        with pytest.raises(TimeoutError):
            await within(anext(other), 1.0)
        await end.done()


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("form", ["not done", "retry", "fail"])
async def test_what_fails_too_often_is_given_up_and_listed(hub: Hub, form: str) -> None:
    """``dead`` says what, how often and why; one that is retried comes as if for the first time."""
    session_id = await ended(hub, "a")
    async with hub.ends("save", max_attempts=2) as ends:
        for attempt in (1, 2):
            end = await next_end(ends)
            assert attempt == end.attempt
            if form == "retry":
                await end.retry(0.0, reason="no disk")
            elif form == "fail":
                await end.fail("no disk")
                break
        other = await ended(hub)
        end = await next_end(ends)
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
        end = await next_end(ends)
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
                await next_end(ends)
            began.set()
            await (asyncio.Event().wait() if when == "working" else anext(ends))

    if when == "working":
        await ended(hub)
    working = asyncio.create_task(work())
    await within(began.wait())
    if when == "waiting":
        await ended(hub)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(working)

    async with hub.ends("save") as ends:
        end = await next_end(ends)
        await end.done()


async def test_a_worker_that_is_stopped_costs_no_attempt(hub: Hub) -> None:
    """However often the workers are deployed while they save an end, it is not given up."""
    await ended(hub)
    for _ in range(3):
        with pytest.raises(asyncio.CancelledError):
            async with hub.ends("save", max_attempts=1) as ends:
                assert 1 == (await next_end(ends)).attempt
                raise asyncio.CancelledError
    async with hub.ends("save", max_attempts=1) as ends:
        end = await next_end(ends)
        assert 1 == end.attempt
        await end.done()


async def test_a_wait_that_is_given_up_loses_nothing(hub: Hub) -> None:
    """Who asks again, in the same block, gets what came meanwhile."""
    async with hub.ends("save", lease=300.0) as ends:
        seen = Counter[str]()
        expected = [await ended(hub) for _ in range(20)]
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


async def test_an_end_whose_workers_die_is_not_handed_out_for_ever(
    make_hub: MakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    """One that kills whoever works on it is given up like one that fails."""
    hub = make_hub()
    session_id = await ended(hub)
    feeds = hub._store.feeds
    assert feeds is not None
    await feeds.open("save", unsaved=300.0)
    for n in range(2):

        async def taken(worker: str = f"worker-{n}") -> bool:
            found, _ = await feeds.due("save", 10, hold=0.05)
            takes = [feeds.take(one, "save", worker, lease=0.05, lost_after=60.0) for one in found]
            return any([isinstance(await take, Taken) for take in takes])

        await until(taken)

    other = await ended(hub)
    async with hub.ends("save", max_attempts=2) as ends:
        assert other == (await next_end(ends)).session_id

        async def buried() -> bool:
            asking = asyncio.create_task(anext(ends))
            await asyncio.wait([asking], timeout=0.1)
            assert not asking.done()
            asking.cancel()
            return [session_id] == [dead.session_id async for dead in ends.dead()]

        await until(buried)


def test_ends_come_again_later_and_later(new_hub: object) -> None:
    """1, 2, 4 … seconds and at most five minutes, each up to a tenth less."""
    assert [1, 2, 4, 8] == [backoff(attempt, chance=1.0) for attempt in (1, 2, 3, 4)]
    assert 300 == backoff(10, chance=1.0) == backoff(10_000, chance=1.0)
    assert 0.9 == backoff(1, chance=0.0)
    assert issubclass(EndFenced, StreamHubError)
