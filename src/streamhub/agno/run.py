"""A run of agno as its session tells it: a value, and what follows from it."""

from __future__ import annotations

import msgspec
from agno.run.base import RunStatus

from ..chunks import SessionInfo, Status

__all__ = ["Run", "after_leg", "is_stale", "legs_of", "status_of"]


class Run(msgspec.Struct, frozen=True):
    """What a run's session says of it, as its metadata.

    A run is told in legs, a session each: one until it pauses, one until it pauses again, and one
    for each attempt that another has overtaken.
    """

    status: str
    #: The leg that is under way, or to begin; and the first whose events are still of interest.
    leg: int = 0
    first: int = 0
    #: The index of that leg's first event.
    base: int = 0
    #: The newest attempt.
    generation: int | None = None


def is_stale(run: Run, generation: int | None) -> bool:
    return generation is not None and run.generation is not None and generation < run.generation


def legs_of(run: Run | None) -> range:
    """Those whose events are of interest."""
    return range(0) if run is None else range(run.first, run.leg + 1)


def after_leg(run: Run, info: SessionInfo, margin: int = 0) -> Run:
    """The run with a leg more, after the one that stands so."""
    base = run.base + info.last.offset + margin
    return msgspec.structs.replace(run, leg=run.leg + 1, base=base)


def status_of(run: Run, info: SessionInfo | None) -> RunStatus:
    """Of a run whose current leg stands so, if it has begun."""
    if info is None:
        return RunStatus(run.status)
    match info.status:
        case Status.ACTIVE:
            return RunStatus.running
        case Status.CANCELLED:
            return RunStatus.cancelled
        case Status.FINISHED:
            return RunStatus((info.metadata or {}).get("status", RunStatus.completed.value))
    return RunStatus.error
