"""Measure: the figures of answers to rows of known outcome, how sure they are, and for whom.

Nearly every figure is made of sums over rows, so that a bootstrap sample, a slice and the whole
take the same way: a table of terms, a weight for each row, the sums, the figures.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, rankdata

from ..contract import Contract
from ..decision import Decision
from ..params import Params
from .value import costs_of

Floats = npt.NDArray[np.float64]
MOST_DRAWS = 20_000_000
"""Weights drawn at most; of more rows fewer samples are as sure, since the interval is narrow."""
LEAST_SAMPLES = 100


class Outcome(NamedTuple):
    """Rows of known outcome, and what is answered to them.

    targets: labels' places, or values. answers: probabilities, shape (rows, labels), or values.
    constant: the same for the constant baseline. decision: how labels are chosen.
    """

    targets: npt.NDArray[Any]
    answers: Floats
    constant: Floats
    decision: Decision

    def at(self, rows: npt.NDArray[np.bool_]) -> "Outcome":
        """Some of the rows."""
        some = (self.targets[rows], self.answers[rows], self.constant[rows])
        return Outcome(*some, self.decision)


class Parts(NamedTuple):
    """For each column that divides the rows, the value that each row belongs to."""

    slices: Mapping[str, npt.NDArray[np.object_]]
    groups: Mapping[str, npt.NDArray[np.object_]]


def measure(
    contract: Contract, params: Params, outcome: Outcome, parts: Parts = Parts({}, {})
) -> dict[str, Any]:
    """Figures with intervals: of all rows, of each value of each slice, and of each group."""
    columns = terms(contract, params, outcome)
    names, table = list(columns), np.column_stack(list(columns.values()))
    weights = _weights(len(table), params.evaluate.bootstrap_samples, params.seed)
    outer = (1 - params.evaluate.confidence) / 2

    def described(rows: npt.NDArray[np.bool_]) -> dict[str, Any]:
        part = outcome.at(rows)
        drawn = weights[:, rows]
        sampled = figures(contract, names, drawn @ table[rows], drawn.sum(axis=1))
        given: dict[str, Any] = {
            "rows": int(rows.sum()),
            "small": bool(rows.sum() < params.evaluate.min_slice_rows),
            "metrics": metrics_of(contract, params, part),
            "intervals": {name: _interval(value, outer) for name, value in sampled.items()},
        }
        if "roc_auc" in given["metrics"]:
            area, error = roc_auc(part.targets, part.answers)
            reach = error * float(norm.ppf(1 - outer))
            given["intervals"]["roc_auc"] = [max(area - reach, 0.0), min(area + reach, 1.0)]
        return given

    def divided(columns: Mapping[str, npt.NDArray[np.object_]]) -> dict[str, dict[str, Any]]:
        return {
            name: {str(value): described(values == value) for value in sorted(set(values))}
            for name, values in columns.items()
        }

    everyone = described(np.ones(len(table), np.bool_))
    del everyone["small"]
    by_group = divided(parts.groups)
    return everyone | {
        "calibration": calibration(outcome.targets, outcome.answers),
        "slices": divided(parts.slices),
        "groups": by_group,
        "gaps": {name: gap(contract, values) for name, values in by_group.items()},
    }


def metrics_of(contract: Contract, params: Params, outcome: Outcome) -> dict[str, float | None]:
    """The task's metrics; None where too few rows say nothing of one."""
    columns = {name: values.sum() for name, values in terms(contract, params, outcome).items()}
    sums, rows = np.array(list(columns.values())), len(outcome.targets)
    found = {
        name: _number(value) for name, value in figures(contract, list(columns), sums, rows).items()
    }
    if contract.labels and len(set(outcome.targets)) == len(contract.labels):
        found["roc_auc"] = roc_auc(outcome.targets, outcome.answers)[0]
    return found


def losses(contract: Contract, targets: npt.NDArray[Any], given: Floats) -> Floats:
    """The loss of each row: log loss, or squared error; both are least for the true answer.

    Source: Gneiting and Raftery (2007), Strictly Proper Scoring Rules, section 4.
    """
    if contract.task == "regression":
        return np.asarray((targets - given) ** 2, np.float64)
    likelihood = given[np.arange(len(targets)), targets]
    return np.asarray(-np.log(np.clip(likelihood, 1e-15, None)), np.float64)


