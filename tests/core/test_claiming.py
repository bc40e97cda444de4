"""A claim that cannot be used is given up: the session is there for others at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from streamhub import Chunk, Hub, HubConfig, SessionCorrupted, Status, StoreUnavailable
from streamhub.stores.base import Granted, LiveEvent, Refused, Store, Watch
from streamhub.stores.memory import MemoryStore
from streamhub.stores.wrapped import WrappedStore
from streamhub.testing.waiting import within

from ..conftest import MakeHub

CONFIG = HubConfig(lease=3600.0)


class ClaimsAndRaises(WrappedStore):
    """What was granted cannot be read: as where a field of the record is damaged."""

    async def claim(self, *args: Any, **kwargs: Any) -> Granted | Refused:
        await super().claim(*args, **kwargs)
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "damaged")


class CannotRead(WrappedStore):
    async def read(self, *args: Any, **kwargs: Any) -> list[Chunk]:
        raise StoreUnavailable("store", "away")


class HasLostTheLog(WrappedStore):
    async def read(self, *args: Any, **kwargs: Any) -> list[Chunk]:
        return []


class CannotWatch(WrappedStore):
    def watch(
        self, session_id: str, sink: Callable[[LiveEvent], None], *, cancels: bool = False
    ) -> Watch:
        raise RuntimeError("no more watches")


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (ClaimsAndRaises, UnicodeDecodeError),
        (CannotRead, StoreUnavailable),
        (HasLostTheLog, SessionCorrupted),
        (CannotWatch, RuntimeError),
    ],
)
async def test_a_claim_that_cannot_be_used_is_given_up(
    session_id: str, broken: type[WrappedStore], error: type[Exception]
) -> None:
    """Whatever it was that failed after the claim: ``register`` raises it, and another hub goes on
    with the session at once."""
    store = MemoryStore()
    await _fail_after(store, session_id, ["a", "b"])
    async with Hub(broken(store), config=CONFIG) as hub, Hub(store, config=CONFIG) as other:
        with pytest.raises(error):
            await hub.register(session_id, takeover="continue")

        reader = await other.get(session_id)
        assert reader is not None
        assert Status.LOST is (await reader.info()).status
        stream, created = await other.register(session_id, takeover="continue")
        assert created
        await stream.publish("c")
        await stream.close()
        assert "abc" == await stream.text()


class RemovedMeanwhile(WrappedStore):
    """The session is removed between its claim and the reading of what it continues."""

    removals = 1

    async def read(self, session_id: str, *args: Any, **kwargs: Any) -> list[Chunk]:
        if self.removals:
            self.removals -= 1
            assert await self.store.remove(session_id)
        return await super().read(session_id, *args, **kwargs)


async def test_a_session_that_is_removed_while_it_is_claimed_is_claimed_anew(
    make_hub: MakeHub, session_id: str
) -> None:
    """That is no fault of the store: the claim is made again, on a session that is unknown now."""
    stream, _ = await make_hub(CONFIG).register(session_id)
    await stream.publish("old")
    await stream.fail("stopped")
    async with Hub(RemovedMeanwhile(make_hub(CONFIG)._store), config=CONFIG) as hub:
        stream, created = await hub.register(session_id, takeover="continue")
        assert created
        await stream.publish("new")
        await stream.close()
        assert "new" == await stream.text()


async def test_claims_and_removals_at_once_end_in_one_producer(make_hub: MakeHub) -> None:
    """Whoever comes between them: register answers, and raises nothing."""
    hubs = [make_hub(CONFIG) for _ in range(3)]
    for round_ in range(60):
        session_id = f"chat:{round_}"
        first, _ = await hubs[0].register(session_id)
        for n in range(5):
            await first.publish(f"{n} ")
        await first.fail("stopped")
        answers = await asyncio.gather(
            hubs[0].register(session_id, takeover="continue"),
            hubs[1].remove(session_id),
            hubs[2].register(session_id, takeover="continue"),
        )
        created = [one for answer in answers if isinstance(answer, tuple) for one in answer[1:]]
        assert {True, False} >= {*created}


@pytest.mark.slow
async def test_a_claim_whose_past_is_still_being_read_is_given_up_with_its_hub(
    session_id: str,
) -> None:
    """The hub closes meanwhile: nobody waits for a lease that it no longer renews."""
    reading = asyncio.Event()

    class NeverReads(WrappedStore):
        async def read(self, *args: Any, **kwargs: Any) -> list[Chunk]:
            reading.set()
            await asyncio.Event().wait()
            return []

    store = MemoryStore()
    await _fail_after(store, session_id, ["a"])
    hub = Hub(NeverReads(store), config=CONFIG)
    claiming = asyncio.create_task(hub.register(session_id, takeover="continue"))
    await within(reading.wait())
    await hub.aclose()
    await asyncio.wait([claiming])
    assert claiming.exception() is not None

    async with Hub(store, config=CONFIG) as other:
        _, created = await other.register(session_id, takeover="continue")
        assert created


async def _fail_after(store: Store, session_id: str, chunks: Sequence[str]) -> None:
    async with Hub(store, config=CONFIG) as hub:
        stream, _ = await hub.register(session_id)
        for chunk in chunks:
            await stream.publish(chunk)
        await stream.fail("stopped")
