"""Whoever produces at the moment, to be crashed at will: here, a task of this process.

``processes`` has the same for a process of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from streamhub import Hub, HubConfig, Supervisor
from streamhub.stores.base import Fenced, Renew, Store, WriteOp, WriteResult
from streamhub.stores.wrapped import WrappedStore

from . import essence
from .answer import Model, answer

__all__ = ["CONFIG", "ProducerGone", "Producers", "TaskProducers", "begin", "supervise"]

#: The lease is short, so that nobody has to wait long for a dead producer to show.
CONFIG = HubConfig(lease=2.0, give_up_after=15.0)


class ProducerGone(Exception):
    """The producer died before it had claimed the session."""


class Producers(Protocol):
    """One producer at a time; when it has crashed, there is another."""

    #: How a crash is brought about, for people.
    crash_kind: str

    #: The names of those that have died: a lease of theirs may still run, and say otherwise.
    dead: set[str]

    @property
    def current(self) -> dict[str, Any]:
        """Who produces now: ``name`` and ``pid``."""
        ...

    async def produce(self, session_id: str, question: str) -> None:
        """Have the question answered; returns once the session is claimed, by whomever.

        :raises ProducerGone: the producer died first.
        :raises StreamHubError: it could not claim.
        """
        ...

    def crash(self) -> dict[str, Any]:
        """End the producer without any goodbye; who that was."""
        ...

    async def aclose(self) -> None: ...


async def begin(hub: Hub, model: Model, producer: str, session_id: str, question: str) -> None:
    """Claim the session and answer in the background."""
    metadata = {"question": question, "model": model.name, "producers": []}
    await essence.ask(hub, session_id, _answering(hub, model, producer), metadata)


def supervise(hub: Hub, model: Model, producer: str) -> Supervisor:
    """Go on with every answer that has lost its producer."""
    return essence.supervise(hub, _answering(hub, model, producer))


def _answering(hub: Hub, model: Model, producer: str) -> essence.Source:
    return partial(answer, hub=hub, model=model, producer=producer)


class TaskProducers:
    """Producers that are tasks of this process, on a store that this process shares."""

    crash_kind = "its task ends without a goodbye"

    def __init__(self, store: Store, model: Model) -> None:
        self._store = store
        self._model = model
        self._number = 0
        self.dead: set[str] = set()
        self._ends: set[asyncio.Task[None]] = set()
        self._next()

    @property
    def current(self) -> dict[str, Any]:
        return {"name": self._name, "pid": None}

    async def produce(self, session_id: str, question: str) -> None:
        lifeline, hub, name = self._lifeline, self._hub, self._name
        await begin(hub, self._model, name, session_id, question)
        if lifeline.cut:
            raise ProducerGone(name)

    def crash(self) -> dict[str, Any]:
        dead = self.current
        self.dead.add(self._name)
        self._lifeline.cut = True
        end = asyncio.create_task(self._hub.aclose())
        self._ends.add(end)
        end.add_done_callback(self._ends.discard)
        self._next()
        return dead

    async def aclose(self) -> None:
        await self._hub.aclose()
        await asyncio.gather(*self._ends)

    def _next(self) -> None:
        self._number += 1
        self._lifeline = _Lifeline(self._store)
        self._hub = Hub(self._lifeline, config=CONFIG)
        supervise(self._hub, self._model, self._name)

    @property
    def _name(self) -> str:
        return f"task {self._number}"


class _Lifeline(WrappedStore):
    """A producer's connection to the store. Once it is cut, nothing of the producer gets through:
    neither a chunk nor an end nor a renewal, as if its process had been killed."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.cut = False

    async def write(self, ops: Sequence[WriteOp]) -> list[WriteResult | Exception]:
        return [Fenced(None) for _ in ops] if self.cut else await super().write(ops)

    async def renew(self, ops: Sequence[Renew]) -> list[WriteResult | Exception]:
        return [Fenced(None) for _ in ops] if self.cut else await super().renew(ops)
