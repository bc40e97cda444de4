"""The bench: that it runs, and reports what it measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.rows import ROWS

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_every_row_of_the_bench_can_be_measured(tmp_path: Path) -> None:
    """Every case delivers what it counts, and every row that is not about its largest sizes gets
    a value, in the JSON, the table and the picture."""
    bench = [sys.executable, "-m", "bench", "--tiny", "--rounds", "1", "--out", str(tmp_path)]
    growth = {row.what for row in ROWS if row.what.startswith("growth")}

    finished = subprocess.run(
        bench, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )

    assert 0 == finished.returncode, finished.stderr
    report = json.loads((tmp_path / "speed.json").read_text())
    reported = {row["what"] for row in report["rows"]}
    assert {row.what for row in ROWS} - growth == reported - growth
    assert (tmp_path / "speed.md").read_text() in finished.stdout
    assert (tmp_path / "speed.svg").read_text().startswith("<svg")
