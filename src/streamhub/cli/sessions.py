"""``streamhub ls``, ``show``, ``cancel``, ``send``, ``rm``: what is there, and what to do."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from ..chunks import SessionInfo, Status
from ..errors import SessionNotFound
from ..formats.info_json import info_json
from ..hub import Hub
from .exits import Code, refuse
from .place import Place
from .terminal import console, emit, note, visible

__all__ = ["Asked", "cancel", "list_sessions", "remove", "send", "show", "statuses_of"]

_STYLES = {
    Status.ACTIVE: "cyan",
    Status.FINISHED: "green",
    Status.FAILED: "red",
    Status.CANCELLED: "yellow",
    Status.LOST: "magenta",
}


@dataclass(frozen=True)
class Asked:
    """Which sessions are listed, and how many of them."""

    owner: str | None
    statuses: frozenset[Status]
    limit: int | None
    foreign: bool


def statuses_of(option: str | None) -> frozenset[Status]:
    """What ``--status`` names, or all; refuses what is no status."""
    if option is None:
        return frozenset(Status)
    try:
        return frozenset(Status(name.strip()) for name in option.split(","))
    except ValueError:
        allowed = ", ".join(Status)
        refuse(f"--status must be one of {allowed}, or several between commas, not {option!r}")


async def list_sessions(place: Place, asked: Asked, *, as_json: bool) -> int:
    total = 0

    async def wanted(hub: Hub) -> AsyncIterator[SessionInfo]:
        nonlocal total
        one = next(iter(asked.statuses)) if len(asked.statuses) == 1 else None
        async for info in hub.sessions(owner=asked.owner, status=one, foreign=asked.foreign):
            if info.status in asked.statuses:
                total += 1
                # The table does not show the metadata, of which there may be any amount.
                yield info if as_json else msgspec.structs.replace(info, metadata=None)

    async with place.hub() as hub:
        if as_json and asked.limit is None:
            async for info in wanted(hub):
                emit(info_json(info))
            return Code.FINISHED
        infos = await _first(wanted(hub), asked.limit)
    if as_json:
        for info in infos:
            emit(info_json(info))
    elif infos:
        _print_table(infos)
        if len(infos) < total:
            note(f"{len(infos):,} of {total:,} sessions")
    else:
        note("no sessions")
    return Code.FINISHED


async def show(place: Place, session_id: str, *, as_json: bool) -> int:
    async with place.hub() as hub:
        stream = await hub.get(session_id)
        if stream is None:
            raise SessionNotFound(session_id)
        info = await stream.info()
    if as_json:
        emit(info_json(info))
    else:
        _print_facts(info)
    return Code.FINISHED


async def cancel(place: Place, session_id: str, *, wait: float | None, as_json: bool) -> int:
    async with place.hub() as hub:
        stream = await hub.get(session_id)
        if stream is None:
            raise SessionNotFound(session_id)
        before = (await stream.info()).status
        status = await stream.cancel(wait=wait)
    if as_json:
        emit({"session_id": session_id, "status": status, "before": before})
    else:
        style = _STYLES[status]
        _print_line(_cancel_line(session_id, before, status, wait), style)
    return Code.ACTIVE if wait is not None and status is Status.ACTIVE else Code.FINISHED


async def send(
    place: Place, session_id: str, text: str, *, event: str | None, key: str | None, as_json: bool
) -> int:
    async with place.hub() as hub:
        stream = await hub.get(session_id)
        if stream is None:
            raise SessionNotFound(session_id)
        message_id = await stream.send(text, event, key=key)
    if as_json:
        emit({"session_id": session_id, "id": message_id})
    else:
        _print_line(message_id, None)
    return Code.FINISHED


async def remove(place: Place, session_id: str, *, as_json: bool) -> int:
    async with place.hub() as hub:
        if not await hub.remove(session_id):
            raise SessionNotFound(session_id)
    if as_json:
        emit({"session_id": session_id, "removed": True})
    else:
        _print_line(f"removed {session_id!r}", None)
    return Code.FINISHED


async def _first(found: AsyncIterator[SessionInfo], limit: int | None) -> list[SessionInfo]:
    """So many of them, in the order of a list; no more are kept meanwhile than twice as many."""
    kept: list[SessionInfo] = []
    async for info in found:
        kept.append(info)
        if limit is not None and len(kept) == 2 * limit:
            kept = sorted(kept, key=_place)[:limit]
    return sorted(kept, key=_place)[:limit]


def _place(info: SessionInfo) -> tuple[bool, float, str]:
    """Running ones first, then the newest."""
    return (info.status is not Status.ACTIVE, -(info.created or 0), info.session_id)


def _cancel_line(session_id: str, before: Status, status: Status, wait: float | None) -> str:
    if before not in (Status.ACTIVE, Status.LOST):
        return f"{session_id!r} had already ended: {before}"
    if status is Status.ACTIVE and wait is None:
        return f"{session_id!r} is asked to stop"
    if status is Status.ACTIVE:
        return f"{session_id!r} is asked to stop, and still active after {wait:g} s"
    return f"{session_id!r} is {status}"


def _print_line(line: str, style: str | None) -> None:
    console(sys.stdout).print(Text(visible(line), style=style or ""), soft_wrap=True)


def _print_table(infos: list[SessionInfo]) -> None:
    header = ("session", "status", "chunks", "bytes", "age", "owner")
    rows = [
        (
            visible(info.session_id),
            f"{info.status} (cancelling)" if info.cancelling and _runs(info) else str(info.status),
            f"{info.last.offset:,}" if not info.is_foreign else "?",
            f"{info.bytes:,}" if not info.is_foreign else "?",
            _age(info.created),
            visible(info.owner or ""),
        )
        for info in infos
    ]
    if not sys.stdout.isatty():
        for row in [header, *rows]:
            print("\t".join(row))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in header:
        numeric = name in ("chunks", "bytes", "age")
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for info, row in zip(infos, rows, strict=True):
        cells = [Text(cell) for cell in row]
        cells[0].stylize("bold")
        cells[1].stylize(_STYLES[info.status])
        table.add_row(*cells)
    console(sys.stdout).print(table)


def _print_facts(info: SessionInfo) -> None:
    facts: list[tuple[str, str]] = [
        ("session", info.session_id),
        ("status", str(info.status)),
        ("generation", info.generation),
        ("epoch", "none (written by the Go library)" if info.is_foreign else str(info.epoch)),
        ("cursor", str(info.last)),
    ]
    if info.error is not None:
        # A cancel may come with a reason.
        facts.insert(2, ("error" if info.status is Status.FAILED else "reason", info.error))
    if info.cancelling and _runs(info):
        facts.insert(2, ("cancel", "asked for"))
    if not info.is_foreign:
        facts.append(("chunks", f"{info.last.offset:,}"))
        facts.append(("bytes", f"{info.bytes:,}"))
    if info.base:
        facts.append(("continued", f"after chunk {info.base:,}"))
    if info.lease is not None:
        facts.append(("lease", f"{info.lease:.1f} s left"))
    if info.subscribers is not None:
        facts.append(("subscribers", f"about {info.subscribers:,}"))
    if info.resumes:
        facts.append(("resumes", f"{info.resumes:,}"))
    for name in ("created", "updated", "ended"):
        if (at := getattr(info, name)) is not None:
            when = datetime.fromtimestamp(at, UTC).astimezone()
            facts.append((name, f"{when:%Y-%m-%d %H:%M:%S %z} ({_age(at)} ago)"))
    if info.owner is not None:
        facts.append(("owner", info.owner))
    if info.metadata is not None:
        facts.append(("metadata", json.dumps(info.metadata, ensure_ascii=False)))
    out = console(sys.stdout)
    for name, value in facts:
        line = Text(f"{name:<11}", style="dim")
        style = _STYLES[info.status] if name == "status" else ""
        out.print(line.append(visible(value), style=f"not dim {style}"), soft_wrap=True)


def _runs(info: SessionInfo) -> bool:
    return info.status in (Status.ACTIVE, Status.LOST)


def _age(at: float | None) -> str:
    if at is None:
        return "?"
    # The store's clock and ours may differ a little.
    seconds = max(0, int(time.time() - at))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
