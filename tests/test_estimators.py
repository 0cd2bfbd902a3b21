"""Another library's estimator takes an edit of params.yaml, and nothing else."""

import json
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Project, outside, run_in
from machine import dvc_cache, free_port, started

LIBRARIES = {
    "lightgbm.LGBM": "{n_estimators: 100, learning_rate: 0.05, num_leaves: 15, verbosity: -1}",
    "xgboost.XGB": "{n_estimators: 100, learning_rate: 0.05, max_depth: 4}",
}
TASKS = {"classification": "Classifier", "regression": "Regressor"}


def choose(project: Project, estimator: str, parameters: str) -> None:
    """Make it the profile in use."""
    path = project.path / "params.yaml"
    text = path.read_text(encoding="utf-8")
    profile = f"    boosted:\n      estimator: {estimator}\n      parameters: {parameters}\n"
    for old, new in {
        "  profile: accurate\n": "  profile: boosted\n",
        "  profiles:\n": f"  profiles:\n{profile}",
    }.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def ask(project: Project, python: Path) -> dict[str, object]:
    """What the model folder answers to the contract's example in an environment."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = (python, "-m", project.package.name, "serve")
    env = {**outside(), "PORT": str(port), "MODEL_DIR": str(project.path / "models" / "serving")}
    env["PREDICTION_LOG"] = str(project.path / "logs" / "predictions.jsonl")
    with started(*command, ready=f"{url}/health/ready", env=env):
        with urllib.request.urlopen(f"{url}/openapi.json", timeout=10) as response:
            post = json.load(response)["paths"]["/v1/predictions"]["post"]
        example = post["requestBody"]["content"]["application/json"]["example"]
        request = urllib.request.Request(
            f"{url}/v1/predictions",
            data=json.dumps(example).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            answer: dict[str, object] = json.load(response)
    return answer


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "task"), [("lightgbm.LGBM", "regression"), ("xgboost.XGB", "classification")]
)
def test_params_alone_choose_another_librarys_estimator(
    library: str, task: str, fresh: Callable[..., Project], shared: Path, tmp_path: Path
) -> None:
    made = fresh(task=task)
    env = dvc_cache(shared)
    made.run("make", "repository", env=env)
    estimator = library + TASKS[task]
    choose(made, estimator, LIBRARIES[library])
    group = f"GROUPS={library.partition('.')[0]}"
    printed = made.run("make", "train", group, env=env).stdout
    assert f"train: {estimator} fitted on" in printed
    assert re.search(r"20000 rows compared, largest difference \S+, 0 labels differ", printed)
    changed = made.run("git", "status", "--porcelain").stdout.split("\n")
    made_for_git = ["?? data/reference.json", "?? docs/openapi.json", "?? dvc.lock"]
    assert changed == [" M params.yaml", *made_for_git, ""]

    image = {"UV_PROJECT_ENVIRONMENT": str(tmp_path / "image")}
    made.run("uv", "sync", "--locked", "--no-default-groups", "--no-editable", env=image)
    python = tmp_path / "image" / "bin" / "python"
    listed = run_in(tmp_path, "uv", "pip", "list", "--python", python).stdout
    assert "onnxruntime" in listed
    assert not re.search("lightgbm|xgboost|scikit-learn|skops|onnxmltools", listed)
    described = json.loads(made.read("models/serving/model.json"))
    assert described["estimator"] == estimator
    assert ask(made, python)["model_version"] == described["version"]
