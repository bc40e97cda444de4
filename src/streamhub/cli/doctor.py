"""``streamhub doctor``: what a server means for the guarantees, and a session from end to end."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable
from contextlib import suppress
from itertools import groupby
from statistics import median
from typing import TypeVar

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from ..chunks import Status
from ..config import HubConfig
from ..errors import StreamHubError
from ..stores.open_store import open_store
from ..stores.redis.checkup import Checkup, Finding, Level, check_up, judge_feeds
from ..stream import LiveStream
from .exits import Code
from .place import Place
from .terminal import console, emit, redacted, visible

__all__ = ["doctor", "findings_of"]

T = TypeVar("T")

_STYLES = {
    Level.OK: "green",
    Level.NOTE: "cyan",
    Level.WARNING: "yellow",
    Level.PROBLEM: "bold red",
}
#: Short, so that what a broken test leaves behind is soon gone.
_CONFIG = HubConfig(lease=5.0, retention=5.0, give_up_after=5.0)
_CHUNKS = 20
#: After which it is clear that they come late.
_ENOUGH = 4
_BOUND = 15.0
#: Readers that hear of no live message look at the store once a second.
_POLLED = 0.5


async def doctor(place: Place, *, as_json: bool) -> int:
    """Print what was found; the exit code says whether there is a problem."""
    checkup = await check_up(place.url, place.key_prefix)
    findings = list(checkup.findings)
    for server, session_id in checkup.scratch.items():
        findings.append(await _try_out(place, server, session_id))
    findings += await _feeds(place)
    findings = [_redacted(finding, place.url) for finding in findings]
    # One server after the other, and what was tried out with what it said.
    servers = list(checkup.scratch)
    findings.sort(key=lambda finding: servers.index(finding.server or servers[0]))
    if as_json:
        emit({"store": checkup.store, "findings": msgspec.to_builtins(findings)})
    else:
        _print(checkup, findings)
    problems = any(finding.level is Level.PROBLEM for finding in findings)
    return Code.FAILED if problems else Code.FINISHED


async def findings_of(place: Place) -> list[Finding]:
    """What the servers are, and who waits for ends; nothing is tried out with a session."""
    try:
        checkup = await check_up(place.url, place.key_prefix)
        findings = [*checkup.findings, *await _feeds(place)]
    except StreamHubError as error:
        meaning = "nothing is known of it, and no session can be reached"
        findings = [
            Finding(level=Level.PROBLEM, subject="reach", found=str(error), meaning=meaning)
        ]
    return [_redacted(finding, place.url) for finding in findings]


async def _feeds(place: Place) -> list[Finding]:
    """Who waits for ends, and whether anybody does; nothing where the store cannot be asked, which
    other findings say."""
    store = open_store(place.url)
    store.configure(place.config(_CONFIG))
    try:
        return list(judge_feeds(await store.feeds.known() if store.feeds is not None else []))
    except StreamHubError:
        return []
    finally:
        await store.aclose()


async def _try_out(place: Place, server: str, session_id: str) -> Finding:
    """Claim, publish, follow, cancel and remove a session on this server."""
    try:
        async with asyncio.timeout(_BOUND):
            took = await _session(place, session_id)
    except (StreamHubError, TimeoutError, _Wrong) as error:
        reason = str(error) or f"not done within {_BOUND:g} s"
        return Finding(
            level=Level.PROBLEM,
            subject="self-test",
            found=f"a session cannot be claimed, followed, cancelled and removed: {reason}",
            meaning="no guarantee holds here",
            advice="see the other findings; then try again",
            server=server,
        )
    found = ", ".join(f"{what} in {seconds * 1000:.1f} ms" for what, seconds in took.items())
    if took["read live"] > _POLLED:
        return Finding(
            level=Level.PROBLEM,
            subject="self-test",
            found=found,
            meaning="live messages do not arrive: readers poll the store once a second (G13)",
            advice="let Pub/Sub through: the user's channels, and proxies in between",
            server=server,
        )
    return Finding(level=Level.OK, subject="self-test", found=found, server=server)


class _Wrong(Exception):
    """Something came out other than it must."""


async def _session(place: Place, session_id: str) -> dict[str, float]:
    """How long each step takes, in seconds; chunks go from one hub to another."""
    took: dict[str, float] = {}

    async def timed(what: str, step: Awaitable[T]) -> T:
        start = time.perf_counter()
        answer = await step
        took[what] = time.perf_counter() - start
        return answer

    async with place.hub(_CONFIG) as hub, place.hub(_CONFIG) as other:
        # The first call of each kind connects.
        await other.get(session_id)
        await hub.remove(session_id)
        stream, _ = await timed("claimed", hub.register(session_id))
        try:
            await _store(stream, "0")
            await timed("stored", _store(stream, "1"))
            took["read live"] = await _follow(stream, await other.get(session_id))
            status = await timed("cancelled", stream.cancel(wait=_BOUND))
            if status is not Status.CANCELLED:
                raise _Wrong(f"a cancel left the session {status}")
        finally:
            with suppress(StreamHubError):
                await timed("removed", hub.remove(session_id))
    return took


async def _store(stream: LiveStream, text: str) -> None:
    await stream.publish(text)
    await stream.flush()


async def _follow(stream: LiveStream, reader: LiveStream | None) -> float:
    """The median time from a publish to its arrival at a reader, in seconds."""
    if reader is None:
        raise _Wrong("what was stored is not there")
    times: list[float] = []
    async with reader.subscribe() as subscription:
        for number in range(_CHUNKS):
            start = time.perf_counter()
            if number > 1:
                await stream.publish(str(number))
            chunk = await anext(subscription)
            if chunk.data != str(number):
                raise _Wrong(f"chunk {number} was read as {chunk.data!r}")
            times.append(time.perf_counter() - start)
            if len(times) > _ENOUGH and median(times[2:]) > _POLLED:
                break
    return median(times[2:])


def _redacted(finding: Finding, url: str) -> Finding:
    clean = {name: redacted(getattr(finding, name), url) for name in ("found", "meaning", "advice")}
    return msgspec.structs.replace(finding, **clean)


def _print(checkup: Checkup, findings: list[Finding]) -> None:
    out = console(sys.stdout)
    for server, group in groupby(findings, key=lambda finding: finding.server):
        if len(checkup.scratch) > 1:
            out.print(Text(visible(server or checkup.store), style="bold"), soft_wrap=True)
        if out.is_terminal:
            out.print(_table(list(group)))
            continue
        for finding in group:
            line = f"{finding.level:<8} {finding.subject:<12} {visible(_in_words(finding))}"
            out.print(line, soft_wrap=True)


def _table(findings: list[Finding]) -> Table:
    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    for finding in findings:
        text = Text(visible(finding.found))
        if finding.meaning:
            text.append(f"\n{visible(finding.meaning)}", style="dim")
        if finding.advice:
            text.append(f"\n→ {visible(finding.advice)}")
        level = Text(finding.level, style=_STYLES[finding.level])
        table.add_row(level, Text(finding.subject), text)
    return table


def _in_words(finding: Finding) -> str:
    meaning = f": {finding.meaning}" if finding.meaning else ""
    advice = f" → {finding.advice}" if finding.advice else ""
    return f"{finding.found}{meaning}{advice}"
