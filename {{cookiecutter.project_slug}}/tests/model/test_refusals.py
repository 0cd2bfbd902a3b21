"""Bad data and bad models on their way through the pipeline, and where they stop."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.derived import Numbers
from {{ cookiecutter.package_name }}.errors import GateError, TrainingError
from {{ cookiecutter.package_name }}.files import read_json, write_json
from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.training import evaluate, export, gate, train
from {{ cookiecutter.package_name }}.training.pipeline import build_constant
from {{ cookiecutter.package_name }}.training.rows import to_rows
from {{ cookiecutter.package_name }}.training.skops_file import load, save

Targets = npt.NDArray[Any]


def judge_again(layout: Layout) -> None:
    evaluate.run(layout)
    gate.run(layout)


def test_the_model_passes_and_is_served(layout: Layout) -> None:
    (layout.serving / "left.over").touch()
    judge_again(layout)
    verdict = read_json(layout.gate_report)
    assert verdict["passed"]
    assert verdict["model_sha256"] == read_json(layout.serving / "model.json")["sha256"]
    served, candidate = (
        {path.name: path.read_bytes() for path in folder.iterdir()}
        for folder in (layout.serving, layout.candidate)
    )
    assert served == candidate


def test_a_refused_model_is_not_served(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(layout.validation_report, {"refusals": ["age is gone; correct the source"]})
    model = layout.candidate / "model.json"
    write_json(model, read_json(model) | {"version": "new"})
    before = (layout.serving / "model.json").read_bytes()
    with pytest.raises(GateError, match="(?s)REFUSED data.*age is gone; correct the source"):
        gate.run(layout)
    assert (layout.serving / "model.json").read_bytes() == before
    assert read_json(layout.gate_report)["passed"] is False
    gate.run(layout, markdown=True)
    assert (
        "| **refused** | data: refusals of the dataset | 1 | at most 0 |" in capsys.readouterr().out
    )


def test_a_verdict_that_is_not_there_is_asked_for(layout: Layout) -> None:
    layout.gate_report.unlink()
    with pytest.raises(GateError, match="gate.json is not there yet; run `make train`"):
        gate.run(layout, markdown=True)


def test_a_constant_model_is_refused(layout: Layout, contract: Contract) -> None:
    rows = to_rows(contract, pd.read_parquet(layout.train))
    model = load(layout.model)
    model.steps[-1] = (
        "estimator",
        build_constant(contract).fit(rows.features.table(), rows.targets),
    )
    save(layout.model, model)
    with pytest.raises(GateError, match="REFUSED loss saved against constant, lower end: 0 "):
        judge_again(layout)


def test_a_model_of_shuffled_labels_is_refused(layout: Layout, contract: Contract) -> None:
    frame = pd.read_parquet(layout.train)
    name = contract.target.name
    frame[name] = np.random.default_rng(0).permutation(frame[name].to_numpy(object))
    frame.to_parquet(layout.train, index=False)
    train.run(layout)
    with pytest.raises(GateError, match="REFUSED loss saved against constant"):
        judge_again(layout)


def test_a_leaking_column_is_refused_by_name(layout: Layout, contract: Contract) -> None:
    column = contract.numbers[0].name
    for path in (layout.train, layout.test):
        frame = pd.read_parquet(path)
        frame[column] = to_rows(contract, frame).targets.astype(float)
        frame.to_parquet(path, index=False)
    with pytest.raises(GateError, match=f"REFUSED leakage: {re.escape(column)} alone"):
        judge_again(layout)


def spoil(
    layout: Layout, contract: Contract, column: str, tell: Callable[[Targets], list[str] | Targets]
) -> None:
    """Let a column tell the target, of few steps where it is a value."""
    for path in (layout.train, layout.test):
        frame = pd.read_parquet(path)
        targets = to_rows(contract, frame).targets
        if not contract.labels:
            targets = (targets / targets.std()).round().clip(1, 3)
            frame[contract.target.name] = targets
        frame[column] = tell(targets)
        frame.to_parquet(path, index=False)


def test_a_leaking_category_is_refused_by_name(layout: Layout, contract: Contract) -> None:
    column = contract.categories[0].name
    spoil(layout, contract, column, lambda targets: [f"step {each:.0f}" for each in targets])
    with pytest.raises(GateError, match=f"REFUSED leakage: {re.escape(column)} alone"):
        judge_again(layout)


def test_a_leak_that_a_derived_feature_finds_is_refused_by_its_name(
    layout: Layout, contract: Contract, derive: Callable[..., None]
) -> None:
    column, random = contract.numbers[0], np.random.default_rng(0)
    derive("last_digit", Numbers, [column], lambda values: values % 10)

    def hide(targets: Targets) -> Targets:
        return 10.0 * random.integers(10_000, size=len(targets)) + targets

    spoil(layout, contract, column.name, hide)
    train.run(layout)
    with pytest.raises(GateError, match="REFUSED leakage: last_digit alone predicts the target"):
        judge_again(layout)


def test_an_artefact_of_another_model_is_refused(
    layout: Layout, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = export.to_onnx(contract, load(layout.simpler))
    monkeypatch.setattr(export, "to_onnx", lambda *_: wrong)
    before = (layout.serving / "model.json").read_bytes()
    export.run(layout)
    with pytest.raises(GateError, match="(?s)REFUSED export: share .* set artefact: skops"):
        gate.run(layout)
    assert (layout.serving / "model.json").read_bytes() == before


def test_a_label_that_is_not_held_out_is_refused(layout: Layout, contract: Contract) -> None:
    frame = pd.read_parquet(layout.test)
    name = contract.target.name
    for label in contract.labels:
        frame[frame[name] != label].to_parquet(layout.test, index=False)
        with pytest.raises(TrainingError, match=re.escape(f"has no row with {name} {label}")):
            evaluate.run(layout)


def test_the_model_file_is_read_as_written(layout: Layout, contract: Contract) -> None:
    table = to_rows(contract, pd.read_parquet(layout.test)).features.table()
    before = evaluate.answers(contract, load(layout.model), table)
    save(layout.model, load(layout.model))
    np.testing.assert_array_equal(evaluate.answers(contract, load(layout.model), table), before)
