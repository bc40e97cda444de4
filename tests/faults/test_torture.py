"""The torture itself: the same seed means the same schedule, and what breaks is told."""

from __future__ import annotations

from random import Random

import pytest

from . import torture
from .faults import FAULTS, Fault
from .pairs import FIRSTS, draw
from .site import Site
from .torture import main, schedule


def test_a_seed_draws_the_same_schedule_again() -> None:
    """Whatever the time: a longer one begins with the shorter one; another seed, another one."""
    short, long = schedule(7, 1.0), schedule(7, 60.0)
    assert short == long[: len(short)]
    assert short != schedule(8, 1.0)
    assert 60.0 <= sum(step.calm for step in long) + 0.1 * len(long)


def test_every_fault_comes_before_any_comes_again() -> None:
    """So that a run of some minutes has seen them all."""
    assert sorted(FAULTS) == sorted(step.fault for step in schedule(7, 60.0)[: len(FAULTS)])


def test_a_seed_draws_the_same_pairs_again() -> None:
    """Every fault once and twice in a row before any comes again."""
    ones, others = draw(7), draw(7)
    first = [next(ones) for _ in range(2 * len(FIRSTS))]
    assert first == [next(others) for _ in first]
    assert sorted((name, again) for name in FIRSTS for again in (False, True)) == sorted(
        (one.first, one.again) for one in first
    )


def test_a_fault_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With the names of those that there are, which ``--pairs`` has more of."""
    for arguments in (["--table", "1", "--fault", "failover"], ["--pairs", "--fault", "?"]):
        with pytest.raises(SystemExit):
            main(arguments)
        assert "flushall" in capsys.readouterr().err


@pytest.mark.slow
def test_torture_for_some_seconds_breaks_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """It says the seed first, and what it cost at the end."""
    code = main(["--seconds", "8", "--seed", "7"])
    printed = capsys.readouterr().out
    assert 0 == code, printed
    assert printed.startswith("seed 7; ")
    assert f"   0  {schedule(7, 8)[0]}\n" in printed
    assert "| 0 | 0 | 0 | 0 |" in printed
    assert printed.endswith(" faults, and every guarantee held.\n")


async def _sabotage(site: Site, random: Random) -> None:
    await site.client.set("streamhub:stray", "stays for ever")


@pytest.mark.slow
def test_torture_that_breaks_something_says_seed_schedule_and_guarantee(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here a fault leaves a key without a TTL. The exit code is 1."""
    fault = Fault("sabotage", "server", _sabotage, wipes=False, lapses=False, persistent=False)
    monkeypatch.setattr(torture, "FAULTS", {fault.name: fault})
    assert 1 == main(["--seconds", "0.5", "--seed", "7"])
    printed = capsys.readouterr().out
    _, told = printed.split("Broken with seed 7")
    assert f"   0  {schedule(7, 0.5)[0]}\n" in told
    assert "G11 is broken in the store" in told
    assert "streamhub:stray" in told


@pytest.mark.slow
def test_saving_for_some_seconds_misses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Producers, savers and Redis are killed, and each stream has its row."""
    code = main(["--saving", "--seconds", "6", "--seed", "3", "--sessions", "24"])
    printed = capsys.readouterr().out
    assert 0 == code, printed
    assert "missing 0, doubled 0; " in printed
