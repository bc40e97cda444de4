"""How many follow a session, in all hubs that count them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress

import pytest

from streamhub import Hub, HubConfig, LiveStream, Subscription
from streamhub.testing.waiting import unhurried, until, within

from ..conftest import MakeHub

LEASE = unhurried(0.2)
COUNTS = HubConfig(lease=LEASE, count_subscribers=True)

pytestmark = pytest.mark.parametrize("new_hub", ["memory", "redis"], indirect=True)


async def subscribed(hub: Hub, session_id: str) -> Subscription:
    """To its end, from now on."""
    stream = await hub.get(session_id)
    assert stream is not None
    subscription = stream.subscribe(after="now")
    await within(subscription.open())
    return subscription


async def counted(stream: LiveStream, wanted: int) -> None:
    async def found() -> bool:
        return wanted == (await stream.info()).subscribers

    await until(found)


async def all_said(hub: Hub) -> bool:
    """No announcement is under way."""
    return 0 == hub.statistics().tasks


async def publish(stream: LiveStream) -> None:
    """Without a pause that is as long as a lease: nobody needs a look to know that it goes on."""
    while True:
        await stream.publish("x")
        await asyncio.sleep(LEASE / 20)


async def test_all_that_follow_a_session_are_counted(make_hub: MakeHub, session_id: str) -> None:
    """In every hub, those that come while chunks do, too; who has left is not counted for long.
    A hub that does not count hears of it as well."""
    one, two, other = make_hub(COUNTS), make_hub(COUNTS), make_hub(HubConfig(lease=LEASE))
    produced, _ = await other.register(session_id)
    assert (await produced.info()).subscribers is None
    producing = asyncio.create_task(publish(produced))
    async with AsyncExitStack() as stays:
        stays.push_async_exit(await subscribed(one, session_id))
        await counted(produced, 1)
        async with AsyncExitStack() as leaves:
            leaves.push_async_exit(await subscribed(one, session_id))
            leaves.push_async_exit(await subscribed(two, session_id))
            leaves.push_async_exit(await subscribed(other, session_id))
            await counted(produced, 3)
        await counted(produced, 1)
    await counted(produced, 0)
    producing.cancel()
    with suppress(asyncio.CancelledError):
        await producing


async def test_another_stream_begins_with_nobody(make_hub: MakeHub, session_id: str) -> None:
    """Those that followed the one before it are not counted: not after a restart, and not after a
    removal. One that is continued keeps them."""
    hub = make_hub(HubConfig(lease=60.0, count_subscribers=True))
    stream, _ = await hub.register(session_id)
    async with await subscribed(hub, session_id):
        await counted(stream, 1)
        await stream.fail("it is continued")
    await until(lambda: all_said(hub))
    continued, _ = await hub.register(session_id, takeover="continue")
    assert 1 == (await continued.info()).subscribers
    await continued.close()
    restarted, _ = await hub.register(session_id)
    assert (await restarted.info()).subscribers is None
    async with await subscribed(hub, session_id):
        await counted(restarted, 1)
        await until(lambda: all_said(hub))
        await hub.remove(session_id)
    again, _ = await hub.register(session_id)
    assert (await again.info()).subscribers is None
