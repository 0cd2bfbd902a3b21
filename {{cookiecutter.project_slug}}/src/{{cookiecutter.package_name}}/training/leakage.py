"""Leakage: how well does one feature alone predict the target?"""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import metrics
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from ..contract import Contract
from ..features import Encoder
from .measure import roc_auc
from .rows import Rows


def single_feature(contract: Contract, train: Rows, test: Rows) -> dict[str, float]:
    """How well each feature alone predicts the target: ROC AUC or R2 of a tree of 32 leaves."""
    found, encoder = {}, Encoder(contract)
    seen, held_out = train.features.table(), test.features.table()
    for place, column in enumerate([*encoder.numbers, *encoder.categories]):
        values, others = seen[:, place], held_out[:, place]
        if not column.is_number:
            values, others = _by_target(values, train.targets, others)
        if contract.task == "regression":
            tree = DecisionTreeRegressor(max_leaf_nodes=32, random_state=0)
            given = tree.fit(_one(values), train.targets).predict(_one(others))
            found[column.name] = float(metrics.r2_score(test.targets, given))
        else:
            tree = DecisionTreeClassifier(max_leaf_nodes=32, random_state=0)
            given = tree.fit(_one(values), train.targets).predict_proba(_one(others))
            found[column.name] = roc_auc(test.targets, given)[0]
    return found


def _one(values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    return values.astype(np.float32).reshape(-1, 1)


def _by_target(
    values: npt.NDArray[Any], targets: npt.NDArray[Any], others: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Categories as the mean target of their training rows, unseen ones as that of all."""
    means = {category: targets[values == category].mean() for category in set(values)}
    overall = targets.mean()
    return (
        np.array([means[category] for category in values]),
        np.array([means.get(category, overall) for category in others]),
    )