def terms(contract: Contract, params: Params, outcome: Outcome) -> dict[str, Floats]:
    """What each row adds to the sums that figures are made of."""
    targets, answers, constant, decision = outcome
    found = {
        "loss": losses(contract, targets, answers),
        "constant_loss": losses(contract, targets, constant),
    }
    if contract.task == "regression":
        error = answers - targets
        unit = params.value.cost_per_unit or 0.0
        return found | {
            "error": error,
            "distance": np.abs(error),
            "target": targets.astype(np.float64),
            "target_squared": targets.astype(np.float64) ** 2,
            "cost": unit * np.abs(error),
            "constant_cost": unit * np.abs(constant - targets),
        }
    costs = costs_of(contract, params.value)
    places = decision.places(answers)
    one = np.eye(len(contract.labels))[targets]
    found |= {
        "brier": ((answers - one) ** 2).sum(axis=1),
        "hit": (places == targets).astype(np.float64),
        "cost": costs[targets, places],
        "constant_cost": costs[targets, (constant @ costs).argmin(axis=1)],
    }
    for place, label in enumerate(contract.labels):
        found[f"true {label}"] = one[:, place]
        found[f"hit {label}"] = one[:, place] * found["hit"]
    return found


def figures(contract: Contract, names: list[str], sums: Floats, rows: Any) -> dict[str, Any]:
    """The task's metrics from sums, shape (terms,) or (samples, terms), of so many rows.

    skill is the share of the constant baseline's loss that is saved (Murphy 1988); for squared
    error it is R2 against the training mean. saving is in the unit of value, for each row.
    """
    of = {name: sums[..., place] for place, name in enumerate(names)}
    with np.errstate(divide="ignore", invalid="ignore"):
        common = {
            "skill": 1 - of["loss"] / of["constant_loss"],
            "cost": of["cost"] / rows,
            "saving": (of["constant_cost"] - of["cost"]) / rows,
        }
        if contract.task == "regression":
            spread = of["target_squared"] - of["target"] ** 2 / rows
            return {
                "rmse": np.sqrt(of["loss"] / rows),
                "mae": of["distance"] / rows,
                "bias": of["error"] / rows,
                "r2": 1 - of["loss"] / spread,
                **common,
            }
        return {
            "log_loss": of["loss"] / rows,
            "brier": of["brier"] / rows,
            "accuracy": of["hit"] / rows,
            **{
                f"recall_{label}": of[f"hit {label}"] / of[f"true {label}"]
                for label in contract.labels
            },
            **common,
        }


def gain(differences: Floats, params: Params) -> dict[str, float]:
    """The mean loss saved, with the bootstrap interval of params.yaml's confidence.

    Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap, section 13.3.
    """
    weights = _weights(len(differences), params.evaluate.bootstrap_samples, params.seed)
    means = weights @ differences / weights.sum(axis=1)
    low, high = np.quantile(means, _ends(params.evaluate.confidence))
    return {"mean": float(differences.mean()), "low": float(low), "high": float(high)}


def roc_auc(targets: npt.NDArray[Any], given: Floats) -> tuple[float, float]:
    """Area under the ROC curve and its standard error; of several labels, each against the rest.

    Source: DeLong et al. (1988), by ranks as in Sun and Xu (2014); the mean of several areas has
    at most the mean of their errors.
    """
    places = [1] if given.shape[1] == 2 else range(given.shape[1])
    both = np.array([_area(targets == place, given[:, place]) for place in places])
    area, error = both.mean(axis=0)
    return float(area), float(error)


