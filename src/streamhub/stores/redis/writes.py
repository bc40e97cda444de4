"""Carries out what producers want written, and keeps the index told of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from ...errors import StoreUnavailable, StreamHubError
from ..base import Finish, Release, Renew, Restore, Stored, WriteOp, WriteResult
from .connections.errors import is_cross_slot
from .connections.pipeline import Request, Sent
from .index import Index
from .layout.script_calls import Calls, Carrying, results
from .topology.topology import Commands

__all__ = ["Writes"]


class Writes:
    """Does what ``Store.write`` and ``Store.renew`` promise.

    :param writes: carries chunks; neither claims nor renewals wait for them.
    :param claims: carries renewals.
    :param error: what an error of redis-py is to a user.
    """

    def __init__(
        self,
        calls: Calls,
        writes: Commands,
        claims: Commands,
        index: Index,
        error: Callable[[Exception, str | None], StreamHubError],
    ) -> None:
        self._calls = calls
        self._writes = writes
        self._claims = claims
        self._index = index
        self._error = error

    def write(self, ops: Sequence[WriteOp]) -> Awaitable[list[WriteResult | Exception]]:
        calls = self._calls.of(ops)
        requests = [call for call, _ in calls]
        # Chunks come in a list, everything else by itself.
        single = [carried[0] for _, carried in calls if type(carried) is tuple]
        if single and any(isinstance(op, Restore) for op in single):
            return self._restored(calls, requests, single)
        return self._written(calls, requests, self._writes.send(requests), single)

    async def _restored(
        self, calls: Sequence[Carrying], requests: Sequence[Request], single: Sequence[WriteOp]
    ) -> list[WriteResult | Exception]:
        """What is put back is in the index before."""
        late: dict[str, StoreUnavailable] = {}
        claims = [op.claim for op in single if isinstance(op, Restore)]
        for claim in claims:
            try:
                await self._index.put_back(claim)
            except StoreUnavailable as error:
                late[claim.generation] = error
        carried = [(call, ops) for call, ops in calls if not _is_late(ops, late)]
        if late:
            requests = [call for call, _ in carried]
        found = await self._written(carried, requests, None, single)
        for claim in claims:
            if claim.replaced and claim.feeds and claim.generation not in late:
                self._index.tell_aside(claim)
        if not late:
            return found
        rest = iter(found)
        return [
            late[op.claim.generation] if _is_late(ops, late) else next(rest)
            for _, ops in calls
            for op in ops
        ]

    async def _written(
        self,
        calls: Sequence[Carrying],
        requests: Sequence[Request],
        sent: Sent | None,
        single: Sequence[WriteOp],
    ) -> list[WriteResult | Exception]:
        answers = await self._writes.ask(requests, sent=sent)
        if any(map(is_cross_slot, answers)):
            # Behind one address there is a cluster after all. What was refused is written again.
            self._calls.together = 1
        if single:
            self._index.tell_ended([op.claim for op in single if isinstance(op, Finish | Release)])
        return results(calls, answers, self._error)

    async def renew(self, ops: Sequence[Renew]) -> list[WriteResult | Exception]:
        calls = self._calls.of(ops)
        answers = await self._claims.ask([call for call, _ in calls])
        found = results(calls, answers, self._error)
        self._index.tell_alive(
            [op.claim for op, result in zip(ops, found, strict=True) if isinstance(result, Stored)]
        )
        return found


def _is_late(ops: Sequence[WriteOp], late: Mapping[str, object]) -> bool:
    return isinstance(ops[0], Restore) and ops[0].claim.generation in late
