"""Each gate, shown a figure that it must refuse; nothing is trained here."""

from collections.abc import Callable
from typing import Any

import pytest

from {{ cookiecutter.package_name }}.errors import GateError
from {{ cookiecutter.package_name }}.params import Gate, Params
from {{ cookiecutter.package_name }}.training.gate import as_markdown
from {{ cookiecutter.package_name }}.training.judge import (
    Check,
    judge_artefact,
    judge_data,
    judge_model,
)

Metrics = dict[str, Any]
HURDLE = 5.0


@pytest.fixture
def limits(params: Params) -> Gate:
    """The gate with limits of this test's own, so that a team may change its params.yaml."""
    return params.gate.model_copy(
        update={
            "min_gain_over_constant": 0.01,
            "min_gain_over_rules": 0.01,
            "min_gain_over_simpler": 0.01,
            "min_gain_over_champion": 0.0,
            "floors": {"skill": 0.1},
            "max_group_gap": 0.2,
            "max_calibration_error": 0.1,
            "max_single_feature_score": 0.9,
            "max_differing_answers": 0.001,
            "max_latency_ms": 20.0,
            "max_size_mb": 10.0,
            "denied_features": ["age"],
            "advisory": [],
        }
    )


@pytest.fixture
def metrics() -> Metrics:
    """Figures that keep every limit, each barely."""
    slices = {
        "good": {"small": False, "metrics": {"skill": 0.0}, "intervals": {"skill": [-0.2, 0.11]}},
        "small": {"small": True, "metrics": {"skill": -9.0}, "intervals": {"skill": [-9.0, -8.0]}},
    }
    return {
        "metrics": {"skill": 0.11, "saving": 5.0, "rmse": 1.0},
        "gains": {
            "constant": {"mean": 0.5, "low": 0.011, "high": 0.9},
            "rules": {"mean": 0.5, "low": 0.011, "high": 0.9},
            "simpler": {"mean": 0.5, "low": 0.011, "high": 0.9},
            "champion": {"mean": -0.5, "low": -0.9, "high": 0.001},
        },
        "champion": {"version": "model@v1.0.0", "reason": None},
        "slices": {"home": slices},
        "gaps": {"sex": {"gap": 0.5, "sure": 0.19, "metric": "recall_a", "between": ["f", "m"]}},
        "calibration": {"error": 0.09, "points": []},
        "single_feature": {"income": 0.89, "job": 0.2},
    }


@pytest.fixture
def artefact() -> Metrics:
    return {
        "estimator": "Trees",
        "linear": False,
        "differing": 0.0009,
        "flipped": 0,
        "latency_ms": 19.0,
        "size_mb": 9.0,
    }


def refused(checks: Any) -> list[str]:
    return [check.gate for check in checks if not check.passed]


def test_figures_that_keep_every_limit_pass(
    metrics: Metrics, artefact: Metrics, limits: Gate
) -> None:
    checks = [
        *judge_model(metrics, limits, HURDLE, "EUR"),
        *judge_artefact(artefact, limits),
        *judge_data({"refusals": []}, {"income": "income"}, limits),
    ]
    assert refused(checks) == []
    judged = {check.gate for check in checks}
    assert judged == {*set(Gate.model_fields) - {"advisory"}, "hurdle", "data"}


@pytest.mark.parametrize(
    ("worsen", "gate"),
    [
        (lambda m: m["gains"]["constant"].update(low=0.01), "min_gain_over_constant"),
        (lambda m: m["gains"]["rules"].update(low=0.01), "min_gain_over_rules"),
        (lambda m: m["gains"]["simpler"].update(low=0.01), "min_gain_over_simpler"),
        (lambda m: m["gains"]["champion"].update(high=-0.001), "min_gain_over_champion"),
        (lambda m: m["champion"].update(reason="not here"), "min_gain_over_champion"),
        (lambda m: m["metrics"].update(saving=4.9), "hurdle"),
        (lambda m: m["metrics"].update(skill=0.09), "floors"),
        (lambda m: m["slices"]["home"]["good"]["intervals"].update(skill=[0, 0.09]), "floors"),
        (lambda m: m["slices"]["home"]["small"].update(small=False), "floors"),
        (lambda m: m["gaps"]["sex"].update(sure=0.21), "max_group_gap"),
        (lambda m: m["calibration"].update(error=0.11), "max_calibration_error"),
        (lambda m: m["single_feature"].update(job=0.91), "max_single_feature_score"),
    ],
)
def test_a_figure_beyond_its_limit_is_refused(
    worsen: Callable[[Metrics], None], gate: str, metrics: Metrics, limits: Gate
) -> None:
    worsen(metrics)
    assert refused(judge_model(metrics, limits, HURDLE, "EUR")) == [gate]


