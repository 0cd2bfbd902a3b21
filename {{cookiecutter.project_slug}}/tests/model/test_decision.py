import numpy as np
import pytest

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.decision import Decision, best_threshold
from {{ cookiecutter.package_name }}.errors import ParamsError
from {{ cookiecutter.package_name }}.params import Params, Value
from {{ cookiecutter.package_name }}.training.value import check_value, costs_of


@pytest.mark.parametrize("seed", range(20))
def test_no_other_threshold_costs_less(seed: int) -> None:
    random = np.random.default_rng(seed)
    probabilities = random.integers(0, 12, 60) / 11
    targets = (random.random(60) < probabilities).astype(np.int64)
    costs = random.integers(0, 9, (2, 2)).astype(float)

    def cost(threshold: float) -> float:
        return float(costs[targets, (probabilities >= threshold).astype(int)].sum())

    found = best_threshold(probabilities, targets, costs)
    assert cost(found) == min(cost(each) for each in np.linspace(-0.01, 1.01, 500))


def test_the_threshold_and_the_costs_decide() -> None:
    probabilities = np.array([[0.7, 0.3], [0.701, 0.299], [0.0, 1.0]])
    assert Decision(threshold=0.3).places(probabilities).tolist() == [1, 0, 1]
    # The second label is worth its risk from 1 / (1 + 3) on.
    costs = [[0.0, 1.0], [3.0, 0.0]]
    sure = np.array([[0.74, 0.26], [0.76, 0.24]])
    assert Decision(costs=costs).places(sure).tolist() == [1, 0]
    three = np.array([[0.4, 0.35, 0.25]])
    assert Decision(costs=(1 - np.eye(3)).tolist()).places(three).tolist() == [0]
    assert Decision(costs=[[0, 0, 1], [1, 0, 1], [9, 9, 0]]).places(three).tolist() == [2]


def test_costs_stand_by_the_true_label(contract: Contract, params: Params) -> None:
    if not contract.labels:
        return
    first, second = contract.labels[:2]
    both = Value(unit="EUR", costs={first: 4.0, second: {first: 1.0}}, hurdle=0.0)
    found = costs_of(contract, both)
    assert (found[0, 1], found[1, 0]) == (4.0, 1.0)
    assert found.diagonal().sum() == 0
    check_value(contract, params.value)


def test_costs_that_fit_no_label_or_say_nothing_are_refused(contract: Contract) -> None:
    if not contract.labels:
        with pytest.raises(ParamsError, match="value needs cost_per_unit, and no costs"):
            check_value(contract, Value(unit="EUR", costs={"a": 1.0}, hurdle=0.0))
        return
    first, second = contract.labels[:2]
    cases: list[tuple[dict[str, float | dict[str, float]], str]] = [
        ({"nobody": 1.0}, "names nobody, but the labels of contract.yaml are"),
        ({first: {"nobody": 1.0}}, "names nobody"),
        ({first: 0.0}, "no wrong answer cost more"),
        ({first: {first: 2.0, second: 1.0}}, "no wrong answer cost more"),
    ]
    for costs, message in cases:
        with pytest.raises(ParamsError, match=message):
            check_value(contract, Value(unit="EUR", costs=costs, hurdle=0.0))
    with pytest.raises(ParamsError, match="value needs costs, and no cost_per_unit"):
        check_value(contract, Value(unit="EUR", cost_per_unit=1.0, hurdle=0.0))
