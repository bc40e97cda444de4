"""Two instances of an application on the same data, and the steps their tests are written in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

import pytest

from ...chunks import Chunk, SessionInfo, Status
from ...config import HubConfig
from ...errors import StreamHubError
from ...hub import Hub
from ...reading.subscription import Subscription
from ...stores.base import Append, Claim, Granted, Renew, Store
from ...stream import LiveStream
from ..backend import Backend
from ..scene import Scene, new_generation
from ..waiting import until, within

__all__ = [
    "CALM",
    "Hubs",
    "Stage",
    "crash",
    "drain",
    "joined",
    "produce",
    "reader",
    "stall",
    "until_error",
]

E = TypeVar("E", bound=StreamHubError)

#: A lease so long that nothing happens on its account.
CALM = HubConfig(lease=300.0, retention=300.0)
#: A lease that has lapsed when it is granted, also by a clock that stands still.
_NO_TIME = 0.0


class Hubs:
    """Opens hubs, each on a store of its own, and closes them with the test."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._open: list[Hub] = []

    def open(
        self, config: HubConfig = CALM, *, through: Callable[[Store], Store] | None = None
    ) -> Hub:
        """Another hub, on request with a store that misbehaves."""
        store = self._backend.open()
        hub = Hub(store if through is None else through(store), config=config)
        self._open.append(hub)
        return hub

    async def aclose(self) -> None:
        for hub in self._open:
            await within(hub.aclose())


class Stage(Scene):
    @pytest.fixture
    async def hubs(self, backend: Backend) -> AsyncIterator[Hubs]:
        hubs = Hubs(backend)
        yield hubs
        await hubs.aclose()

    @pytest.fixture
    async def hub(self, hubs: Hubs) -> Hub:
        return hubs.open()

    @pytest.fixture
    async def elsewhere(self, hubs: Hubs) -> Hub:
        """A second instance."""
        return hubs.open()


async def produce(hub: Hub, session_id: str, texts: Sequence[str] = ()) -> LiveStream:
    """Claim a session and store the first chunks of it."""
    stream, created = await hub.register(session_id)
    assert created
    for text in texts:
        await stream.publish(text)
    await within(stream.flush())
    return stream


async def reader(hub: Hub, session_id: str) -> LiveStream:
    """A reader's handle on a session that has to be there."""
    stream = await hub.get(session_id)
    assert stream is not None
    return stream


async def drain(subscription: Subscription) -> list[Chunk]:
    """Read until iteration ends."""
    return await within(_drain(subscription))


async def until_error(subscription: Subscription, error: type[E]) -> tuple[list[Chunk], E]:
    """Read until iteration raises ``error``: what came before, and the error."""
    chunks: list[Chunk] = []
    try:
        while True:
            chunks.append(await within(anext(subscription)))
    except error as caught:
        return chunks, caught


def joined(chunks: Sequence[Chunk]) -> str:
    """The text that a subscriber holds."""
    return "".join(chunk.data for chunk in chunks)


async def stall(store: Store, session_id: str) -> SessionInfo:
    """Have the producer's lease lapse now, as if its process had stood still for so long. Nobody is
    told."""
    [info] = await store.look([session_id])
    assert isinstance(info, SessionInfo)
    assert info.terms is not None
    claim = Claim(
        session_id=session_id,
        generation=info.generation,
        terms=info.terms,
        replaced=None,
        lease=_NO_TIME,
        retention=CALM.retention,
        owner=info.owner,
    )
    await store.renew([Renew(claim, last=info.last.offset)])

    async def has_lapsed() -> bool:
        [now] = await store.look([session_id])
        return isinstance(now, SessionInfo) and now.status is Status.LOST

    await until(has_lapsed)
    return info


async def crash(
    store: Store, session_id: str, texts: Sequence[str] = (), *, lease: float = 0.5
) -> Claim:
    """A producer that stored these chunks and was never heard of again."""
    answer = await store.claim(
        session_id, new_generation(), takeover="restart", lease=lease, retention=CALM.retention
    )
    assert isinstance(answer, Granted)
    total = sum(len(text.encode()) or 1 for text in texts)
    if texts:
        await store.write(
            [
                Append(
                    answer.claim,
                    base=0,
                    items=texts,
                    total_bytes=total,
                    term=answer.claim.terms.current,
                )
            ]
        )
    return answer.claim


async def _drain(subscription: Subscription) -> list[Chunk]:
    return [chunk async for chunk in subscription]
