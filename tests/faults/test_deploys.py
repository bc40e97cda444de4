"""An instance that is told to stop costs nobody an answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from .deploys import deploy, logged

pytestmark = pytest.mark.slow

_ANSWERS = 12


async def test_a_deploy_costs_nobody_an_answer(redis_url: str, tmp_path: Path) -> None:
    """One of two instances is told to stop while both write: each answer reaches its end, under
    unbroken cursors, and with the words that it would have had."""
    seen = await deploy(redis_url, tmp_path, answers=_ANSWERS, pace=0.05, rolling=False)

    assert _ANSWERS == len(seen)
    for one in seen:
        assert [*range(1, len(one.offsets) + 1)] == one.offsets
        assert one.expected == one.text
    assert all('"finished"' in (one.end or "") for one in seen)
    assert any(one.resumes for one in seen)
    assert "Traceback" not in logged(tmp_path)
