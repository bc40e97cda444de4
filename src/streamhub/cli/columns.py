"""A row of the board as cells, and which of them a terminal has room for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from ..board import DAMAGED, Row
from ..board.query import Sort
from ..chunks import Status
from .terminal import visible

__all__ = [
    "ASCENDING",
    "STYLES",
    "Column",
    "Fitted",
    "cells",
    "columns_of",
    "cut",
    "fitted",
    "span",
]

#: What is sorted from the least on: names, and what is urgent. All else begins with the most.
ASCENDING: tuple[Sort, ...] = ("session", "status", "owner", "model", "host", "lease")
#: The colours of statuses.
STYLES: Mapping[str, str] = {
    Status.ACTIVE: "cyan",
    Status.FINISHED: "green",
    Status.FAILED: "red",
    Status.CANCELLED: "yellow",
    Status.LOST: "magenta",
    DAMAGED: "bold red",
}
_GAP = 1


class Column(NamedTuple):
    """What is shown of each row, and by what rows are sorted to have it in order."""

    title: str
    sort: Sort
    value: Callable[[Row, float], str]
    #: How wide it is at most, and at least where its texts are longer; a column of numbers has one
    #: width, and stands right.
    least: int
    most: int
    #: Those with the highest go first where the terminal is too narrow.
    rank: int = 0

    @property
    def is_number(self) -> bool:
        return self.least == self.most


class Fitted(NamedTuple):
    column: Column
    width: int


def span(seconds: float) -> str:
    """A time in at most four characters."""
    seconds = max(0, int(seconds))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _status(row: Row, now: float) -> str:
    return "cancelling" if row.cancelling and row.status == Status.ACTIVE else row.status


def _count(number: int | None) -> str:
    """A number in at most six characters."""
    if number is None:
        return "?"
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= 100 * size:
            return f"{number // size}{unit}"
    return str(number)


def _bytes(row: Row, now: float) -> str:
    return "" if row.status == DAMAGED else _count(row.bytes)


def _rate(row: Row, now: float) -> str:
    return "" if row.rate is None else f"{row.rate:.1f}" if row.rate < 1000 else f"{row.rate:.0f}"


def _age(row: Row, now: float) -> str:
    # The store's clock and ours may differ a little.
    return "?" if row.created is None else span(now - row.created)


def _silence(row: Row, now: float) -> str:
    """Since when no chunk has come; ``>`` where none has come since we look."""
    if row.has_ended or row.status == DAMAGED:
        return ""
    return f">{span(now - row.since)}" if row.last_chunk is None else span(now - row.last_chunk)


def _lease(row: Row, now: float) -> str:
    if row.lease_until is None or row.status != Status.ACTIVE:
        return ""
    return span(row.lease_until - now)


_COLUMNS = (
    Column("session", "session", lambda row, now: visible(row.session_id), 14, 60),
    Column("status", "status", _status, 9, 10),
    Column("owner", "owner", lambda row, now: visible(row.owner or ""), 6, 20, rank=4),
    Column("model", "model", lambda row, now: visible(row.model or ""), 6, 24, rank=3),
    Column("chunks", "chunks", lambda row, now: _count(row.chunks), 6, 6),
    Column("rate/s", "rate", _rate, 6, 6, rank=1),
    Column("age", "created", _age, 4, 4),
    Column("silent", "silence", _silence, 6, 6),
    Column("lease", "lease", _lease, 5, 5, rank=2),
    Column("host", "host", lambda row, now: visible(row.host or ""), 6, 20, rank=5),
    Column("bytes", "bytes", _bytes, 6, 6, rank=7),
    Column(
        "subs",
        "subscribers",
        lambda row, now: "" if row.subscribers is None else _count(row.subscribers),
        4,
        4,
        rank=6,
    ),
)


def columns_of(rows: Iterable[Row], sort: Sort) -> list[Column]:
    """The columns that say anything of these rows, and the one that they are sorted by."""
    rows = list(rows)
    return [
        column
        for column in _COLUMNS
        if not column.rank or column.sort == sort or any(column.value(row, 0.0) for row in rows)
    ]


def cells(row: Row, columns: Iterable[Column], now: float) -> list[str]:
    return [column.value(row, now) for column in columns]


def fitted(
    columns: Sequence[Column], texts: Sequence[Sequence[str]], width: int, sort: Sort
) -> list[Fitted]:
    """Those columns that have room, each with its width.

    The least important go where there is too little room, but for the one that is sorted by. What
    room is left goes to those whose texts want it, from the left.
    """
    wanted = [
        max([len(column.title), *(cell_len(row[index]) for row in texts)])
        for index, column in enumerate(columns)
    ]
    kept = list(range(len(columns)))

    def least(index: int) -> int:
        column = columns[index]
        return column.least if column.is_number else min(column.least, wanted[index])

    def spare() -> int:
        return width - sum(least(index) + _GAP for index in kept) + _GAP

    while len(kept) > 1 and spare() < 0:
        kept.remove(max(kept, key=lambda at: (columns[at].sort != sort, columns[at].rank, at)))
    result = []
    left = spare()
    for index in kept:
        more = max(0, min(wanted[index], columns[index].most, least(index) + left) - least(index))
        left -= more
        result.append(Fitted(columns[index], min(width, least(index) + more)))
    return result


def cut(text: str, width: int, *, right: bool = False) -> str:
    """The text in exactly so many cells of a terminal."""
    size = cell_len(text)
    if size > width:
        return set_cell_size(text, width - 1) + "…" if width else ""
    padding = " " * (width - size)
    return padding + text if right else text + padding
