"""A server that dies, freezes, refuses, forgets, or loses what it holds."""

from __future__ import annotations

from random import Random

import pytest

from .campaign import campaign
from .checker import assert_holds
from .faults import FAULTS
from .site import LEASE

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "name", [fault.name for fault in FAULTS.values() if fault.family == "server"]
)
async def test_the_guarantees_hold_through_a_fault_of_the_server(name: str) -> None:
    """G1 to G9 and G11, on the record of all producers, readers and takeovers."""
    assert_holds(await campaign(FAULTS[name], Random(name)), LEASE)
