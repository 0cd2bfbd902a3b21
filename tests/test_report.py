"""The page on a dataset in a browser, and what DVC shows of two versions."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Project, commit_all, run_in
from machine import dvc_cache, tool, trained_again

SCRIPT = "<script>alert(1)</script>"


def browse(page: Path, folder: Path) -> tuple[str, list[str]]:
    """The page as a browser has it in the end, and what its console says."""
    done = run_in(
        folder,
        tool("chromium"),
        *("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
        f"--user-data-dir={folder / 'browser'}",
        "--virtual-time-budget=10000",
        "--dump-dom",
        page.as_uri(),
        timeout=120,  # an alert would wait for somebody
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.slow
def test_a_refused_dataset_has_a_page_and_two_versions_are_compared(
    fresh: Callable[..., Project], project: Project, shared: Path, tmp_path: Path
) -> None:
    env = dvc_cache(shared)
    made = trained_again(fresh, shared, project)
    table = made.path / "data" / "sample" / "credit.csv"
    params = made.path / "params.yaml"
    head, *rows = table.read_text(encoding="utf-8").splitlines()

    table.write_text("\n".join([head, *rows[:4000]]) + "\n", encoding="utf-8")
    text = params.read_text(encoding="utf-8")
    params.write_text(text.replace("learning_rate: 0.05", "learning_rate: 0.07"), encoding="utf-8")
    made.run("make", "train", env=env)
    commit_all(made.path, "Fewer rows")
    dvc = ("uv", "run", "--locked", "dvc")
    plots = json.loads(made.run(*dvc, "plots", "diff", "HEAD~1", "--json", env=env).stdout)
    assert len(plots["data"]) == 3
    assert all(each[0]["revisions"] == ["workspace", "HEAD~1"] for each in plots["data"].values())
    made.run(*dvc, "plots", "show", env=env)
    assert "learning_rate" in made.run(*dvc, "params", "diff", "HEAD~1", env=env).stdout
    assert "training_rows" in made.run(*dvc, "metrics", "diff", "HEAD~1", env=env).stdout

    place = head.split(",").index("job")
    spoiled = [row.split(",") for row in rows]
    for row in spoiled[:300]:
        row[place] = SCRIPT
    lines = [head, *(",".join(row) for row in spoiled)]
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert made.run("make", "train", env=env, check=False).returncode
    made.run("make", "report", env=env)
    assert not (Path.home() / "skrub_data").exists()
    status = made.run("git", "status", "--porcelain").stdout.split()
    assert set(status[1::2]) <= {"data/sample/credit.csv", "dvc.lock"}

    page = made.path / "reports" / "data.html"
    shown, console = browse(page, tmp_path)
    assert console == []
    assert "This dataset is refused." in shown
    assert "unknown_category" in shown
    text = page.read_text(encoding="utf-8").replace("<h1>", '<img src="http://127.0.0.1:9/"><h1>')
    (tmp_path / "asks.html").write_text(text, encoding="utf-8")
    (asked,) = browse(tmp_path / "asks.html", tmp_path)[1]
    assert "Content Security Policy" in asked