def calibration(targets: npt.NDArray[Any], given: Floats) -> dict[str, Any]:
    """Mean prediction beside mean outcome in parts of equal size, and how far apart they are.

    For labels, each label's probability and how often it was the true one; the error is the mean
    distance over all. For values, the error is in standard deviations of the target. Up to ten
    parts of 50 rows or more, since the distance of small parts is chance.
    Source: Guo et al. (2017), On Calibration of Modern Neural Networks, section 2.
    """
    if given.ndim == 1:
        points = _binned(given, targets.astype(np.float64))
        scale = float(np.std(targets)) or 1.0
    else:
        places = [1] if given.shape[1] == 2 else range(given.shape[1])
        points = [
            point | {"label": place}
            for place in places
            for point in _binned(given[:, place], (targets == place).astype(np.float64))
        ]
        scale = 1.0
    apart = [abs(point["predicted"] - point["observed"]) * point["rows"] for point in points]
    rows = sum(point["rows"] for point in points)
    return {"error": sum(apart) / rows / scale, "points": points}


def gap(contract: Contract, values: Mapping[str, Any]) -> dict[str, Any]:
    """The largest difference between two groups that are not small, and what is sure of it.

    Of a classification, in the recall of a label (equalized odds: Hardt et al. 2016); of a
    regression, in the mean error as a share of the larger group's root mean squared error.
    """
    large = {name: each for name, each in values.items() if not each["small"]}
    best: dict[str, Any] = {"gap": 0.0, "sure": 0.0, "metric": None, "between": []}
    names = [f"recall_{label}" for label in contract.labels] or ["bias"]
    for metric in names:
        known = {
            name: each
            for name, each in large.items()
            if each["metrics"][metric] is not None and None not in each["intervals"][metric]
        }
        for one, first in known.items():
            for other, second in known.items():
                apart = first["metrics"][metric] - second["metrics"][metric]
                # Independent groups: the errors of a difference add in squares.
                sure = apart - np.hypot(_reach(first, metric, 0), _reach(second, metric, 1))
                if metric == "bias":
                    scale = max(first["metrics"]["rmse"], second["metrics"]["rmse"]) or 1.0
                    apart, sure = apart / scale, sure / scale
                if sure > best["sure"] or (best["sure"] == 0 and apart > best["gap"]):
                    best = {
                        "gap": apart,
                        "sure": max(float(sure), 0.0),
                        "metric": metric,
                        "between": [one, other],
                    }
    return best


def _reach(given: Mapping[str, Any], metric: str, end: int) -> float:
    return abs(float(given["metrics"][metric] - given["intervals"][metric][end]))


def _binned(predicted: Floats, observed: Floats) -> list[dict[str, Any]]:
    parts = np.array_split(
        np.argsort(predicted, kind="stable"), min(max(len(predicted) // 50, 1), 10)
    )
    return [
        {
            "predicted": float(predicted[part].mean()),
            "observed": float(observed[part].mean()),
            "rows": len(part),
        }
        for part in parts
    ]


def _area(positive: npt.NDArray[np.bool_], scores: Floats) -> tuple[float, float]:
    count, others = int(positive.sum()), int((~positive).sum())
    ranks = rankdata(scores)
    above = (ranks[positive] - rankdata(scores[positive])) / others
    below = 1 - (ranks[~positive] - rankdata(scores[~positive])) / count
    variance = sum(
        float(np.var(part, ddof=1)) / len(part) for part in (above, below) if len(part) > 1
    )
    return float(above.mean()), float(np.sqrt(variance))


def _weights(rows: int, samples: int, seed: int) -> npt.NDArray[np.float32]:
    """How often each row is in each bootstrap sample, shape (samples, rows).

    Independent Poisson counts, as rows of a large table arrive: Hanley and MacGibbon (2006).
    """
    samples = max(min(samples, MOST_DRAWS // rows), min(samples, LEAST_SAMPLES))
    return np.random.default_rng(seed).poisson(1.0, (samples, rows)).astype(np.float32)


def _ends(confidence: float) -> list[float]:
    return [(1 - confidence) / 2, (1 + confidence) / 2]


def _interval(sampled: Floats, outer: float) -> list[float | None]:
    known = sampled[np.isfinite(sampled)]
    if not len(known):
        return [None, None]
    return [float(end) for end in np.quantile(known, [outer, 1 - outer])]


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
