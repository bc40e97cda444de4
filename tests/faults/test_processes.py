"""Processes of producers that are killed, frozen, blocked, terminated and closed."""

from __future__ import annotations

from random import Random

import pytest

from .campaign import campaign
from .checker import assert_holds
from .faults import FAULTS
from .site import LEASE

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "name", [fault.name for fault in FAULTS.values() if fault.family == "process"]
)
async def test_the_guarantees_hold_through_the_fault_of_a_process(name: str) -> None:
    """G1 to G9 and G11: its streams are taken over under unbroken cursors, lost in time to those
    who read them, and the processes that come back find themselves fenced."""
    assert_holds(await campaign(FAULTS[name], Random(name)), LEASE)
