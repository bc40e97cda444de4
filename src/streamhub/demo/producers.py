"""Whoever produces at the moment, to be crashed at will: here, a task of this process.

``processes`` has the same for a process of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, Protocol

from streamhub import Hub, HubConfig
from streamhub.stores.base import Fenced, Renew, Store, WriteOp, WriteResult
from streamhub.stores.wrapped import WrappedStore

from .answer import Model, answer

__all__ = ["CONFIG", "ProducerGone", "Producers", "TaskProducers", "begin"]

#: The lease is short, so that nobody has to wait long for a dead producer to show.
CONFIG = HubConfig(lease=2.0, give_up_after=15.0)


class ProducerGone(Exception):
    """The producer died before it had claimed the session."""


class Producers(Protocol):
    """One producer at a time; when it has crashed, there is another."""

    #: How a crash is brought about, for people.
    crash_kind: str

    @property
    def current(self) -> dict[str, Any]:
        """Who produces now: ``name`` and ``pid``."""
        ...

    async def produce(
        self, session_id: str, question: str, takeover: Literal["restart", "continue"]
    ) -> None:
        """Have the session produced; returns once it is claimed, by whomever.

        :raises ProducerGone: the producer died first.
        :raises StreamHubError: it could not claim.
        """
        ...

    def crash(self) -> dict[str, Any]:
        """End the producer without any goodbye; who that was."""
        ...

    async def aclose(self) -> None: ...


async def begin(
    hub: Hub,
    model: Model,
    producer: str,
    session_id: str,
    question: str,
    takeover: Literal["restart", "continue"],
) -> None:
    """Claim the session and answer in the background."""
    await hub.run(
        session_id,
        partial(answer, hub=hub, model=model, producer=producer),
        takeover=takeover,
        # A continued session keeps what is known of it, its producers among it.
        metadata=None
        if takeover == "continue"
        else {"question": question, "model": model.name, "producers": []},
    )


class TaskProducers:
    """Producers that are tasks of this process, on a store that this process shares."""

    crash_kind = "its task ends without a goodbye"

    def __init__(self, store: Store, model: Model) -> None:
        self._store = store
        self._model = model
        self._number = 0
        self._ends: set[asyncio.Task[None]] = set()
        self._next()

    @property
    def current(self) -> dict[str, Any]:
        return {"name": self._name, "pid": None}

    async def produce(
        self, session_id: str, question: str, takeover: Literal["restart", "continue"]
    ) -> None:
        lifeline, hub, name = self._lifeline, self._hub, self._name
        await begin(hub, self._model, name, session_id, question, takeover)
        if lifeline.cut:
            raise ProducerGone(name)

    def crash(self) -> dict[str, Any]:
        dead = self.current
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
