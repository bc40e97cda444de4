"""What a fault cost, counted on the record and told as a table."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from math import inf
from statistics import median
from typing import NamedTuple

from . import record
from .history import History, Session

__all__ = ["Figures", "figures", "recoveries", "table"]


class Figures(NamedTuple):
    published: int
    delivered: int
    lost: int
    doubled: int
    out_of_order: int
    stale: int
    #: By fault: how often it struck, and the seconds from each end of it to the next chunk of
    #: each reader that it concerned.
    struck: Mapping[str, int]
    recovery: Mapping[str, Sequence[float]]


def figures(events: Sequence[record.Event]) -> Figures:
    """Count over all readers.

    Of a session that nobody could put back, only what was delivered twice or in another order
    counts: see :func:`tests.faults.checker.violations`.
    """
    history = History(events)
    published = delivered = lost = doubled = out_of_order = stale = 0
    for session in history.sessions.values():
        published += len(session.published)
        stale += 0 if session.forfeited else sum(map(session.is_stale, session.seen()))
        for one in session.readers.values():
            reader = _Reader(one)
            delivered += reader.delivered
            doubled += reader.doubled
            out_of_order += reader.out_of_order
            lost += 0 if session.forfeited else reader.lost(session)
    struck = Counter(window.fault for window in history.windows)
    recovery = _recovery(history)
    return Figures(published, delivered, lost, doubled, out_of_order, stale, struck, recovery)


class _Reader:
    """What one reader was handed, from its first start to its last end."""

    def __init__(self, events: Sequence[record.Event]) -> None:
        self.delivered = self.doubled = self.out_of_order = 0
        self._seen: set[tuple[int, int]] = set()
        self._ended_at: float | None = None
        self._start = 0
        last = 0
        for event in events:
            match event:
                case record.Opened(after=None):
                    self._seen.clear()
                    last = 0
                case record.Delivered(term=term, offset=offset):
                    self.delivered += 1
                    if (term, offset) in self._seen:
                        self.doubled += 1
                    elif offset < last:
                        self.out_of_order += 1
                    self._seen.add((term, offset))
                    last = max(last, offset)
                case record.Ended(at=at):
                    self._ended_at = at

    def lost(self, session: Session) -> int:
        """How many chunks it did not get of those that the log held when it came to its end."""
        if self._ended_at is None or session.stored is None:
            return 0
        end = min((claim.base for claim in session.continued(self._ended_at)), default=inf)
        return sum(
            (term, offset) not in self._seen
            for term, offset, _ in session.stored.chunks
            if offset <= end
        )


def _recovery(history: History) -> dict[str, list[float]]:
    times: dict[str, list[float]] = defaultdict(list)
    for name, session in history.sessions.items():
        for events in session.readers.values():
            chunks = [event.at for event in events if isinstance(event, record.Delivered)]
            for window in history.windows:
                if window.sessions and name not in window.sessions:
                    continue
                # Who came later, or had ended before, was not concerned.
                start = bisect_right(chunks, window.end)
                if 0 < start < len(chunks):
                    times[window.fault].append(chunks[start] - window.end)
    return times


_HEAD = (
    "fault | runs | published | delivered | lost | doubled | out of order | stale writes accepted "
    "| first chunk after it: median | worst"
)


def table(rows: Mapping[str, Sequence[Figures]]) -> str:
    """A Markdown table: a line for each fault with the figures of its runs, and one for all."""
    lines = [f"| {_HEAD} |", "|---" + "|---:" * _HEAD.count("|") + "|"]
    total: list[float] = []
    for name, runs in rows.items():
        recovery = [seconds for run in runs for seconds in _recovered(run, name)]
        total += recovery
        lines.append(_line(name, runs, recovery))
    if len(rows) > 1:
        lines.append(_line("all", [run for runs in rows.values() for run in runs], total))
    return "\n".join(lines)


def _recovered(run: Figures, name: str) -> Iterable[float]:
    """After the fault of that name; after any, where none has it."""
    if name in run.struck:
        return run.recovery.get(name, ())
    return chain.from_iterable(run.recovery.values())


def _line(name: str, runs: Sequence[Figures], recovery: Sequence[float]) -> str:
    counts = [f"{sum(column):,}" for column in zip(*(run[:6] for run in runs), strict=True)]
    return f"| {' | '.join([name, str(len(runs)), *counts, *_times(recovery)])} |"


def recoveries(run: Figures) -> str:
    """A Markdown table of how soon streams went on after each of the many faults of one run."""
    lines = ["| fault | struck | first chunk after it: median | worst |", "|---|---:|---:|---:|"]
    for name, count in run.struck.items():
        times = _times(run.recovery.get(name, ()))
        lines.append(f"| {' | '.join([name, str(count), *times])} |")
    return "\n".join(lines)


def _times(seconds: Sequence[float]) -> list[str]:
    if not seconds:
        return ["", ""]
    return [f"{median(seconds):.3f} s", f"{max(seconds):.3f} s"]
