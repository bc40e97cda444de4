"""What a hub tells its instruments: every event in a scene in which it happens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from streamhub import Hub, HubConfig, SessionCorrupted, SessionInfo, Status, StoreUnavailable
from streamhub.instruments import Event, events
from streamhub.stores.base import Takeover
from streamhub.stores.memory import MemoryStore
from streamhub.testing.waiting import until

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
LATER_TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Ear:
    """An instrument that keeps all it hears."""

    def __init__(self) -> None:
        self.heard: list[Event] = []
        self.trace: str | None = None

    def __call__(self, event: Event) -> None:
        self.heard.append(event)

    def context(self) -> str | None:
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

        def context(self) -> str | None:
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
