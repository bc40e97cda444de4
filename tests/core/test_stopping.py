"""What a source learns of why it is stopped: a cancel, a hub that closes, a claim that is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from streamhub import Hub, HubClosed, HubConfig, LiveStream, Status
from streamhub.stores.memory import MemoryStore
from streamhub.testing.waiting import unhurried, until, within

#: What stops a stream of the first hub, from the second.
Stop = Callable[[Hub, Hub, str], Awaitable[object]]


async def _cancel(hub: Hub, elsewhere: Hub, session_id: str) -> None:
    stream = await elsewhere.get(session_id)
    assert stream is not None
    await stream.cancel()


async def _close(hub: Hub, elsewhere: Hub, session_id: str) -> None:
    await hub.aclose()


async def _remove(hub: Hub, elsewhere: Hub, session_id: str) -> None:
    assert await elsewhere.remove(session_id)


STOPS: dict[str, Stop] = {"cancelled": _cancel, "handover": _close, "fenced": _remove}


class Stopped:
    """Sources that wait to be stopped, and keep what they learn of it."""

    def __init__(self) -> None:
        self.running = asyncio.Event()
        self.heard: asyncio.Future[tuple[object, ...]] = asyncio.Future()

    async def function(self, stream: LiveStream) -> None:
        assert None is stream.stopping
        try:
            await self._wait()
        except asyncio.CancelledError as error:
            self.heard.set_result((*error.args, stream.stopping))
            raise

    async def generator(self) -> AsyncIterator[str]:
        try:
            await self._wait()
            yield ""
        except asyncio.CancelledError as error:
            self.heard.set_result(error.args)
            raise

    async def _wait(self) -> None:
        self.running.set()
        await asyncio.Event().wait()


@pytest.fixture
async def hubs() -> AsyncIterator[tuple[Hub, Hub]]:
    store = MemoryStore()
    async with Hub(store, config=HubConfig(lease=unhurried(1.0))) as hub, Hub(store) as elsewhere:
        yield hub, elsewhere


@pytest.mark.parametrize("kind", ["function", "generator"])
@pytest.mark.parametrize("word", STOPS)
async def test_a_source_hears_why_it_is_stopped(
    hubs: tuple[Hub, Hub], session_id: str, word: str, kind: str
) -> None:
    """By the message of the error that interrupts it, and where it has one, by its handle."""
    hub, elsewhere = hubs
    stopped = Stopped()
    stream = await hub.run(
        session_id, stopped.function if kind == "function" else stopped.generator()
    )
    await within(stopped.running.wait())
    await STOPS[word](hub, elsewhere, session_id)

    expected = (word, word) if kind == "function" else (word,)
    assert expected == await within(stopped.heard)
    assert word == stream.stopping


async def test_the_body_of_a_stream_hears_of_a_cancel(
    hubs: tuple[Hub, Hub], session_id: str
) -> None:
    """As a source does; the block ends quietly."""
    hub, elsewhere = hubs
    stream, _ = await hub.register(session_id)
    heard: tuple[object, ...] = ()
    async with stream:
        try:
            await _cancel(hub, elsewhere, session_id)
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            heard = (*error.args, stream.stopping)
            raise
    assert ("cancelled", "cancelled") == heard


async def test_who_only_reads_is_not_stopped(hubs: tuple[Hub, Hub], session_id: str) -> None:
    """Nor has anything stopped a producer that ended its stream itself."""
    hub, elsewhere = hubs
    stream, _ = await hub.register(session_id)
    await stream.close()
    reader = await elsewhere.get(session_id)
    assert reader is not None
    await hub.aclose()
    assert (None, None) == (reader.stopping, stream.stopping)


async def test_a_drain_is_announced_to_sources(hubs: tuple[Hub, Hub], session_id: str) -> None:
    """One may go on to its end; another, that would rather stop at a good place, raises
    ``HubClosed``, and its session is released at once, before the drain is over."""
    hub, elsewhere = hubs
    told, ends = asyncio.Event(), asyncio.Event()
    begun: list[str] = []

    async def leaves(stream: LiveStream) -> None:
        begun.append("leaves")
        await stream.publish("so far")
        await told.wait()
        assert "handover" == stream.stopping
        raise HubClosed

    async def goes_on(stream: LiveStream) -> None:
        begun.append("goes on")
        await ends.wait()
        assert "handover" == stream.stopping
        await stream.publish("all of it")

    await hub.run(session_id, leaves)
    going_on = await hub.run(f"{session_id}:2", goes_on)
    await until(lambda: _is(2 == len(begun)))
    draining = asyncio.create_task(hub.aclose(drain=300))
    await until(lambda: _is(going_on.stopping == "handover"))
    told.set()

    released = await elsewhere.get(session_id)
    assert released is not None
    assert Status.LOST is await within(released.wait())
    continued, created = await elsewhere.register(session_id, takeover="continue")
    assert created
    assert "so far" == await continued.text()
    await continued.close()
    assert not draining.done()
    ends.set()
    await within(draining)
    reader = await elsewhere.get(f"{session_id}:2")
    assert reader is not None
    assert (Status.FINISHED, "all of it") == (await reader.wait(), await reader.text())


async def test_a_cancel_during_a_drain_is_a_cancel(hubs: tuple[Hub, Hub], session_id: str) -> None:
    """The source hears of it, and nobody continues the session."""
    hub, elsewhere = hubs
    stopped = Stopped()
    stream = await hub.run(session_id, stopped.function)
    await within(stopped.running.wait())
    draining = asyncio.create_task(hub.aclose(drain=300))
    await until(lambda: _is(stream.stopping == "handover"))
    await _cancel(hub, elsewhere, session_id)

    assert ("cancelled", "cancelled") == await within(stopped.heard)
    await within(draining)
    reader = await elsewhere.get(session_id)
    assert reader is not None
    assert Status.CANCELLED is await reader.wait()


async def test_closing_again_cuts_a_drain_short(hubs: tuple[Hub, Hub], session_id: str) -> None:
    """Sources are interrupted then, and their sessions released."""
    hub, elsewhere = hubs
    stopped = Stopped()
    await hub.run(session_id, stopped.function)
    await within(stopped.running.wait())
    draining = asyncio.create_task(hub.aclose(drain=300))
    await asyncio.sleep(0)
    await within(hub.aclose())

    assert ("handover", "handover") == await within(stopped.heard)
    await within(draining)
    reader = await elsewhere.get(session_id)
    assert reader is not None
    assert Status.LOST is await reader.wait()


async def _is(value: bool) -> bool:
    return value
