from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.derived import Numbers
from {{ cookiecutter.package_name }}.errors import GateError, TrainingError
from {{ cookiecutter.package_name }}.files import read_json, write_json
from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.params import Params
from {{ cookiecutter.package_name }}.training import evaluate, export, gate, train
from {{ cookiecutter.package_name }}.training.gate import judge
from {{ cookiecutter.package_name }}.training.pipeline import build_baseline
from {{ cookiecutter.package_name }}.training.rows import to_rows
from {{ cookiecutter.package_name }}.training.skops_file import load, save


def judge_again(layout: Layout) -> None:
    evaluate.run(layout)
    gate.run(layout)


def test_the_model_passes(layout: Layout) -> None:
    judge_again(layout)
    assert read_json(layout.gate_report)["passed"]


def test_a_constant_model_is_refused(layout: Layout, contract: Contract) -> None:
    rows = to_rows(contract, pd.read_parquet(layout.train))
    save(layout.model, build_baseline(contract).fit(rows.features.table(), rows.targets))
    with pytest.raises(GateError, match="REFUSED loss saved against the baseline: 0 "):
        judge_again(layout)


def test_a_model_of_shuffled_labels_is_refused(layout: Layout, contract: Contract) -> None:
    frame = pd.read_parquet(layout.train)
    name = contract.target.name
    frame[name] = np.random.default_rng(0).permutation(frame[name].to_numpy(object))
    frame.to_parquet(layout.train, index=False)
    train.run(layout)
    with pytest.raises(GateError, match="REFUSED loss saved against the baseline"):
        judge_again(layout)


def test_a_leaking_column_is_refused_by_name(layout: Layout, contract: Contract) -> None:
    column = contract.numbers[0].name
    for path in (layout.train, layout.test):
        frame = pd.read_parquet(path)
        frame[column] = to_rows(contract, frame).targets.astype(float)
        frame.to_parquet(path, index=False)
    train.run(layout)
    with pytest.raises(GateError, match=f"REFUSED leakage: {column} alone predicts the target"):
        judge_again(layout)


def test_a_leaking_category_is_refused_by_name(layout: Layout, contract: Contract) -> None:
    column = contract.categories[0].name
    for path in (layout.train, layout.test):
        frame = pd.read_parquet(path)
        targets = to_rows(contract, frame).targets
        if not contract.labels:
            targets = (targets / targets.std()).round().clip(1, 3)
            frame[contract.target.name] = targets
        frame[column] = [f"step {target:.0f}" for target in targets]
        frame.to_parquet(path, index=False)
    train.run(layout)
    with pytest.raises(GateError, match=f"REFUSED leakage: {column} alone predicts the target"):
        judge_again(layout)


def test_a_leak_that_a_derived_feature_finds_is_refused_by_its_name(
    layout: Layout, contract: Contract, derive: Callable[..., None]
) -> None:
    column, random = contract.numbers[0], np.random.default_rng(0)
    derive("last_digit", Numbers, [column], lambda values: values % 10)
    for path in (layout.train, layout.test):
        frame = pd.read_parquet(path)
        targets = to_rows(contract, frame).targets
        if not contract.labels:
            targets = (targets / targets.std()).round().clip(1, 3)
            frame[contract.target.name] = targets
        frame[column.name] = 10.0 * random.integers(10_000, size=len(targets)) + targets
        frame.to_parquet(path, index=False)
    train.run(layout)
    with pytest.raises(GateError, match="REFUSED leakage: last_digit alone predicts the target"):
        judge_again(layout)


@pytest.mark.parametrize(("mean", "passed"), [(0.02, True), (0.01, False), (-0.02, False)])
def test_the_gain_must_exceed_one_standard_error(mean: float, passed: bool, params: Params) -> None:
    metrics = {"gain": {"mean": mean, "standard_error": 0.01}, "single_feature": {"a": 0.5}}
    assert judge(metrics, params.gate)[0]["passed"] is passed


@pytest.mark.parametrize(("score", "passed"), [(0.97, True), (0.98, False), (1.0, False)])
def test_the_strongest_feature_is_judged(score: float, passed: bool, params: Params) -> None:
    metrics = {
        "gain": {"mean": 1.0, "standard_error": 0.1},
        "single_feature": {"a": 0.5, "b": score, "c": 0.1},
    }
    check = judge(metrics, params.gate)[1]
    assert check["passed"] is passed
    assert "b alone" in check["name"]


def test_a_refused_model_is_not_exported(layout: Layout) -> None:
    write_json(layout.gate_report, {"passed": False, "checks": []})
    before = (layout.serving / "model.json").read_bytes()
    with pytest.raises(GateError, match="the model was refused"):
        export.run(layout)
    assert (layout.serving / "model.json").read_bytes() == before


def test_a_label_that_is_not_held_out_is_refused(layout: Layout, contract: Contract) -> None:
    frame = pd.read_parquet(layout.test)
    name = contract.target.name
    for label in contract.labels:
        frame[frame[name] != label].to_parquet(layout.test, index=False)
        with pytest.raises(TrainingError, match=f"has no row with {name} {label}"):
            evaluate.run(layout)


def test_the_model_file_is_read_as_written(layout: Layout, contract: Contract) -> None:
    table = to_rows(contract, pd.read_parquet(layout.test)).features.table()
    before = evaluate.answers(contract, load(layout.model), table)
    save(layout.model, load(layout.model))
    np.testing.assert_array_equal(evaluate.answers(contract, load(layout.model), table), before)
