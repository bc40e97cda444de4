"""G8 and takeovers: a producer that dies shows, and another can go on for it."""

from __future__ import annotations

import asyncio

import pytest

from ...chunks import Cursor, Status
from ...config import HubConfig
from ...errors import ProducerLost
from ...hub import Hub
from ...stores.base import Store, Takeover
from ..backend import Backend
from ..waiting import unhurried, within
from .stage import CALM, Hubs, Stage, crash, drain, joined, produce, reader, stall, until_error

__all__ = ["CrashingTests"]


class CrashingTests(Stage):
    async def test_g8_a_dead_producer_is_lost_for_every_subscriber(
        self, backend: Backend, hubs: Hubs, store: Store, session: str
    ) -> None:
        """Who waits, who comes later and who just asks all learn that the producer is lost, after
        all that it had stored."""
        config = HubConfig(lease=unhurried(0.5))
        claimed = await crash(store, session, ["a", "b"], lease=0.5)
        handles = [await reader(hubs.open(config), session) for _ in range(2)]
        waiting = [handle.subscribe() for handle in handles]
        for subscription in waiting:
            assert "a" == (await within(anext(subscription))).data
        await backend.advance(0.5)
        for subscription in [*waiting, *(handle.subscribe() for handle in handles)]:
            received = [] if subscription in waiting else ["a"]
            received.append((await within(anext(subscription))).data)
            if len(received) == 2:
                received[1:] = []
                assert "b" == (await within(anext(subscription))).data
            with pytest.raises(ProducerLost) as caught:
                await within(anext(subscription))
            assert Cursor(claimed.epoch, 2) == caught.value.cursor
            assert (session, claimed.generation) == (
                caught.value.session_id,
                caught.value.generation,
            )
            assert Status.LOST is subscription.status
        for handle in handles:
            assert Status.LOST is (await handle.info()).status
            assert Status.LOST is await within(handle.wait())
            assert await handle.done()

    async def test_g8_a_living_producer_is_not_taken_for_lost(
        self, hubs: Hubs, session: str
    ) -> None:
        """A producer that publishes nothing for some leases is active all the time."""
        config = HubConfig(lease=unhurried(1.0))
        stream = await produce(hubs.open(config), session, ["a"])
        other = await reader(hubs.open(config), session)
        reading = asyncio.create_task(drain(other.subscribe()))
        assert Status.ACTIVE is await other.wait(2.5 * config.lease)
        await stream.publish("b")
        await within(stream.close())
        assert "ab" == joined(await reading)

    @pytest.mark.parametrize("takeover", ["restart", "continue"])
    @pytest.mark.parametrize("status", [None, *Status])
    async def test_a_takeover_does_what_its_table_says(
        self,
        hub: Hub,
        elsewhere: Hub,
        store: Store,
        session: str,
        status: Status | None,
        takeover: Takeover,
    ) -> None:
        """Restart begins anew where nobody produces; continue goes on after the last chunk, but
        neither where somebody produces nor where the answer is complete."""
        old_epoch = None
        if status is not None:
            old = await produce(hub, session, ["a", "b"])
            old_epoch = (await old.info()).epoch
            match status:
                case Status.FINISHED:
                    await within(old.close())
                case Status.FAILED:
                    await within(old.fail("broke"))
                case Status.CANCELLED:
                    await within(old.cancel(wait=20))
                case Status.LOST:
                    await stall(store, session)
        stream, created = await elsewhere.register(session, takeover=takeover)
        refused = status is Status.ACTIVE or (status is Status.FINISHED and takeover == "continue")
        assert refused is not created
        info = await stream.info()
        if refused:
            assert None is stream.generation
            assert (status, old_epoch) == (info.status, info.epoch)
            return
        assert stream.generation == info.generation
        continued = status is not None and takeover == "continue"
        assert continued is (old_epoch == info.epoch)
        cursor = await stream.publish("c")
        assert info.terms is not None
        assert Cursor(info.terms.current, 3 if continued else 1) == cursor
        assert (cursor.term == info.last.term) is not continued
        await within(stream.close())
        chunks = await drain(stream.subscribe())
        assert ("abc" if continued else "c") == joined(chunks)
        assert [*range(1, len(chunks) + 1)] == [chunk.cursor.offset for chunk in chunks]

    @pytest.mark.parametrize("status", [Status.LOST, Status.ACTIVE])
    async def test_open_subscribers_read_on_across_a_continue(
        self, hubs: Hubs, hub: Hub, elsewhere: Hub, store: Store, session: str, status: Status
    ) -> None:
        """A continue that comes before they raised leaves subscribers reading on under one
        unbroken row of cursors; whether the old producer died or its hub was closed."""
        first = hubs.open(CALM)
        stream = await produce(first, session, ["a", "b"])
        handles = [await reader(hub, session), await reader(elsewhere, session)]
        subscriptions = [handle.subscribe() for handle in handles]
        heads = [[await within(anext(each)) for _ in range(2)] for each in subscriptions]
        if status is Status.LOST:
            await stall(store, session)
        else:
            await stream.publish("c")
            await within(first.aclose())
        second, created = await elsewhere.register(session, takeover="continue")
        assert created
        reading = [asyncio.create_task(drain(each)) for each in subscriptions]
        await second.publish("d")
        await within(second.close())
        expected = "abd" if status is Status.LOST else "abcd"
        for head, task in zip(heads, reading, strict=True):
            chunks = [*head, *await task]
            assert expected == joined(chunks)
            assert [*range(1, len(expected) + 1)] == [chunk.cursor.offset for chunk in chunks]

    async def test_a_lost_reader_resumes_once_somebody_continues(
        self, backend: Backend, hubs: Hubs, elsewhere: Hub, store: Store, session: str
    ) -> None:
        """The cursor of ProducerLost is where the reader goes on when the stream does."""
        await crash(store, session, ["a", "b"], lease=0.3)
        other = await reader(hubs.open(HubConfig(lease=unhurried(0.3))), session)
        await backend.advance(0.3)
        with pytest.raises(ProducerLost) as caught:
            await drain(other.subscribe())
        stream, created = await elsewhere.register(session, takeover="continue")
        assert created
        await stream.publish("c")
        await within(stream.close())
        assert "c" == joined(await drain(other.subscribe(after=caught.value.cursor)))
        assert "abc" == joined(await drain(other.subscribe()))

    async def test_closing_a_hub_leaves_its_sessions_to_others(
        self, hubs: Hubs, elsewhere: Hub, session: str
    ) -> None:
        """What was published is stored, the lease is released, and another continues at once."""
        closing = hubs.open(HubConfig(lease=300.0, max_pending_bytes=8_000_000))
        stream = await produce(closing, session)
        running = await closing.run(f"{session}:run", _Endless())
        assert running.generation is not None
        # More than one round trip carries.
        texts = [str(n) * 100_000 for n in range(10, 30)]
        for text in texts:
            await stream.publish(text)
        await within(closing.aclose())
        for session_id in (session, f"{session}:run"):
            assert Status.LOST is (await (await reader(elsewhere, session_id)).info()).status
            continued, created = await elsewhere.register(session_id, takeover="continue")
            assert created
            await within(continued.close())
        chunks = await drain((await reader(elsewhere, session)).subscribe())
        assert texts == [chunk.data for chunk in chunks]

    async def test_a_hub_that_closes_is_told_to_readers_at_once(
        self, hubs: Hubs, elsewhere: Hub, session: str
    ) -> None:
        """Who reads or waits learns that the session may be continued when it is released, not
        when its lease would have lapsed; and reads on where it is continued."""
        closing = hubs.open()
        stream = await closing.run(session, _Endless())
        await stream.publish("a")
        handle = await reader(elsewhere, session)
        subscription = handle.subscribe()
        assert "a" == (await within(anext(subscription))).data
        waiting = asyncio.create_task(handle.wait())
        await asyncio.sleep(0)
        await within(closing.aclose())
        assert Status.LOST is await within(waiting)
        assert await handle.done()
        _, lost = await until_error(subscription, ProducerLost)
        continued, created = await elsewhere.register(session, takeover="continue")
        assert created
        await continued.publish("b")
        await within(continued.close())
        assert "b" == joined(await drain(handle.subscribe(after=lost.cursor)))


class _Endless:
    """A source of which nothing ever comes."""

    def __aiter__(self) -> _Endless:
        return self

    async def __anext__(self) -> str:
        await asyncio.Event().wait()
        raise StopAsyncIteration
