"""Two things at once: each fault with what happens before its repair is through."""

from __future__ import annotations

import asyncio
from itertools import chain
from random import Random

import pytest

from .faults import FAULTS
from .pairs import FIRSTS, LOSSES, Pair, broken

pytestmark = pytest.mark.slow

#: So many in one test, at the same time: they wait more than they compute.
_AT_ONCE = 2


def _of(family: str) -> list[str]:
    # Faults of one kind of connection are left to the torture.
    return [
        name
        for name, fault in FAULTS.items()
        if fault.family == family and not name.endswith(" only")
    ]


def _groups() -> dict[str, list[tuple[int, str]]]:
    """By the names of their faults, with the place of each in its family."""
    families = (*map(_of, ("network", "server", "process")), [*LOSSES, *LOSSES])
    groups: dict[str, list[tuple[int, str]]] = {}
    for family in families:
        numbered = list(enumerate(family))
        for n in range(0, len(numbered), _AT_ONCE):
            group = numbered[n : n + _AT_ONCE]
            groups[", ".join(name for _, name in group)] = group
    return groups


GROUPS = _groups()


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
async def test_the_guarantees_hold_when_a_second_thing_happens_before_the_repair(
    group: list[tuple[int, str]],
) -> None:
    """Claims, ends, cancels, removals and readers of every kind within a lease of the fault, with
    producers that live and that are dead: nothing is glued, nobody hangs, and all else that the
    record of it proves."""
    pairs = [Pair(name, bool(n % 2), Random(f"{n} {name}").getrandbits(32)) for n, name in group]

    found = await asyncio.gather(*map(broken, pairs))
    assert [] == list(chain.from_iterable(found))


def test_every_fault_but_those_of_one_kind_of_connection_is_paired() -> None:
    """The torture takes those, too."""
    left = {name for name in FIRSTS if name.endswith(" only")}
    assert set(FIRSTS) - left == {name for group in GROUPS.values() for _, name in group}
