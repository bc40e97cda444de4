"""Producers that are killed, frozen, blocked or sent home (G1, G2, G8)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from streamhub import Hub, HubConfig, ProducerLost, Status
from streamhub.testing.waiting import bounded

from ..conftest import RunPython
from ..support.child_processes import PythonProcess
from ..support.programs import LEASE, PRODUCE, SUBSCRIBE

pytestmark = pytest.mark.slow

#: G8: how long a dead producer may look alive.
SHOWS_WITHIN = LEASE + 1.0


@pytest.fixture
async def hub(redis_url: str) -> AsyncIterator[Hub]:
    """An instance besides the processes."""
    async with Hub.from_url(redis_url, config=HubConfig(lease=LEASE)) as hub:
        yield hub


def numbered(first: int, last: int) -> list[str]:
    return [f"<{offset}>" for offset in range(first, last + 1)]


async def told(process: PythonProcess, line: str) -> str:
    await process.send(line)
    return await process.line()


async def started(run_python: RunPython, url: str, session_id: str, chunks: int) -> PythonProcess:
    """A process that has claimed the session and stored so many chunks."""
    producer = await run_python(PRODUCE, url, session_id, "restart")
    assert "claimed" == await producer.line()
    assert "ok" == await told(producer, f"publish {chunks}")
    return producer


async def test_g8_a_killed_producer_is_lost_to_every_subscriber_within_lease_and_a_second(
    hub: Hub, redis_url: str, run_python: RunPython, session_id: str
) -> None:
    """After SIGKILL, subscribers here and in another process raise ProducerLost, and info() and
    wait() say lost, all within the lease and one second."""
    producer = await started(run_python, redis_url, session_id, 3)
    stream = await hub.get(session_id)
    assert stream is not None
    elsewhere = await run_python(SUBSCRIBE, redis_url, session_id)
    assert ["1 <1>", "2 <2>", "3 <3>"] == [await elsewhere.line() for _ in range(3)]
    here = [stream.subscribe() for _ in range(3)]
    for subscription in here:
        assert numbered(1, 3) == [(await anext(subscription)).data for _ in range(3)]

    producer.signal(signal.SIGKILL)
    async with bounded(SHOWS_WITHIN):
        ends = await asyncio.gather(*map(anext, here), return_exceptions=True)
        assert "ProducerLost" == await elsewhere.line()
        assert Status.LOST == await stream.wait()
        info = await stream.info()

    assert [ProducerLost] * 3 == [type(end) for end in ends]
    assert [subscription.cursor for subscription in here] == [info.last] * 3
    assert Status.LOST == info.status


async def test_g8_a_producer_killed_before_its_first_chunk_is_lost(
    hub: Hub, redis_url: str, run_python: RunPython, session_id: str
) -> None:
    """A subscriber that has seen nothing yet raises ProducerLost too."""
    producer = await started(run_python, redis_url, session_id, 0)
    stream = await hub.get(session_id)
    assert stream is not None
    waiting = asyncio.create_task(anext(stream.subscribe()))
    producer.signal(signal.SIGKILL)
    with pytest.raises(ProducerLost):
        async with bounded(SHOWS_WITHIN):
            await waiting


async def test_a_continue_elsewhere_completes_the_text_of_a_killed_producer(
    hub: Hub, redis_url: str, run_python: RunPython, session_id: str
) -> None:
    """Old and new chunks stand under one unbroken row of cursors, for a subscriber that was open
    before the crash and had not raised, for one that resumes and for one that comes after."""
    producer = await started(run_python, redis_url, session_id, 4)
    stream = await hub.get(session_id)
    assert stream is not None
    still_open, raised = stream.subscribe(), stream.subscribe()
    assert "<1>" == (await anext(still_open)).data
    producer.signal(signal.SIGKILL)
    seen = []
    with pytest.raises(ProducerLost) as lost:
        async with bounded(10):
            async for chunk in raised:
                seen.append(chunk)

    second = await run_python(PRODUCE, redis_url, session_id, "continue")
    assert ["claimed", "ok", "ok"] == [
        await second.line(),
        await told(second, "publish 3"),
        await told(second, "close"),
    ]

    async with bounded(10):
        assert numbered(2, 7) == [chunk.data async for chunk in still_open]
        seen += [chunk async for chunk in stream.subscribe(after=lost.value.cursor)]
        late = [chunk async for chunk in stream.subscribe()]
    assert late == seen
    assert numbered(1, 7) == [chunk.data for chunk in late]
    terms = (await stream.info()).terms
    assert terms is not None
    assert 4 == terms.base
    assert [terms.cursor(offset) for offset in range(1, 8)] == [chunk.cursor for chunk in late]


async def test_a_continue_before_waiting_subscribers_have_raised_is_not_noticed_by_them(
    hub: Hub, redis_url: str, redis_client: redis.asyncio.Redis, run_python: RunPython
) -> None:
    """Subscribers that wait in anext, here and in another process, read on after their producer
    was killed and another one continued: no error, no gap."""
    first = await run_python(PRODUCE, redis_url, "chat", "restart", "60")
    assert ["claimed", "ok"] == [await first.line(), await told(first, "publish 2")]
    stream = await hub.get("chat")
    assert stream is not None
    elsewhere = await run_python(SUBSCRIBE, redis_url, "chat")
    assert ["1 <1>", "2 <2>"] == [await elsewhere.line() for _ in range(2)]
    subscription = stream.subscribe()
    assert numbered(1, 2) == [(await anext(subscription)).data for _ in range(2)]
    waiting = asyncio.create_task(anext(subscription))

    first.signal(signal.SIGKILL)
    assert -signal.SIGKILL == await first.wait()
    # Its lease lapses now, before anybody has come to look.
    await redis_client.hset("streamhub:{chat}:meta", "lease", "1")
    second = await run_python(PRODUCE, redis_url, "chat", "continue")
    assert ["claimed", "ok", "ok"] == [
        await second.line(),
        await told(second, "publish 2"),
        await told(second, "close"),
    ]

    async with bounded(10):
        assert "<3>" == (await waiting).data
        assert ["<4>"] == [chunk.data async for chunk in subscription]
        assert ["3 <3>", "4 <4>", "finished"] == [await elsewhere.line() for _ in range(3)]


@pytest.mark.parametrize("call", ["publish 1", "flush", "metadata", "close"])
@pytest.mark.parametrize("takeover", ["restart", "continue"])
async def test_g2_a_producer_frozen_for_longer_than_its_lease_is_fenced(
    hub: Hub, redis_url: str, run_python: RunPython, session_id: str, takeover: str, call: str
) -> None:
    """Another took over while it was stopped by SIGSTOP: its next call raises ProducerFenced, and
    nothing that it writes takes effect."""
    frozen = await started(run_python, redis_url, session_id, 2)
    stream = await hub.get(session_id)
    assert stream is not None
    frozen.signal(signal.SIGSTOP)
    async with bounded(SHOWS_WITHIN):
        assert Status.LOST == await stream.wait()
    # What it is told waits in its pipe, and is the first thing it does.
    await frozen.send(call)
    new, created = await hub.register(session_id, takeover=takeover, metadata="new")  # type: ignore[arg-type]
    assert created
    await new.publish("new")
    await new.flush()

    frozen.signal(signal.SIGCONT)
    async with bounded(10):
        answer = await frozen.line()
        if call == "flush" and answer == "ok":
            # There was nothing to flush, so that it could not know yet.
            answer = await told(frozen, "publish 1")
    assert "ProducerFenced" == answer
    old = "" if takeover == "restart" else "<1><2>"
    info = await new.info()
    assert (f"{old}new", "new", Status.ACTIVE) == (await new.text(), info.metadata, info.status)
    await new.close()


async def test_a_blocked_event_loop_goes_on_where_nobody_took_over(
    hub: Hub, redis_url: str, run_python: RunPython, session_id: str
) -> None:
    """A producer whose event loop stood still for three leases is lost meanwhile, then renews,
    publishes on and finishes."""
    producer = await started(run_python, redis_url, session_id, 2)
    stream = await hub.get(session_id)
    assert stream is not None
    await producer.send(f"block {3 * LEASE}")
    async with bounded(SHOWS_WITHIN):
        assert Status.LOST == await stream.wait()
    async with bounded(10):
        assert "ok" == await producer.line()
        assert "ok" == await told(producer, "publish 2")
        assert "ok" == await told(producer, "close")
        assert numbered(1, 4) == [chunk.data async for chunk in stream.subscribe()]


async def test_g2_a_blocked_event_loop_is_fenced_where_somebody_took_over(
    hub: Hub, redis_url: str, run_python: RunPython, session_id: str
) -> None:
    """A producer whose event loop stood still while another continued writes nothing any more."""
    producer = await started(run_python, redis_url, session_id, 2)
    stream = await hub.get(session_id)
    assert stream is not None
    await producer.send(f"block {4 * LEASE}")
    async with bounded(SHOWS_WITHIN):
        assert Status.LOST == await stream.wait()
    new, created = await hub.register(session_id, takeover="continue")
    assert created
    async with bounded(10):
        assert "ok" == await producer.line()
        assert "ProducerFenced" == await told(producer, "publish 1")
    await new.close()
    assert "<1><2>" == await stream.text()


async def test_a_terminated_process_leaves_its_session_to_others_at_once(
    hub: Hub, redis_url: str, run_python: RunPython, session_id: str
) -> None:
    """SIGTERM that closes the hub stores what was published and releases the lease: another can
    continue without waiting for it to lapse, and waiting subscribers never notice."""
    producer = await started(run_python, redis_url, session_id, 2)
    stream = await hub.get(session_id)
    assert stream is not None
    subscription = stream.subscribe()
    assert numbered(1, 2) == [(await anext(subscription)).data for _ in range(2)]
    producer.signal(signal.SIGTERM)
    async with bounded(10):
        assert "released" == await producer.line()
    new, created = await hub.register(session_id, takeover="continue")
    assert created
    async with new:
        await new.publish("<3>")
    async with bounded(10):
        assert ["<3>"] == [chunk.data async for chunk in subscription]


async def test_g1_of_many_processes_one_continues(
    hub: Hub, redis_url: str, run_python: RunPython, session_id: str
) -> None:
    """Several processes that continue a lost session at once: one gets it."""
    producer = await started(run_python, redis_url, session_id, 1)
    stream = await hub.get(session_id)
    assert stream is not None
    producer.signal(signal.SIGKILL)
    async with bounded(SHOWS_WITHIN):
        await stream.wait()
    claims = await asyncio.gather(
        *(run_python(PRODUCE, redis_url, session_id, "continue") for _ in range(3))
    )
    answers = await asyncio.gather(*(process.line() for process in claims))
    assert ["claimed", "refused", "refused"] == sorted(answers)


async def test_g8_a_producer_that_dies_as_connections_break_is_lost_as_soon_as_any_other(
    hub: Hub,
    redis_url: str,
    redis_client: redis.asyncio.Redis,
    run_python: RunPython,
    session_id: str,
) -> None:
    """Its subscribers listen anew, which is no reason to wait for it for longer."""
    producer = await started(run_python, redis_url, session_id, 1)
    stream = await hub.get(session_id)
    assert stream is not None
    subscription = stream.subscribe()
    await anext(subscription)
    for kind in ("normal", "pubsub"):
        await redis_client.client_kill_filter(_type=kind, skipme=True)
    producer.signal(signal.SIGKILL)
    with pytest.raises(ProducerLost):
        async with bounded(SHOWS_WITHIN):
            await anext(subscription)
