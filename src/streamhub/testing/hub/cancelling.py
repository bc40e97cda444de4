"""G9: a cancel reaches the producer wherever it is, once, and nobody else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from ...chunks import Status
from ...config import HubConfig
from ...errors import StreamClosed
from ...hub import Hub
from ...stores.base import CancelRequested, Store
from ...stream import LiveStream
from ..backend import Backend
from ..faults import LosesEvents
from ..waiting import patience, unhurried, until, within
from .stage import Hubs, Stage, crash, drain, joined, produce, reader, stall

__all__ = ["CancellingTests"]


class CancellingTests(Stage):
    async def test_g9_a_cancel_interrupts_the_block(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """Without on_cancel a cancel from elsewhere ends the block quietly, what was published is
        kept, and subscribers reach the end."""
        stream = await produce(hub, session)
        inside, cleaned = asyncio.Event(), False

        async def body() -> str:
            nonlocal cleaned
            async with stream:
                await stream.publish("a")
                inside.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    cleaned = True
            return "after the block"

        task = asyncio.create_task(body())
        await within(inside.wait())
        other = await reader(elsewhere, session)
        reading = asyncio.create_task(drain(other.subscribe()))
        assert Status.CANCELLED is await other.cancel(wait=patience())
        assert "after the block" == await within(task)
        assert cleaned
        assert "a" == joined(await reading)
        assert Status.CANCELLED is (await other.info()).status

    async def test_g9_a_cancel_outside_of_a_block_ends_the_stream_at_once(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """The next write of the long form without a block raises, and tells why."""
        stream = await produce(hub, session, ["a"])
        other = await reader(elsewhere, session)
        assert Status.CANCELLED is await other.cancel(wait=patience())
        with pytest.raises(StreamClosed) as caught:
            await within(_publish_on(stream))
        assert (session, Status.CANCELLED) == (caught.value.session_id, caught.value.status)
        assert "a" == (await other.text())[:1]

    async def test_g9_on_cancel_runs_once_however_often_and_from_wherever(
        self, hub: Hub, hubs: Hubs, session: str
    ) -> None:
        """Many cancels at the same time and one after the other make one call."""
        calls: list[str] = []
        stop = asyncio.Event()

        def on_cancel() -> None:
            calls.append("cancelled")
            stop.set()

        stream, _ = await hub.register(session, on_cancel)
        body = asyncio.create_task(_until_stopped(stream, stop))
        handles = [stream, *[await reader(hubs.open(), session) for _ in range(3)]]
        answers = await asyncio.gather(
            *(handle.cancel(wait=patience()) for handle in handles for _ in range(3))
        )
        assert {Status.CANCELLED} == set(answers)
        for handle in handles:
            assert Status.CANCELLED is await handle.cancel(wait=patience())
        await within(body)
        assert ["cancelled"] == calls

    async def test_g9_an_async_on_cancel_is_awaited(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """on_cancel may be an async function, and may still publish the last words."""
        stop = asyncio.Event()

        async def on_cancel() -> None:
            await stream.publish("last words")
            stop.set()

        stream, _ = await hub.register(session, on_cancel)
        body = asyncio.create_task(_until_stopped(stream, stop))
        other = await reader(elsewhere, session)
        assert Status.CANCELLED is await other.cancel(wait=patience())
        await within(body)
        assert "last words" == await other.text()

    @pytest.mark.parametrize("kind", ["plain", "async"])
    async def test_g9_an_on_cancel_that_raises_is_logged_and_stops_no_cancel(
        self,
        hubs: Hubs,
        elsewhere: Hub,
        session: str,
        kind: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """The stream is cancelled whatever on_cancel does."""

        def plain() -> None:
            raise RuntimeError("on_cancel broke")

        async def later() -> None:
            raise RuntimeError("on_cancel broke")

        hub = hubs.open(HubConfig(lease=unhurried(0.6)))
        stream, _ = await hub.register(session, plain if kind == "plain" else later)
        await stream.publish("a")
        await within(stream.flush())
        with caplog.at_level(logging.ERROR, logger="streamhub"):
            other = await reader(elsewhere, session)
            assert Status.CANCELLED is await other.cancel(wait=patience())
        assert "on_cancel broke" in caplog.text
        assert "a" == joined(await drain(other.subscribe()))

    async def test_g9_a_body_that_ignores_on_cancel_is_interrupted_in_the_end(
        self, hubs: Hubs, elsewhere: Hub, session: str
    ) -> None:
        """A third of the lease after the cancel the stream ends, whatever its body does."""
        hub = hubs.open(HubConfig(lease=unhurried(0.6)))
        stream, _ = await hub.register(session, lambda: None)
        body = asyncio.create_task(_until_stopped(stream, asyncio.Event()))
        other = await reader(elsewhere, session)
        assert Status.CANCELLED is await other.cancel(wait=patience())
        await within(body)

    async def test_g9_a_cancel_stops_a_run(self, hub: Hub, elsewhere: Hub, session: str) -> None:
        """The source of a run is stopped, cleans up, and its stream ends as cancelled."""
        running, cleaned = asyncio.Event(), asyncio.Event()

        async def source() -> AsyncIterator[str]:
            try:
                yield "a"
                running.set()
                await asyncio.Event().wait()
            finally:
                cleaned.set()

        await hub.run(session, source())
        await within(running.wait())
        other = await reader(elsewhere, session)
        assert Status.CANCELLED is await other.cancel(wait=patience(), reason="too long")
        await within(cleaned.wait())
        assert "too long" == (await other.info()).error
        subscription = other.subscribe()
        assert "a" == joined(await drain(subscription))
        assert Status.CANCELLED is subscription.status

    async def test_g9_cancel_tells_the_status_reached(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """Without wait, or where the wait is too short, the answer is what stands so far."""
        stop = asyncio.Event()
        stream, _ = await hub.register(session, lambda: None)
        body = asyncio.create_task(_until_stopped(stream, stop))
        other = await reader(elsewhere, session)
        assert Status.ACTIVE is await within(other.cancel())
        assert Status.ACTIVE is await within(other.cancel(wait=0.01))
        assert (await other.info()).cancelling
        stop.set()
        assert Status.CANCELLED is await other.cancel(wait=patience())
        assert Status.CANCELLED is await within(other.wait())
        await within(body)

    @pytest.mark.parametrize("status", [Status.FINISHED, Status.FAILED, Status.CANCELLED])
    async def test_g9_a_cancel_changes_no_ended_session(
        self, hub: Hub, elsewhere: Hub, session: str, status: Status
    ) -> None:
        """Who cancels too late is told how the stream ended, and on_cancel does not run."""
        calls: list[str] = []
        stream, _ = await hub.register(session, lambda: calls.append("cancelled"))
        other = await reader(elsewhere, session)
        if status is Status.CANCELLED:
            await stream.cancel()
            await within(stream.close())
        elif status is Status.FAILED:
            await within(stream.fail("broke"))
        else:
            await within(stream.close())
        seen = list(calls)
        assert status is await other.cancel()
        assert status is await other.cancel(wait=patience())
        assert status is (await other.info()).status
        assert status is Status.CANCELLED or [] == seen == calls

    async def test_g9_a_cancel_of_a_session_that_is_gone_changes_nothing(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """A handle on a removed session answers lost, and creates nothing."""
        stream = await produce(hub, session, ["a"])
        await within(stream.close())
        other = await reader(elsewhere, session)
        await hub.remove(session)
        assert Status.LOST is await other.cancel()
        # Where a removal is not heard of, its producer might put it back within a lease.
        assert Status.LOST is await other.cancel(wait=0.1)
        assert None is await elsewhere.get(session)

    async def test_g9_a_cancel_means_the_stream_of_its_handle(
        self, hub: Hub, elsewhere: Hub, store: Store, session: str
    ) -> None:
        """A handle on the old answer does not stop the new one."""
        await produce(hub, session, ["old"])
        old = await reader(elsewhere, session)
        await stall(store, session)
        fresh, created = await elsewhere.register(session)
        assert created
        assert Status.LOST is await old.cancel(wait=patience())
        info = await fresh.info()
        assert (Status.ACTIVE, False) == (info.status, info.cancelling)

    async def test_g9_a_lost_session_is_cancelled_on_the_spot(
        self, elsewhere: Hub, store: Store, session: str
    ) -> None:
        """Where the producer is dead the cancel itself ends the stream, quietly for readers."""
        await crash(store, session, ["a"])
        await stall(store, session)
        other = await reader(elsewhere, session)
        assert Status.CANCELLED is await other.cancel()
        subscription = other.subscribe()
        assert "a" == joined(await drain(subscription))
        assert Status.CANCELLED is subscription.status

    async def test_g9_a_stalled_producer_hears_that_it_was_cancelled(
        self, hub: Hub, elsewhere: Hub, store: Store, session: str
    ) -> None:
        """Who was taken for dead when the cancel came is stopped once he writes again."""
        calls: list[str] = []
        stream, _ = await hub.register(session, lambda: calls.append("cancelled"))
        await stall(store, session)
        other = await reader(elsewhere, session)
        assert Status.CANCELLED is await other.cancel()
        with pytest.raises(StreamClosed) as caught:
            await within(_publish_on(stream))
        assert Status.CANCELLED is caught.value.status

        async def called() -> bool:
            return bool(calls)

        await until(called)
        assert ["cancelled"] == calls

    async def test_g9_a_cancel_outlives_a_producer_that_dies_before_it_stops(
        self, backend: Backend, elsewhere: Hub, store: Store, session: str
    ) -> None:
        """Its subscribers reach the end as cancelled, within the lease."""
        await crash(store, session, ["a"])
        other = await reader(elsewhere, session)
        assert Status.ACTIVE is await other.cancel()
        await backend.advance(0.5)
        subscription = other.subscribe()
        assert "a" == joined(await drain(subscription))
        assert Status.CANCELLED is subscription.status

    async def test_g9_nobody_continues_what_was_to_be_cancelled(
        self, backend: Backend, hub: Hub, elsewhere: Hub, store: Store, session: str
    ) -> None:
        """Who would recover a crashed session finds it cancelled instead."""
        await crash(store, session, ["a"])
        other = await reader(elsewhere, session)
        assert Status.ACTIVE is await other.cancel(reason="enough")
        await backend.advance(0.5)
        await until(lambda: _is(other, Status.LOST))
        _, created = await hub.register(session, takeover="continue")
        assert not created
        info = await other.info()
        assert (Status.CANCELLED, "enough") == (info.status, info.error)

    async def test_g9_a_cancel_is_noticed_though_its_message_was_lost(
        self, hubs: Hubs, elsewhere: Hub, session: str
    ) -> None:
        """A producer that never hears the message finds the cancel in the store."""
        deaf = hubs.open(
            HubConfig(lease=unhurried(0.6)),
            through=lambda store: LosesEvents(
                store, lambda event: isinstance(event, CancelRequested)
            ),
        )
        stop = asyncio.Event()
        stream, _ = await deaf.register(session, stop.set)
        body = asyncio.create_task(_until_stopped(stream, stop))
        other = await reader(elsewhere, session)
        assert Status.CANCELLED is await other.cancel(wait=patience())
        await within(body)

    @pytest.mark.parametrize("end", ["close", "fail"])
    async def test_g9_a_cancel_that_came_first_wins(
        self, hub: Hub, elsewhere: Hub, session: str, end: str
    ) -> None:
        """A producer that ends its stream after the cancel was asked for ends it as cancelled."""
        stream, _ = await hub.register(session, lambda: None)
        await stream.publish("a")
        await within(stream.flush())
        other = await reader(elsewhere, session)
        await other.cancel()
        await within(stream.close() if end == "close" else stream.fail("broke"))
        assert Status.CANCELLED is (await other.info()).status
        assert "a" == joined(await drain(other.subscribe()))

    async def test_g9_a_subscriber_that_goes_away_cancels_nothing(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """Readers come and go, in whatever way, without a trace in the stream."""
        stream = await produce(hub, session, ["a"])
        other = await reader(elsewhere, session)
        async with other.subscribe() as subscription:
            await within(anext(subscription))
        waiting = asyncio.create_task(drain(other.subscribe()))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        closed = other.subscribe()
        await within(anext(closed))
        await closed.aclose()
        info = await other.info()
        assert (Status.ACTIVE, False) == (info.status, info.cancelling)
        await stream.publish("b")
        await within(stream.close())
        assert "ab" == joined(await drain(other.subscribe()))

    async def test_g9_a_cancelled_session_is_free_for_the_next(
        self, hub: Hub, elsewhere: Hub, session: str
    ) -> None:
        """The cancel of one answer does not stop the one that is registered after it."""
        await produce(hub, session, ["a"])
        other = await reader(elsewhere, session)
        assert Status.CANCELLED is await other.cancel(wait=patience())
        calls: list[str] = []
        fresh, created = await elsewhere.register(session, lambda: calls.append("cancelled"))
        assert created
        await fresh.publish("b")
        await within(fresh.close())
        assert Status.FINISHED is (await fresh.info()).status
        assert [] == calls


async def _until_stopped(stream: LiveStream, stop: asyncio.Event) -> None:
    async with stream:
        await stop.wait()


async def _publish_on(stream: LiveStream) -> None:
    """Publish until that is refused."""

    async def refused() -> bool:
        await stream.publish("more")
        return False

    await until(refused)


async def _is(stream: LiveStream, status: Status) -> bool:
    return status is (await stream.info()).status
