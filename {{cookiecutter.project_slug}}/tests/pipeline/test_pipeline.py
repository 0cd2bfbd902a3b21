"""From raw data to an HTTP answer, and the same files in dvc.yaml as in the code."""

from pathlib import Path
from typing import Any

import grimp
import yaml
from fastapi.testclient import TestClient

from {{ cookiecutter.package_name }}.cli import COMMANDS
from {{ cookiecutter.package_name }}.files import read_json
from {{ cookiecutter.package_name }}.layout import Below, Layout

BY_HAND = {
    *("baseline.yaml", "contract.yaml", "params.yaml", "tests/smoke/cases.yaml"),
    *(
        "data/external",
        "data/feedback/rows.parquet",
        "data/feedback/rows.parquet.dvc",
        "docs/model-card",
        "docs/model-card.md",
        "dvc.lock",
        "pyproject.toml",
        "reports/data.html",
        "reports/feedback.json",
        "uv.lock",
    ),
}
"""What people write, or commands that are no stages."""
HELPERS = {"errors", "files", "layout", "params", "remote", "table", "versions", "yaml_file"}
"""Modules that change how a stage reads and writes, not what."""
FEEDBACK = "data/feedback"
"""What `feedback` writes stands under DVC by itself, and its folder is a dependency."""


def stages(root: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(
        (root / "dvc.yaml").read_text(encoding="utf-8")
    )["stages"]
    return found


def outputs(stage: dict[str, Any]) -> list[str]:
    listed = [*stage.get("outs", []), *stage.get("metrics", [])]
    return [next(iter(each)) if isinstance(each, dict) else each for each in listed]


def test_raw_data_becomes_an_answer(client: TestClient, row: dict[str, Any]) -> None:
    answer = client.post("/v1/predictions", json=row).json()
    version = client.get("/v1/model").json()["version"]
    assert answer["model_version"] == version


def test_the_model_is_better_than_the_baseline(pipeline: Layout) -> None:
    metrics = read_json(pipeline.metrics)
    for name in {"roc_auc", "r2"} & set(metrics["metrics"]):
        for other in ("constant", "rules"):
            assert metrics["metrics"][name] > metrics["others"][other][name]
    assert read_json(pipeline.gate_report)["passed"]


def test_each_stage_is_a_command_in_the_order_of_the_data(root: Path, package: str) -> None:
    assert list(stages(root)) == [name for name in COMMANDS if name in stages(root)]
    for name, stage in stages(root).items():
        assert stage["cmd"] == f"python -m {package} {name}"


def test_the_stages_write_where_the_code_does(root: Path, pipeline: Layout) -> None:
    listed = {path for stage in stages(root).values() for path in outputs(stage)}
    names = [name for name, value in vars(Layout).items() if isinstance(value, Below)]
    known = {str(getattr(Layout(), name)) for name in names}
    assert listed == known - BY_HAND
    assert [path for path in listed if not (pipeline.root / path).exists()] == []


def test_each_stage_reads_only_what_an_earlier_one_wrote(root: Path) -> None:
    written = {FEEDBACK}
    for stage in stages(root).values():
        made = [path for path in stage["deps"] if path.startswith(("data/", "models/", "reports/"))]
        assert [path for path in made if path not in written] == []
        written |= set(outputs(stage))


def test_each_plot_is_of_a_field_that_a_stage_writes(root: Path, pipeline: Layout) -> None:
    written = {path for stage in stages(root).values() for path in outputs(stage)}
    plots = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    assert plots
    for plot in plots:
        (axes,) = plot.values()
        for path, field in [*axes["x"].items(), *axes["y"].items()]:
            assert path in written
            assert all(field in point for point in read_json(pipeline.root / path))


def test_each_stage_depends_on_the_code_that_it_runs(root: Path, package: str) -> None:
    graph = grimp.build_graph(package, cache_dir=None)
    for name, stage in stages(root).items():
        listed = [root / path.replace("${package}", f"src/{package}") for path in stage["deps"]]
        first = package + COMMANDS[name][0]
        for module in {first, *graph.find_upstream_modules(first)}:
            path = root / "src" / (module.replace(".", "/") + ".py")
            if path.exists() and path.stem not in HELPERS:
                assert any(path.is_relative_to(each) for each in listed), f"{name}: {path}"


def test_each_dependency_is_there(root: Path, package: str) -> None:
    for stage in stages(root).values():
        for path in stage["deps"]:
            name = path.replace("${package}", f"src/{package}")
            made = name.startswith(("data/", "models/", "reports/", "${")) and name != FEEDBACK
            assert made or (root / name).exists(), name


def test_joined_rows_are_a_dependency_of_the_stage_that_takes_them(root: Path) -> None:
    assert FEEDBACK in stages(root)["ingest"]["deps"]
    assert Layout().feedback.parent == Path(FEEDBACK)
