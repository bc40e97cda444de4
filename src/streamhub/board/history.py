"""What has happened to a session: by its record, and by what two looks find different. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from ..chunks import SessionInfo, Status

__all__ = ["Happening", "Kind", "appeared", "happened", "recorded", "timeline"]

#: ``claimed``: a stream began; ``taken_over``: another producer goes on with it; ``released``: its
#: producer gave it up; ``lost``: its lease lapsed; ``back``: a producer that was lost goes on, or
#: has put the session back; ``shrunk``: the store has lost chunks; ``gone``: the store has not got
#: it any more. The others are ends, and a cancel that was asked for.
Kind = Literal[
    "claimed", "taken_over", "cancelling", "released", "lost", "back", "shrunk", "gone", "damaged",
    "finished", "failed", "cancelled",
]  # fmt: skip

_ENDS = (Status.FINISHED, Status.FAILED, Status.CANCELLED)


class Happening(msgspec.Struct, frozen=True, gc=False):
    """Something that became of a session."""

    kind: Kind
    #: Seconds since 1970: by the store's clock where ``seen`` is False, otherwise by the clock of
    #: who looked, and so up to a look too late.
    at: float
    seen: bool
    #: After how many chunks.
    chunks: int | None = None
    generation: str | None = None
    host: str | None = None
    #: Why, where somebody has said so.
    reason: str | None = None


def recorded(info: SessionInfo) -> list[Happening]:
    """What the record itself tells, in order.

    Claims that wrote nothing leave no trace, and only the last one is known by name. When a session
    was lost nobody has written down: ``SessionInfo.updated`` is when its producer was last heard.
    """
    if info.terms is None:
        found = []
        if info.created is not None:
            found.append(Happening("claimed", info.created, False, generation=info.generation))
    else:
        newest = len(info.terms.spans) - 1
        found = [
            Happening(
                "taken_over" if base or number else "claimed",
                # A term is the store's time in ms at the claim, or a little later.
                term / 1000,
                False,
                base,
                info.generation if number == newest else None,
                info.host if number == newest else None,
            )
            for number, (term, base) in enumerate(info.terms.spans)
        ]
        if info.terms.epoch != info.terms.spans[0][0]:
            found.insert(0, Happening("claimed", info.terms.epoch / 1000, False, 0))
    if info.status in _ENDS and info.ended is not None:
        found.append(_end(info, info.ended, seen=False))
    return found


def happened(before: SessionInfo | None, after: SessionInfo | None, at: float) -> list[Happening]:
    """What has become of a session between two looks, in the order in which it must have been."""
    if before is None:
        return []
    if after is None:
        return [Happening("gone", at, True, generation=before.generation)]
    count, producer = after.chunks, (after.generation, after.host)
    if before.stream_id != after.stream_id:
        found = [Happening("claimed", at, True, after.base, *producer)]
    elif before.generation != after.generation:
        found = [Happening("taken_over", at, True, after.base, *producer)]
    elif before.chunks is not None and count is not None and count < before.chunks:
        found = [Happening("shrunk", at, True, count)]
    else:
        found = []
    same = not found or found[0].kind == "shrunk"
    if after.cancelling and not (same and before.cancelling):
        found.append(Happening("cancelling", at, True, count))
    if same and before.status is after.status:
        return found
    if after.status is Status.LOST:
        # What was released lapses before its time.
        early = before.lease is not None and before.lease_mark != after.lease_mark
        found.append(Happening("released" if early else "lost", at, True, count, *producer))
    elif after.status in _ENDS:
        found.append(_end(after, at, seen=True))
    elif same and after.status is Status.ACTIVE:
        found.append(Happening("back", at, True, count, *producer))
    return found


def appeared(seen: Sequence[Happening], info: SessionInfo, at: float) -> list[Happening]:
    """What it means that a session is there which was not at the last look: nothing, unless it was
    seen to go before."""
    if not seen or seen[-1].kind != "gone":
        return []
    if seen[-1].generation != info.generation:
        return [Happening("claimed", at, True, info.base, info.generation, info.host)]
    return [Happening("back", at, True, info.chunks, info.generation, info.host)]


def timeline(info: SessionInfo | None, seen: Sequence[Happening]) -> list[Happening]:
    """What the record tells and what was seen, as one row in order, nothing twice."""
    told = [] if info is None else recorded(info)
    # What was seen is told by the record as well, with its exact time, if that is of this stream.
    left = [(one.kind, one.chunks) for one in told]
    merged = list(told)
    for one in reversed(seen):
        if (one.kind, one.chunks) in left:
            left.remove((one.kind, one.chunks))
        else:
            merged.append(one)
    return sorted(merged, key=lambda one: one.at)


def _end(info: SessionInfo, at: float, *, seen: bool) -> Happening:
    kind: Kind = info.status.value  # type: ignore[assignment]
    return Happening(kind, at, seen, info.chunks, reason=info.error)
