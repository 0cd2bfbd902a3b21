"""The question `tuning`: what no leaves behind, what yes brings, and what DVC does without it."""

import json
import re
import shlex
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from conftest import Project, outside
from machine import dvc_cache, stop, trained_again

COMMANDS = ("tune", "ablation", "staleness")
TRIALS = 6


def test_no_leaves_no_trace(project: Project) -> None:
    for file in project.files():
        assert not re.search("tuning|ablation|staleness", str(file)), file
    for page in ("README.md", "CONTRIBUTING.md"):
        assert not re.search("make (tune|ablation|staleness)", project.read(page)), page
    printed = project.run("make").stdout
    listed = project.run(sys.executable, "-m", "credit_risk", "--help", env=source(project)).stdout
    assert "make serve " in printed
    assert "serve " in listed
    for command in COMMANDS:
        assert f"make {command} " not in printed
        assert f"{command} " not in listed
        assert "No rule to make target" in project.run("make", command, check=False).stderr
        start = (sys.executable, "-m", "credit_risk", command)
        refused = project.run(*start, check=False, env=source(project))
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"{command}: tuning is not in this project; answer yes")
        assert refused.stderr.count("\n") == 1
    assert "--group tuning" not in project.run("make", "--dry-run", "test").stdout


def source(project: Project) -> dict[str, str]:
    return {"PYTHONPATH": str(project.path / "src"), "PYTHONDONTWRITEBYTECODE": "1"}


def test_yes_brings_targets_and_their_dependencies(render: Callable[..., Project]) -> None:
    made = render(tuning="yes")
    printed = made.run("make").stdout
    for command in COMMANDS:
        assert f"make {command} " in printed
        assert f"make {command}" in made.read("CONTRIBUTING.md")
    for target in (*COMMANDS, "test", "check"):
        assert "--group tuning" in made.run("make", "--dry-run", target).stdout


def trials(project: Project) -> list[tuple[int, str, str]]:
    """What the study's file says of each whole trial: its number, a name, and the value as JSON."""
    path = project.path / "reports" / "tuning.db"
    query = """
        SELECT number, key, value_json FROM trials JOIN trial_user_attributes USING (trial_id)
        WHERE state = 'COMPLETE' ORDER BY number, key
    """
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()
    except sqlite3.OperationalError:  # its tables are not there yet
        return []


def kill_midway(project: Project, env: dict[str, str]) -> None:
    """Start a study, and end it by SIGKILL between its second trial and its last."""
    command = ("make", "tune", f"TRIALS={TRIALS}")
    process = subprocess.Popen(
        command,
        cwd=project.path,
        env={**outside(), **env},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    end = time.monotonic() + 60
    while len(trials(project)) < 4 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    stop(process)
    assert 4 <= len(trials(project)) < 2 * TRIALS  # two attributes each


@pytest.mark.slow
def test_a_killed_study_goes_on_with_the_same_trials(
    fresh: Callable[..., Project], shared: Path
) -> None:
    env = dvc_cache(shared)
    made = fresh(tuning="yes")
    table = made.path / "data" / "sample" / "credit.csv"
    table.write_text("".join(table.read_text("utf-8").splitlines(True)[:1200]), encoding="utf-8")
    params = made.path / "params.yaml"
    text = made.read("params.yaml").replace("learning_rate: 0.05", "learning_rate: 0.001")
    params.write_text(text, encoding="utf-8")  # so slow that any other is better
    made.run("make", "repository", env=env)
    made.run("uv", "run", "--locked", "--group", "tuning", "dvc", "repro", "split", env=env)

    kill_midway(made, env)
    there = len(trials(made)) // 2
    assert made.read("params.yaml") == text
    resumed = made.run("make", "tune", f"TRIALS={TRIALS}", env=env).stdout
    assert f": {there} trials are there, and it goes on\n" in resumed
    assert "git diff params.yaml; make train" in resumed
    found, after = trials(made), made.read("params.yaml")
    assert len(found) == 2 * TRIALS
    changed = made.run("git", "diff", "--unified=0", "params.yaml").stdout
    lines = [line[1:] for line in changed.splitlines() if re.match("[-+] ", line)]
    space = "learning_rate|max_iter|max_leaf_nodes|min_samples_leaf|l2_regularization"
    assert lines
    for line in lines:
        assert re.fullmatch(rf" {{8}}({space}): [\d.e+-]+", line), line
    status = made.run("git", "status", "--porcelain").stdout.split("\n")
    assert set(status) == {" M params.yaml", "?? data/reference.json", "?? dvc.lock", ""}

    (made.path / "reports" / "tuning.db").unlink()
    made.run("git", "checkout", "params.yaml")
    made.run("make", "tune", f"TRIALS={TRIALS}", env=env)
    assert trials(made) == found
    assert made.read("params.yaml") == after

    printed = made.run("make", "ablation", env=env).stdout
    report = json.loads(made.read("reports/ablation.json"))
    for each in report["features"]:
        assert f"| {each['feature']} | {each['change']:+.3g} |" in printed
    assert made.read("reports/ablation.svg").endswith("</svg>\n")
    refused = made.run("make", "staleness", env=env, check=False)
    assert refused.returncode
    assert "staleness: contract.yaml gives no column role time" in refused.stderr


@pytest.mark.slow
def test_without_it_dvc_compares_runs_as_the_readme_says(
    fresh: Callable[..., Project], project: Project, shared: Path
) -> None:
    env = dvc_cache(shared)
    made = trained_again(fresh, shared, project)
    for name in ("name", "email"):
        made.run("git", "config", f"user.{name}", "somebody@localhost")
    text = made.read("README.md").replace("\n", " ")
    run, show, apply = map(shlex.split, re.findall(r"`(uv run dvc exp [^`]+)`", text))
    assert run[5:] == ["-S", "model.profiles.accurate.parameters.max_leaf_nodes=31"]
    (name,) = re.findall(r"Ran experiment\(s\): (\S+)", made.run(*run, env=env).stdout)
    rows = made.run(*show, "--csv", env=env).stdout
    head, *lines = [line.split(",") for line in rows.splitlines()]
    place = head.index("model.profiles.accurate.parameters.max_leaf_nodes")
    loss = next(index for index, each in enumerate(head) if each.endswith("metrics.log_loss"))
    by_name = {line[head.index("Experiment")]: line for line in lines}
    assert by_name[name][place] == "31"
    assert {line[place] for line in lines} == {"15", "31"}
    assert len({line[loss] for line in lines}) == 2
    made.run("git", "checkout", "params.yaml")
    made.run(*apply[:-1], name, env=env)
    assert "max_leaf_nodes: 31" in made.read("params.yaml")
