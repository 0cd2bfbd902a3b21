"""Train: the model and the baseline, fitted on the same rows."""

import numpy as np

from ..contract import load_contract
from ..data.table import read_table
from ..errors import TrainingError
from ..layout import Layout
from ..params import load_params
from .pipeline import build, build_baseline
from .rows import to_rows
from .skops_file import save


def run(layout: Layout = Layout()) -> None:
    """Fit and write both.

    Raises:
        TrainingError: a label has no training row, or the estimator cannot be built or fitted.
    """
    contract = load_contract(layout.contract)
    params = load_params(layout.params)
    features, targets = to_rows(contract, read_table(layout.train))
    absent = [label for place, label in enumerate(contract.labels) if place not in set(targets)]
    if absent:
        raise TrainingError(
            f"{layout.train} has no row with {contract.target.name} {', '.join(absent)}; add"
            " rows, or take the label out of contract.yaml"
        )
    model = build(contract, params.model, params.seed)
    table = features.table()
    try:
        model.fit(table, targets)
    except (ValueError, TypeError) as fault:
        raise TrainingError(
            f"{params.model.estimator} with parameters {params.model.parameters} cannot be"
            f" fitted: {fault}; correct model in params.yaml"
        ) from fault
    if mapper := getattr(model[-1], "_bin_mapper", None):
        mapper.n_threads = 1  # what this machine had; dvc.lock is to hash the same file elsewhere
    baseline = build_baseline(contract).fit(np.zeros((len(targets), 1)), targets)
    save(layout.model, model)
    save(layout.baseline, baseline)
    print(f"train: {params.model.estimator} fitted on {len(targets)} rows")
