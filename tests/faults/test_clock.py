"""Redis's clock goes back while a producer dies: its lease then ends an hour from now (G8)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from streamhub import Hub, HubConfig, LiveStream, ProducerLost, Status
from streamhub.testing.waiting import bounded, until

from ..conftest import RunPython
from ..support.child_processes import PythonProcess
from ..support.programs import LEASE, PRODUCE
from ..support.redis_stage import claimed, meta, taken

pytestmark = pytest.mark.slow

HOUR_MS = 3_600_000
#: Within which whoever waits for a verdict has one.
VERDICT = LEASE + 5.0


@pytest.fixture
async def hub(redis_url: str) -> AsyncIterator[Hub]:
    async with Hub.from_url(redis_url, config=HubConfig(lease=LEASE)) as hub:
        yield hub


@pytest.fixture
async def producer(redis_url: str, run_python: RunPython) -> PythonProcess:
    """A process that has stored three chunks."""
    process = await run_python(PRODUCE, redis_url, "chat", "restart")
    assert "claimed" == await process.line()
    await process.send("publish 3")
    assert "ok" == await process.line()
    return process


async def _dies_as_the_clock_goes_back(
    producer: PythonProcess, redis_client: redis.asyncio.Redis
) -> None:
    """What a clock that goes back leaves behind: nobody renews any more, and by the clock as it is
    now the lease has an hour to go."""
    producer.signal(signal.SIGKILL)
    await producer.wait()
    await redis_client.hincrby(meta("chat"), "lease", HOUR_MS)


async def _found(hub: Hub) -> LiveStream:
    stream = await hub.get("chat")
    assert stream is not None
    return stream


async def test_g8_readers_hear_of_a_death_whatever_the_clock_does(
    hub: Hub, redis_url: str, redis_client: redis.asyncio.Redis, producer: PythonProcess
) -> None:
    """One that was there, and one that comes afterwards in another process: both within lease and
    five seconds; ``info`` and ``wait`` say so, too."""
    stream = await _found(hub)
    open_before = stream.subscribe()
    await taken(open_before, 3)
    await _dies_as_the_clock_goes_back(producer, redis_client)
    async with Hub.from_url(redis_url, config=HubConfig(lease=LEASE)) as elsewhere:
        late = (await _found(elsewhere)).subscribe()
        async with bounded(VERDICT):
            await taken(late, 3)
            for subscription in (open_before, late):
                with pytest.raises(ProducerLost):
                    await anext(subscription)
            assert Status.LOST == await stream.wait()

        async def is_lost() -> bool:
            return (await stream.info()).status is Status.LOST

        await until(is_lost, VERDICT)


@pytest.mark.parametrize("takeover", ["continue", "restart"])
async def test_g8_a_lease_is_no_longer_than_it_was_granted_for(
    hub: Hub, redis_client: redis.asyncio.Redis, producer: PythonProcess, takeover: str
) -> None:
    """Another producer may claim within lease and five seconds, and not before the lease that was
    granted is over."""
    await _dies_as_the_clock_goes_back(producer, redis_client)

    async def claims() -> bool:
        _, created = await hub.register("chat", takeover=takeover)  # type: ignore[arg-type]
        return created

    await until(claims, VERDICT)


async def test_g8_a_living_producer_outlives_a_clock_that_goes_back(
    hub: Hub, redis_url: str, redis_client: redis.asyncio.Redis
) -> None:
    """It renews, and nobody takes it for lost, or claims over it, for as long as it does."""
    config = HubConfig(lease=LEASE)
    async with Hub.from_url(redis_url, config=config) as producing:
        stream = await claimed(producing, "chat")
        await stream.publish("1 ")
        await stream.flush()
        subscription = (await _found(hub)).subscribe()
        received = await taken(subscription, 1)
        await redis_client.hincrby(meta("chat"), "lease", HOUR_MS)
        waiting = asyncio.create_task(anext(subscription))
        done, _ = await asyncio.wait([waiting], timeout=3 * LEASE)
        assert set() == done
        _, created = await hub.register("chat")
        assert not created
        await stream.publish("2 ")
        received.append(await waiting)
        await stream.close()
    assert ["1 ", "2 "] == [chunk.data for chunk in received]
