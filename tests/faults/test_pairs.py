"""Two things at once: each fault with what happens before its repair is through."""

from __future__ import annotations

import asyncio
from itertools import chain
from random import Random

import pytest

from .faults import FAULTS
from .pairs import FIRSTS, LOSSES, Pair, broken

pytestmark = pytest.mark.slow

#: So many at a time: they wait more than they compute.
_AT_ONCE = 2


def _of(family: str) -> list[str]:
    # Faults of one kind of connection are left to the torture.
    return [
        name
        for name, fault in FAULTS.items()
        if fault.family == family and not name.endswith(" only")
    ]


_SERVER = _of("server")
GROUPS = {
    "network": _of("network"),
    "server refuses": [name for name in _SERVER if not FAULTS[name].wipes][::2],
    "server dies": [name for name in _SERVER if not FAULTS[name].wipes][1::2],
    "data lost": [name for name in _SERVER if FAULTS[name].wipes],
    "processes": _of("process"),
    "newest data lost": [*LOSSES, *LOSSES],
}


@pytest.mark.parametrize("names", GROUPS.values(), ids=GROUPS)
async def test_the_guarantees_hold_when_a_second_thing_happens_before_the_repair(
    names: list[str],
) -> None:
    """Claims, ends, cancels, removals and readers of every kind within a lease of the fault, with
    producers that live and that are dead: nothing is glued, nobody hangs, and all else that the
    record of it proves."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def take(n: int, name: str) -> list[str]:
        async with turns:
            return await broken(Pair(name, bool(n % 2), Random(f"{n} {name}").getrandbits(32)))

    found = await asyncio.gather(*(take(n, name) for n, name in enumerate(names)))
    assert [] == list(chain.from_iterable(found))


def test_every_fault_but_those_of_one_kind_of_connection_is_paired() -> None:
    """The torture takes those, too."""
    left = {name for name in FIRSTS if name.endswith(" only")}
    assert set(FIRSTS) - left == set(chain.from_iterable(GROUPS.values()))
