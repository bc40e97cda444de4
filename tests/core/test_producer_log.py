"""What an operator can read of a producer's life in the log, where its hub has the instrument."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from streamhub import Hub, HubConfig, LiveStream, ProducerFenced, SessionCorrupted, Status
from streamhub.instruments import events
from streamhub.instruments.logging import LoggingInstrument
from streamhub.stores.memory import MemoryStore
from streamhub.testing.faults import Fails
from streamhub.testing.waiting import bounded, patience, unhurried, until, within

from ..conftest import MakeHub
from ..support.redis_server import RedisServer
from ..support.redis_stage import BOUND, Stage, chunks, claimed, meta

SECRET = "a word of the answer"

#: So many lines, as soon as they are there.
Told = Callable[[int], Awaitable[list[str]]]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    """The lines of streams since the last call, without names of sessions and generations, and
    times. None holds what was published. A producer may tell of an answer of the store after others
    have got theirs."""
    caplog.set_level(logging.INFO, logger="streamhub")

    async def lines(count: int) -> list[str]:
        def said() -> list[str]:
            told = [one for one in caplog.records if one.name == "streamhub.producing"]
            return [one.getMessage() for one in told]

        async def are_there() -> bool:
            return len(said()) >= count

        await until(are_there)
        assert SECRET not in caplog.text
        messages = [re.sub("^session '.*?': ", "", line) for line in said()]
        caplog.clear()
        messages = [re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "GENERATION", line) for line in messages]
        return [re.sub(r" in [0-9.]+ s", "", line) for line in messages]

    return lines


async def test_the_life_of_a_stream_is_told(make_hub: MakeHub, session_id: str, told: Told) -> None:
    """A claim, the cancel, the end, who replaces it, and a hub that leaves it to others."""
    first, second = (make_hub(None, [LoggingInstrument()]) for _ in range(2))
    stream, _ = await first.register(session_id)
    await stream.publish(SECRET)
    await stream.flush()
    assert ["claimed by GENERATION"] == await told(1)
    assert Status.CANCELLED is await stream.cancel(wait=patience(BOUND))
    assert [
        "GENERATION is to stop, as a cancel asks",
        "ended as cancelled, 1 chunks",
    ] == await told(2)

    stream, _ = await second.register(session_id, takeover="continue")
    await stream.publish(SECRET)
    await second.aclose()
    assert [
        "claimed by GENERATION",
        "GENERATION has replaced GENERATION (continue after chunk 1)",
        "released, 1 chunks",
    ] == await told(3)


async def test_a_removal_is_told(make_hub: MakeHub, session_id: str, told: Told) -> None:
    """Nothing comes back: the producer learns of it when it tries to put its claim back."""
    hub = make_hub(HubConfig(lease=unhurried(0.6)), [LoggingInstrument()])
    stream, _ = await hub.register(session_id)
    assert await hub.remove(session_id)
    with pytest.raises(ProducerFenced):
        await stream.publish(SECRET)
        await within(stream.flush())
    assert [
        "claimed by GENERATION",
        "is gone from the store; it is to be put back",
        "GENERATION is fenced, because the session was removed, 0 chunks",
    ] == await told(3)


@pytest.fixture
async def stage(make_redis: Callable[[], RedisServer]) -> AsyncIterator[Stage]:
    async with bounded(2 * BOUND), Stage(make_redis()) as stage:
        yield stage


def _hub(stage: Stage) -> Hub:
    return stage.hub(HubConfig(lease=60.0), instruments=[LoggingInstrument()])


async def _publish(stream: LiveStream) -> None:
    await stream.publish(SECRET)
    await stream.flush()


async def test_a_fence_tells_who_has_the_session_now(stage: Stage, told: Told) -> None:
    """The generation that claimed it when the lease had run out."""
    first, second = (_hub(stage) for _ in range(2))
    stale = await claimed(first, "chat")
    await told(1)
    created = False
    while not created:
        # A renewal that is on its way makes it whole again.
        await stage.client.hset(meta("chat"), "lease", "1")
        _, created = await second.register("chat")
    with pytest.raises(ProducerFenced):
        await _publish(stale)
    assert [
        "claimed by GENERATION",
        "GENERATION has replaced GENERATION (restart after chunk 0)",
        "GENERATION is fenced by GENERATION, 0 chunks",
    ] == await told(3)


async def test_losses_and_repairs_are_told(stage: Stage, told: Told) -> None:
    """What was lost, and how much of it was left when it was put back."""
    stream = await claimed(_hub(stage), "chat")
    for _ in range(3):
        await _publish(stream)
    await told(1)

    await stage.client.flushall()
    await _publish(stream)
    lost, put_back = await told(2)
    assert "is gone from the store; it is to be put back" == lost
    assert "put back, where 0 of 4 chunks were left" == put_back

    entries = await stage.client.xrange(chunks("chat"))
    await stage.client.xdel(chunks("chat"), entries[1][0])
    await _publish(stream)
    lost, put_back = await told(2)
    assert "has lost chunks; it is to be put back" == lost
    assert "put back, where 0 of 5 chunks were left" == put_back

    await stream.close()
    assert ["ended as finished, 5 chunks"] == await told(1)


async def test_giving_up_is_told_with_its_reason(stage: Stage, told: Told) -> None:
    """Whoever publishes is told by an error; the log says it where nobody does."""
    stream = await claimed(_hub(stage), "chat")
    await _publish(stream)
    await told(1)
    await stage.client.delete(chunks("chat"))
    await stage.client.set(chunks("chat"), "a string", px=60_000)
    with pytest.raises(SessionCorrupted):
        await _publish(stream)
    (line,) = await told(1)
    assert line.startswith("given up, 1 chunks: session 'chat'")


async def test_renewals_that_fail_are_told_once_and_not_at_every_try(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In one line for all that begin to fail together."""

    def said() -> list[str]:
        told = [one.getMessage() for one in caplog.records if one.name == "streamhub"]
        return [line for line in told if line.startswith("renewing")]

    heard: list[events.Event] = []

    async def are_tried() -> bool:
        return len([one for one in heard if isinstance(one, events.StoreFailed)]) >= 8

    store = Fails(MemoryStore())
    config = HubConfig(lease=unhurried(60.0))  # renewals are tried four times a second nevertheless
    async with bounded(BOUND), Hub(store, config=config, instruments=[heard.append]) as hub:
        streams = [(await hub.register(name))[0] for name in ("a", "b")]
        store.failing = True
        for stream in streams:
            await stream.cancel()  # which makes its producer look at once
        await until(are_tried)
        assert 1 <= len(said()) <= 2  # both cancels may be seen in one round, or in two
        store.failing = False
