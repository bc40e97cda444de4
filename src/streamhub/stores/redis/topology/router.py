"""The pipelines of a cluster, one to each node, and which of them a request takes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

from redis.exceptions import AskError, ClusterDownError, MovedError, TryAgainError

from ....errors import StoreUnavailable
from ..connections.dialer import Server
from ..connections.pipeline import Pipeline, Request, Sent
from ..layout.scripts import Call, Command, Script

__all__ = ["Nodes", "Router"]

# A slot that moves again and again is followed this often.
_HOPS = 16
# How long a node may be silent before those who are not patient are told so, in seconds.
_GRACE = 1.0
_PAUSES = (0.05, 0.2)

#: Positions of requests that travel together: one with a key, and those without in front of it.
_Unit = tuple[int, ...]


class Nodes(Protocol):
    """What a router asks of the cluster that it routes for."""

    name: str
    timeout: float
    #: Grows with every refresh.
    version: int

    def slot(self, name: bytes) -> int: ...

    def holder(self, slot: int) -> Server | None: ...

    def at(self, host: str, port: int) -> Server: ...

    def knows(self, server: Server) -> bool: ...

    def moved(self, slot: int, host: str, port: int) -> None: ...

    def doubt(self) -> None: ...

    async def settle(self) -> None: ...

    async def servers(self) -> list[Server]: ...


class Router:
    """Sends each request to the node that has its slot, and again where that node refuses it: the
    slot has moved, is on the move, or its node is gone.

    A refused request is repeated together with those that follow it in its slot, so that the
    requests of a session keep their order; all requests may be repeated. A node that has been
    silent for a while is unavailable to all requests but patient ones until it answers again.

    :param retries: try again for a moment where a node is gone, or a slot is on the move; for
        longer with patient requests.
    """

    def __init__(self, cluster: Nodes, *, retries: bool, scripts: Collection[Script] = ()) -> None:
        self._cluster = cluster
        self._retries = retries
        self._scripts = scripts
        self._pipelines: dict[Server, Pipeline] = {}
        self._known_version = 0

    @property
    def connections(self) -> int:
        return sum(pipeline.connections for pipeline in self._pipelines.values())

    def send(self, requests: Sequence[Request]) -> None:
        """Sends nothing early: it may have to ask first where a request goes."""

    async def ask(
        self, requests: Sequence[Request], *, patient: bool = False, sent: Sent | None = None
    ) -> list[Any]:
        answers: list[Any] = [None] * len(requests)
        todo = self._units(requests)
        #: Slots that are on the move, and the node that takes their next unit already.
        ahead: dict[int, Server] = {}
        pauses = self._pauses(patient=patient)
        hops = 0
        while todo:
            try:
                await self._cluster.settle()
            except StoreUnavailable:
                if not await _pause(pauses):
                    raise
                continue
            await self._hop(requests, todo, ahead, answers, patient=patient)
            waiting = self._note_refusals(todo, ahead, answers)
            hops += 1
            if hops == _HOPS:
                self._give_up([*todo], todo, answers)
            elif waiting and not await _pause(pauses):
                self._give_up(waiting, todo, answers)
        return answers

    def expect(self, key: str) -> None:
        server = self._cluster.holder(self._cluster.slot(key.encode()))
        if server is not None:
            self._pipeline(server).expect(key)

    async def each(self) -> Sequence[Pipeline]:
        return [self._pipeline(server) for server in await self._cluster.servers()]

    async def prune(self) -> None:
        """Let go of nodes that have left, or have no slots any more; of those that still answer
        something, another time."""
        version = self._cluster.version
        gone = [server for server in self._pipelines if not self._cluster.knows(server)]
        idle = [server for server in gone if self._pipelines[server].idle]
        if gone == idle:
            self._known_version = version
        for pipeline in [self._pipelines.pop(server) for server in idle]:
            await pipeline.aclose()

    async def aclose(self) -> None:
        await asyncio.gather(*(pipeline.aclose() for pipeline in self._pipelines.values()))

    async def _hop(
        self,
        requests: Sequence[Request],
        todo: dict[int, list[_Unit]],
        ahead: dict[int, Server],
        answers: list[Any],
        *,
        patient: bool,
    ) -> None:
        """Send what is to be done to where it is to be done now."""
        if self._known_version != self._cluster.version:
            await self.prune()
        loads: dict[Server, list[int]] = {}
        sending = []
        for slot, units in todo.items():
            if slot in ahead:
                sending.append(partial(self._send_ahead, ahead[slot], requests, units[0], answers))
            elif (server := self._cluster.holder(slot)) is not None:
                loads.setdefault(server, []).extend(at for unit in units for at in unit)
            else:
                self._cluster.doubt()
                nobody = StoreUnavailable(self._cluster.name, f"no node has slot {slot}")
                for unit in units:
                    answers[unit[-1]] = nobody
        for server, positions in loads.items():
            sending.append(partial(self._send, server, requests, positions, answers))
        await asyncio.gather(*(send(patient=patient) for send in sending))

    async def _send(
        self,
        server: Server,
        requests: Sequence[Request],
        positions: list[int],
        answers: list[Any],
        *,
        patient: bool,
    ) -> None:
        found = await self._answers(server, [requests[at] for at in positions], patient=patient)
        for at, answer in zip(positions, found, strict=True):
            answers[at] = answer

    async def _send_ahead(
        self,
        server: Server,
        requests: Sequence[Request],
        unit: _Unit,
        answers: list[Any],
        *,
        patient: bool,
    ) -> None:
        *first, keyed = (requests[at] for at in unit)
        # ASKING is good for one command: it must be the one that is not refused for its SHA.
        command: Command = keyed.in_full if isinstance(keyed, Call) else keyed
        *found, let_in, answer = await self._answers(
            server, [*first, (b"ASKING",), command], patient=patient
        )
        if isinstance(let_in, Exception):
            answer = let_in
        for at, one in zip(unit, [*found, answer], strict=True):
            answers[at] = one

    async def _answers(
        self, server: Server, requests: list[Request], *, patient: bool
    ) -> list[Any]:
        pipeline = self._pipeline(server)
        error = StoreUnavailable(server.name, f"has not answered for {_GRACE:g} s")
        if not patient and pipeline.waiting_for > _GRACE:
            return [error] * len(requests)
        try:
            async with asyncio.timeout(None if patient else _GRACE):
                return await pipeline.ask(requests)
        except TimeoutError:
            # It may still carry them out, and whoever asks again asks after that.
            return [error] * len(requests)
        except StoreUnavailable as gone:
            return [gone] * len(requests)

    def _note_refusals(
        self, todo: dict[int, list[_Unit]], ahead: dict[int, Server], answers: list[Any]
    ) -> list[int]:
        """Leave in ``todo`` what was refused and what follows it, and in ``ahead`` who takes it
        out of turn. Answers the slots that it takes time to do something about."""
        waiting = []
        for slot, units in list(todo.items()):
            # Of a slot on the move only the first unit was sent.
            sent = units[:1] if ahead.pop(slot, None) else units
            done = next(
                (at for at, unit in enumerate(sent) if _is_refusal(answers[unit[-1]])), len(sent)
            )
            if done == len(units):
                del todo[slot]
                continue
            todo[slot] = units[done:]
            match answers[units[done][-1]] if done < len(sent) else None:
                case MovedError() as moved:
                    self._cluster.moved(slot, moved.host, moved.port)
                case AskError() as ask:
                    ahead[slot] = self._cluster.at(ask.host, ask.port)
                case TryAgainError():
                    waiting.append(slot)
                case StoreUnavailable() | ClusterDownError():
                    self._cluster.doubt()
                    waiting.append(slot)
        return waiting

    def _give_up(
        self, slots: Sequence[int], todo: dict[int, list[_Unit]], answers: list[Any]
    ) -> None:
        """What was refused, and what follows it, is not done, or done and to be repeated."""
        for slot in slots:
            refusal = answers[todo[slot][0][-1]]
            if isinstance(refusal, AskError):
                refusal = StoreUnavailable(self._cluster.name, f"moves slot {slot} all the time")
            for unit in todo.pop(slot):
                answers[unit[-1]] = refusal

    def _units(self, requests: Sequence[Request]) -> dict[int, list[_Unit]]:
        """The requests by their slot."""
        todo: dict[int, list[_Unit]] = {}
        unit: list[int] = []
        for at, request in enumerate(requests):
            unit.append(at)
            if (key := _key(request)) is not None:
                todo.setdefault(self._cluster.slot(key), []).append(tuple(unit))
                unit = []
        return todo

    def _pauses(self, *, patient: bool) -> Iterator[float]:
        if not self._retries:
            return iter(())
        count = round(self._cluster.timeout / _PAUSES[-1]) if patient else 0
        return iter((*_PAUSES, *[_PAUSES[-1]] * count))

    def _pipeline(self, server: Server) -> Pipeline:
        pipeline = self._pipelines.get(server)
        if pipeline is None:
            # It does not try again by itself: somebody else may have the slot meanwhile.
            pipeline = self._pipelines[server] = Pipeline(
                server, retries=False, scripts=self._scripts
            )
        return pipeline


async def _pause(pauses: Iterator[float]) -> bool:
    """Whether there was one more."""
    pause = next(pauses, None)
    if pause is None:
        return False
    await asyncio.sleep(pause)
    return True


def _key(request: Request) -> bytes | None:
    if isinstance(request, Call):
        return request.keys[0].encode()
    if request[0] == b"MEMORY":
        # The one command here of two words.
        request = request[1:]
    return str(request[1]).encode() if len(request) > 1 else None


def _is_refusal(answer: object) -> bool:
    """Whether a node did not carry a request out for a reason that passes, or is another's."""
    return isinstance(answer, AskError | TryAgainError | ClusterDownError) or (
        # Its kinds are those that trying again does not help.
        type(answer) is StoreUnavailable
    )