@pytest.mark.parametrize(
    ("worse", "gate"),
    [
        ({"differing": 0.0011}, "max_differing_answers"),
        ({"linear": True, "differing": 0.0001}, "max_differing_answers"),
        ({"flipped": 1}, "max_differing_answers"),
        ({"latency_ms": 21.0}, "max_latency_ms"),
        ({"size_mb": 11.0}, "max_size_mb"),
    ],
)
def test_an_artefact_beyond_its_limit_is_refused(
    worse: Metrics, gate: str, artefact: Metrics, limits: Gate
) -> None:
    assert refused(judge_artefact(artefact | worse, limits)) == [gate]


def test_values_have_no_labels_that_could_differ(artefact: Metrics, limits: Gate) -> None:
    names = [check.name for check in judge_artefact(artefact | {"flipped": None}, limits)]
    assert len(names) == 3
    assert "export: labels that differ" not in names


@pytest.mark.parametrize(
    ("refusals", "inputs", "gate"),
    [
        (["too few rows"], {"income": "income"}, "data"),
        ([], {"Age": "Age"}, "denied_features"),
        ([], {"age": "age_by_income", "income": "age_by_income"}, "denied_features"),
    ],
)
def test_a_refused_dataset_and_a_denied_feature_are_refused(
    refusals: list[str], inputs: dict[str, str], gate: str, limits: Gate
) -> None:
    checks = list(judge_data({"refusals": refusals}, inputs, limits))
    assert refused(checks) == [gate]


def test_a_gate_that_is_off_judges_nothing(
    metrics: Metrics, artefact: Metrics, limits: Gate
) -> None:
    off = {name: None for name, limit in limits if isinstance(limit, float)}
    without = limits.model_copy(update=off)
    metrics["champion"]["reason"] = "not here"
    checks = [
        *judge_model(metrics, without, HURDLE, "EUR"),
        *judge_artefact(artefact, without),
    ]
    assert {check.gate for check in checks} == {"hurdle", "floors"}


def test_advice_is_given_and_refuses_nothing(metrics: Metrics, limits: Gate) -> None:
    metrics["gains"]["simpler"]["low"] = -1.0
    advising = limits.model_copy(update={"advisory": ["min_gain_over_simpler"]})
    (check,) = [each for each in judge_model(metrics, advising, HURDLE, "EUR") if not each.passed]
    assert (check.advisory, check.verdict) == (True, "ADVICE")
    assert "model.profile: interpretable" in check.remedy


@pytest.mark.parametrize("name", ["rmse", "beauty"])
def test_a_floor_of_no_metric_is_refused(name: str, metrics: Metrics, limits: Gate) -> None:
    wrong = limits.model_copy(update={"floors": {name: 0.1}})
    with pytest.raises(GateError, match=f"gate.floors names {name}, .* those are skill, saving"):
        list(judge_model(metrics, wrong, HURDLE, "EUR"))


@pytest.mark.parametrize(
    ("rule", "figure", "passed"),
    [
        ("above", 1.0, False),
        ("above", 1.1, True),
        ("at least", 1.0, True),
        ("at least", 0.9, False),
        ("at most", 1.0, True),
        ("at most", 1.1, False),
        ("above", float("nan"), False),
        ("at least", float("nan"), False),
        ("at most", float("nan"), False),
    ],
)
def test_a_figure_keeps_its_limit(rule: Any, figure: float, passed: bool) -> None:
    assert Check("gate", "name", figure, rule, 1.0, "do better").passed is passed


def test_the_table_for_a_pull_request_holds_every_check() -> None:
    check = {"name": "a | b", "figure": 0.5, "rule": "at most", "limit": 0.25}
    report = {
        "version": "model@abc",
        "passed": False,
        "off": ["max_size_mb"],
        "checks": [
            check | {"passed": False, "advisory": False},
            check | {"passed": True, "advisory": False},
            check | {"passed": False, "advisory": True},
        ],
    }
    assert as_markdown(report).splitlines() == [
        "### Gate: model@abc is refused",
        "",
        "| verdict | what | figure | limit |",
        "| --- | --- | ---: | --- |",
        "| **refused** | a / b | 0.5 | at most 0.25 |",
        "| passed | a / b | 0.5 | at most 0.25 |",
        "| advice | a / b | 0.5 | at most 0.25 |",
        "| off | max_size_mb | | |",
    ]
