"""What the store asks of a topology: one server, the master that Sentinel names, or a cluster."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from ....instruments.events import Tell
from ..connections.dialer import Server
from ..connections.pipeline import Pipeline, Request, Sent
from ..layout.scripts import Script

__all__ = ["Commands", "Topology"]


class Commands(Protocol):
    """Carries requests to the servers that have their keys."""

    def send(self, requests: Sequence[Request]) -> Sent | None:
        """Send what ``ask`` is going to ask for, if nothing has to be waited for."""
        ...

    async def ask(
        self, requests: Sequence[Request], *, patient: bool = False, sent: Sent | None = None
    ) -> list[Any]:
        """The answers in the same order; an error stands where its answer would.

        Requests of one session are carried out in the order that they are given in. One without a
        key goes with the one that follows it.

        :param sent: what ``send`` made of the same requests.
        :param patient: nobody else waits for these answers: where a part of the store is silent or
            in motion, wait as long as it may take to answer.
        :raises StoreUnavailable: nothing is known of any of them.
        """
        ...

    @property
    def connections(self) -> int:
        """How many are open."""
        ...

    def expect(self, key: str) -> None:
        """Requests for the key are to come: connect to its server meanwhile."""
        ...

    async def each(self) -> Sequence[Pipeline]:
        """One pipeline to each server that has keys."""
        ...

    async def aclose(self) -> None: ...


class Topology(Protocol):
    """Keys and channels have a slot, and every slot has a server."""

    #: What errors call the store, never with a password.
    name: str
    #: How long a server may take to answer, in seconds.
    timeout: float
    #: Whether there is one server, and with it one clock.
    single: bool

    @property
    def moves(self) -> int:
        """How often all slots were found on another server than before."""
        ...

    def commands(self, *, retries: bool, scripts: Collection[Script] = ()) -> Commands:
        """New connections, opened as they are needed: one to each server."""
        ...

    def slot(self, name: bytes) -> int:
        """The slot of a key or channel."""
        ...

    def server(self, slot: int) -> Server | None:
        """Who has the slot, as far as that is known; None where ``refresh`` must tell."""
        ...

    def moved(self, slot: int, host: str, port: int) -> None:
        """A server said who has the slot now."""
        ...

    def doubt(self) -> None:
        """A server did not answer: it may have lost its slots to another."""
        ...

    async def refresh(self) -> None:
        """Learn anew who has which slot.

        :raises StoreUnavailable: nobody can tell.
        """
        ...

    def confirm_soon(self, age: float) -> None:
        """Have it found out, in a while, whether the name still means the same server, unless that
        was done within the last ``age`` seconds. If it does not, all connections are left."""
        ...

    async def confirm(self, age: float, patience: float | None = None) -> None:
        """The same at once: who waited for it, and finds ``moves`` as before, has asked the server
        that the name means.

        :param patience: wait no longer than so many seconds.
        """
        ...

    def instrument(self, tell: Tell) -> None:
        """Tell of connections from now on."""
        ...

    async def aclose(self) -> None: ...
