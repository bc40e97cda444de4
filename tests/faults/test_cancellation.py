"""Cancellation at every await of every public call: the hub works on, and nothing is left over."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import suppress
from typing import Any

import pytest
from msgspec.structs import replace

from streamhub import Hub, HubConfig, HubStatistics, LiveStream, Status, StreamHubError
from streamhub.testing.waiting import bounded, patience, until

from ..conftest import MakeHub

#: What a call may be interrupted at, at most; more would mean that it never ends.
MOST_STEPS = 60
BOUND = 20.0
CONFIG = HubConfig(lease=5.0, max_pending_bytes=10)


class Interrupted:
    """Awaits ``work``, and cancels the task that does so where it waits for the ``at``-th time.

    The task itself is cancelled, and not the future that it waits for, so that time limits and
    shields work as they do for anybody.
    """

    def __init__(self, work: Awaitable[object], at: int) -> None:
        self._work = work
        self._at = at
        self.waits = 0

    def __await__(self) -> Generator[Any, Any, object]:
        steps = self._work.__await__()
        failure: BaseException | None = None
        while True:
            try:
                waited_for = next(steps) if failure is None else steps.throw(failure)
            except StopIteration as end:
                return end.value
            self.waits += 1
            if self.waits == self._at:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                yield waited_for
            except BaseException as error:
                failure = error
            else:
                failure = None


class Stage:
    """A hub with a session that is there and its producer, and another hub on the same data."""

    def __init__(self, hub: Hub, elsewhere: Hub, stream: LiveStream, session_id: str) -> None:
        self.hub = hub
        self.elsewhere = elsewhere
        self.stream = stream
        self.session_id = session_id
        self.new_id = f"{session_id}:new"

    async def reader(self) -> LiveStream:
        stream = await self.elsewhere.get(self.session_id)
        assert stream is not None
        return stream


async def _chunks() -> AsyncIterator[str]:
    yield "1"


async def _register(stage: Stage) -> None:
    await stage.hub.register(stage.new_id)


async def _run(stage: Stage) -> None:
    await stage.hub.run(stage.new_id, _chunks())


async def _publish_when_full(stage: Stage) -> None:
    for _ in range(3):
        await stage.stream.publish("x" * 10)


async def _flush(stage: Stage) -> None:
    await stage.stream.publish("more")
    await stage.stream.flush()


async def _set_metadata(stage: Stage) -> None:
    await stage.stream.set_metadata({"n": 1})


async def _close(stage: Stage) -> None:
    await stage.stream.close()


async def _fail(stage: Stage) -> None:
    await stage.stream.fail("it crashed")


async def _produce_in_block(stage: Stage) -> None:
    async with stage.stream as stream:
        await stream.publish("in the block")
        await stream.flush()


async def _iterate(stage: Stage) -> None:
    async with stage.stream.subscribe() as chunks:
        async for chunk in chunks:
            if chunk.data == "last":
                return


async def _iterate_without_closing(stage: Stage) -> None:
    await anext(stage.stream.subscribe())


async def _take(stage: Stage) -> None:
    async with stage.stream.subscribe(batch_replay=True) as chunks:
        await chunks.take()


async def _wait_for_the_next_chunk(stage: Stage) -> None:
    async with stage.stream.subscribe(after="now") as chunks:
        asyncio.get_running_loop().call_later(0.05, chunks._let_go)
        with suppress(StopAsyncIteration):
            await anext(chunks)


async def _close_subscription(stage: Stage) -> None:
    chunks = stage.stream.subscribe()
    await anext(chunks)
    await chunks.aclose()


async def _cancel(stage: Stage) -> None:
    await (await stage.reader()).cancel()


async def _cancel_and_wait(stage: Stage) -> None:
    await (await stage.reader()).cancel(wait=patience(BOUND))


async def _wait(stage: Stage) -> None:
    await stage.stream.wait(0.05)


async def _done(stage: Stage) -> None:
    await stage.stream.done()


async def _info(stage: Stage) -> None:
    await stage.stream.info()


async def _metadata(stage: Stage) -> None:
    await stage.stream.metadata()


async def _text(stage: Stage) -> None:
    await stage.stream.text()


async def _get(stage: Stage) -> None:
    await stage.hub.get(stage.session_id)


async def _get_and_wait(stage: Stage) -> None:
    await stage.hub.get(stage.new_id, wait=0.05)


async def _active(stage: Stage) -> None:
    await stage.hub.active([stage.session_id, stage.new_id])


async def _remove(stage: Stage) -> None:
    await stage.elsewhere.remove(stage.session_id)


async def _sessions(stage: Stage) -> None:
    async for _ in stage.hub.sessions():
        pass


CALLS = [
    _register,
    _run,
    _publish_when_full,
    _flush,
    _set_metadata,
    _close,
    _fail,
    _produce_in_block,
    _iterate,
    _iterate_without_closing,
    _take,
    _wait_for_the_next_chunk,
    _close_subscription,
    _cancel,
    _cancel_and_wait,
    _wait,
    _done,
    _info,
    _metadata,
    _text,
    _get,
    _get_and_wait,
    _active,
    _remove,
    _sessions,
]


@pytest.mark.slow
@pytest.mark.parametrize("new_hub", ["memory", "redis"], indirect=True)
@pytest.mark.parametrize("call", CALLS)
async def test_a_call_that_is_cancelled_anywhere_leaves_nothing_behind(
    make_hub: MakeHub, session_id: str, call: Callable[[Stage], Awaitable[None]]
) -> None:
    """At its first await, its second, and so on until it completes: it raises CancelledError,
    both hubs work on afterwards, and hold nothing of it."""
    hub, elsewhere = make_hub(CONFIG), make_hub(CONFIG)
    for at in range(1, MOST_STEPS):
        async with bounded(BOUND):
            stage = await _set_up(hub, elsewhere, f"{session_id}:{at}")
            waited, cancelled = await _interrupted(call(stage), at)
            await _tidy_up(stage, cancelled=cancelled)
            await _nothing_held(hub, elsewhere)
        if waited < at:
            break
    else:
        raise AssertionError(f"it waited {MOST_STEPS} times and more")
    # A store in memory has nothing to wait for.
    assert at > 1 or "memory" in repr(hub)


@pytest.mark.parametrize("new_hub", ["memory", "redis"], indirect=True)
@pytest.mark.parametrize("at", [1, 2, 3])
async def test_a_close_that_is_cancelled_goes_on(
    make_hub: MakeHub, session_id: str, at: int
) -> None:
    """A second close waits for it; the lease is released and no task is left."""
    tasks = asyncio.all_tasks()
    hub, elsewhere = make_hub(CONFIG), make_hub(CONFIG)
    stage = await _set_up(hub, elsewhere, session_id)
    await stage.stream.publish("more")
    await _interrupted(hub.aclose(), at)
    async with bounded(BOUND):
        await hub.aclose()
        stream, created = await elsewhere.register(session_id, takeover="continue")
        assert (True, "1lastmore") == (created, await stream.text())
        await elsewhere.aclose()
    assert tasks >= {task for task in asyncio.all_tasks() if not task.done()}


async def _interrupted(work: Awaitable[object], at: int) -> tuple[int, bool]:
    """How often ``work`` waited, and whether it was cancelled. Keeps nothing that it held."""
    interrupted = Interrupted(work, at)

    async def carry_out() -> None:
        await interrupted

    task = asyncio.create_task(carry_out())
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    return interrupted.waits, task.cancelled()


async def _set_up(hub: Hub, elsewhere: Hub, session_id: str) -> Stage:
    stream, created = await hub.register(session_id)
    assert created
    for data in ("1", "last"):
        await stream.publish(data)
    await stream.flush()
    reader = await elsewhere.get(session_id)
    assert reader is not None
    # Everything has been used once, so that what is made only once is there.
    await reader.wait(0.0)
    await (await hub.register(f"{session_id}:once"))[0].close()
    return Stage(hub, elsewhere, stream, session_id)


async def _tidy_up(stage: Stage, *, cancelled: bool) -> None:
    """Use both hubs, and end what the call may have begun or left open."""
    for hub in (stage.hub, stage.elsewhere):
        stream, created = await hub.register(f"{stage.session_id}:after")
        assert created
        await stream.publish("works")
        assert "works" == (await anext(stream.subscribe())).data
        await stream.close()
        assert Status.FINISHED == await stream.wait(patience(BOUND))

    async def can_be_claimed() -> bool:
        """A claim whose caller was cancelled is released, without waiting for its lease."""
        stream, created = await stage.elsewhere.register(stage.new_id)
        if created:
            await stream.close()
        return created

    if cancelled:
        await until(can_be_claimed, CONFIG.lease / 2)
    await stage.elsewhere.remove(stage.session_id)
    with suppress(StreamHubError):
        await stage.stream.publish("on a removed session")
        await stage.stream.flush()
    for session in (f"{stage.session_id}:once", f"{stage.session_id}:after", stage.new_id):
        await stage.elsewhere.remove(session)


async def _nothing_held(*hubs: Hub) -> None:
    """Wait until the hubs hold nothing for anybody but their connections."""
    held: list[HubStatistics] = []

    async def is_nothing_held() -> bool:
        # A subscription that was dropped lets go when it is collected.
        gc.collect()
        held[:] = [replace(hub.statistics(), connections=0) for hub in hubs]
        return all(one == HubStatistics() for one in held)

    try:
        await until(is_nothing_held, BOUND / 4)
    except TimeoutError:
        raise AssertionError(f"still held: {held}") from None
