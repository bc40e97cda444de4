"""The long form: ``async with stream``, and how cancels, errors and closing meet it."""

from __future__ import annotations

import asyncio
import logging

import pytest

from streamhub import (
    ChunkTooLarge,
    Hub,
    HubClosed,
    HubConfig,
    InvalidChunk,
    ProducerFenced,
    Status,
    StreamClosed,
    StreamTooLarge,
)
from streamhub.testing.waiting import bounded, unhurried

from ..conftest import MakeHub


async def test_leaving_the_block_finishes_the_stream(hub: Hub, session_id: str) -> None:
    """Everything published is stored by then."""
    stream, _ = await hub.register(session_id)

    async with stream:
        for n in range(1000):
            await stream.publish(f"{n} ")

    assert Status.FINISHED is (await stream.info()).status
    assert "".join(f"{n} " for n in range(1000)) == await stream.text()


async def test_an_exception_fails_the_stream_and_passes_on(hub: Hub, session_id: str) -> None:
    """The caller's error is the caller's; readers are told its type and message."""
    stream, _ = await hub.register(session_id)

    with pytest.raises(ZeroDivisionError):
        async with stream:
            raise ZeroDivisionError("by zero")

    info = await stream.info()
    assert (Status.FAILED, "ZeroDivisionError: by zero") == (info.status, info.error)


async def test_a_task_cancelled_by_others_fails_the_stream(hub: Hub, session_id: str) -> None:
    """Only a cancel of the stream is one: a task that is cancelled stays cancelled."""
    stream, _ = await hub.register(session_id)
    entered = asyncio.Event()

    async def produce() -> None:
        async with stream:
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(produce())
    await entered.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert Status.FAILED is (await stream.info()).status


async def test_a_cancel_interrupts_the_block_which_ends_quietly(
    make_hub: MakeHub, session_id: str
) -> None:
    """What the body does on its way out is still published; what follows the block still runs."""
    stream, _ = await make_hub().register(session_id)
    entered = asyncio.Event()

    async def produce() -> str:
        async with stream:
            await stream.publish("begun, ")
            entered.set()
            try:
                await asyncio.Event().wait()
            finally:
                await stream.publish("cleaned up")
        return "went on"

    task = asyncio.create_task(produce())
    await entered.wait()
    reader = await make_hub().get(session_id)
    assert reader is not None

    assert Status.CANCELLED is await reader.cancel(wait=10, reason="by the user")
    assert "went on" == await task
    assert 0 == task.cancelling()
    assert "begun, cleaned up" == await reader.text()
    assert "by the user" == (await reader.info()).error


async def test_on_cancel_leaves_the_body_to_its_own_way(make_hub: MakeHub, session_id: str) -> None:
    """With a callback the body is not interrupted, and may say goodbye."""
    stop = asyncio.Event()
    stream, _ = await make_hub().register(session_id, stop.set)

    async def produce() -> None:
        async with stream:
            await stop.wait()
            await stream.publish("goodbye")

    task = asyncio.create_task(produce())
    reader = await make_hub().get(session_id)
    assert reader is not None

    assert Status.CANCELLED is await reader.cancel(wait=10)
    await task
    assert "goodbye" == await reader.text()


