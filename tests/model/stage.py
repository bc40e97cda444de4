"""What the rules work with: hubs as processes of their own, and the comparison with the model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streamhub import (
    Chunk,
    Cursor,
    Hub,
    LiveStream,
    ProducerFenced,
    SessionInfo,
    Status,
    StreamClosed,
    Subscription,
)
from streamhub.testing.waiting import bounded, within

from .gate import Gate
from .session import Item, Producer, Session, Verdict
from .worlds import CONFIG, World

__all__ = ["HUBS", "SESSIONS", "Follower", "Handle", "Instance", "Production", "Stage"]

T = TypeVar("T")

SESSIONS = ("chat:a", "b}{")
HUBS = 3
#: Within which everything happens, unless it hangs.
_BOUND = 20.0
#: How soon what nobody waited for has come true; far beyond what it takes.
_SOON = 5.0
#: Turns of the event loop in which readers take in what they were told; memory needs no more.
_TURNS = 20
_ALL = 1_000_000


@dataclass(eq=False)
class Instance:
    """One process of an application."""

    hub: Hub
    gate: Gate


@dataclass(eq=False)
class Production:
    """A producer, in the model and for real."""

    session_id: str
    instance: Instance
    stream: LiveStream
    model: Producer
    #: Whether it has published what could not be written yet.
    pending: bool = False


@dataclass(eq=False)
class Handle:
    """What anybody may cancel by: bound to the epoch that it was opened on."""

    session_id: str
    instance: Instance
    stream: LiveStream
    epoch: int


@dataclass(eq=False)
class Follower:
    """A subscription that stays open over many steps."""

    session_id: str
    subscription: Subscription
    cursor: Cursor
    generation: str
    #: How many takeovers it has got over.
    takeovers: int


class Stage(RuleBasedStateMachine):
    """Nothing happens between two steps: the event loop stands still, and no lease and no message
    of a cancel moves anything but by a rule."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.runner = asyncio.Runner()
        self.sessions = {session_id: Session() for session_id in SESSIONS}
        self.productions: list[Production] = []
        self.handles: list[Handle] = []
        self.followers: list[Follower] = []
        self.past: tuple[Callable[[], None], dict[str, Any]] | None = None
        self.instances = [self._start() for _ in range(HUBS)]
        # Subscriptions that stay open share what their hub knows of a session, which knows nothing
        # of a lease that lapsed early: all others read through another hub.
        self.reading = Hub(world.open(), config=CONFIG)
        self._observer = world.open()
        self._observer.configure(CONFIG)

    def teardown(self) -> None:
        for instance in self.instances:
            instance.gate.cut()
            self.run(instance.hub.aclose())
        self.run(self.reading.aclose())
        self.run(self._observer.aclose())
        self.runner.close()
        self.world.close()

    def replace(self, at: int) -> None:
        """The process ends; another takes its place."""
        instance = self.instances[at]
        self.run(instance.hub.aclose())
        self.productions = [one for one in self.productions if one.instance is not instance]
        self.handles = [one for one in self.handles if one.instance is not instance]
        self.instances[at] = self._start()

    def living(self, instance: Instance) -> list[Production]:
        """Its producers that know of no reason why they could not write."""
        return [
            one for one in self.productions if one.instance is instance and one.model.over is None
        ]

    def candidates(self) -> list[Production]:
        """Whoever may still think that it can write, and one that knows better."""
        over = [one for one in self.productions if one.model.over is not None]
        return [one for one in self.productions if one.model.over is None] + over[-1:]

    def _start(self) -> Instance:
        gate = Gate(self.world.open())
        return Instance(Hub(gate, config=CONFIG), gate)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(within(work, _BOUND))

    def opened(self, stream: LiveStream, **how: Any) -> Subscription:
        """A subscription, which belongs to the event loop."""

        async def opening() -> Subscription:
            return stream.subscribe(**how)

        return self.run(opening())

    def attempt(self, writing: Coroutine[Any, Any, object]) -> Verdict:
        """What became of a write, as the producer was told."""
        try:
            self.run(writing)
        except ProducerFenced:
            return Verdict.FENCED
        except StreamClosed:
            return Verdict.CLOSED
        return Verdict.STORED

    @staticmethod
    def pick(data: st.DataObject, candidates: list[T]) -> T:
        return candidates[data.draw(st.integers(0, len(candidates) - 1), label="which")]

    @rule()
    def lapse(self) -> None:
        """A lease passes in which nobody renews."""
        self.world.lapse()
        for session in self.sessions.values():
            session.lapse()

    def come_upon(self, session_id: str) -> None:
        """Readers who stay open were told that the session was mended: whether they looked before
        or after it was lost is luck. Have it found lost in either case."""
        session = self.sessions[session_id]
        record = session.record
        if record is not None and any(one.session_id == session_id for one in self.followers):
            session.found_lost()
            if record.status is Status.CANCELLED:
                epoch, generation = record.terms.epoch, record.generation
                self.run(self._observer.cancel(session_id, generation=generation, epoch=epoch))

    @invariant()
    def the_store_holds_what_the_model_says(self) -> None:
        """Waits for what is under way, such as a producer that stops after a cancel."""
        self.run(self._settle())
        for session_id in SESSIONS:
            self.check(session_id)
        assert [] == self.world.keys_without_ttl()
        self.world.tick()

    def check(self, session_id: str) -> None:
        """The record and the log are those of the model, at this very moment."""
        actual, expected = self.run(self._look(session_id))
        assert expected == actual

    async def _settle(self) -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        with suppress(TimeoutError):
            async with bounded(_SOON):
                while not await self._is_settled():  # noqa: ASYNC110 - no store has an event for it
                    await asyncio.sleep(0.001)

    async def _is_settled(self) -> bool:
        if any(one.gate.is_open and one.gate.under_way for one in self.instances):
            return False
        for session_id in SESSIONS:
            actual, expected = await self._look(session_id)
            if actual != expected:
                return False
        return True

    async def _look(self, session_id: str) -> tuple[object, object]:
        """The session as it is, and as it should be: its record, and its log where that is
        whole."""
        record = self.sessions[session_id].record
        (info,) = await self._observer.look([session_id], metadata=True)
        if record is None or not isinstance(info, SessionInfo):
            return info, record
        expected = record.info(session_id, info)
        if not record.whole:
            return info, expected
        log: list[Chunk] = []
        while True:
            page = await self._observer.read(session_id, record.terms.place(len(log)), _ALL)
            log += page
            if not page:
                break
        row: list[tuple[Cursor, Item]] = [(one.cursor, (one.data, one.event)) for one in log]
        return (info, row), (
            expected,
            [(record.terms.cursor(offset), item) for offset, item in enumerate(record.log, 1)],
        )
