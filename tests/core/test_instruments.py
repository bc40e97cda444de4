"""What a hub tells its instruments: every event in a scene in which it happens."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Sequence
from typing import Any

import pytest

from streamhub import (
    Hub,
    HubConfig,
    ProducerLost,
    SessionCorrupted,
    SessionInfo,
    SessionNotFound,
    Status,
    StoreUnavailable,
)
from streamhub.instruments import Event, events
from streamhub.stores.base import Takeover, WriteOp, WriteResult
from streamhub.stores.memory import MemoryStore
from streamhub.stores.wrapped import WrappedStore
from streamhub.testing.faults import Fails
from streamhub.testing.waiting import until, within

from ..conftest import RunPython

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
LATER_TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Ear:
    """An instrument that keeps all it hears."""

    def __init__(self) -> None:
        self.heard: list[Event] = []
        self.trace: str | None = None

    def __call__(self, event: Event) -> None:
        self.heard.append(event)

    def context(self, takeover: str) -> str | None:
        return self.trace

    def of(self, *kinds: type[Any]) -> list[Any]:
        return [one for one in self.heard if isinstance(one, kinds)]

    async def hears(self, kind: type[Any]) -> None:
        async def heard() -> bool:
            return bool(self.of(kind))

        await until(heard)

    @property
    def names(self) -> list[str]:
        return [type(one).__name__ for one in self.heard]


@pytest.fixture
def ear() -> Ear:
    return Ear()


async def test_a_stream_is_told_from_its_claim_to_its_end(ear: Ear, session_id: str) -> None:
    """In the order in which things happen, with the facts of each."""
    async with Hub(instruments=[ear]) as hub:
        stream, _ = await hub.register(session_id, owner="ada", metadata={"model": "m"})
        async with stream:
            await stream.publish("secret")
            await stream.flush()
            await stream.publish("é")
        _, created = await hub.register(session_id, takeover="continue")
        assert not created

    assert [
        "Opened", "Claimed", "Published", "FirstStored", "Stored", "Published", "Stored", "Ended",
        "Refused", "Closed",
    ] == ear.names  # fmt: skip
    opened, claimed, ended = ear.of(events.Opened, events.Claimed, events.Ended)
    assert opened.hub == ear.of(events.Closed)[0].hub
    assert ("ada", '{"model":"m"}', None) == (claimed.owner, claimed.metadata, claimed.replaced)
    assert (session_id, stream.generation) == (ended.session_id, ended.generation)
    assert (Status.FINISHED, None) == (ended.status, ended.reason)
    assert (2, 8, '{"model":"m"}') == (ended.chunks, ended.bytes, ended.metadata)
    assert 0 <= ended.first_chunk <= ended.last_chunk <= ended.seconds
    first, second = ear.of(events.Stored)
    assert (1, 1, 6) == (first.sessions, first.chunks, first.bytes)
    assert (1, 1, 2) == (second.sessions, second.chunks, second.bytes)
    (refused,) = ear.of(events.Refused)
    assert (Status.FINISHED, stream.generation) == (refused.status, refused.generation)
    assert "secret" not in repr(ear.heard)


async def test_who_takes_over_is_told_with_what_it_replaces(ear: Ear, session_id: str) -> None:
    """A claim over a stream that failed or was released says whom it replaces, after how many
    chunks; a release says how much of it was this claim's."""
    store = MemoryStore()
    async with Hub(store, instruments=[ear]) as hub:
        first, _ = await hub.register(session_id)
        await first.publish("one")
        await first.fail("no more")
        second, _ = await hub.register(session_id, takeover="continue")
        await second.publish("two")

    (taken,) = ear.of(events.TakenOver)
    assert (first.generation, second.generation, 1) == (
        taken.replaced, taken.generation, taken.base,
    )  # fmt: skip
    ended, released = ear.of(events.Ended, events.Released)
    assert (Status.FAILED, "no more", 1, 3) == (
        ended.status, ended.reason, ended.chunks, ended.bytes,
    )  # fmt: skip
    assert (1, 3, False) == (released.chunks, released.bytes, released.abandoned)


