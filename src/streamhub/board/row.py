"""One line of the board: a session as the last look found it, and what several looks tell."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from ..chunks import SessionInfo, Status
from ..errors import SessionCorrupted

__all__ = ["DAMAGED", "Row", "Seen", "damaged", "drawn", "model_of"]

#: What takes the place of a status where the record cannot be read.
DAMAGED = "damaged"

# Over how many seconds a rate is measured.
_WINDOW = 5.0
_LONGEST_ERROR = 400
_LONGEST_NAME = 120
_MODEL_KEYS = ("model", "model_name", "model_id", "modelId")
_ENDED = (Status.FINISHED, Status.FAILED, Status.CANCELLED)


class Row(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Times are seconds since 1970 by this machine's clock, but for ``created``, ``updated`` and
    ``ended``, which are the store's: a row changes only when its session has."""

    session_id: str
    #: A :class:`Status`, or ``damaged``.
    status: str
    #: The board's version when the row last changed.
    version: int = 0
    owner: str | None = None
    #: By the metadata, under ``model`` or a name like it.
    model: str | None = None
    host: str | None = None
    generation: str = ""
    #: None where nobody counts them.
    chunks: int | None = None
    bytes: int = 0
    #: Chunks a second over the last seconds; None while it was not looked at for long enough, and
    #: once it has ended.
    rate: float | None = None
    created: float | None = None
    updated: float | None = None
    ended: float | None = None
    #: When the newest chunk was first seen here; None if none has come since this was looked at.
    last_chunk: float | None = None
    #: Since when this stream is looked at: with no ``last_chunk`` it is silent since then at least.
    since: float = 0.0
    #: When its lease lapses unless it is renewed; None once it has ended.
    lease_until: float | None = None
    subscribers: int | None = None
    resumes: int = 0
    handovers: int = 0
    cancelling: bool = False
    #: Why it failed or was cancelled, or what is damaged; cut off after some hundred characters.
    error: str | None = None

    @property
    def has_ended(self) -> bool:
        return self.status in _ENDED


class Seen(NamedTuple):
    """What is remembered of a session between looks, to measure it by."""

    #: As it was found at the last look.
    info: SessionInfo
    #: What the rate is measured from: when there were how many chunks, and since when the next.
    began: tuple[float, int]
    next: tuple[float, int]


def drawn(
    info: SessionInfo, model: str | None, row: Row | None, seen: Seen | None, *, now: float
) -> tuple[Row, Seen]:
    """A session as a row, beside what was there before.

    The row that is answered is equal to ``row`` if nothing has changed, whatever the time is.
    """
    if row is not None and (seen is None or not _continues(seen.info, info)):
        row = seen = None
    last_chunk = None if row is None else row.last_chunk
    if seen is not None and seen.info.last != info.last:
        last_chunk = now
    point = (now, info.last.offset)
    if seen is None:
        began = upcoming = point
    elif now - seen.next[0] >= _WINDOW:
        began, upcoming = seen.next, point
    else:
        began, upcoming = seen.began, seen.next
    return (
        Row(
            session_id=info.session_id,
            status=info.status.value,
            version=0 if row is None else row.version,
            owner=None if info.owner is None else info.owner[:_LONGEST_NAME],
            model=model,
            host=None if info.host is None else info.host[:_LONGEST_NAME],
            generation=info.generation,
            chunks=info.chunks,
            bytes=info.bytes,
            rate=_rate(info, began, point),
            created=info.created,
            updated=info.updated,
            ended=info.ended,
            last_chunk=last_chunk,
            since=now if row is None else row.since,
            lease_until=_lease_until(info, row, seen, now),
            subscribers=info.subscribers,
            resumes=info.resumes,
            handovers=info.handovers,
            cancelling=info.cancelling,
            error=None if info.error is None else _cut(info.error),
        ),
        Seen(info, began, upcoming),
    )


def damaged(error: SessionCorrupted, row: Row | None, *, now: float) -> Row:
    """A session whose record cannot be read, as a row that says so."""
    return Row(
        session_id=error.session_id,
        status=DAMAGED,
        version=0 if row is None else row.version,
        since=now if row is None or row.status != DAMAGED else row.since,
        error=_cut(error.reason),
    )


def model_of(metadata: Any) -> str | None:
    """The model that metadata names, whatever else it is."""
    if not isinstance(metadata, dict):
        return None
    for key in _MODEL_KEYS:
        value = metadata.get(key)
        if isinstance(value, dict):
            value = value.get("id") or value.get("name")
        if isinstance(value, str) and value:
            return value[:_LONGEST_NAME]
    return None


def _continues(before: SessionInfo, info: SessionInfo) -> bool:
    """Whether it is the stream that was looked at before, by whomever it is produced."""
    return before.stream_id == info.stream_id


def _rate(info: SessionInfo, began: tuple[float, int], point: tuple[float, int]) -> float | None:
    if info.status is not Status.ACTIVE or info.is_foreign or point[0] - began[0] < 0.5:
        return None
    # Less than nothing where a store has lost chunks.
    return round(max(0, point[1] - began[1]) / (point[0] - began[0]), 1)


def _lease_until(info: SessionInfo, row: Row | None, seen: Seen | None, now: float) -> float | None:
    if info.lease is None:
        return None
    same = seen is not None and seen.info.lease_mark == info.lease_mark is not None
    # What was not renewed lapses when it did: this clock and the way here do not change it.
    if row is not None and same:
        return row.lease_until
    # When one lapsed that is found lapsed nobody knows.
    return round(now + info.lease, 1) if info.lease else None


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_ERROR else f"{text[:_LONGEST_ERROR]}…"
