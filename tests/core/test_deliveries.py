"""What the deliveries of a queue's task do where they meet."""

from __future__ import annotations

import asyncio
from typing import Any

from streamhub import Hub, LiveStream, SessionInfo, Status
from streamhub.deliveries import Delivery, begin
from streamhub.stores.memory import MemoryStore
from streamhub.stores.wrapped import WrappedStore
from streamhub.testing.waiting import within


class Slow(WrappedStore):
    """Claims when it is let."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.asked, self.may = asyncio.Event(), asyncio.Event()

    async def claim(self, *args: Any, **options: Any) -> Any:
        self.asked.set()
        await self.may.wait()
        return await super().claim(*args, **options)


async def test_a_delivery_that_looked_before_another_began_produces_nothing() -> None:
    """Between its look and its claim the other one has begun and ended, where another task had
    ended before: it is told the end, and takes nothing away."""
    store = MemoryStore()
    slow = Slow(store)
    delivery = Delivery("chat", "task", "restart")
    async with Hub(store=store) as hub, Hub(store=slow) as late:
        before = await begin(hub, Delivery("chat", "another", "restart"))
        assert isinstance(before, LiveStream)
        await before.close()
        second = asyncio.create_task(begin(late, delivery))
        await within(slow.asked.wait())
        first = await begin(hub, delivery)
        assert isinstance(first, LiveStream)
        await first.publish("a")
        await first.close()
        slow.may.set()

        told = await within(second)
        assert isinstance(told, SessionInfo)
        assert (Status.FINISHED, "task") == (told.status, told.request)
        assert "a" == await first.text()
