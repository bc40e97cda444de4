"""The table, and what it was measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from redis import Redis

from .rows import Line, cpu_of_all, cpu_of_redis
from .workers import Figures

__all__ = ["about", "linger_curve", "markdown", "number"]

_PACKAGES = (
    *("redis", "hiredis", "msgspec", "assistant-stream", "fastapi-resumable-stream", "dbos"),
    *("sse-starlette", "uvicorn"),
)
_NOTES = """\
Each side runs in a process of its own, beside Redis, where a row does not say otherwise; every case
checks that all of it arrived, in order. The ratio is the median of the rounds' ratios. *round trip*
is one awaited script call per chunk and one connection per stream, *reader each* one connection
with a blocking XREAD per subscriber, *bare* the least that redis-py and Redis can do: pipelined
script calls of 512 chunks, a Pub/Sub hop, that hop and a future for each task that waits.
*dbos* writes from a step and reads with its client, which Postgres tells of what is new. Postgres
commits each chunk to the disk; Redis has it in memory alone here.

What it takes: publishing and replays keep two processors busy, Redis and one process of Python,
each while the other is at work. Where both are put on one, publishing falls to 0.55 x of bare, a
replay is at 1.6 x and a joined one at 2.6 x.

How far it varies, and where it ends: one chunk on its own passes a script of six commands where the
bare hop is one PUBLISH, at 1.05 to 1.25 x, and at 1.3 x where other programs keep the caches cold.

1,000 streams take 0.19 to 0.24 x where one process publishes and follows them, and 0.24 to 0.27 x
where the two are apart, in seven runs: 42 to 58 us a chunk on a quiet machine, and up to 80 us
where neighbours use its caches. Done by hand it takes 160 to 330 us, which can be more than two
processors have time for, and a quarter less when the subscribers lag so far that a read finds
several chunks.

An event costs the server 0.6 to 0.75 x of what it does through sse-starlette where 1,000 clients
follow one stream, and 0.8 x where each has a stream of its own.

Two aims can be missed while others use the processors, too: in the last three of those runs, when
Redis took 2 to 5.5 us for the same chunk from one round to the next, publishing on 256 streams
fell to 0.66, 0.7 and 0.62 x, and the p99 of a thousand subscribers was at 1.2, 1.6 and 1.6 x.

Of a thousand subscribers the p50 is else at 1.05 to 1.5 x, the p99 at 1.1 to 1.4 x of bare waking.
Ten replays follow each other, at 1.8 to 2.8 x and joined at 3.3 to 5.4 x, so that each side pays
for its garbage: redis-py's are a list, a tuple and a dict per entry, which the collector goes
through again and again. Of one replay alone it is 1.7 x, and 3.4 x joined; where the garbage is
collected before each and not counted, which is best for redis-py, 1.45 x and 2.75 x; right after a
pause, when a kernel may have Redis and Python share a processor for some milliseconds, 1.25 x."""
_ROOT = Path(__file__).resolve().parent.parent


def about(url: str) -> dict[str, Any]:
    """Machine, versions and commit."""
    with Redis.from_url(url) as client:
        server: Any = client.info("server")
    packages = {}
    for package in _PACKAGES:
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "commit": _commit(),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "redis-server": str(server["redis_version"]),
        "load before": round(os.getloadavg()[0], 1),
        **packages,
    }


def markdown(measured_on: dict[str, Any], table: list[Line], curves: dict[str, str]) -> str:
    """The report as a page of Markdown."""
    what = ", ".join(f"{name} {value}" for name, value in measured_on.items())
    parts = ["# How fast it is", "", f"`make bench`, on: {what}.", "", *_table(table)]
    parts += ["", _NOTES]
    for title, text in curves.items():
        parts += ["", f"## {title}", "", text]
    return "\n".join(parts) + "\n"


def linger_curve(results: Mapping[str, Sequence[Figures]], lingers: Sequence[float]) -> str:
    """Delay against cost, for streams that have a chunk every 20 ms."""
    rows = [
        "| linger | delivery p50 | p99 | CPU of all per 10,000 chunks | of Redis |",
        "|--:|--:|--:|--:|--:|",
    ]
    for linger in lingers:
        rounds = results[f"{linger:g}"]

        def middle(figure: Callable[[Figures], float], rounds: Sequence[Figures] = rounds) -> str:
            return number(median([figure(figures) for figures in rounds]))

        rows.append(
            f"| {1000 * linger:g} ms "
            f"| {middle(lambda figures: figures['p50_ms'])} ms "
            f"| {middle(lambda figures: figures['p99_ms'])} ms "
            f"| {middle(cpu_of_all)} ms "
            f"| {middle(cpu_of_redis)} ms |"
        )
    return "\n".join(rows)


def number(value: float) -> str:
    """Three digits that count."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"


def _table(table: list[Line]) -> list[str]:
    rows = ["| | streamhub | baseline | | ratio | aim | |", "|---|--:|---|--:|--:|--:|---|"]
    previous = None
    for line in table:
        first = line.row is not previous
        previous = line.row
        verdict = {None: "", True: "reached", False: "**missed**"}[line.met]
        rows.append(
            f"| {line.row.what if first else ''} "
            f"| {f'{number(line.value)} {line.row.unit}'.strip() if first else ''} "
            f"| {line.baseline} "
            f"| {'' if line.base_value is None else number(line.base_value)} "
            f"| {'' if line.ratio is None else f'{number(line.ratio)} x'} "
            f"| {line.aim or ''} | {verdict} |"
        )
    return rows


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(_ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = "+" if git("status", "--porcelain", "--", "src", "bench") else ""
        return git("rev-parse", "--short", "HEAD") + changed
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
