"""A producer's operations as calls of scripts, and what the scripts answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ...base import (
    Append,
    Claim,
    Finish,
    Handle,
    Release,
    Renew,
    Restore,
    SetMetadata,
    Stored,
    WriteOp,
    WriteResult,
)
from ..layout.scripts import Argument, Call
from .answers import given, write_result
from .inbox import written_message
from .index import written
from .keys import Keys, keys_of_append
from .live import appended
from .record import ms, written_terms
from .scripts import Script

__all__ = ["Calls", "Carrying", "results"]

#: A call, and the operations that it carries out.
Carrying = tuple[Call, Sequence[WriteOp]]

# What the chunks of several sessions may weigh together, which is their bytes and some more for
# each of them: one call must not hold the server for much longer than a millisecond.
_FULL = 256 * 1024
_PER_CHUNK = 512


# What the script of an append carries out.
_APPENDING = (Append, Handle)


@lru_cache(maxsize=64)
def _terms(lease: float, retention: float, unsaved: float) -> tuple[int, int]:
    """How long a claim holds, and how long its keys are kept if nothing more comes, in ms."""
    return ms(lease), ms(lease) + ms(max(retention, unsaved))


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
        #: What records are to say of where their producers run; '' for nothing.
        self.host = ""

    def of(self, ops: Sequence[WriteOp]) -> list[Carrying]:
        made: list[Carrying] = []
        carried: list[WriteOp] = []
        keys: list[str] = []
        arguments: list[Argument] = []
        lease = retention = unsaved = -1.0
        lease_ms = ttl_ms = 0
        weight = _FULL
        for op in ops:
            if not isinstance(op, Append):
                made.append((self._call(op), (op,)))
                weight = _FULL
                continue
            claim = op.claim
            if claim.lease != lease or claim.retention != retention or claim.unsaved != unsaved:
                lease, retention, unsaved = claim.lease, claim.retention, claim.unsaved
                lease_ms, ttl_ms = _terms(lease, retention, unsaved)
                weight = _FULL
            message = appended(op.term, op.base, lease_ms, op.total_bytes, op.items)
            own = len(message) + _PER_CHUNK * len(op.items)
            weight += own
            if weight > _FULL or len(carried) == self.together:
                call = Call(self._scripts["append"], (), lease_ms, ttl_ms)
                keys, arguments, carried, weight = call.keys, call.arguments, [], own
                made.append((call, carried))
            carried.append(op)
            meta, log, live = keys_of_append(self.prefix, claim.session_id)
            keys += (meta, log)
            arguments += (claim.generation, message, live)
        return made

    def _call(self, op: Handle | SetMetadata | Renew | Release | Finish | Restore) -> Call:
        claim = op.claim
        lease, ttl = _terms(claim.lease, claim.retention, claim.unsaved)
        scripts = self._scripts
        if isinstance(op, Renew):
            meta, chunks, _ = keys_of_append(self.prefix, claim.session_id)
            return Call(
                scripts["renew"],
                (meta, chunks),
                claim.generation,
                op.last,
                lease,
                ttl,
                *_written(claim),
            )
        keys = Keys.of(self.prefix, claim.session_id)
        log = (keys.meta, keys.chunks)
        match op:
            case Handle(append, messages):
                message = appended(
                    append.term, append.base, lease, append.total_bytes, append.items
                )
                marked = " ".join((claim.generation, *messages))
                return Call(scripts["append"], log, lease, ttl, marked, message, keys.live)
            case SetMetadata(_, metadata):
                return Call(scripts["set_metadata"], (keys.meta,), claim.generation, metadata)
            case Release(_, last, in_vain):
                ttl = ms(claim.kept)
                return Call(
                    scripts["renew"],
                    log,
                    claim.generation,
                    last,
                    0,
                    ttl,
                    *_written(claim),
                    keys.live,
                    "1" if in_vain else "",
                )
            case Finish(_, last, status, error):
                return Call(
                    scripts["end"],
                    (keys.meta, keys.chunks),
                    claim.generation,
                    last,
                    status.value,
                    error or "",
                    ms(claim.kept),
                    keys.live,
                )
            case Restore(_, metadata, messages):
                call = Call(
                    scripts["restore"],
                    (
                        keys.meta,
                        keys.chunks,
                        keys.removed,
                        keys.ends,
                        *keys.of_stream(claim.generation),
                    ),
                    claim.generation,
                    claim.epoch,
                    written_terms(claim.terms),
                    claim.replaced or "",
                    lease,
                    ms(claim.retention),
                    given(claim.owner),
                    claim.created_ms,
                    given(metadata),
                    keys.live,
                    given(claim.request),
                    claim.resumes,
                    claim.handovers,
                    " ".join(map(written, claim.feeds)),
                    ms(claim.unsaved) if claim.unsaved else 0,
                    self.host,
                    given(claim.traceparent),
                )
                for one in messages:
                    call.arguments += (one.id, written_message(one.data, one.event))
                return call


def _written(claim: Claim) -> tuple[int, int, str]:
    """What tells the record that a claim has made from one that somebody has changed by hand."""
    return claim.epoch, claim.terms.current, written_terms(claim.terms)


def results(
    carrying: Sequence[Carrying],
    answers: Sequence[Any],
    failure: Callable[[Exception, str], Exception],
) -> list[WriteResult | Exception]:
    """What became of each operation, in their order.

    :param failure: what an error of redis-py is to the session of that id.
    """

    def result(op: WriteOp, answer: Any) -> WriteResult | Exception:
        session_id = op.claim.session_id
        if isinstance(answer, Exception):
            return failure(answer, session_id)
        return write_result(session_id, answer)

    found: list[WriteResult | Exception] = []
    for (_, ops), answer in zip(carrying, answers, strict=True):
        if isinstance(answer, Exception):
            each: Sequence[Any] = [answer] * len(ops)
        else:
            each = answer if isinstance(ops[0], _APPENDING) else [answer]
        # Fast path of ``result``: saves two calls for nearly every operation.
        found += [
            Stored(one, cancelling=False) if type(one) is int else result(op, one)
            for op, one in zip(ops, each, strict=True)
        ]
    return found
