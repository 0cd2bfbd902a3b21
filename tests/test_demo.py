"""`make demo`, and what the README of the project that it makes tells a newcomer to type."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Project, outside, run_in
from machine import free_port, started

pytestmark = pytest.mark.slow


def demo(folder: Path) -> str:
    return run_in(ROOT, sys.executable, "demo.py", env={"DIR": str(folder)}).stdout


@pytest.fixture(scope="module")
def demonstrated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """The project that the demo makes, and what it printed."""
    folder = tmp_path_factory.mktemp("demo") / "credit-risk"
    printed = demo(folder)
    return Project(folder, {}), printed


def test_demo_ends_in_a_prediction(demonstrated: tuple[Project, str]) -> None:
    project, printed = demonstrated
    assert printed.count("Running stage") == 9
    assert re.search(
        r"label +(good|bad)\n +probability +0\.\d+\n +model_version +credit-risk@", printed
    )
    assert f"cd {project.path} && make help" in printed
    version = re.search(r"model_version +(\S+)", printed)
    assert version
    assert version[1] in project.read("logs/predictions.jsonl")


def test_second_demo_retrains_nothing(demonstrated: tuple[Project, str]) -> None:
    project, _ = demonstrated
    printed = demo(project.path)
    assert re.findall(r"Running stage '(\w+)'", printed) == ["champion"]
    assert "didn't change, skipping" in printed
    assert "probability" in printed


def test_demo_makes_nothing_inside_the_template() -> None:
    refused = run_in(
        ROOT, sys.executable, "demo.py", env={"DIR": str(ROOT / "inside")}, check=False
    )
    assert refused.returncode == 1
    assert "is inside the template" in refused.stderr
    assert not (ROOT / "inside").exists()


def test_the_request_in_the_readme_is_answered(demonstrated: tuple[Project, str]) -> None:
    project, _ = demonstrated
    block = re.search(r"Ask the service:\n\n```sh\n(.*?)```", project.read("README.md"), re.DOTALL)
    assert block
    assert "localhost:8000" in block[1]
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    port = free_port()
    command = ("make", "--directory", project.path, "serve", f"PORT={port}")
    with started(*command, ready=f"http://127.0.0.1:{port}/health/ready", env=outside()):
        asked = project.run("sh", "-c", block[1].replace("localhost:8000", f"127.0.0.1:{port}"))
    assert '"probability"' in asked.stdout


def test_push_and_pull_work_at_once(demonstrated: tuple[Project, str]) -> None:
    project, _ = demonstrated
    artefact = project.path / "models" / "serving" / "model.onnx"
    before = artefact.read_bytes()
    project.run("make", "push")
    shutil.rmtree(project.path / ".dvc" / "cache")
    shutil.rmtree(project.path / "models")
    project.run("make", "pull")
    assert artefact.read_bytes() == before
