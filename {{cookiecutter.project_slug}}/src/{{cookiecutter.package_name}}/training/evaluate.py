"""Evaluate: figures of model and baseline on the held-out rows, and how sure they are."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import metrics
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from ..contract import Contract, load_contract
from ..data.table import read_table
from ..errors import TrainingError
from ..features import Encoder
from ..files import write_json
from ..layout import Layout
from ..params import load_params
from .rows import Rows, to_rows
from .skops_file import load

Floats = npt.NDArray[np.float64]


def run(layout: Layout = Layout()) -> None:
    """Write the metrics as JSON.

    Raises:
        TrainingError: a label has no held-out row.
    """
    contract = load_contract(layout.contract)
    params = load_params(layout.params)
    train = to_rows(contract, read_table(layout.train))
    test = to_rows(contract, read_table(layout.test))
    model = answers(contract, load(layout.model), test.features.table())
    baseline = answers(contract, load(layout.baseline), np.zeros((len(test.targets), 1)))
    absent = [label for place, label in enumerate(contract.labels) if place not in test.targets]
    if absent:
        raise TrainingError(
            f"{layout.test} has no row with {contract.target.name} {', '.join(absent)}, so the"
            " model cannot be judged; add rows, or raise split.test_share in params.yaml"
        )
    report: dict[str, Any] = {
        "rows": {"train": len(train.targets), "test": len(test.targets)},
        "model": scores(contract, test.targets, model),
        "baseline": scores(contract, test.targets, baseline),
        "gain": gain(
            losses(contract, test.targets, baseline) - losses(contract, test.targets, model),
            params.evaluate.bootstrap_samples,
            params.seed,
        ),
        "single_feature": single_feature(contract, train, test),
    }
    write_json(layout.metrics, report)
    figures = ", ".join(f"{name} {value:.4f}" for name, value in report["model"].items())
    print(f"evaluate: {figures} on {len(test.targets)} held-out rows")


def answers(contract: Contract, model: Any, table: npt.NDArray[Any]) -> Floats:
    """Probabilities, shape (rows, labels), or values, shape (rows,)."""
    predict = model.predict_proba if contract.task == "classification" else model.predict
    return np.asarray(predict(table), np.float64)


def scores(contract: Contract, targets: npt.NDArray[Any], given: Floats) -> dict[str, float]:
    """The task's metrics, by name; ROC AUC of several labels is one against the rest."""
    if contract.task == "regression":
        return {
            "rmse": float(metrics.root_mean_squared_error(targets, given)),
            "mae": float(metrics.mean_absolute_error(targets, given)),
            "r2": float(metrics.r2_score(targets, given)),
        }
    return {
        "roc_auc": _roc_auc(targets, given),
        "log_loss": float(losses(contract, targets, given).mean()),
        "accuracy": float((given.argmax(axis=1) == targets).mean()),
    }


def losses(contract: Contract, targets: npt.NDArray[Any], given: Floats) -> Floats:
    """The loss of each row: log loss, or squared error; both are least for the true answer.

    Source: Gneiting and Raftery (2007), Strictly Proper Scoring Rules, section 4.
    """
    if contract.task == "regression":
        return np.asarray((targets - given) ** 2, np.float64)
    likelihood = given[np.arange(len(targets)), targets]
    return np.asarray(-np.log(np.clip(likelihood, 1e-15, None)), np.float64)


def gain(differences: Floats, samples: int, seed: int) -> dict[str, float]:
    """The mean loss saved, and its standard error over bootstrap samples of the rows.

    Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap, algorithm 6.1.
    """
    random = np.random.default_rng(seed)
    size = len(differences)
    means = [differences[random.integers(size, size=size)].mean() for _ in range(samples)]
    return {
        "mean": float(differences.mean()),
        "standard_error": float(np.std(means, ddof=1)),
    }


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
            found[column.name] = _roc_auc(test.targets, given)
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


def _roc_auc(targets: npt.NDArray[Any], given: Floats) -> float:
    if given.shape[1] == 2:
        return float(metrics.roc_auc_score(targets, given[:, 1]))
    places = np.arange(given.shape[1])
    return float(metrics.roc_auc_score(targets, given, multi_class="ovr", labels=places))
