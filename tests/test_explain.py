"""Reasons are those of the shap library, which no project has in its lock."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Project
from machine import dvc_cache, train

SHAP = "shap==0.51.0"
ASK = """
import json
from pathlib import Path
from time import perf_counter
import numpy as np
import pandas as pd
import shap
from {package}.features import Encoder
from {package}.layout import Layout
from {package}.serving.explain import Explainer
from {package}.serving.predictor import load_predictor
from {package}.training.rows import to_background
from {package}.training.skops_file import load

predictor = load_predictor(Path("models/serving"))
encoder, features = Encoder(predictor.contract), predictor.contract.features
rows = to_background(predictor.contract, pd.read_parquet(Layout().test), 1)[:6]
explainer, ours, seconds = Explainer(predictor, encoder), [], []
for row in rows * 3:
    start = perf_counter()
    ours += explainer.explain([row])
    seconds.append(perf_counter() - start)

# shap sees numbers, where a text is its place among all; and scikit-learn's model, not ONNX.
model, everything = load(Layout().model), [*rows, *predictor.background]
texts = sorted({{row[column.name] or "" for row in everything for column in features
                if not column.is_number}})

def coded(rows):
    return np.array([
        [row[column.name] if column.is_number else texts.index(row[column.name] or "")
         for column in features]
        for row in rows
    ], float)

def decided(table):
    return model.decision_function(encoder.columns({{
        column.name: values if column.is_number else np.array(texts, object)[values.astype(int)]
        for column, values in zip(features, table.T)
    }}).table())

masker = shap.maskers.Independent(coded(predictor.background), len(predictor.background))
theirs = shap.explainers.Exact(decided, masker)(coded(rows))
reasons = [{{reason.feature: reason for reason in each.reasons}} for each in ours[:len(rows)]]
print(json.dumps({{
    "milliseconds": min(seconds) * 1000,
    "model rows": explainer.model_rows,
    "bases": [ours[0].base_value, float(theirs.base_values[0])],
    "ours": [[each[f.name].contribution for f in features] for each in reasons],
    "errors": [[each[f.name].standard_error for f in features] for each in reasons],
    "theirs": theirs.values.tolist(),
}}))
"""


def flat(rows: list[list[float]]) -> list[float]:
    return [value for row in rows for value in row]


@pytest.mark.slow
def test_reasons_are_those_of_shap_within_their_standard_error(
    project: Project,
    shared: Path,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    made = train(shared, project)
    script = tmp_path / "ask.py"
    script.write_text(ASK.format(package=project.package.name), encoding="utf-8")
    env = {**dvc_cache(shared), "PYTHONDONTWRITEBYTECODE": "1"}
    printed = made.run("uv", "run", "--locked", "--with", SHAP, "python", script, env=env).stdout
    found = json.loads(printed.splitlines()[-1])
    theirs = flat(found["theirs"])
    off = [abs(a - b) for a, b in zip(flat(found["ours"]), theirs, strict=True)]
    root_mean_square = (sum(each**2 for each in off) / len(off)) ** 0.5
    figures = {
        "milliseconds a row": found["milliseconds"],
        "model rows a row": found["model rows"],
        "error, root mean square": root_mean_square,
        "error, largest": max(off),
        "contribution, largest": max(map(abs, theirs)),
    }
    for name, figure in figures.items():
        record_property(name, figure)
        print(f"{name}: {figure:.4g}")
    assert found["bases"][0] == pytest.approx(found["bases"][1], abs=1e-4)
    assert len(off) == 66
    for distance, error in zip(off, flat(found["errors"]), strict=True):
        assert distance < 4 * error + 1e-4
    assert root_mean_square < 0.01 * max(map(abs, theirs))
    assert figures["milliseconds a row"] < 50
