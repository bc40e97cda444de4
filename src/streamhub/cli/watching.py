"""``streamhub ls --watch``: the list of sessions, drawn anew or told on as it changes."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Any, NoReturn, cast

import msgspec
from rich.console import Group
from rich.live import Live
from rich.text import Text

from ..board import Look, Page, Query, Row
from ..board.query import Sort
from ..chunks import Status
from ..errors import StreamHubError
from ..formats.json_text import encode as encode_json
from .columns import ASCENDING, STYLES, cells, columns_of, cut, fitted, span
from .exits import Code, code_of, refuse
from .interrupts import Interrupted, unless_interrupted
from .output import Output
from .place import Place
from .terminal import console, note, redacted, visible

__all__ = ["query_of", "watch"]

# All that the board may have: the order of a list is not the board's.
_EVERYTHING = 1_000_000
_SECOND = 1.0


def query_of(*, owner: str | None, status: str | None, sort: str = "created") -> Query:
    """What the options ask the board for; refuses what it does not have."""
    names = [] if status is None else [name.strip() for name in status.split(",")]
    try:
        # It refuses what is no column.
        return Query(
            owner=owner,
            statuses=frozenset(names),
            sort=cast(Sort, sort),
            descending=sort not in ASCENDING,
            limit=_EVERYTHING,
        )
    except ValueError as error:
        refuse(f"--{error}")


async def watch(place: Place, query: Query, *, limit: int | None, as_json: bool) -> int:
    """Show the list until a signal comes, or nobody reads it any more."""
    try:
        output = Output.stdout()
    except OSError as error:
        note(str(error), style="red")
        return Code.OTHER

    async def follow() -> StreamHubError:
        try:
            async with place.hub() as hub:
                # Where no store answers, there is nothing to wait for.
                await hub.active(["ls"])
                async with hub.board().look() as look:
                    if sys.stdout.isatty() and not as_json:
                        await _draw(look, query, limit, place.url)
                    else:
                        told = _Told(output, place.url, as_json=as_json)
                        await told.follow(look, query, limit)
        except StreamHubError as error:
            return error

    async with output:
        outcome = await unless_interrupted(follow(), output)
    if isinstance(outcome, Interrupted):
        note(str(outcome), style="yellow")
        return Code.INTERRUPTED
    note(redacted(str(outcome), place.url), style="red")
    return code_of(outcome)


def _listed(page: Page, limit: int | None) -> Sequence[Row]:
    """In the order of a list: running ones first, then the newest."""
    # The newest stand first already, and it stays so.
    return sorted(page.rows, key=lambda row: row.status != Status.ACTIVE)[:limit]


async def _draw(look: Look, query: Query, limit: int | None, url: str) -> NoReturn:
    """Draw the list on the terminal, in place of what was drawn before."""
    out = console(sys.stdout)
    with Live(
        console=out, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
    ) as live:
        while True:
            page = look.page(query)
            # Titles, the count, and the line that the cursor is on.
            room = max(1, out.size.height - 3)
            rows = _listed(page, limit)
            look.seeing = frozenset(row.session_id for row in rows[:room])
            live.update(_drawn(page, rows[:room], out.size.width, url), refresh=True)
            try:
                async with asyncio.timeout(_SECOND):
                    await look.wait_news()
            except TimeoutError:
                # Ages grow.
                continue


def _drawn(page: Page, rows: Sequence[Row], width: int, url: str) -> Group:
    columns, now = columns_of(rows, "created"), time.time()
    texts = [cells(row, columns, now) for row in rows]
    fit = fitted(columns, texts, width, "created")
    lines = [Text(" ".join(cut(c.title, size, right=c.is_number) for c, size in fit), style="dim")]
    for row, text in zip(rows, texts, strict=True):
        line = Text()
        for column, size in fit:
            style = {"session": "bold", "status": STYLES.get(row.status, "")}.get(column.title, "")
            line.append(cut(text[columns.index(column)], size, right=column.is_number), style=style)
            line.append(" ")
        lines.append(line)
    if page.away is not None:
        told = redacted(page.away, url)
        lines.append(Text(f"not read any more, what is shown is old: {told}", style="red"))
    elif not page.complete:
        lines.append(Text("looking …", style="dim"))
    else:
        lines.append(Text(f"{len(rows):,} of {page.found + page.left_out:,}", style="dim"))
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return Group(*lines)


class _Told:
    """Tells what changes, a line each, for files and programs."""

    def __init__(self, output: Output, url: str, *, as_json: bool) -> None:
        self._output = output
        self._url = url
        self._as_json = as_json
        self._known: dict[str, int] = {}
        self._away: str | None = None

    async def follow(self, look: Look, query: Query, limit: int | None) -> NoReturn:
        if not self._as_json:
            await self._write("\t".join(_TITLES))
        while True:
            page = look.page(query)
            if page.away != self._away:
                self._away = page.away
                told = "the store can be read again" if page.away is None else page.away
                note(redacted(told, self._url), style="yellow")
            rows = _listed(page, limit)
            look.seeing = frozenset(row.session_id for row in rows)
            await self._tell(rows)
            await look.wait_news()

    async def _tell(self, rows: Sequence[Row]) -> None:
        """Tell what is new, what has changed, and what is not in the list any more."""
        before, self._known = self._known, {row.session_id: row.version for row in rows}
        for row in rows:
            if before.get(row.session_id) != row.version:
                await self._write(_json(row) if self._as_json else _line(row))
        for name in before.keys() - self._known.keys():
            gone = encode_json({"session_id": name, "gone": True}).decode()
            await self._write(gone if self._as_json else f"{visible(name)}\tgone")

    async def _write(self, line: str) -> None:
        await self._output.write(line.encode("utf-8", "replace") + b"\n")


_TITLES = ("session", "status", "chunks", "bytes", "rate", "age", "owner", "model")


def _line(row: Row) -> str:
    now = time.time()
    facts = (
        visible(row.session_id),
        row.status,
        "?" if row.chunks is None else f"{row.chunks:,}",
        f"{row.bytes:,}",
        "" if row.rate is None else f"{row.rate:.1f}",
        "?" if row.created is None else span(now - row.created),
        visible(row.owner or ""),
        visible(row.model or ""),
    )
    return "\t".join(facts)


def _json(row: Row) -> str:
    facts: dict[str, Any] = msgspec.to_builtins(row)
    # What it counts is this process's own.
    del facts["version"]
    return encode_json(facts).decode()
