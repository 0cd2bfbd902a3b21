"""Value: what answers cost in the unit of the domain, as params.yaml says."""

import numpy as np
import numpy.typing as npt

from ..contract import Contract
from ..errors import ParamsError
from ..params import Value


def costs_of(contract: Contract, value: Value) -> npt.NDArray[np.float64]:
    """The cost of each answer, shape (true labels, answers).

    Raises:
        ParamsError: the costs are those of another task or other labels, or all 0.
    """
    labels = contract.labels
    named = set(value.costs or {})
    costs = np.zeros((len(labels), len(labels)))
    for place, true in enumerate(labels):
        given = (value.costs or {}).get(true, 0.0)
        if isinstance(given, dict):
            named |= set(given)
            costs[place] = [given.get(answer, 0.0) for answer in labels]
        else:
            costs[place] = [0.0 if answer == true else given for answer in labels]
    if unknown := sorted(named - set(labels)):
        raise ParamsError(
            f"params.yaml: value.costs names {', '.join(unknown)}, but the labels of contract.yaml"
            f" are {', '.join(labels)}; correct it"
        )
    if not (costs > costs.diagonal()[:, None]).any():
        raise ParamsError(
            "params.yaml: value.costs lets no wrong answer cost more than the right one; say what"
            " each mistake costs, such as {bad: 400, good: 100}, by the true label"
        )
    return costs


def check_value(contract: Contract, value: Value) -> None:
    """Refuse a value of the other task before anything is fitted.

    Raises:
        ParamsError: the key for the contract's task is missing, or the other one is there.
    """
    right, wrong = "costs", "cost_per_unit"
    if contract.task == "regression":
        right, wrong = wrong, right
    if getattr(value, right) is None or getattr(value, wrong) is not None:
        raise ParamsError(
            f"params.yaml: value needs {right}, and no {wrong}, for task {contract.task} of"
            " contract.yaml"
        )
    if contract.labels:
        costs_of(contract, value)
