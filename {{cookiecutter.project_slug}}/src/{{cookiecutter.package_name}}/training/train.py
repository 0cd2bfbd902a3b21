"""Train: the model and what it has to beat, fitted on the same rows, and how it decides."""

from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ..contract import Contract, load_contract
from ..data.table import read_table
from ..decision import Decision, best_threshold
from ..errors import TrainingError
from ..files import write_json
from ..layout import Layout
from ..params import Params, load_params
from .folds import unseen_answers
from .pipeline import build, build_constant, build_simpler
from .rows import Rows, to_rows
from .skops_file import save
from .value import check_value, costs_of


def run(layout: Layout = Layout()) -> None:
    """Fit and write them.

    Raises:
        TrainingError: a label has no training row, or the estimator cannot be built or fitted.
        ParamsError: value does not fit the contract.
    """
    # The order of sums, and so their last digit, is not to depend on the number of processors.
    with threadpool_limits(limits=1, user_api="blas"):
        _train(layout)


def _train(layout: Layout) -> None:
    contract = load_contract(layout.contract)
    params = load_params(layout.params)
    check_value(contract, params.value)
    frame = read_table(layout.train)
    rows = to_rows(contract, frame)
    absent = [label for place, label in enumerate(contract.labels) if place not in rows.targets]
    if absent:
        raise TrainingError(
            f"{layout.train} has no row with {contract.target.name} {', '.join(absent)}; add"
            " rows, or take the label out of contract.yaml"
        )
    model = build(contract, params.model.chosen, params.seed)
    table = rows.features.table()
    try:
        model.fit(table, rows.targets)
        decision = _decision(contract, params, model, rows, frame)
    except Exception as fault:  # each library has exceptions of its own
        raise TrainingError(
            f"{params.model.chosen.estimator} with parameters {params.model.chosen.parameters}"
            f" cannot be fitted: {fault}; correct model.profiles in params.yaml"
        ) from fault
    if mapper := getattr(model[-1], "_bin_mapper", None):
        mapper.n_threads = 1  # what this machine had; dvc.lock is to hash the same file elsewhere
    constant = build_constant(contract).fit(np.zeros((len(rows.targets), 1)), rows.targets)
    save(layout.model, model)
    save(layout.constant, constant)
    save(layout.simpler, build_simpler(contract, params.seed).fit(table, rows.targets))
    write_json(layout.decision, decision.model_dump())
    print(f"train: {params.model.chosen.estimator} fitted on {len(rows.targets)} rows")


def _decision(contract: Contract, params: Params, model: Any, rows: Rows, frame: Any) -> Decision:
    """The threshold, or the costs where there are more than two labels; neither for values."""
    if not contract.labels:
        return Decision()
    costs = costs_of(contract, params.value)
    if len(contract.labels) > 2:
        return Decision(costs=costs.tolist())
    given, places = unseen_answers(model, rows, frame, contract, params)
    targets = rows.targets[places].astype(np.int64)
    return Decision(threshold=best_threshold(given[:, 1], targets, costs))
