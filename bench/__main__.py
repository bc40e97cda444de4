"""Measure on a private redis-server, each case against its baselines: ``make bench``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from redis import Redis

from tests.support.redis_server import RedisServer

from .cases import LINGERS, Group, Sizes, groups, warm_up
from .picture import svg
from .postgres import database
from .report import about, linger_curve, markdown
from .rows import lines
from .workers import Figures, Workers

_OUT = Path(__file__).resolve().parent.parent / "build" / "bench"

Results = dict[str, dict[str, list[Figures]]]


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    sizes = Sizes.tiny() if options.tiny else Sizes()
    started = perf_counter()
    with RedisServer() as server, database() as beside, Workers() as workers:
        measured_on = about(server.url) | {beside.kind: beside.version}
        chosen = [
            group
            for group in groups(server.url, beside, sizes, options.rounds)
            if not options.only or group.name in options.only
        ]
        if not chosen:
            names = ", ".join(group.name for group in groups(server.url, beside, sizes, 1))
            sys.exit(f"--only takes names of groups: {names}")
        if not options.tiny:
            _say("warming up")
            warm = {group.name for group in chosen if group.rounds > 1}
            tiny = [one for one in groups(server.url, beside, Sizes.tiny(), 1) if one.name in warm]
            if tiny:
                _measure(workers, server.url, warm_up(tiny))
        else:
            chosen = [replace(group, rounds=1) for group in chosen]
        results = _measure(workers, server.url, chosen)
    _say(f"measured in {perf_counter() - started:.0f} s")
    _write(options.out, measured_on, results)


def _measure(workers: Workers, url: str, chosen: Sequence[Group]) -> Results:
    """Every round plays every group, and within it its cases: they share the machine's moods."""
    results: Results = {group.name: {name: [] for name in group.cases} for group in chosen}
    rounds = max(group.rounds for group in chosen)
    with Redis.from_url(url) as client:
        for number in range(rounds):
            for group in chosen:
                if number >= group.rounds:
                    continue
                if rounds > 1:
                    _say(f"round {number + 1} of {rounds}: {group.name}")
                for name, sides in group.cases_of(number):
                    client.flushall()
                    results[group.name][name].append(workers.run(sides))
    return results


def _write(out: Path, measured_on: dict[str, Any], results: Results) -> None:
    table = list(lines(results))
    curves = {}
    if "linger" in results:
        curves["What linger trades"] = linger_curve(results["linger"], LINGERS)
    page = markdown(measured_on, table, curves)
    report = {
        "measured_on": measured_on,
        "rows": [
            {
                "what": line.row.what,
                "unit": line.row.unit,
                "value": line.value,
                "baseline": line.baseline,
                "baseline_value": line.base_value,
                "ratio": line.ratio,
                "aim": None if line.aim is None else str(line.aim),
                "reached": line.met,
            }
            for line in table
        ],
        "figures": results,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "speed.json").write_text(json.dumps(report, indent=1) + "\n")
    (out / "speed.md").write_text(page)
    (out / "speed.svg").write_text(svg(table))
    print(page)
    _say(f"written to {out}: speed.json, speed.md, speed.svg")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of most groups")
    parser.add_argument("--only", action="append", metavar="GROUP", help="measure only this group")
    parser.add_argument("--out", type=Path, default=_OUT, help="where to write the report")
    parser.add_argument("--tiny", action="store_true", help="see that it runs; measures nothing")
    return parser.parse_args(arguments)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
