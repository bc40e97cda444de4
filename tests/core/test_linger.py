"""Chunks that linger: stored together, and never where somebody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from streamhub import Hub, HubConfig, LiveStream, Status
from streamhub.chunks import Item
from streamhub.stores.base import Append, Store, WriteOp, WriteResult
from streamhub.stores.memory import MemoryStore
from streamhub.stores.wrapped import WrappedStore
from streamhub.testing.waiting import within

#: So long that what lingers is never stored within a test.
LONG = HubConfig(linger=3600.0, lease=3600.0, max_pending_bytes=8)


class Keeps(WrappedStore):
    """Keeps the items of every append."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.appends: list[Sequence[Item]] = []

    async def write(self, ops: Sequence[WriteOp]) -> list[WriteResult | Exception]:
        self.appends += [list(op.items) for op in ops if isinstance(op, Append)]
        return await super().write(ops)


async def turns() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_chunks_that_linger_are_stored_together(session_id: str) -> None:
    """However often the event loop comes around between them, until somebody wants them stored."""
    store = Keeps(MemoryStore())
    async with Hub(store, config=LONG) as hub:
        stream, _ = await hub.register(session_id)
        for text in ("a", "b", "c"):
            await stream.publish(text)
            await turns()
        before = list(store.appends)
        await within(stream.flush())

    assert [] == before
    assert [["a", "b", "c"]] == store.appends


async def test_a_chunk_lingers_only_so_long(session_id: str) -> None:
    """A subscriber gets it although nothing is flushed, and nothing else is published."""
    async with Hub(config=HubConfig(linger=0.05)) as hub:
        stream, _ = await hub.register(session_id)
        await stream.publish("a")
        chunk = await within(anext(stream.subscribe()))

    assert "a" == chunk.data


async def _fill(stream: LiveStream) -> None:
    await stream.publish("more than is left")


async def _cancel(stream: LiveStream) -> None:
    assert await stream.cancel(wait=20.0) is Status.CANCELLED


@pytest.mark.parametrize(
    "act",
    [
        LiveStream.flush,
        LiveStream.close,
        lambda stream: stream.fail("out of paper"),
        lambda stream: stream.set_metadata({"model": "x"}),
        _fill,
        _cancel,
    ],
    ids=["flush", "close", "fail", "set_metadata", "full", "cancel"],
)
async def test_nobody_waits_for_what_lingers(
    act: Callable[[LiveStream], Awaitable[None]],
    make_hub: Callable[[HubConfig], Hub],
    session_id: str,
) -> None:
    """Who waits for the store has it write at once, and what was published before comes first."""
    hub = make_hub(LONG)
    stream, _ = await hub.register(session_id)
    await stream.publish("a")
    await turns()

    await within(act(stream))
    chunk = await within(anext(stream.subscribe()))

    assert "a" == chunk.data
