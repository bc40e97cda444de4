"""The nodes of a cluster, and which of them has which slot."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from redis.crc import key_slot
from redis.exceptions import ClusterDownError, RedisError

from ....instruments.events import Tell
from ..connections.dialer import Dialer, Server, disconnect, shown
from ..connections.errors import explained
from ..layout.scripts import Script
from .confirming import Confirming
from .first_answer import first_answer
from .router import Router

__all__ = ["Address", "Cluster"]

logger: logging.Logger = logging.getLogger("streamhub")

Address = tuple[str, int]

_SLOTS = 16384
# A slot that moved is one of many, as a rule: after this time, in seconds, all are asked for.
_STALE_AFTER = 1.0
# How long a verdict is kept waiting by seeds that are silent, where the nodes have answered.
_PATIENCE = 0.5


class _Shares(NamedTuple):
    """What a node tells of its cluster."""

    #: The first slot, the last, and who has them.
    slots: list[tuple[int, int, Address]]
    #: Its nodes, by the names that they keep for life.
    nodes: frozenset[bytes]


class Cluster:
    """Knows who has which slot, as far as it was told; learns more from whoever answers.

    :param seeds: where to ask first. Where these names come to lead to another cluster, none of
        whose nodes is one of those known, all connections to the old one are left.
    :param reachable: turns the address that a node gives of itself into one to connect to.
    :param node_scheme: what the URL of one node begins with.
    """

    single = False

    def __init__(
        self,
        name: str,
        dialer: Dialer,
        seeds: Sequence[Address],
        reachable: Callable[[Address], Address] = lambda address: address,
        *,
        node_scheme: str = "redis",
    ) -> None:
        self.name = name
        self.timeout: float = dialer.timeout
        self._dialer = dialer
        self._seeds = seeds
        self._reachable = reachable
        self._node_scheme = node_scheme
        self._routers: list[Router] = []
        self._servers: dict[Address, Server] = {}
        self._slots: list[Server | None] = [None] * _SLOTS
        self._asking = asyncio.Lock()
        self._told_at = float("-inf")
        self._doubted = True
        self._moved = False
        #: Grows with every refresh.
        self.version: int = 0
        #: How often the seeds were found to be of another cluster. What its own nodes do not have
        #: any more they say themselves.
        self.moves: int = 0
        self._nodes: frozenset[bytes] = frozenset()
        self._confirming = Confirming(self._confirm)

    def commands(self, *, retries: bool, scripts: Collection[Script] = ()) -> Router:
        router = Router(self, retries=retries, scripts=scripts)
        self._routers.append(router)
        return router

    def slot(self, name: bytes) -> int:
        return key_slot(name)

    def server(self, slot: int) -> Server | None:
        return None if self._doubted else self._slots[slot]

    def holder(self, slot: int) -> Server | None:
        """Who had the slot when that was last told; None: nobody."""
        return self._slots[slot]

    async def settle(self) -> None:
        """Refresh what is in doubt.

        :raises StoreUnavailable: nobody can tell.
        """
        now = asyncio.get_running_loop().time()
        if self._doubted or (self._moved and now - self._told_at > _STALE_AFTER):
            await self.refresh()

    async def servers(self) -> list[Server]:
        """All that have slots."""
        await self.settle()
        return list(dict.fromkeys(server for server in self._slots if server is not None))

    def at(self, host: str, port: int) -> Server:
        """The server that a node spoke of."""
        return self._known(self._reachable((host, port)))

    def knows(self, server: Server) -> bool:
        return server in self._servers.values()

    def moved(self, slot: int, host: str, port: int) -> None:
        self._slots[slot] = self.at(host, port)
        self._moved = True

    def doubt(self) -> None:
        self._doubted = True

    def confirm_soon(self, age: float) -> None:
        if self._confirming.ever:
            self._confirming.start(age)

    async def confirm(self, age: float, patience: float | None = None) -> None:
        confirming = self._confirming.start(age)
        if confirming is not None:
            most = _PATIENCE if patience is None else min(patience, _PATIENCE)
            await asyncio.wait([confirming], timeout=most)

    def instrument(self, tell: Tell) -> None:
        self._dialer.tell = tell

    async def aclose(self) -> None:
        await self._confirming.aclose()

    async def refresh(self) -> None:
        asked_at = asyncio.get_running_loop().time()
        async with self._asking:
            if self._told_at > asked_at:
                return  # somebody else has asked meanwhile
            known = list(self._servers.values())
            # Not always the same first: it may be cut off from the others, and not know.
            random.shuffle(known)
            seeds = [self._open(seed) for seed in self._seeds if seed not in self._servers]
            try:
                shares = await first_answer([*known, *seeds], self._ask, timeout=self.timeout / 2)
            except (RedisError, OSError) as error:
                raise explained(error, self.name, self.timeout / 2) from error
            if not known:
                self._confirming.seen(asked_at)
            self._learn(shares)
            for router in self._routers:
                await router.prune()

    async def _confirm(self) -> None:
        """Ask the seeds, by new connections, which cluster they are of."""
        seeds = [self._open(seed) for seed in self._seeds]
        try:
            shares = await first_answer(seeds, self._ask, timeout=self.timeout / 2)
        except (RedisError, OSError) as error:
            # They lead nowhere else, then; the nodes go on as they can.
            logger.debug("%s: its seeds cannot be asked: %s", self.name, error)
            return
        # Whoever is asking the old one is not to have the last word.
        async with self._asking:
            if shares.nodes.isdisjoint(self._nodes):
                self._move(shares)

    def _move(self, shares: _Shares) -> None:
        logger.info("%s is another cluster now: all connections are made anew", self.name)
        left, self._servers = self._servers, {}
        self.moves += 1
        self._learn(shares)
        for server in left.values():
            server.leave()

    async def _ask(self, server: Server) -> _Shares:
        connection = await server.connect()
        try:
            await connection.send_command("CLUSTER", "SLOTS")
            told: list[Any] = await connection.read_response()
        finally:
            await disconnect(connection)
        if not told:
            raise ClusterDownError(f"{server} belongs to no cluster that has slots")
        return _Shares(
            [
                # A node that does not know its own address is where it was asked.
                (first, last, ((host or b"").decode() or server.address["host"], port))
                for first, last, (host, port, *_), *_ in told
            ],
            frozenset(node[2] for _, _, *nodes in told for node in nodes),
        )

    def _learn(self, shares: _Shares) -> None:
        before, self._servers = self._servers, {}
        slots: list[Server | None] = [None] * _SLOTS
        for first, last, told in shares.slots:
            address = self._reachable(told)
            if address in before:
                self._servers[address] = before[address]
            slots[first : last + 1] = [self._known(address)] * (last + 1 - first)
        self._slots, self._nodes = slots, shares.nodes
        self.version += 1
        self._doubted = self._moved = False
        self._told_at = asyncio.get_running_loop().time()

    def _known(self, address: Address) -> Server:
        if address not in self._servers:
            self._servers[address] = self._open(address)
        return self._servers[address]

    def _open(self, address: Address) -> Server:
        host, port = address
        return Server(
            f"{self._node_scheme}://{shown(host, port)}", self._dialer, host=host, port=port
        )
