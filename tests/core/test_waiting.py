"""The bounds of waits in tests, which follow what the machine can do."""

from __future__ import annotations

import asyncio

import pytest

from streamhub.testing import waiting
from streamhub.testing.waiting import bounded, patience, slowness, within


async def test_a_wait_is_given_up_after_its_bound() -> None:
    """With a TimeoutError; what it waited for is cancelled."""
    never = asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError):
        await within(never, 0.01)

    assert never.cancelled()


async def test_a_wait_goes_on_where_the_machine_has_become_slow_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reference step is measured again before a wait is given up."""
    machine = waiting._Machine()
    monkeypatch.setattr(waiting, "_machine", machine)
    before = slowness()
    becomes_slow = asyncio.Event()

    def measure() -> float:
        becomes_slow.set()
        machine._slowness = 1000 * before
        return machine._slowness

    monkeypatch.setattr(machine, "measure", measure)

    async with bounded(0.01):
        await becomes_slow.wait()
        await asyncio.sleep(0)

    assert 1000 * before * 0.01 == patience(0.01)
