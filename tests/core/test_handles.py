"""What a handle says of a session that its hub has another memory of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from streamhub import Hub, HubConfig, LiveStream, SessionInfo, Status
from streamhub.errors import SessionCorrupted, StoreUnavailable
from streamhub.stores.base import Claimed
from streamhub.stores.memory import MemoryStore
from streamhub.testing.faults import LosesEvents
from streamhub.testing.waiting import unhurried, until, within

LEASE = unhurried(2.0)


class ForgetsClaims(LosesEvents):
    """Nobody hears of a claim: the live channel is late, as on a loaded machine."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(), lambda event: isinstance(event, Claimed))
        self.looks = 0

    async def look(
        self, session_ids: Sequence[str], *, metadata: bool = False
    ) -> Sequence[SessionInfo | SessionCorrupted | StoreUnavailable | None]:
        self.looks += 1
        return await super().look(session_ids, metadata=metadata)


@pytest.fixture
async def store() -> ForgetsClaims:
    return ForgetsClaims()


@pytest.fixture
async def hub(store: ForgetsClaims) -> AsyncIterator[Hub]:
    async with Hub(store, config=HubConfig(lease=LEASE)) as hub:
        yield hub


async def _waited_for(hub: Hub, store: ForgetsClaims) -> asyncio.Task[LiveStream | None]:
    """Somebody waits for a session that is not there, and the hub knows that it is not."""
    waiting = asyncio.create_task(hub.get("chat", wait=60.0))

    async def is_known() -> bool:
        # By whom waits, by the view that is waited with, and by that once more.
        return store.looks >= 3

    await until(is_known)
    return waiting


@pytest.mark.parametrize("by", ["register", "get"])
async def test_who_has_found_a_session_may_read_it_though_others_wait_for_it_still(
    hub: Hub, store: ForgetsClaims, by: str
) -> None:
    """What the hub knew of it before does not come back as ``SessionNotFound``."""
    waiting = await _waited_for(hub, store)
    stream, created = await hub.register("chat")
    assert created
    found = await hub.get("chat") if by == "get" else stream
    assert found is not None

    async with found.subscribe() as chunks:
        reading = asyncio.create_task(anext(chunks))
        await stream.publish("a")
        assert "a" == (await within(reading)).data
    await stream.close()
    assert Status.FINISHED is await found.wait()
    assert await within(waiting) is not None


async def test_the_end_of_an_answer_before_is_not_told_of_the_one_after_it(
    hub: Hub, store: ForgetsClaims
) -> None:
    """``wait``, ``cancel`` and ``subscribe`` are of the answer that the handle was opened on."""
    before, _ = await hub.register("chat")
    async with before.subscribe() as slow:
        await before.publish("old")
        await within(anext(slow))
        await before.close()
        assert Status.FINISHED is await before.wait()

        after, created = await hub.register("chat")
        assert created
        found = await hub.get("chat")
        assert found is not None
        assert Status.ACTIVE is await found.wait(0.05)
        assert Status.ACTIVE is await found.cancel(wait=0.0)
        assert after.generation is not None
