"""The benchmark measures what it says, whatever the figures."""

import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT, Project, run_in
from machine import dvc_cache, tool, train

CELL = r"\| {}, {} \| \d+ \| [\d.]+, [\d.]+ \| \d+ \| [\d.]+, [\d.]+ \| [\d.]+ \| [\d.]+ \|"


@pytest.mark.slow
def test_every_answer_of_the_benchmark_is_logged(
    shared: Path, project: Project, tmp_path: Path
) -> None:
    tool("wrk")
    copy = tmp_path / "project"
    trained = train(shared, project).path
    shutil.copytree(trained, copy, symlinks=True, ignore=shutil.ignore_patterns(".venv"))
    command = (sys.executable, ROOT / "benchmarks" / "run.py", copy)
    env = {"BENCH_SECONDS": "0.3", **dvc_cache(shared)}
    run = run_in(ROOT, *command, env=env, check=False)
    # So short a run says nothing about speed.
    assert run.returncode == 0 or "1 row and 32 callers is below" in run.stderr, run.stderr
    for rows, callers in ((1, 1), (1, 32), (100, 1), (100, 32)):
        assert re.search(CELL.format(rows, callers), run.stdout), run.stdout
    counted = re.search(r"Prediction log: (\d+) lines for (\d+) rows", run.stdout)
    assert counted is not None
    assert counted[1] == counted[2] != "0"


@pytest.mark.parametrize(("file", "name"), [("run.py", "bench"), ("peers.py", "peers")])
def test_the_benchmark_says_that_wrk_is_missing(tmp_path: Path, file: str, name: str) -> None:
    command = (sys.executable, ROOT / "benchmarks" / file)
    run = run_in(ROOT, *command, env={"PATH": str(tmp_path)}, check=False)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == f"{name}: wrk is not installed; apt-get install wrk\n"


def test_the_peers_have_the_scikit_learn_of_a_project(project: Project) -> None:
    locked = tomllib.loads((project.path / "uv.lock").read_text(encoding="utf-8"))["package"]
    (version,) = {each["version"] for each in locked if each["name"] == "scikit-learn"}
    heads = [file.read_text(encoding="utf-8") for file in (ROOT / "benchmarks/peers").glob("*.py")]
    found = {pin for head in heads for pin in re.findall(r'"scikit-learn==(.*?)"', head)}
    assert found == {version}
