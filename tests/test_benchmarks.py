"""The benchmark measures what it says, whatever the figures."""

import re
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Project, run_in
from machine import tool, train

CELL = r"\| {}, {} \| \d+ \| [\d.]+, [\d.]+ \| \d+ \| [\d.]+, [\d.]+ \| [\d.]+ \|"


@pytest.mark.slow
def test_every_answer_of_the_benchmark_is_logged(shared: Path, project: Project) -> None:
    tool("wrk")
    trained = train(shared, project)
    command = (sys.executable, ROOT / "benchmarks" / "run.py", trained.path)
    run = run_in(ROOT, *command, env={"BENCH_SECONDS": "0.3"}, check=False)
    # So short a run says nothing about speed.
    assert run.returncode == 0 or "1 row and 32 callers is below" in run.stderr, run.stderr
    for rows, callers in ((1, 1), (1, 32), (100, 1), (100, 32)):
        assert re.search(CELL.format(rows, callers), run.stdout), run.stdout
    counted = re.search(r"Prediction log: (\d+) lines for (\d+) rows", run.stdout)
    assert counted is not None
    assert counted[1] == counted[2] != "0"


def test_the_benchmark_says_that_wrk_is_missing(tmp_path: Path) -> None:
    command = (sys.executable, ROOT / "benchmarks" / "run.py")
    run = run_in(ROOT, *command, env={"PATH": str(tmp_path)}, check=False)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == "bench: wrk is not installed; apt-get install wrk\n"
