"""Supervisors: what loses its producer is resumed, once, and by whom it may be."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import Any

import pytest

from streamhub import (
    Chunk,
    End,
    Hub,
    HubConfig,
    LiveStream,
    LostSession,
    ProducerFailed,
    ProducerLost,
    SessionInfo,
    Status,
    StoreUnsupported,
    Subscription,
)
from streamhub.stores.memory import MemoryStore
from streamhub.testing.hub.stage import crash
from streamhub.testing.waiting import unhurried, until, within

from ..conftest import MakeHub

#: Short enough that a producer which is killed shows soon.
SHORT = HubConfig(lease=unhurried(0.5))
#: So long that nothing happens because a lease has lapsed.
CALM = HubConfig(lease=300.0)

each_store = pytest.mark.parametrize("new_hub", ["memory", "redis", "cluster"], indirect=True)
in_memory = pytest.mark.parametrize("new_hub", ["memory"], indirect=True)


async def _so_far(stream: LiveStream, *items: str | tuple[str, str]) -> None:
    for item in items:
        if isinstance(item, str):
            await stream.publish(item)
        else:
            await stream.publish(item[0], event=item[1])
    await within(stream.flush())


def _endless(*items: str | tuple[str, str], begun: asyncio.Event) -> Any:
    """A source that publishes these, and never ends."""

    async def source(stream: LiveStream) -> None:
        await _so_far(stream, *items)
        begun.set()
        await asyncio.Event().wait()

    return source


async def _read(subscription: Subscription) -> list[Chunk]:
    return [chunk async for chunk in subscription]


async def _reader(hub: Hub, session_id: str) -> LiveStream:
    stream = await hub.get(session_id)
    assert stream is not None
    return stream


async def _ended(hub: Hub, session_id: str) -> SessionInfo:
    """How it stands, once it has ended for good."""
    found: list[SessionInfo] = []

    async def has_ended() -> bool:
        stream = await hub.get(session_id)
        assert stream is not None
        found.append(await stream.info())
        return found[-1].status not in (Status.ACTIVE, Status.LOST)

    await until(has_ended)
    return found[-1]


class Resumes:
    """What ``resume`` was given; it goes on with what it is told to."""

    def __init__(self, *sources: Any) -> None:
        self.lost: list[LostSession] = []
        self._sources = [*sources]

    async def __call__(self, lost: LostSession) -> Any:
        self.lost.append(lost)
        source = self._sources.pop(0) if len(self._sources) > 1 else self._sources[0]
        if isinstance(source, Exception):
            raise source
        return source


@each_store
async def test_what_a_hub_leaves_behind_is_resumed_at_once(
    make_hub: MakeHub, session_id: str
) -> None:
    """By a supervisor that is given all there is, and without a break for who reads: long before
    any lease would have lapsed."""
    leaving, staying, reading = make_hub(CALM), make_hub(CALM), make_hub(CALM)
    resumes = Resumes([" ", "world"])
    begun = asyncio.Event()
    async with staying.supervise(resumes):
        await until(lambda: _knows_supervisor(reading, f"{session_id}:probe"))
        await leaving.run(
            session_id,
            _endless("hel", ('{"n":1}', "ui"), "lo", begun=begun),
            owner="ada",
            metadata={"prompt": "hi"},
        )
        await within(begun.wait())
        following = asyncio.create_task(_read((await _reader(reading, session_id)).subscribe()))
        await within(leaving.aclose())
        chunks = await within(following)

    (lost,) = resumes.lost
    assert (session_id, "ada", {"prompt": "hi"}) == (lost.session_id, lost.owner, lost.metadata)
    assert ("hello", 1, Status.LOST) == (lost.text, lost.resumes, lost.info.status)
    assert chunks[:3] == lost.chunks
    assert [chunks[1]] == lost.parts
    assert ["hel", '{"n":1}', "lo", " ", "world"] == [chunk.data for chunk in chunks]
    assert [1, 2, 3, 4, 5] == [chunk.cursor.offset for chunk in chunks]
    info = await _ended(reading, session_id)
    assert (Status.FINISHED, 1, 1) == (info.status, info.resumes, info.handovers)


@each_store
async def test_a_killed_producer_is_replaced_once_its_lease_has_lapsed(
    make_hub: MakeHub, session_id: str
) -> None:
    """By one of all supervisors, also where the session was claimed before the first of them came;
    a restart begins to count anew."""
    supervising = [make_hub(SHORT) for _ in range(3)]
    resumes = Resumes(["b"])
    await crash(supervising[0]._store, session_id, ["a"], lease=0.5)
    for hub in supervising:
        hub.supervise(resumes)
    info = await _ended(supervising[1], session_id)

    assert (Status.FINISHED, 2, 1, 0) == (info.status, info.chunks, info.resumes, info.handovers)
    assert 1 == len(resumes.lost)
    again, created = await supervising[0].register(session_id)
    assert created
    assert 0 == (await again.info()).resumes


@in_memory
async def test_who_reads_waits_for_a_supervisor_no_longer_than_a_lease(
    make_hub: MakeHub, session_id: str
) -> None:
    """Where none lives any more, its subscribers hear that the producer is lost; ``wait`` and
    ``info`` say so at once."""
    hub, elsewhere = make_hub(SHORT), make_hub(SHORT)
    async with elsewhere.supervise(Resumes(None)):
        await until(lambda: _knows_supervisor(elsewhere, f"{session_id}:probe"))
    begun = asyncio.Event()
    await hub.run(session_id, _endless("a", begun=begun))
    await within(begun.wait())
    reader = await _reader(elsewhere, session_id)
    following = asyncio.create_task(_read(reader.subscribe()))
    await within(hub.aclose())
    assert Status.LOST is await within(reader.wait())
    assert not following.done()
    with pytest.raises(ProducerLost):
        await within(following)


@in_memory
@pytest.mark.parametrize("status", [Status.FINISHED, Status.FAILED, Status.CANCELLED])
async def test_what_has_ended_is_not_resumed(
    make_hub: MakeHub, session_id: str, status: Status
) -> None:
    """However it has; another one that is lost meanwhile is."""
    hub = make_hub(SHORT)
    resumes = Resumes(["b"])
    async with hub.supervise(resumes):
        stream, _ = await hub.register(session_id)
        await _so_far(stream, "a")
        if status is Status.CANCELLED:
            await crash(hub._store, f"{session_id}:2", ["a"], lease=60.0)
            await (await _reader(hub, f"{session_id}:2")).cancel()
            await stream.cancel(wait=10)
        elif status is Status.FAILED:
            await stream.fail("bad luck")
        else:
            await stream.close()
        await crash(hub._store, f"{session_id}:3", ["a"], lease=0.1)
        await _ended(hub, f"{session_id}:3")

    assert [f"{session_id}:3"] == [lost.session_id for lost in resumes.lost]
    assert status is (await stream.info()).status


@in_memory
async def test_a_cancel_that_its_producer_did_not_live_to_see_is_kept(
    make_hub: MakeHub, session_id: str
) -> None:
    """Nobody continues what its user has cancelled."""
    hub = make_hub(SHORT)
    resumes = Resumes(["b"])
    await crash(hub._store, session_id, ["a"], lease=0.3)
    await (await _reader(hub, session_id)).cancel()
    async with hub.supervise(resumes):
        info = await _ended(hub, session_id)

    assert Status.CANCELLED is info.status
    assert [] == resumes.lost


@in_memory
async def test_what_resume_gives_up_has_failed(make_hub: MakeHub, session_id: str) -> None:
    """With a reason that says so, which is told like any end."""
    hub = make_hub(SHORT)
    ends: asyncio.Queue[End] = asyncio.Queue()
    async with hub.supervise(Resumes(None), on_end=ends.put_nowait):
        await until(lambda: _knows_supervisor(hub, f"{session_id}:probe"))
        await crash(hub._store, session_id, ["a"], lease=0.1)
        with pytest.raises(ProducerFailed, match="was lost, and it was not to be resumed"):
            await within(_read((await _reader(hub, session_id)).subscribe()))
        end = await within(ends.get())

    assert (session_id, Status.FAILED, "a") == (end.session_id, end.status, end.text)


@in_memory
@pytest.mark.parametrize(
    ("result", "told"),
    [
        (ValueError("no prompt"), "ValueError: no prompt"),
        (42, "source must be an async iterable of str"),
        ("text", "source must be an async iterable of str"),
    ],
    ids=["raises", "garbage", "text"],
)
async def test_a_resume_that_fails_is_tried_again(
    make_hub: MakeHub,
    session_id: str,
    caplog: pytest.LogCaptureFixture,
    result: object,
    told: str,
) -> None:
    """By whichever supervisor comes next, a while later; it is logged each time, and after
    ``max_resumes`` the session has failed."""
    hub, other = make_hub(SHORT), make_hub(SHORT)
    resumes = Resumes(result)
    await crash(hub._store, session_id, ["a"], lease=0.1)
    with caplog.at_level(logging.WARNING, logger="streamhub"):
        for each in (hub, other):
            each.supervise(resumes, max_resumes=2)
        info = await _ended(hub, session_id)

    assert (Status.FAILED, 3) == (info.status, info.resumes)
    assert "its producer was lost 3 times (max_resumes=2)" == info.error
    assert [1, 2] == [lost.resumes for lost in resumes.lost]
    assert 2 == caplog.text.count(told)


@in_memory
async def test_handovers_do_not_count_as_failed_attempts(
    make_hub: MakeHub, session_id: str
) -> None:
    """An answer outlives more deploys than ``max_resumes``, as long as it gets on between them."""
    reading = make_hub(CALM)
    async with AsyncExitStack() as stack:
        hub = make_hub(CALM)
        begun = asyncio.Event()
        hub.supervise(Resumes(_endless("x", begun=begun)), max_resumes=1)
        await hub.run(session_id, _endless("x", begun=begun))
        for _ in range(3):
            await within(begun.wait())
            begun = asyncio.Event()
            following = make_hub(CALM)
            following.supervise(Resumes(_endless("x", begun=begun)), max_resumes=1)
            await within(hub.aclose())
            hub = following
        await within(begun.wait())
        info = await (await _reader(reading, session_id)).info()
        assert (Status.ACTIVE, 3, 3) == (info.status, info.resumes, info.handovers)
        stack.push_async_callback(hub.aclose)


@in_memory
async def test_a_source_that_was_resumed_is_stopped_like_any_other(
    make_hub: MakeHub, session_id: str
) -> None:
    """A cancel reaches what ``resume`` waits for, and what it has begun."""
    hub = make_hub(SHORT)
    asked = asyncio.Event()
    heard: list[object] = []

    async def resume(lost: LostSession) -> list[str]:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            heard.extend(error.args)
            raise
        return []

    await crash(hub._store, session_id, ["a"], lease=0.1)
    async with hub.supervise(resume):
        await within(asked.wait())
        status = await (await _reader(hub, session_id)).cancel(wait=10)

    assert (Status.CANCELLED, ["cancelled"]) == (status, heard)


@each_store
async def test_a_supervisor_of_one_owner_looks_after_nobody_elses(
    make_hub: MakeHub, session_id: str
) -> None:
    """Whoever is lost first."""
    hub = make_hub(SHORT)
    resumes = Resumes(["b"])
    async with hub.supervise(resumes, owner="ada lovelace"):
        for n, owner in enumerate(["grace", None, "ada lovelace"]):
            stream, _ = await hub.register(f"{session_id}:{n}", owner=owner)
            await _so_far(stream, "a")
            await stream._production.release()  # type: ignore[union-attr]
        info = await _ended(hub, f"{session_id}:2")

    assert ("ada lovelace", 1) == (info.owner, info.resumes)
    assert [f"{session_id}:2"] == [lost.session_id for lost in resumes.lost]


@in_memory
async def test_a_supervisor_that_is_closed_takes_over_nothing_more(
    make_hub: MakeHub, session_id: str
) -> None:
    """What it has resumed goes on; it ends with its hub, which leaves all to others."""
    hub, elsewhere = make_hub(SHORT), make_hub(SHORT)
    begun = asyncio.Event()
    resumes = Resumes(_endless("b", begun=begun))
    await crash(hub._store, session_id, ["a"], lease=0.1)
    async with hub.supervise(resumes) as supervisor:
        await within(begun.wait())
    await supervisor.aclose()
    assert Status.ACTIVE is (await (await _reader(hub, session_id)).info()).status
    hub.supervise(resumes)
    await within(hub.aclose())
    assert Status.LOST is (await (await _reader(elsewhere, session_id)).info()).status
    assert 1 == len(resumes.lost)


@in_memory
@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"resume": 42}, TypeError, "resume must be an async function of the lost session, not 42"),
        ({"on_end": 42}, TypeError, "on_end must be a function of the end, not int"),
        ({"max_resumes": 0}, ValueError, "max_resumes must be a number of at least 1, not 0"),
        ({"max_resumes": True}, ValueError, "max_resumes must be a number of at least 1, not True"),
        ({"owner": 42}, ValueError, "owner"),
        ({"owner": "x" * 513}, ValueError, "owner"),
    ],
    ids=str,
)
async def test_what_no_supervisor_can_be_made_of(
    hub: Hub, options: dict[str, Any], error: type[Exception], told: str
) -> None:
    """The message names what was given and what is allowed."""
    with pytest.raises(error, match=told):
        hub.supervise(**{"resume": Resumes(None), **options})


async def test_a_store_without_an_index_cannot_be_supervised() -> None:
    """It says so at once."""

    class Plain(MemoryStore):
        feeds = None  # type: ignore[assignment]

    async with Hub(Plain()) as hub:
        with pytest.raises(StoreUnsupported, match="keeps no index of its sessions"):
            hub.supervise(Resumes(None))


async def _knows_supervisor(hub: Hub, session_id: str) -> bool:
    """Whether what is claimed now is put on a supervisor's schedule."""
    stream, created = await hub.register(session_id)
    assert created
    info = await stream.info()
    await stream.close()
    return bool(info.feeds)
