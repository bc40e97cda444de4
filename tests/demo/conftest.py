"""Demos in processes of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from .running_demo import MODES, Demo, running


@pytest.fixture(scope="package", params=MODES)
async def demo(request: pytest.FixtureRequest) -> AsyncIterator[Demo]:
    """A demo with a Redis of its own, and one in memory; tests share them, and may crash their
    producers."""
    async with running(*MODES[request.param]) as demo:
        yield demo
