"""The figures, beside scikit-learn's and beside what theory says of their intervals."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from sklearn import metrics as reference

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.decision import Decision
from {{ cookiecutter.package_name }}.errors import TrainingError
from {{ cookiecutter.package_name }}.params import Params
from {{ cookiecutter.package_name }}.training.measure import (
    Outcome,
    Parts,
    calibration,
    gain,
    gap,
    losses,
    measure,
    roc_auc,
)
from {{ cookiecutter.package_name }}.training.parts import group_values, slice_values
from {{ cookiecutter.package_name }}.training.value import costs_of

ROWS = 2_000


@pytest.fixture
def outcome(contract: Contract, params: Params) -> Outcome:
    """Targets, and answers that know something of them."""
    random = np.random.default_rng(0)
    if not contract.labels:
        values = random.normal(10, 3, ROWS)
        near = values + random.normal(0.5, 1, ROWS)
        return Outcome(values, near, np.full(ROWS, 10.0), Decision())
    targets = random.integers(len(contract.labels), size=ROWS)
    answers = random.random((ROWS, len(contract.labels))) + np.eye(len(contract.labels))[targets]
    answers /= answers.sum(axis=1, keepdims=True)
    constant = np.full_like(answers, 1 / len(contract.labels))
    decision = Decision(costs=costs_of(contract, params.value).tolist())
    return Outcome(targets, answers, constant, decision)


def test_losses_are_least_for_the_true_answer(contract: Contract) -> None:
    if contract.labels:
        targets = np.array([0, 1])
        given = np.full((2, len(contract.labels)), 0.25)
        given[0, 0], given[1, 1] = 1.0, 0.5
        np.testing.assert_allclose(losses(contract, targets, given), [0.0, np.log(2)])
    else:
        given = np.array([1.0, 4.0])
        np.testing.assert_allclose(losses(contract, np.array([1.0, 2.0]), given), [0.0, 4.0])


def test_the_figures_are_those_of_scikit_learn(
    contract: Contract, params: Params, outcome: Outcome
) -> None:
    found = measure(contract, params, outcome)["metrics"]
    targets, answers, constant, decision = outcome
    if contract.labels:
        places = decision.places(answers)
        costs = costs_of(contract, params.value)
        expected = {
            "log_loss": reference.log_loss(targets, answers),
            "accuracy": reference.accuracy_score(targets, places),
            "skill": reference.d2_log_loss_score(targets, answers),
            "cost": costs[targets, places].mean(),
        }
        # Half of the rows have each label, so the constant's share is the best one.
        assert found["skill"] == pytest.approx(expected.pop("skill"), abs=2e-3)
        recalls = reference.recall_score(targets, places, average=None)
        for label, recall in zip(contract.labels, recalls, strict=True):
            expected[f"recall_{label}"] = recall
        if len(contract.labels) == 2:
            expected["roc_auc"] = reference.roc_auc_score(targets, answers[:, 1])
            expected["brier"] = 2 * reference.brier_score_loss(targets, answers[:, 1])
    else:
        expected = {
            "rmse": reference.root_mean_squared_error(targets, answers),
            "mae": reference.mean_absolute_error(targets, answers),
            "r2": reference.r2_score(targets, answers),
            "bias": (answers - targets).mean(),
            "skill": 1 - ((answers - targets) ** 2).sum() / ((constant - targets) ** 2).sum(),
            "cost": (params.value.cost_per_unit or 0) * np.abs(answers - targets).mean(),
        }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_the_saving_is_against_the_best_constant_answer(
    contract: Contract, params: Params, outcome: Outcome
) -> None:
    found = measure(contract, params, outcome)["metrics"]
    if contract.labels:
        costs = costs_of(contract, params.value)
        always = min(costs[outcome.targets, place].mean() for place in range(len(contract.labels)))
    else:
        unit = params.value.cost_per_unit or 0
        always = unit * np.abs(outcome.targets - outcome.constant).mean()
    assert found["saving"] == pytest.approx(always - found["cost"], rel=0.05)
    same = measure(contract, params, outcome._replace(answers=outcome.constant))["metrics"]
    assert same["saving"] == pytest.approx(0)
    assert same["skill"] == pytest.approx(0)


def test_the_interval_is_that_of_the_mean(params: Params) -> None:
    differences = np.random.default_rng(0).normal(2.0, 3.0, 900)
    wide = params.model_copy(
        update={"evaluate": params.evaluate.model_copy(update={"confidence": 0.95})}
    )
    found = gain(differences, wide)
    assert found["mean"] == pytest.approx(differences.mean())
    assert found["low"] == pytest.approx(found["mean"] - 1.96 * 3 / 30, abs=0.03)
    assert found["high"] == pytest.approx(found["mean"] + 1.96 * 3 / 30, abs=0.03)


def test_the_error_of_the_area_is_how_far_it_varies() -> None:
    random = np.random.default_rng(0)
    areas, errors = [], []
    for _ in range(200):
        targets = random.integers(2, size=300)
        given = targets + random.normal(0, 1.5, 300)
        area, error = roc_auc(targets, np.column_stack([-given, given]))
        assert area == pytest.approx(reference.roc_auc_score(targets, given))
        areas.append(area)
        errors.append(error)
    assert np.mean(errors) == pytest.approx(np.std(areas), rel=0.1)


def test_several_labels_have_the_mean_of_their_areas() -> None:
    random = np.random.default_rng(0)
    targets = random.integers(3, size=300)
    given = random.random((300, 3)) + np.eye(3)[targets]
    given /= given.sum(axis=1, keepdims=True)
    expected = reference.roc_auc_score(targets, given, multi_class="ovr")
    assert roc_auc(targets, given)[0] == pytest.approx(expected)


def test_every_part_has_figures_of_its_own(
    contract: Contract, params: Params, outcome: Outcome
) -> None:
    where = np.array(["few"] * 10 + ["many"] * (ROWS - 10), object)
    report = measure(contract, params, outcome, Parts({"home": where}, {"sex": where}))
    for found in (report["slices"]["home"], report["groups"]["sex"]):
        assert (found["few"]["rows"], found["many"]["rows"]) == (10, ROWS - 10)
        assert (found["few"]["small"], found["many"]["small"]) == (True, False)
        part = outcome._replace(
            targets=outcome.targets[10:],
            answers=outcome.answers[10:],
            constant=outcome.constant[10:],
        )
        alone = measure(contract, params, part)
        assert found["many"]["metrics"] == pytest.approx(alone["metrics"])
    for name, (low, high) in report["intervals"].items():
        assert low <= report["metrics"][name] <= high
    assert report["gaps"]["sex"]["between"] == []


def test_calibration_is_the_distance_from_what_happens() -> None:
    random = np.random.default_rng(0)
    chances = random.random(5_000)
    targets = (random.random(5_000) < chances).astype(int)
    good = np.column_stack([1 - chances, chances])
    assert calibration(targets, good)["error"] < 0.03
    assert len(calibration(targets, good)["points"]) == 10
    sure = np.column_stack([np.full(5_000, 0.1), np.full(5_000, 0.9)])
    assert calibration(targets, sure)["error"] == pytest.approx(0.9 - targets.mean())
    # Too sure of both labels alike: what is too high and what is too low do not cancel out.
    extreme = np.where(chances > 0.5, 0.5 + chances / 2, chances / 2)
    both = calibration(targets, np.column_stack([1 - extreme, extreme]))
    assert both["error"] == pytest.approx(0.125, abs=0.02)
    values = random.normal(0, 2, 5_000)
    assert calibration(values, values)["error"] == 0
    assert calibration(values, values + 1)["error"] == pytest.approx(0.5, abs=0.05)


def group(small: bool, value: float, reach: float, rmse: float = 1.0) -> dict[str, Any]:
    names = ["recall_no", "recall_yes", "bias"]
    metrics = {**dict.fromkeys(names, value), "rmse": rmse}
    ends = [value - reach, value + reach]
    return {"small": small, "metrics": metrics, "intervals": dict.fromkeys(names, ends)}


def with_labels(contract: Contract, labels: list[str]) -> Contract:
    """The contract with other labels, or none."""
    target = {"name": "y", "role": "target", "type": "number", "constraints": {"required": True}}
    if labels:
        target |= {"type": "string", "constraints": {"required": True, "enum": labels}}
    other = {"name": "x", "role": "feature", "type": "string", "example": "a"}
    content = {
        **contract.model_dump(include={"name", "title", "description"}),
        "task": "classification" if labels else "regression",
        "source": {"path": "x.csv"},
        "fields": [target, other],
    }
    return Contract.model_validate(content)


def test_the_gap_is_between_the_groups_that_are_not_small(contract: Contract) -> None:
    labelled = with_labels(contract, ["no", "yes"])
    groups = {
        "a": group(False, 0.9, 0.03),
        "b": group(False, 0.4, 0.04),
        "c": group(True, 0.0, 0.01),
    }
    found = gap(labelled, groups)
    assert found["gap"] == pytest.approx(0.5)
    assert found["sure"] == pytest.approx(0.45)
    assert found["between"] == ["a", "b"]
    unsure = {"a": group(False, 0.9, 0.3), "b": group(False, 0.8, 0.4)}
    assert gap(labelled, unsure)["sure"] == 0
    assert gap(labelled, unsure)["gap"] == pytest.approx(0.1)
    without = with_labels(contract, [])
    values = {"a": group(False, 3.0, 0.3, rmse=2.0), "b": group(False, 1.0, 0.4, rmse=1.0)}
    assert gap(without, values)["sure"] == pytest.approx(0.75)


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame({"age": [18.0, 30.0, np.nan, 60.0], "sex": ["f", None, "m", "f"]})


def grouped(contract: Contract, params: Params, frame: pd.DataFrame, **bins: list[float]) -> Any:
    age = {"name": "age", "role": "group", "type": "integer"}
    limits = {"constraints": {"minimum": 18, "maximum": 100}}
    sex = {"name": "sex", "role": "group", "type": "string", "constraints": {"enum": ["f", "m"]}}
    base = with_labels(contract, [])
    content = base.model_dump(by_alias=True, exclude_none=True, exclude_unset=True)
    content["fields"] += [age | limits, sex]
    changed = params.model_copy(
        update={"evaluate": params.evaluate.model_copy(update={"bins": bins})}
    )
    return group_values(Contract.model_validate(content), changed, frame, frame, "rows.parquet")


def test_a_number_is_cut_into_groups(
    contract: Contract, params: Params, frame: pd.DataFrame
) -> None:
    found = grouped(contract, params, frame, age=[20.0, 60.0])
    assert found["age"].tolist() == ["below 20", "20 to 60", "missing", "from 60"]
    assert found["sex"].tolist() == ["f", "missing", "m", "f"]
    quartiles: npt.NDArray[Any] = grouped(contract, params, frame)["age"]
    assert quartiles.tolist() == ["below 24", "30 to 45", "missing", "from 45"]


@pytest.mark.parametrize(("column", "value"), [("sex", "x"), ("age", 12.0)])
def test_a_group_that_nobody_declared_is_refused(
    column: str, value: Any, contract: Contract, params: Params, frame: pd.DataFrame
) -> None:
    frame.loc[0, column] = value
    with pytest.raises(TrainingError, match=f"rows.parquet: {column} holds .*{value}.* declare"):
        grouped(contract, params, frame)


def test_bins_of_no_group_are_refused(
    contract: Contract, params: Params, frame: pd.DataFrame
) -> None:
    with pytest.raises(TrainingError, match="evaluate.bins names height, no number .* are age"):
        grouped(contract, params, frame, height=[1.0])


def test_slices_are_the_features_of_listed_values(contract: Contract) -> None:
    columns = [
        each for each in contract.features if each.constraints.enum or each.type == "boolean"
    ]
    frame = pd.DataFrame(
        {
            each.name: [None, *(each.constraints.enum or ["1.0"])][:2]
            if each in columns
            else [each.example] * 2
            for each in contract.features
        }
    )
    found = slice_values(contract, frame)
    assert list(found) == [each.name for each in columns]
    for values in found.values():
        assert values[0] == "missing"
