"""A producer's operations as calls of scripts, and what the scripts answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ..base import (
    Append,
    End,
    Release,
    Renew,
    Restore,
    SetMetadata,
    WriteOp,
    WriteResult,
)
from . import codec
from .keys import Keys, keys_of_append
from .lane import Call
from .scripts import Script

__all__ = ["Calls", "Carrying", "results"]

#: A call, and the operations that it carries out.
Carrying = tuple[Call, Sequence[WriteOp]]

# One call must not hold the server for much longer than a millisecond.
_CHUNKS = 512
_BYTES = 256 * 1024


@lru_cache(maxsize=64)
def _terms(lease: float, retention: float) -> tuple[int, int]:
    """How long a claim holds, and how long its keys are kept if nothing more comes, in ms."""
    return codec.ms(lease), codec.ms(lease) + codec.ms(retention)


class Calls:
    """Makes the calls that carry out operations, in their order. One call stores chunks of several
    sessions where they follow each other and their claims have the same terms.

    :param prefix: what the names of all keys begin with.
    :param together: of how many sessions one call may store chunks. Each call costs the server a
        few microseconds, whatever it does.
    """

    def __init__(self, scripts: Mapping[str, Script], *, prefix: str, together: int) -> None:
        self._scripts = scripts
        self.prefix = prefix
        self.together = together

    def of(self, ops: Sequence[WriteOp]) -> list[Carrying]:
        made: list[Carrying] = []
        call: Call | None = None
        carried: list[WriteOp] = []
        lease = retention = 0.0
        chunks = size = 0
        for op in ops:
            if not isinstance(op, Append):
                made.append((self._call(op), (op,)))
                call = None
                continue
            claim = op.claim
            message = codec.appended(claim.epoch, op.base, codec.ms(claim.lease), op.items)
            chunks, size = chunks + len(op.items), size + len(message)
            if (
                call is None
                or len(carried) == self.together
                or chunks > _CHUNKS
                or size > _BYTES
                or claim.lease != lease
                or claim.retention != retention
            ):
                lease, retention = claim.lease, claim.retention
                call, carried = Call(self._scripts["append"], (), *_terms(lease, retention)), []
                chunks, size = len(op.items), len(message)
                made.append((call, carried))
            carried.append(op)
            meta, log, live = keys_of_append(self.prefix, claim.session_id)
            call.keys += (meta, log)
            call.arguments += (claim.generation, op.base, op.total_bytes, message, live)
        return made

    def _call(self, op: SetMetadata | Renew | Release | End | Restore) -> Call:
        claim = op.claim
        keys = Keys.of(self.prefix, claim.session_id)
        lease, ttl = _terms(claim.lease, claim.retention)
        scripts = self._scripts
        match op:
            case SetMetadata(_, metadata):
                return Call(scripts["set_metadata"], (keys.meta,), claim.generation, metadata)
            case Renew(_, last):
                return Call(
                    scripts["renew"], (keys.meta, keys.chunks), claim.generation, last, lease, ttl
                )
            case Release(_, last):
                ttl = codec.ms(claim.retention)
                return Call(
                    scripts["renew"], (keys.meta, keys.chunks), claim.generation, last, 0, ttl
                )
            case End(_, last, status, error):
                return Call(
                    scripts["end"],
                    (keys.meta, keys.chunks),
                    claim.generation,
                    last,
                    status.value,
                    error or "",
                    codec.ms(claim.retention),
                    keys.live,
                )
            case Restore(_, metadata):
                return Call(
                    scripts["restore"],
                    (keys.meta, keys.chunks, keys.removed),
                    claim.generation,
                    claim.epoch,
                    claim.base,
                    claim.replaced or "",
                    lease,
                    codec.ms(claim.retention),
                    codec.given(claim.owner),
                    claim.created_ms,
                    codec.given(metadata),
                    keys.live,
                )


def results(
    carrying: Sequence[Carrying], answers: Sequence[Any]
) -> Iterator[tuple[WriteOp, WriteResult | Exception]]:
    """What became of each operation, in their order; an exception may be one of redis-py."""
    for (_, ops), answer in zip(carrying, answers, strict=True):
        if isinstance(answer, Exception):
            each = [answer] * len(ops)
        else:
            each = answer if isinstance(ops[0], Append) else [answer]
        for op, one in zip(ops, each, strict=True):
            failed = isinstance(one, Exception)
            yield op, one if failed else codec.write_result(op.claim.session_id, one)