async def test_a_body_that_ignores_the_cancel_is_ended_for_it(
    make_hub: MakeHub, session_id: str
) -> None:
    """After a third of the lease the Stop button stops, whatever the callback did."""
    config = HubConfig(lease=unhurried(0.6))
    stream, _ = await make_hub(config).register(session_id, lambda: None)

    async def produce() -> None:
        async with stream:
            while True:
                await stream.publish("on and on ")
                await asyncio.sleep(0.01)  # the pace of a model, not a wait for anything

    task = asyncio.create_task(produce())
    reader = await make_hub(config).get(session_id)
    assert reader is not None

    assert Status.CANCELLED is await reader.cancel(wait=10)
    await task
    with pytest.raises(StreamClosed, match="cancelled"):
        await stream.publish("too late")


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_an_exception_in_on_cancel_is_logged_and_the_stream_still_cancelled(
    make_hub: MakeHub, session_id: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A broken callback costs nothing but a line in the log."""

    def plain() -> None:
        raise RuntimeError("callback is broken")

    async def coroutine() -> None:
        raise RuntimeError("callback is broken")

    config = HubConfig(lease=unhurried(0.6))
    callback = plain if kind == "plain" else coroutine
    stream, _ = await make_hub(config).register(session_id, callback)

    assert Status.CANCELLED is await stream.cancel(wait=10)

    assert "callback is broken" in caplog.text
    assert logging.ERROR == max(record.levelno for record in caplog.records)


async def test_without_block_and_callback_a_cancel_ends_the_stream_at_once(
    hub: Hub, session_id: str
) -> None:
    """The next publish is how such a producer hears of it."""
    stream, _ = await hub.register(session_id)
    await stream.publish("a")

    assert Status.CANCELLED is await stream.cancel(wait=10)

    with pytest.raises(StreamClosed) as caught:
        await stream.publish("b")
    assert Status.CANCELLED is caught.value.status
    await stream.close()
    assert "a" == await stream.text()


async def test_cancel_wins_over_an_end_that_comes_after_it(hub: Hub, session_id: str) -> None:
    """A cancel that was accepted is kept: the stream ends as cancelled, not as finished."""
    stream, _ = await hub.register(session_id, lambda: None)
    await stream.publish("a")

    assert Status.ACTIVE is await stream.cancel()
    await stream.close()

    assert Status.CANCELLED is (await stream.info()).status


async def test_publish_after_close_is_an_error_and_changes_nothing(
    hub: Hub, session_id: str
) -> None:
    """Close is idempotent; writing after it is not possible."""
    stream, _ = await hub.register(session_id)
    await stream.publish("a")
    await stream.close()
    await stream.close()

    for write in (stream.publish("b"), stream.set_metadata({}), stream.flush()):
        with pytest.raises(StreamClosed, match="finished"):
            await write
    assert "a" == await stream.text()


async def test_limits_name_what_was_given_and_lose_nothing(
    make_hub: MakeHub, session_id: str
) -> None:
    """A chunk over a limit is refused alone: what was there stays, what is small still fits."""
    hub = make_hub(HubConfig(max_chunk_bytes=10, max_stream_bytes=25))
    stream, _ = await hub.register(session_id)
    await stream.publish("ä" * 5)

    with pytest.raises(ChunkTooLarge, match=r"12 bytes .*\(10\)"):
        await stream.publish("ä" * 6)
    with pytest.raises(ChunkTooLarge):
        await stream.publish("x" * 8, event="abc")
    await stream.publish("x" * 10)
    with pytest.raises(StreamTooLarge, match=r"26 bytes.*\(25\)"):
        await stream.publish("y" * 6)
    await stream.publish("y" * 5)
    await stream.close()

    assert "ä" * 5 + "x" * 10 + "y" * 5 == await stream.text()


@pytest.mark.parametrize(
    ("chunk", "event"),
    [(b"a", None), (5, None), (None, None), ("\ud800", None), ("a", ""), ("a", "b\nc"), ("a", 5)],
)
async def test_what_is_no_chunk_is_refused(
    hub: Hub, session_id: str, chunk: object, event: object
) -> None:
    """Bad chunks and event types are errors at once; the stream goes on."""
    stream, _ = await hub.register(session_id)

    with pytest.raises(InvalidChunk, match=session_id):
        await stream.publish(chunk, event=event)  # type: ignore[arg-type]

    await stream.publish("fine")
    await stream.close()
    assert "fine" == await stream.text()


async def test_closing_the_hub_stores_everything_and_lets_others_continue(
    make_hub: MakeHub, session_id: str
) -> None:
    """The lease is released at once, and another instance goes on after the last chunk."""
    first, second = make_hub(), make_hub()
    stream, _ = await first.register(session_id)
    for n in range(700):
        await stream.publish(f"{n} ")

    await first.aclose()

    with pytest.raises(HubClosed):
        await stream.publish("too late")
    continued, created = await second.register(session_id, takeover="continue")
    assert created
    assert 701 == (await continued.publish("more")).offset
    await continued.close()
    assert "".join(f"{n} " for n in range(700)) + "more" == await continued.text()


async def test_closing_the_hub_lets_a_source_clean_up_and_others_continue(
    make_hub: MakeHub, session_id: str
) -> None:
    """The session is left to be continued, neither finished nor failed nor cancelled."""
    first, second = make_hub(), make_hub()
    started = asyncio.Event()

    async def source() -> None:
        started.set()
        await asyncio.Event().wait()

    async def answer(stream: object) -> None:
        await source()

    stream = await first.run(session_id, answer)
    await started.wait()

    await first.aclose()

    reader = await second.get(session_id)
    assert reader is not None
    assert Status.LOST is (await reader.info()).status
    assert stream.generation is not None
    _, created = await second.register(session_id, takeover="continue")
    assert created


async def test_g9_closing_the_hub_does_not_undo_a_cancel(
    make_hub: MakeHub, session_id: str
) -> None:
    """A producer that was asked to stop, and has not yet when its hub closes, ends as cancelled:
    nobody continues it."""
    first, second = make_hub(), make_hub()
    asked = asyncio.Event()
    stream, _ = await first.register(session_id, asked.set)
    await stream.publish("a")
    reader = await second.get(session_id)
    assert reader is not None
    await reader.cancel(reason="by the user")
    async with bounded(10):
        await asked.wait()

    await first.aclose()

    info = await reader.info()
    assert (Status.CANCELLED, "by the user") == (info.status, info.error)
    assert "a" == await reader.text()


async def test_a_removed_session_fences_its_producer_and_stops_its_source(
    make_hub: MakeHub, session_id: str
) -> None:
    """Nobody burns tokens for a session that is not there any more."""
    hub = make_hub(HubConfig(lease=unhurried(0.6)))
    stopped = asyncio.Event()
    started = asyncio.Event()

    async def answer(stream: object) -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            stopped.set()

    stream = await hub.run(session_id, answer)
    await started.wait()

    assert await hub.remove(session_id)

    async with bounded(10):
        await stopped.wait()
    with pytest.raises(ProducerFenced, match="removed"):
        await stream.publish("nobody reads this")
    assert await hub.get(session_id) is None