async def test_an_instrument_that_raises_hurts_nobody(
    ear: Ear, session_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once for each kind of event; other instruments hear all, and streams go on."""

    class Broken(Ear):
        def __call__(self, event: Event) -> None:
            raise ZeroDivisionError(type(event).__name__)

        def context(self, takeover: str) -> str | None:
            raise ZeroDivisionError("context")

    ear.trace = TRACE
    async with Hub(instruments=[Broken(), ear]) as hub:
        for data in ("x", "y"):
            stream, _ = await hub.register(session_id)
            async with stream:
                await stream.publish(data)
        assert [(Status.FINISHED, TRACE)] == [
            (info.status, info.traceparent) async for info in hub.sessions()
        ]

    said = [one.getMessage().partition(" failed at ")[2] for one in caplog.records]
    kinds = {*ear.names}
    assert sorted(f"{kind}, which is said once" for kind in (*kinds, "context")) == sorted(said)
    assert all(one.exc_info for one in caplog.records)


@pytest.mark.parametrize("instrument", [Ear, None, "log"])
def test_what_cannot_be_called_is_no_instrument(instrument: Any) -> None:
    """A class that was not called, above all."""
    with pytest.raises(TypeError, match="an instrument is a function of an event, not"):
        Hub(instruments=[instrument])


async def test_a_trace_is_kept_with_the_session_across_a_continue(
    ear: Ear, session_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The record has that of the newest claim of the epoch that had one; what is no W3C
    traceparent is left out, and logged."""
    seen = []
    steps: list[tuple[str | None, Takeover]] = [
        (TRACE, "restart"), (None, "continue"), (LATER_TRACE, "continue"), ("x", "continue"),
        (None, "restart"),
    ]  # fmt: skip
    async with Hub(instruments=[ear]) as hub:
        for ear.trace, takeover in steps:
            stream, _ = await hub.register(session_id, takeover=takeover)
            await stream.fail("again")
            seen.append((await stream.info()).traceparent)

    assert [TRACE, TRACE, LATER_TRACE, LATER_TRACE, None] == seen
    claimed = ear.of(events.Claimed)
    assert seen == [one.traceparent for one in claimed]
    assert [TRACE, None, LATER_TRACE, None, None] == [one.own_traceparent for one in claimed]
    assert ["'x' is no W3C traceparent"] == [text.partition(": ")[2] for text in caplog.messages]


async def test_a_fenced_producer_is_told_by_whom(ear: Ear, session_id: str) -> None:
    """The hub that lost the session says so, and how far it came."""
    store = MemoryStore()
    async with Hub(store, instruments=[ear], config=HubConfig(lease=0.2)) as hub:
        stream, _ = await hub.register(session_id)
        await stream.publish("one")
        await stream.flush()
        await hub.remove(session_id)
        await ear.hears(events.Fenced)

    (fenced,) = ear.of(events.Fenced)
    assert (None, 1, stream.generation) == (fenced.by, fenced.chunks, fenced.generation)


class _AnswersLate(WrappedStore):
    """What it has written it says only once it is let."""

    def __init__(self, inner: MemoryStore) -> None:
        super().__init__(inner)
        self.wrote, self.let = asyncio.Event(), asyncio.Event()

    async def write(self, ops: Sequence[WriteOp]) -> list[WriteResult | Exception]:
        answers = await super().write(ops)
        self.wrote.set()
        await self.let.wait()
        return answers


async def test_nothing_is_told_of_a_claim_after_its_end(ear: Ear, session_id: str) -> None:
    """Not even that its first chunk was stored, where the store says so later than the end."""
    inner = MemoryStore()
    store = _AnswersLate(inner)
    config = HubConfig(lease=0.2)
    async with Hub(store, instruments=[ear], config=config) as hub, Hub(inner) as other:
        stream, _ = await hub.register(session_id)
        await stream.publish("one")
        await within(store.wrote.wait())
        await other.remove(session_id)
        await other.register(session_id)
        await ear.hears(events.Fenced)
        store.let.set()
        await ear.hears(events.Stored)

    assert ["Claimed", "Fenced"] == [
        type(one).__name__ for one in ear.of(events.Claimed, events.Fenced, events.FirstStored)
    ]


async def test_a_store_can_be_asked_whether_it_is_there(ear: Ear) -> None:
    """By an instrument that has heard nothing of it, one question at a time: the answer is told, or
    that none came."""

    class Away(MemoryStore):
        away = False

        async def look(
            self, session_ids: Sequence[str], *, metadata: bool = False
        ) -> list[SessionInfo | SessionCorrupted | None]:
            if self.away:
                raise StoreUnavailable("memory", "it is away")
            return await super().look(session_ids, metadata=metadata)

    store = Away()
    async with Hub(store, instruments=[ear]) as hub:
        await hub.active(["x"])
        (opened,) = ear.of(events.Opened)
        opened.ask()
        opened.ask()
        await ear.hears(events.StoreAnswered)
        store.away = True
        opened.ask()
        await ear.hears(events.StoreFailed)
    opened.ask()

    assert 1 == len(ear.of(events.StoreAnswered))
    assert ["ask"] == [failed.doing for failed in ear.of(events.StoreFailed)]


async def test_readers_are_told_from_their_replay_to_their_leave(ear: Ear, session_id: str) -> None:
    """Each with a number of its own: what it found, what it replayed, how it went."""
    ear.trace = TRACE
    async with Hub(instruments=[ear]) as hub:
        stream, _ = await hub.register(session_id)
        for data in ("one", "two"):
            await stream.publish(data)
        await stream.flush()
        left, stays = stream.subscribe(), stream.subscribe(after="now")
        for reader in (left, stays):
            await reader.open()
        assert ["one", "two"] == [(await anext(left)).data for _ in range(2)]
        third = asyncio.create_task(anext(left))
        await ear.hears(events.Replayed)
        await stream.publish("three")
        assert "three" == (await third).data
        await left.aclose()
        await stream.close()
        assert ["three"] == [chunk.data async for chunk in stays]

    first, second = ear.of(events.Subscribed)
    assert (2, 0, TRACE) == (first.behind, second.behind, first.traceparent)
    assert [(first.subscriber, 2, 6)] == [
        (one.subscriber, one.chunks, one.bytes)
        for one in ear.of(events.Replayed)
        if one.subscriber == first.subscriber
    ]
    gone = {one.subscriber: one for one in ear.of(events.Unsubscribed)}
    assert (3, Status.ACTIVE, None) == (
        gone[first.subscriber].chunks, gone[first.subscriber].status, gone[first.subscriber].error,
    )  # fmt: skip
    assert (1, Status.FINISHED) == (
        gone[second.subscriber].chunks, gone[second.subscriber].status,
    )  # fmt: skip
    assert [] == ear.of(events.FellBehind)
    delivered = ear.of(events.Delivered)
    assert delivered
    assert all(0 <= one.since_published <= one.since_accept for one in delivered)


async def test_a_reader_that_falls_behind_is_told_and_when_it_has_caught_up(
    ear: Ear, session_id: str
) -> None:
    """One that lets more come than is held for it reads on in the store."""
    config = HubConfig(max_pending_bytes=100)
    async with Hub(instruments=[ear], config=config) as hub:
        stream, _ = await hub.register(session_id)
        await stream.publish("first")
        reader = stream.subscribe(buffer=1)
        await anext(reader)
        next_one = asyncio.create_task(anext(reader))
        await ear.hears(events.Replayed)
        for number in range(50):
            await stream.publish(f"{number:>60}")
        await stream.flush()
        await next_one
        await stream.close()
        assert 49 == len([chunk async for chunk in reader])

    (behind,) = ear.of(events.FellBehind)
    (caught_up,) = ear.of(events.CaughtUp)
    assert behind.subscriber == caught_up.subscriber
    assert 1 <= caught_up.chunks <= behind.behind
    (gone,) = ear.of(events.Unsubscribed)
    assert 51 == gone.chunks


async def test_a_reader_that_is_dropped_or_outlived_by_its_hub_has_left(
    ear: Ear, session_id: str
) -> None:
    """Whoever breaks out of a loop is told once it is collected, and whoever is left when the hub
    closes before that; the reason of an error is its class."""
    async with Hub(instruments=[ear]) as hub:
        stream, _ = await hub.register(session_id)
        await stream.publish("one")
        async for _ in stream.subscribe():
            break
        gc.collect()
        await ear.hears(events.Unsubscribed)
        failed = stream.subscribe()
        await anext(failed)
        await hub.remove(session_id)
        with pytest.raises(SessionNotFound):
            await anext(failed)
        other, _ = await hub.register(session_id)
        kept = other.subscribe()
        await kept.open()

    assert [(1, None), (1, "SessionNotFound"), (0, "HubClosed")] == [
        (one.chunks, one.error) for one in ear.of(events.Unsubscribed)
    ]
    assert "Closed" == ear.names[-1]


async def test_a_lost_session_is_told_once_by_each_hub_that_reads_it(session_id: str) -> None:
    """And the hub that lost it, once it is fenced by who goes on."""
    store = MemoryStore()
    config = HubConfig(lease=0.3)
    dead, reads, goes_on = Ear(), Ear(), Ear()
    away = Fails(store)
    async with (
        Hub(away, config=config, instruments=[dead]) as first,
        Hub(store, config=config, instruments=[reads]) as second,
        Hub(store, config=config, instruments=[goes_on]) as third,
    ):
        stream, _ = await first.register(session_id, owner="ada")
        await stream.publish("one")
        await stream.flush()
        found = await second.get(session_id)
        assert found is not None
        with pytest.raises(ProducerLost):
            away.failing = True
            async for _ in found.subscribe():
                pass
        with pytest.raises(ProducerLost):
            async for _ in found.subscribe():
                pass
        await dead.hears(events.StoreFailed)
        assert first.statistics().store_failing
        assert not second.statistics().store_failing
        heir, _ = await third.register(session_id, takeover="continue")
        away.failing = False
        await dead.hears(events.Fenced)

    assert [(stream.generation, "ada", 1)] == [
        (one.generation, one.owner, one.chunks) for one in reads.of(events.Lost)
    ]
    assert [] == dead.of(events.Lost) + goes_on.of(events.Lost)
    assert [heir.generation] == [one.by for one in dead.of(events.Fenced)]
    assert [1] == [one.base for one in goes_on.of(events.TakenOver)]
    assert {"renew"} <= {one.doing for one in dead.of(events.StoreFailed)}


async def test_cancels_and_messages_are_told_at_both_ends(session_id: str) -> None:
    """Where they were sent, and where they came to the producer."""
    store = MemoryStore()
    here, there = Ear(), Ear()
    async with Hub(store, instruments=[here]) as hub, Hub(store, instruments=[there]) as other:
        stream, _ = await hub.register(session_id, lambda: None)
        handle = await other.get(session_id)
        assert handle is not None
        message_id = await handle.send("é", "kind")
        async for message in stream.inbox():
            message.done()
            break
        await handle.cancel()
        await here.hears(events.CancelNoticed)
        await stream.close()
        assert Status.CANCELLED is await handle.cancel()

    assert [(message_id, 6)] == [
        (one.message_id, one.bytes) for one in there.of(events.MessageSent)
    ]
    assert [(message_id, 6)] == [
        (one.message_id, one.bytes) for one in here.of(events.MessageReceived)
    ]
    assert [Status.ACTIVE, Status.CANCELLED] == [
        one.status for one in there.of(events.CancelRequested)
    ]
    assert [Status.CANCELLED] == [one.status for one in here.of(events.Ended)]


async def test_ends_are_told_when_they_are_handed_out_and_how_they_are_settled(
    ear: Ear, session_id: str
) -> None:
    """Done, or given back: with the attempt that it was."""
    async with Hub(instruments=[ear]) as hub, hub.ends("save") as ends:
        for _ in range(2):
            stream, _ = await hub.register(session_id)
            await stream.close()
            end = await anext(ends)
            if end.attempt == 1 and not ear.of(events.EndReturned):
                await end.retry(0.0, reason="not yet")
                end = await anext(ends)
            await end.done()

    assert [1, 2, 1] == [one.attempt for one in ear.of(events.EndHandedOut)]
    assert [("again", "not yet", 1)] == [
        (one.outcome, one.reason, one.attempt) for one in ear.of(events.EndReturned)
    ]
    assert [("save", 2), ("save", 1)] == [(one.feed, one.attempt) for one in ear.of(events.EndDone)]


async def test_two_hubs_tell_of_themselves_alone(session_id: str) -> None:
    """One instrument may hear both: their numbers differ, and each has its own statistics."""
    ear = Ear()
    async with Hub(instruments=[ear]) as first, Hub(instruments=[ear]) as second:
        await first.register(session_id)
        assert not await second.active([session_id])
        numbers = {one.hub: one.statistics().producers for one in ear.of(events.Opened)}
        assert [1, 0] == [*numbers.values()]

    assert {*numbers} == {one.hub for one in ear.of(events.Closed)}
    assert [0, 0] == [one.statistics().producers for one in ear.of(events.Opened)]


async def test_a_blocked_event_loop_shows(ear: Ear) -> None:
    """``statistics().loop_lag`` says how late what was due has run."""
    async with Hub(instruments=[ear]) as hub:
        await hub.active([])

        async def is_late() -> bool:
            time.sleep(0.3)  # noqa: ASYNC251 - it is what is looked for
            return hub.statistics().loop_lag > 0.1

        await until(is_late)
    assert 0.0 == hub.statistics().loop_lag


async def test_a_round_that_fails_is_told_and_what_it_carried_is_told_once_as_stored(
    ear: Ear, session_id: str
) -> None:
    """It sets out again: what is published may be counted twice, what is stored is not."""
    store = Fails(MemoryStore())
    async with Hub(store, instruments=[ear]) as hub:
        stream, _ = await hub.register(session_id)
        store.failing = True
        await stream.publish("é")
        await ear.hears(events.StoreFailed)
        store.failing = False
        await stream.flush()

    failed = ear.of(events.StoreFailed)[0]
    assert ("write", 1) == (failed.doing, failed.count)
    assert len(ear.of(events.Published)) > 1
    assert {(1, 1, 2)} == {
        (one.sessions, one.chunks, one.bytes) for one in ear.of(events.Published)
    }
    (stored,) = ear.of(events.Stored)
    assert (1, 1, 2) == (stored.sessions, stored.chunks, stored.bytes)


class _Corrupts(WrappedStore):
    """Holds one session that is damaged."""

    damaged: str = ""

    async def write(self, ops: Sequence[WriteOp]) -> list[WriteResult | Exception]:
        answers = await super().write(ops)
        return [
            SessionCorrupted(self.damaged, "by hand")
            if op.claim.session_id == self.damaged
            else one
            for op, one in zip(ops, answers, strict=True)
        ]


async def test_of_a_round_that_fails_in_part_the_rest_is_told_as_stored(ear: Ear) -> None:
    """And the store is not called away for a session that is damaged."""
    store = _Corrupts(MemoryStore())
    async with Hub(store, instruments=[ear]) as hub:
        streams = [(await hub.register(name))[0] for name in ("a", "b")]
        store.damaged = "b"
        for stream in streams:
            await stream.publish("one")
        await streams[0].flush()
        with pytest.raises(SessionCorrupted):
            await streams[1].flush()

    assert (2, 2, 6) == tuple(
        sum(getattr(one, name) for one in ear.of(events.Published))
        for name in ("sessions", "chunks", "bytes")
    )
    assert (1, 1, 3) == tuple(
        sum(getattr(one, name) for one in ear.of(events.Stored))
        for name in ("sessions", "chunks", "bytes")
    )
    assert [("write", 1, False)] == [
        (one.doing, one.count, one.away) for one in ear.of(events.StoreFailed)
    ]


_FORKED = """
import asyncio, os, sys, warnings
from streamhub import Hub, HubStatistics

warnings.simplefilter("ignore", DeprecationWarning)  # of forking where threads run
heard = []
hub = Hub(instruments=[heard.append])


async def use():
    stream, _ = await hub.register("chat")
    reader = stream.subscribe()
    await reader.open()
    return stream, reader


loop = asyncio.new_event_loop()
stream, reader = loop.run_until_complete(use())
before, statistics = len(heard), heard[0].statistics
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0
    print(statistics().producers, statistics().subscribers)
    loop.run_until_complete(hub.aclose())
    print(type(heard[-1]).__name__)
else:
    del stream, reader
    print(statistics() == hub.statistics() == HubStatistics(), len(heard) == before, flush=True)
    os._exit(0)
"""


async def test_a_forked_child_hears_and_shows_nothing_of_its_parents_hubs(
    run_python: RunPython,
) -> None:
    """Else each worker of a server that forks would count them once more."""
    process = await run_python(_FORKED)

    expected = ["True True", "1 1", "Closed"]
    assert expected == [await within(process.line()) for _ in expected]
    assert 0 == await within(process.wait())


async def test_a_hub_that_ends_with_its_loop_tells_it(ear: Ear, session_id: str) -> None:
    """What was left open is told as released, and the hub as closed, though nobody closed it."""

    async def forget() -> None:
        hub = Hub(instruments=[ear])
        stream, _ = await hub.register(session_id)
        await stream.publish("one")
        await stream.subscribe().open()

    await asyncio.to_thread(lambda: asyncio.run(forget()))

    assert [1] == [one.chunks for one in ear.of(events.Released)]
    assert 1 == len(ear.of(events.Unsubscribed))
    assert "Closed" == ear.names[-1]
