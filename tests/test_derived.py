"""A new feature takes what CONTRIBUTING says, and no more."""

import json
import re
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Project, commit_all
from machine import dvc_cache, installed, train

ASK = """
import json
from pathlib import Path
from fastapi.testclient import TestClient
from onnxruntime import InferenceSession
from {package}.serving.app import create_app
from {package}.serving.prediction_log import PredictionLog
from {package}.serving.predictor import load_predictor
from {package}.serving.settings import Settings

predictor = load_predictor(Path("models/serving"))
client = TestClient(create_app(predictor, PredictionLog("-"), Settings()))
answer = client.post("/v1/predictions", json=predictor.contract.example)
inputs = InferenceSession("models/serving/model.onnx").get_inputs()
shapes = dict((each.name, each.shape[1]) for each in inputs)
print(json.dumps([answer.status_code, answer.json(), shapes, client.get("/openapi.json").json()]))
"""


def code_blocks(project: Project) -> list[str]:
    """The Python of CONTRIBUTING, in its order."""
    text = project.read("CONTRIBUTING.md")
    found = re.findall(r"^ *```python\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) for block in found]


def ask(project: Project, env: dict[str, str]) -> list[Any]:
    """Status, answer, the model's inputs, and the API's description."""
    script = ASK.format(package=project.package.name)
    printed = project.run("uv", "run", "--locked", "python", "-c", script, env=env).stdout
    return json.loads(printed.splitlines()[-1])


def add_feature(project: Project) -> str:
    """Do what CONTRIBUTING shows, and give the feature's name."""
    function, test = code_blocks(project)
    (name,) = re.findall(r"^def (\w+)", function, re.MULTILINE)
    module = project.package / "derived.py"
    before, empty, after = module.read_text(encoding="utf-8").partition("DERIVED = ()\n")
    assert (empty, after) == ("DERIVED = ()\n", "")
    module.write_text(f"{before}\n{function}", encoding="utf-8")
    (project.path / f"tests/unit/test_{name}.py").write_text(test, encoding="utf-8")
    return name


@pytest.mark.slow
def test_a_feature_is_added_as_contributing_shows(
    fresh: Callable[..., Project], project: Project, shared: Path
) -> None:
    env = dvc_cache(shared)
    trained = train(shared, project)
    made = installed(fresh(), shared, project)
    shutil.copy(trained.path / "dvc.lock", made.path)
    commit_all(made.path, "Trained")
    name = add_feature(made)
    printed = made.run("make", "train", env=env).stdout
    assert "Running stage 'ingest'" not in printed
    _, _, before, api = ask(trained, env)
    status, answer, after, api_after = ask(made, env)
    assert status == 200
    assert answer["model_version"].startswith(made.path.name)
    assert after == {**before, "numbers": before["numbers"] + 1}
    assert api_after == api
    changed = made.run("uv", "run", "--locked", "dvc", "metrics", "diff", env=env).stdout
    assert re.search(rf"single_feature\.{name} +- +0\.", changed)
    assert re.search(r"metrics\.roc_auc +0\.\d+ +0\.\d+ +-?0\.\d+", changed)
    files = (f"src/{made.package.name}/derived.py", f"tests/unit/test_{name}.py")
    for check in (("ruff", "check"), ("ruff", "format", "--check"), ("mypy",)):
        made.run("uv", "run", "--locked", *check, *files)
    made.run("uv", "run", "--locked", "pytest", "--noconftest", files[1])


@pytest.mark.slow
def test_the_example_fits_the_other_task(
    fresh: Callable[..., Project], project: Project, shared: Path
) -> None:
    made = fresh(task="regression")
    name = add_feature(made)
    # The lock is the same, so that the other project's environment is, too.
    python = train(shared, project).path / ".venv" / "bin" / "python"
    tests = (f"tests/unit/test_{name}.py", "tests/unit/test_features.py")
    env = {"PYTHONPATH": str(made.package.parent)}
    made.run(python, "-m", "pytest", "-p", "no:cacheprovider", *tests, env=env)
