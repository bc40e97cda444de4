"""Streams under load, and a record of what was published and delivered, to prove that nothing was
lost, doubled or put out of order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from contextlib import AsyncExitStack
from itertools import pairwise
from time import perf_counter
from types import TracebackType
from typing import NamedTuple, Self

from streamhub import Hub, HubConfig, LiveStream, Status

__all__ = ["CONFIG", "Figures", "Load"]

#: A lease that outlives a failover: a producer that lives is never taken for dead.
CONFIG = HubConfig(lease=30.0)
_PACE = 0.02
_FLUSH_EVERY = 10


class Figures(NamedTuple):
    published: int
    delivered: int
    lost: int
    doubled: int
    out_of_order: int

    @property
    def is_whole(self) -> bool:
        return self.published > 0 and not (self.lost or self.doubled or self.out_of_order)


class Load:
    """A producer and a reader for every session, on hubs that know nothing of each other."""

    def __init__(
        self, open_hub: Callable[[HubConfig], Hub], sessions: Iterable[str], *, pace: float = _PACE
    ) -> None:
        self._open_hub = open_hub
        self._pace = pace
        self._stack = AsyncExitStack()
        self._stop = asyncio.Event()
        self._delivered = asyncio.Condition()
        #: By session: what was published when, and what reached its reader when.
        self.published: dict[str, list[tuple[float, str]]] = {one: [] for one in sessions}
        self.received: dict[str, list[tuple[float, str, int, int]]] = {
            one: [] for one in self.published
        }
        self._late: dict[str, list[tuple[float, str, int, int]]] = {}
        self.statuses: dict[str, Status] = {}
        self._fault_at = 0.0

    async def __aenter__(self) -> Self:
        self.producing = await self._stack.enter_async_context(self._open_hub(CONFIG))
        self.reading = await self._stack.enter_async_context(self._open_hub(CONFIG))
        self._producers = [await self._claim(session) for session in self.published]
        self._tasks = [
            *(asyncio.create_task(self._produce(stream)) for stream in self._producers),
            *(asyncio.create_task(self._read(session, self.received)) for session in self.received),
        ]
        await self.flow()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()

    async def flow(self, chunks: int = 5) -> None:
        """Wait until every reader got as many chunks that were published from now on."""
        wanted = {one: len(published) + chunks for one, published in self.published.items()}
        flowing = asyncio.create_task(self._reach(wanted))
        await asyncio.wait([flowing, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in self._tasks:
            if task.done():
                flowing.cancel()
                task.result()
        await flowing

    async def strike(self, fault: Callable[[], object]) -> None:
        """Let ``fault`` happen, in a thread; what counts is measured from its end."""
        await asyncio.to_thread(fault)
        self._fault_at = perf_counter()

    def times(self, sessions: Collection[str]) -> list[float]:
        """Seconds from the fault to the first chunk of each that was published after it."""
        return [self._first_after(session) - self._fault_at for session in sessions]

    def pauses(self) -> list[float]:
        """The longest time that each reader has waited for its next chunk."""
        return [
            max(later - before for (before, *_), (later, *_) in pairwise(received))
            for received in self.received.values()
        ]

    async def finish(self) -> Figures:
        """Close all streams, and compare what was published with what was read live, and is read
        by somebody who comes when all is over."""
        self._stop.set()
        await asyncio.gather(*self._tasks)
        self._late = {session: [] for session in self.published}
        await asyncio.gather(*(self._read(session, self._late) for session in self._late))
        assert {Status.FINISHED} == set(self.statuses.values())
        live, late = self._figures(self.received), self._figures(self._late)
        return Figures(
            live.published,
            live.delivered,
            *(max(pair) for pair in zip(live[2:], late[2:], strict=True)),
        )

    async def _claim(self, session: str) -> LiveStream:
        stream, created = await self.producing.register(session)
        assert created
        return stream

    async def _produce(self, stream: LiveStream) -> None:
        published = self.published[stream.session_id]
        async with stream:
            while not self._stop.is_set():
                data = f"{stream.session_id}:{len(published)}"
                published.append((perf_counter(), data))
                await stream.publish(data)
                if not len(published) % _FLUSH_EVERY:
                    await stream.flush()
                await asyncio.sleep(self._pace)

    async def _read(self, session: str, into: dict[str, list[tuple[float, str, int, int]]]) -> None:
        stream = await self.reading.get(session)
        assert stream is not None
        async with stream.subscribe() as chunks:
            async for chunk in chunks:
                cursor = chunk.cursor
                into[session].append((perf_counter(), chunk.data, cursor.term, cursor.offset))
                async with self._delivered:
                    self._delivered.notify_all()
        assert chunks.status is not None
        self.statuses[session] = chunks.status

    async def _reach(self, wanted: dict[str, int]) -> None:
        async with self._delivered:
            await self._delivered.wait_for(
                lambda: all(len(self.received[one]) >= count for one, count in wanted.items())
            )

    def _first_after(self, session: str) -> float:
        new = {data for at, data in self.published[session] if at > self._fault_at}
        return next(at for at, data, *_ in self.received[session] if data in new)

    def _figures(self, received: dict[str, list[tuple[float, str, int, int]]]) -> Figures:
        lost = doubled = out_of_order = 0
        for session, published in self.published.items():
            expected = [data for _, data in published]
            got = [data for _, data, *_ in received[session]]
            lost += len(set(expected) - set(got))
            doubled += len(got) - len(set(got))
            epochs = {epoch for *_, epoch, _ in received[session]}
            for number, (_, data, _, offset) in enumerate(received[session], 1):
                right = len(epochs) == 1 and offset == number and data == f"{session}:{number - 1}"
                out_of_order += not right
        return Figures(
            published=sum(map(len, self.published.values())),
            delivered=sum(map(len, received.values())),
            lost=lost,
            doubled=doubled,
            out_of_order=out_of_order,
        )
