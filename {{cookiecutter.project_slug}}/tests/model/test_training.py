import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.derived import Categories, Numbers
from {{ cookiecutter.package_name }}.errors import TrainingError
from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.params import Params, Profile
from {{ cookiecutter.package_name }}.training import train
from {{ cookiecutter.package_name }}.training.evaluate import answers
from {{ cookiecutter.package_name }}.training.pipeline import build
from {{ cookiecutter.package_name }}.training.rows import to_rows

STAGES = ("train", "evaluate", "export", "gate")


def test_training_again_gives_the_same_files_byte_for_byte(layout: Layout, package: str) -> None:
    fitted = [layout.model, layout.constant, layout.simpler, layout.decision]
    paths = [*fitted, layout.metrics, *sorted(layout.serving.iterdir())]
    before = {path: path.read_bytes() for path in paths}
    for path in fitted:
        path.unlink()
    lines = [f"from {package}.training import {', '.join(STAGES)}"]
    lines += [f"{stage}.run()" for stage in STAGES]
    how = {"PYTHONHASHSEED": "3", "OMP_NUM_THREADS": "2", "COVERAGE_PROCESS_START": ""}
    subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=layout.root,
        env={**os.environ, **how},
        check=True,
    )
    assert [path for path in paths if path.read_bytes() != before[path]] == []


def test_a_few_rows_are_learnt_by_heart(layout: Layout, contract: Contract, params: Params) -> None:
    frame = pd.read_parquet(layout.train)
    features, targets = to_rows(contract, frame.drop_duplicates(contract.features[0].name).head(8))
    if contract.labels:
        targets = np.arange(len(targets)) % len(contract.labels)
    tree = "DecisionTreeClassifier" if contract.labels else "DecisionTreeRegressor"
    model = build(contract, Profile(estimator=f"sklearn.tree.{tree}", parameters={}), params.seed)
    model.fit(features.table(), targets)
    np.testing.assert_array_equal(model.predict(features.table()), targets)


@pytest.mark.parametrize(
    ("estimator", "parameters", "message"),
    [
        ("sklearn.ensemble.Nothing", {}, "cannot be built: .*Nothing"),
        ("no_such_library.Model", {}, "cannot be built: No module named"),
        ("sklearn.linear_model.Ridge", {"colour": 1}, "cannot be built: .*colour"),
        ("sklearn.preprocessing.StandardScaler", {}, "does no "),
        ("sklearn.svm.LinearSVC", {}, "does no regression|gives no probabilities"),
    ],
)
def test_an_estimator_that_cannot_be_built_is_refused(
    estimator: str, parameters: dict[str, int], message: str, contract: Contract
) -> None:
    with pytest.raises(TrainingError, match=f"{re.escape(estimator)}.*{message}"):
        build(contract, Profile(estimator=estimator, parameters=parameters), 1)


def test_an_estimator_that_cannot_be_fitted_is_refused(layout: Layout) -> None:
    text = layout.params.read_text(encoding="utf-8")
    changed = text.replace("learning_rate: 0.05", "learning_rate: -1.0")
    layout.params.write_text(changed, encoding="utf-8")
    with pytest.raises(TrainingError, match="cannot be fitted: .*learning_rate"):
        train.run(layout)


def test_a_label_without_rows_is_refused(layout: Layout, contract: Contract) -> None:
    frame = pd.read_parquet(layout.train)
    name = contract.target.name
    if contract.labels:
        frame = frame[frame[name] != contract.labels[0]]
        frame.to_parquet(layout.train, index=False)
        with pytest.raises(
            TrainingError, match=re.escape(f"has no row with {name} {contract.labels[0]}")
        ):
            train.run(layout)
        frame[name] = "surprise"
    else:
        frame[name] = "surprise"
    with pytest.raises((TrainingError, ValueError), match="surprise"):
        to_rows(contract, frame)


@pytest.mark.parametrize(
    ("kind", "compute"),
    [
        (Numbers, lambda values: values - np.nanmean(values)),
        (Numbers, np.cumsum),
        (Numbers, lambda values: np.r_[np.nan, values[:-1]]),
        (Categories, lambda values: np.where(values > np.nanmedian(values), "high", "low")),
    ],
)
def test_a_derived_feature_that_depends_on_other_rows_is_refused(
    kind: Any,
    compute: Callable[..., Any],
    layout: Layout,
    contract: Contract,
    derive: Callable[..., None],
) -> None:
    frame = pd.read_parquet(layout.train)
    frame[contract.numbers[0].name] = np.arange(1.0, len(frame) + 1)
    derive("beside", kind, contract.numbers[:1], compute)
    with pytest.raises(TrainingError, match="beside differs when row .* comes alone"):
        to_rows(contract, frame)


def test_the_answer_is_the_same_for_one_row_and_many(
    layout: Layout, contract: Contract, params: Params
) -> None:
    features, targets = to_rows(contract, pd.read_parquet(layout.test))
    model = build(contract, params.model.chosen, params.seed).fit(features.table(), targets)
    together = answers(contract, model, features.table())
    np.testing.assert_allclose(answers(contract, model, features.table()[3:4])[0], together[3])
