"""Random faults from a seed, one after the other, on streams that run all the while.

``python -m tests.faults.torture --seconds 60 --seed N`` draws the whole schedule before anything
begins, so that the same seed means the same faults in the same order with the same choices. What
threads, processes and the network of the machine make of it varies from run to run.

``--saving`` kills producers, savers and Redis, and counts what is saved (``saving.py``).
``--pairs`` lets a second thing happen before the repair of each fault is through, on streams of its
own for each. ``--table RUNS`` lets every fault strike alone instead, so many times, and prints what
it cost. ``--fault NAME`` picks the faults of both.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import NamedTuple

from . import record
from .campaign import campaign, server_for
from .checker import violations
from .faults import FAULTS, inflict
from .figures import Figures, figures, recoveries, table
from .pairs import FIRSTS, Pair, broken, draw
from .saving import saving
from .site import LEASE, Site

__all__ = ["Outcome", "Step", "main", "schedule", "torture"]

_STREAMS = 6
_LONGEST_CALM = 0.5
_CANCELS = 0.3
#: No fault takes less time, until streams flow again: the schedule is drawn long enough.
_SHORTEST_STEP = 0.1


class Step(NamedTuple):
    """After ``calm`` seconds a fault strikes; where ``cancels``, a new stream is cancelled then."""

    calm: float
    fault: str
    cancels: bool
    seed: int

    def __str__(self) -> str:
        cancels = ", while a stream is cancelled" if self.cancels else ""
        return f"after {self.calm:.3f} s: {self.fault}{cancels} (seed {self.seed})"


class Outcome(NamedTuple):
    taken: Sequence[Step]
    events: Sequence[record.Event]
    #: Why it stopped before its time, if it did.
    failure: str | None

    def broken(self) -> list[str]:
        """What is not as it should be; empty when every guarantee held."""
        found = [] if self.failure is None else [self.failure]
        return found + [str(violation) for violation in violations(self.events, LEASE)]


def schedule(seed: int, seconds: float) -> list[Step]:
    """More steps than there is time for, drawn from the seed alone.

    Every fault comes once before any comes again.
    """
    random = Random(seed)
    steps: list[Step] = []
    while len(steps) * _SHORTEST_STEP < seconds:
        for fault in random.sample(list(FAULTS), len(FAULTS)):
            calm = random.uniform(0, _LONGEST_CALM)
            steps.append(Step(calm, fault, random.random() < _CANCELS, random.getrandbits(32)))
    return steps


async def torture(steps: Sequence[Step], seconds: float) -> Outcome:
    """Take as many of the steps as there is time for, then let all streams end."""
    taken: list[Step] = []
    with (
        server_for(*FAULTS.values()) as server,
        tempfile.TemporaryDirectory(prefix="streamhub-") as directory,
    ):
        async with Site(server, Path(directory), streams=_STREAMS) as site:
            # Not before the streams flow: that may take longer than all else on a busy machine.
            until = time.monotonic() + seconds
            try:
                for step in steps:
                    if time.monotonic() >= until:
                        break
                    print(f"{len(taken):4}  {step}", flush=True)
                    taken.append(step)
                    await _take(site, step)
                return Outcome(taken, await site.finish(), None)
            except Exception as error:  # whatever it is, what was recorded may say why
                failure = f"{taken[-1].fault}: {type(error).__name__}: {error}"
                with suppress(Exception):
                    await site.finish()
                return Outcome(taken, site.recorded(), failure)


async def _take(site: Site, step: Step) -> None:
    await asyncio.sleep(step.calm)
    if step.cancels:
        (session,) = site.produce(1)
        await site.flow([session])
        site.cancel(session)
    await inflict(site, FAULTS[step.fault], Random(step.seed))


def _torment(seed: int, seconds: float) -> int:
    again = f"python -m tests.faults.torture --seed {seed} --seconds {seconds:g}"
    print(f"seed {seed}; the same schedule again: {again}", flush=True)
    outcome = asyncio.run(torture(schedule(seed, seconds), seconds))
    run = figures(outcome.events)
    print(f"\n{recoveries(run)}\n\n{table({'all of them': [run]})}\n")
    broken = outcome.broken()
    if not broken:
        print(f"{len(outcome.taken)} faults, and every guarantee held.")
        return 0
    print(f"Broken with seed {seed}; the same schedule again: {again}")
    for number, step in enumerate(outcome.taken):
        print(f"{number:4}  {step}")
    print("\n".join(broken[:20]))
    return 1


def _pair_up(seed: int, seconds: float, names: Sequence[str]) -> int:
    again = f"python -m tests.faults.torture --pairs --seed {seed} --seconds {seconds:g}"
    again += "".join(f" --fault {name!r}" for name in names)
    print(f"seed {seed}; the same pairs again: {again}", flush=True)
    taken, found = asyncio.run(_pairs(draw(seed, names or FIRSTS), seconds))
    if not found:
        print(f"{taken} pairs, and every guarantee held.")
        return 0
    print(f"\nBroken with seed {seed}; the same pairs again: {again}")
    print("\n".join(found[:20]))
    return 1


def _save(seed: int, seconds: float, sessions: int, *, wipe: bool) -> int:
    again = f"python -m tests.faults.torture --saving --seed {seed} --seconds {seconds:g}"
    again += f" --sessions {sessions}" + (" --wipe" if wipe else "")
    print(f"seed {seed}; the same kills again: {again}", flush=True)
    saved = asyncio.run(saving(seed, seconds, sessions=sessions, wipe=wipe))
    print(saved)
    print("\n".join([*saved.wrong[:20], *saved.missed]))
    return 1 if saved.wrong or saved.doubled or (saved.missing and not wipe) else 0


async def _pairs(drawn: Iterator[Pair], seconds: float) -> tuple[int, list[str]]:
    """Take as many as there is time for, two at a time: they wait more than they compute."""
    until = time.monotonic() + seconds
    found: list[str] = []
    taken = 0

    async def take() -> None:
        nonlocal taken
        while taken == 0 or time.monotonic() < until:
            one = next(drawn)
            taken += 1
            lines = await broken(one)
            print(f"{'broken' if lines else 'held':6}  {one}", flush=True)
            found.extend(lines)

    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(take())
    return taken, found


def _tabulate(runs: int, seed: int, names: Sequence[str]) -> int:
    rows: dict[str, list[Figures]] = {}
    broken: list[str] = []
    for name in names or FAULTS:
        for run in range(runs):
            events = asyncio.run(campaign(FAULTS[name], Random(f"{seed} {run}")))
            rows.setdefault(name, []).append(figures(events))
            broken += [f"{name}: {violation}" for violation in violations(events, LEASE)]
        print(f"{name}: {runs} runs", file=sys.stderr, flush=True)
    print(table(rows))
    if broken:
        print("\n".join(["", *broken]))
    return 1 if broken else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.torture",
        description="Let random faults strike running streams, and prove the guarantees on the "
        "record of it.",
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--seed", type=int, help="of the schedule of faults; drawn if not given")
    parser.add_argument(
        "--table", type=int, metavar="RUNS", help="let every fault strike alone, so many times"
    )
    parser.add_argument(
        "--pairs", action="store_true", help="let a second thing happen before each repair"
    )
    parser.add_argument(
        "--fault", action="append", default=[], help="with --table or --pairs: only this one"
    )
    parser.add_argument(
        "--saving", action="store_true", help="kill producers, savers and Redis, and count rows"
    )
    parser.add_argument("--sessions", type=int, default=200, help="with --saving: how many (200)")
    parser.add_argument("--wipe", action="store_true", help="with --saving: Redis comes back empty")
    options = parser.parse_args(arguments)
    known = FIRSTS if options.pairs else tuple(FAULTS)
    for name in options.fault:
        if name not in known:
            parser.error(f"there is no fault {name!r}; there are {', '.join(known)}")
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    if options.table is not None:
        return _tabulate(options.table, seed, options.fault)
    if options.saving:
        return _save(seed, options.seconds, options.sessions, wipe=options.wipe)
    if options.pairs:
        return _pair_up(seed, options.seconds, options.fault)
    return _torment(seed, options.seconds)


if __name__ == "__main__":
    # What the hubs say of the faults that they meet would hide what matters here.
    logging.getLogger("streamhub").setLevel(logging.ERROR)
    sys.exit(main())
