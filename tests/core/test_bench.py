"""The bench: that it runs, and reports what it measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import durable, peers, resumable
from bench.rows import ROWS
from bench.simulate import Assumptions, Costs, capacity, simulate
from bench.web import PEER_INSTALLED
from streamhub.testing.waiting import patience

ROOT = Path(__file__).resolve().parents[2]
COSTS = Costs(
    redis_call=10e-6,
    redis_chunk=1e-6,
    producer_call=20e-6,
    producer_chunk=1e-6,
    subscriber_event=15e-6,
    http_event=60e-6,
    bytes_in=200.0,
    bytes_out=90.0,
    stored=22.0,
)


@pytest.mark.slow
@pytest.mark.long
def test_every_row_of_the_bench_can_be_measured(tmp_path: Path) -> None:
    """Every case delivers what it counts, and every row that is not about its largest sizes gets
    a value, in the JSON, the table and the picture. One that is compared only with a package that
    is not installed is left out."""
    bench = [sys.executable, "-m", "bench", "--tiny", "--out", str(tmp_path)]
    growth = {row.what for row in ROWS if row.what.startswith("growth")}
    missing = {
        name
        for name, installed in (
            ("sse-starlette", PEER_INSTALLED),
            ("assistant-stream", peers.INSTALLED),
            ("fastapi-resumable-stream", resumable.INSTALLED),
            ("dbos on Postgres", durable.INSTALLED),
        )
        if not installed
    }
    compared = {row.what for row in ROWS if {name for name, _, _ in row.baselines} - missing}

    finished = subprocess.run(
        bench, cwd=ROOT, capture_output=True, text=True, timeout=patience(110), check=False
    )

    assert 0 == finished.returncode, finished.stderr
    report = json.loads((tmp_path / "speed.json").read_text())
    reported = {row["what"] for row in report["rows"]}
    assert compared - growth == reported - growth
    assert (tmp_path / "speed.md").read_text() in finished.stdout
    assert (tmp_path / "speed.svg").read_text().startswith("<svg")


def test_a_simulated_chunk_waits_half_of_the_linger_at_the_median() -> None:
    """Where nothing else is to be waited for; all of it at the most."""
    load = simulate(COSTS, 10, 30.0, 0.1, processes=1)

    assert 0.05 == pytest.approx(load.p50, rel=0.05)
    assert 0.1 == pytest.approx(load.p99, rel=0.05)


def test_a_simulated_redis_is_as_busy_as_its_calls_cost() -> None:
    """1,000 sessions of 3 chunks a second, each in an append of its own: 3,000 times 11 us."""
    load = simulate(COSTS, 1000, 3.0, 0.0, processes=1)

    assert 1.0 == pytest.approx(load.chunks_per_call, rel=0.05)
    assert 3000 * 11e-6 == pytest.approx(load.redis_busy, rel=0.05)


def test_a_simulated_shard_is_filled_up_to_what_is_assumed() -> None:
    """Its capacity keeps processor and delay within their limits, and more would not."""
    assumed = Assumptions(busy=0.5, delay=0.2)

    load = capacity(COSTS, assumed, 0.05)

    assert 0.5 == pytest.approx(load.redis_busy, abs=0.03)
    assert load.p99 <= 0.2
    assert load.sessions > capacity(COSTS, assumed, 0.0).sessions
