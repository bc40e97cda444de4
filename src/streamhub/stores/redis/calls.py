"""A producer's operations as calls of scripts, and what the scripts answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from .keys import Keys
from .lane import Call
from .scripts import Script
from .wire import Argument

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


class _Batch:
    """Appends that one call carries out, of claims on the same terms."""

    __slots__ = ("_arguments", "_chunks", "_keys", "_ops", "_size", "_terms")

    def __init__(self, terms: tuple[int, int]) -> None:
        self._terms = terms
        self._ops: list[Append] = []
        self._keys: list[str] = []
        self._arguments: list[Argument] = [*terms]
        self._chunks = self._size = 0

    def has_room(self, op: Append, items: bytes, terms: tuple[int, int], *, sessions: int) -> bool:
        return (
            len(self._ops) < sessions
            and self._chunks + len(op.items) <= _CHUNKS
            and self._size + len(items) <= _BYTES
            and self._terms == terms
        )

    def add(self, op: Append, items: bytes, keys: Keys) -> None:
        self._ops.append(op)
        self._chunks += len(op.items)
        self._size += len(items)
        self._keys += (keys.meta, keys.chunks)
        self._arguments += (op.claim.generation, op.base, op.total_bytes, items, keys.live)

    def carrying(self, script: Script) -> Carrying:
        return Call(script, self._keys, *self._arguments), self._ops


class Calls:
    """Makes the calls that carry out operations, in their order.

    :param together: of how many sessions one call may store chunks. Each call costs the server a
        few microseconds, whatever it does.
    """

    def __init__(
        self, scripts: Mapping[str, Script], keys: Callable[[str], Keys], *, together: int
    ) -> None:
        self._scripts = scripts
        self._keys = keys
        self.together = together

    def of(self, ops: Sequence[WriteOp]) -> list[Carrying]:
        made: list[Carrying | _Batch] = []
        batch: _Batch | None = None
        for op in ops:
            if not isinstance(op, Append):
                batch = None
                made.append((self._call(op), (op,)))
                continue
            claim, items = op.claim, codec.encode_items(op.items)
            terms = _terms(claim.lease, claim.retention)
            if batch is None or not batch.has_room(op, items, terms, sessions=self.together):
                batch = _Batch(terms)
                made.append(batch)
            batch.add(op, items, self._keys(claim.session_id))
        append = self._scripts["append"]
        return [one.carrying(append) if isinstance(one, _Batch) else one for one in made]

    def _call(self, op: SetMetadata | Renew | Release | End | Restore) -> Call:
        claim = op.claim
        keys = self._keys(claim.session_id)
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
