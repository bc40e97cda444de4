"""What somebody wants to see of the board: which rows, in which order, how many. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import nlargest, nsmallest
from operator import itemgetter
from typing import Any, Literal, get_args

import msgspec

from .row import Row

__all__ = ["Page", "Query", "Sort", "owners_of", "page_of"]

#: What rows are put in order by. ``silence``: how long no chunk has come.
Sort = Literal[
    "session", "status", "owner", "model", "chunks", "bytes", "rate", "created", "silence",
    "lease", "host", "subscribers",
]  # fmt: skip

_MOST_OWNERS = 50
# Of so many times as many rows the first are picked out instead of putting all in order.
_FEW = 8
#: The most urgent first.
_URGENCY = ("damaged", "lost", "failed", "active", "cancelled", "finished")
_KEYS: Mapping[str, Callable[[Row], Any]] = {
    "session": lambda row: row.session_id,
    "status": lambda row: _URGENCY.index(row.status),
    "owner": lambda row: row.owner,
    "model": lambda row: row.model,
    "chunks": lambda row: row.chunks,
    "bytes": lambda row: row.bytes,
    "rate": lambda row: row.rate,
    "created": lambda row: row.created,
    # Silent for longer is more, and was heard earlier; one that has ended is not silent.
    "silence": lambda row: None if row.has_ended else -(row.last_chunk or row.since),
    "lease": lambda row: row.lease_until,
    "host": lambda row: row.host,
    "subscribers": lambda row: row.subscribers,
}


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that hold ``text`` somewhere, of these statuses and this owner, in order.

    :raises ValueError: it asks for what no board has.
    """

    #: Looked for in the id, the owner, the model, the host and the error, whatever its case.
    text: str = ""
    #: None of them means all; ``damaged`` is one.
    statuses: frozenset[str] = frozenset()
    owner: str | None = None
    sort: Sort = "created"
    descending: bool = True
    #: How many rows stand before the page.
    offset: int = 0
    limit: int = 100

    def __post_init__(self) -> None:
        if self.sort not in get_args(Sort):
            raise ValueError(f"sort must be one of {', '.join(get_args(Sort))}, not {self.sort!r}")
        if unknown := sorted(self.statuses - {*_URGENCY}):
            raise ValueError(f"status must be one of {', '.join(_URGENCY)}, not {unknown[0]!r}")
        if self.offset < 0 or self.limit < 1:
            raise ValueError(f"no page has {self.limit} rows after {self.offset}")


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What a query finds."""

    #: The board's version that this is of.
    version: int
    rows: Sequence[Row]
    #: How many rows there are, on all pages.
    found: int
    #: How many sessions there are of each status, with the query's text and owner.
    counts: Mapping[str, int]
    #: Chunks a second, and bytes of text that are stored, of all that are found.
    rate: float
    bytes: int
    #: How many sessions the board has at all.
    total: int
    #: How many there are that it does not have, because they are too many.
    left_out: int
    #: The owners of most sessions, and of how many each.
    owners: Mapping[str, int]
    #: Why the store cannot be read, and so the rows are old; None while it can.
    away: str | None = None
    #: Whether every session that there is has been looked at.
    complete: bool = True

    def changed_since(self, version: int) -> list[Row]:
        """Those of its rows that have changed since the board had this version."""
        return [row for row in self.rows if row.version > version]


def page_of(
    rows: Sequence[Row],
    query: Query,
    *,
    version: int,
    owners: Mapping[str, int] | None = None,
    left_out: int = 0,
    away: str | None = None,
    complete: bool = True,
) -> Page:
    """:param rows: in the order of their ids, in which they stay where they are equal otherwise.
    :param owners: of all rows, where that is known already; see :func:`owners_of`.
    """
    text = query.text.strip().casefold()
    found = rows
    if text or query.owner is not None:
        found = [row for row in rows if query.owner in (None, row.owner) and _holds(row, text)]
    counts = Counter([row.status for row in found])
    if query.statuses:
        found = [row for row in found if row.status in query.statuses]
    return Page(
        version=version,
        rows=_in_order(found, query),
        found=len(found),
        counts=counts,
        rate=round(sum([row.rate or 0.0 for row in found]), 1),
        bytes=sum([row.bytes for row in found]),
        total=len(rows),
        left_out=left_out,
        owners=owners_of(rows) if owners is None else owners,
        away=away,
        complete=complete,
    )


def owners_of(rows: Iterable[Row]) -> Mapping[str, int]:
    """The owners of most rows, and of how many each."""
    found = Counter([row.owner for row in rows])
    found.pop(None, None)
    return {owner: count for owner, count in found.most_common(_MOST_OWNERS) if owner is not None}


def _holds(row: Row, text: str) -> bool:
    return not text or any(
        value is not None and text in value.casefold()
        for value in (row.session_id, row.owner, row.model, row.host, row.error)
    )


def _in_order(rows: Sequence[Row], query: Query) -> Sequence[Row]:
    """The rows of the page. What has no value comes last, in either direction."""
    key = _KEYS[query.sort]
    valued = [(value, row) for row in rows if (value := key(row)) is not None]
    end = query.offset + query.limit
    if end * _FEW < len(valued):
        best = nlargest if query.descending else nsmallest
        valued = best(end, valued, key=_value)
    else:
        valued.sort(key=_value, reverse=query.descending)
    found = [row for _, row in valued[query.offset : end]]
    if len(found) < query.limit and len(valued) < len(rows):
        rest = [row for row in rows if key(row) is None]
        first = max(0, query.offset - len(valued))
        found += rest[first : first + query.limit - len(found)]
    return found


_value = itemgetter(0)
