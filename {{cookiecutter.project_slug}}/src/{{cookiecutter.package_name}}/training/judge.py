"""Judge: each figure of a model, its artefact and its data beside the limit that it has to keep."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import GateError
from ..params import Gate

MORE_IS_BETTER = r"(skill|saving|accuracy|roc_auc|r2|recall_.*)$"
REMEDIES = {
    "min_gain_over_constant": "the model is not surely better than a constant: improve the data"
    " or the model",
    "min_gain_over_rules": "the model is not surely better than the rules in baseline.yaml: serve"
    " those, or improve the data or the model",
    "min_gain_over_simpler": "the model is not surely better than a linear one: take that, by"
    " model.profile: interpretable in params.yaml",
    "min_gain_over_champion": "the model is surely worse than the one in production: improve it, or"
    " stay with that",
}


@dataclass(frozen=True)
class Check:
    """One figure beside its limit; gate is the key in params.yaml that sets it."""

    gate: str
    name: str
    figure: float
    rule: Literal["above", "at least", "at most"]
    limit: float
    remedy: str
    advisory: bool = False

    @property
    def passed(self) -> bool:
        """Whether the figure keeps the limit; one that is no number does not."""
        if self.rule == "above":
            return self.figure > self.limit
        return self.figure >= self.limit if self.rule == "at least" else self.figure <= self.limit

    @property
    def verdict(self) -> str:
        """In one word."""
        return "passed" if self.passed else "ADVICE" if self.advisory else "REFUSED"


def judge_model(
    metrics: Mapping[str, Any], limits: Gate, hurdle: float, unit: str
) -> Iterator[Check]:
    """What the model has to reach on the held-out rows."""
    champion = metrics["champion"]
    if champion["reason"] is not None and limits.min_gain_over_champion is not None:
        known = champion["version"]
        yield Check(
            "min_gain_over_champion",
            f"champion {known or 'that may be in production'} compared: {champion['reason']}",
            0,
            "at least",
            1,
            "the model in production was not compared: correct that, or set"
            " gate.min_gain_over_champion to null for this one change",
            advisory=known is None or "min_gain_over_champion" in limits.advisory,
        )
    for other, gain in metrics["gains"].items():
        key = f"min_gain_over_{other}"
        if (limit := getattr(limits, key)) is None:
            continue
        # Against the champion it is enough not to be surely worse.
        end, rule = ("high", "at least") if other == "champion" else ("low", "above")
        yield _check(
            limits,
            key,
            f"loss saved against {other}, {'upper' if end == 'high' else 'lower'} end",
            gain[end],
            rule,
            limit,
            REMEDIES[key],
        )
    yield _check(
        limits,
        "hurdle",
        f"saving against the constant, in {unit}",
        metrics["metrics"]["saving"],
        "at least",
        hurdle,
        "the model saves too little to be worth it: improve it, or correct value.costs",
    )
    for name, floor in limits.floors.items():
        yield from _floors(metrics, limits, name, floor)
    if limits.max_group_gap is not None:
        for column, gap in metrics["gaps"].items():
            between = " and ".join(gap["between"]) or "groups"
            yield _check(
                limits,
                "max_group_gap",
                f"{column}: gap of {gap['metric'] or 'figures'} between {between}, what is sure",
                gap["sure"],
                "at most",
                limits.max_group_gap,
                f"look at groups.{column} in the metrics; more rows of the group, or a feature that"
                " explains the difference, may close the gap",
            )
    if limits.max_calibration_error is not None:
        yield _check(
            limits,
            "max_calibration_error",
            "calibration error",
            metrics["calibration"]["error"],
            "at most",
            limits.max_calibration_error,
            "predictions are not what happens: look at calibration in the metrics, and fit on more"
            " rows or a simpler model",
        )
    if limits.max_single_feature_score is not None:
        name, score = max(metrics["single_feature"].items(), key=lambda item: item[1])
        yield _check(
            limits,
            "max_single_feature_score",
            f"leakage: {name} alone predicts the target",
            score,
            "at most",
            limits.max_single_feature_score,
            f"{name} may be a copy of the target: give it role excluded in contract.yaml, or take"
            " it out of derived.py",
        )


def judge_artefact(artefact: Mapping[str, Any], limits: Gate) -> Iterator[Check]:
    """What the exported artefact has to reach."""
    other = "set artefact: skops in params.yaml, or choose another estimator"
    if limits.max_differing_answers is not None:
        # A linear model has no thresholds at which rounding changes the answer.
        allowed = 0.0 if artefact["linear"] else limits.max_differing_answers
        name = f"export: share of answers that differ from {artefact['estimator']}"
        key = "max_differing_answers"
        yield _check(limits, key, name, artefact["differing"], "at most", allowed, other)
        if (flipped := artefact["flipped"]) is not None:
            yield _check(limits, key, "export: labels that differ", flipped, "at most", 0.0, other)
    if limits.max_latency_ms is not None:
        yield _check(
            limits,
            "max_latency_ms",
            "artefact: milliseconds for one row, 99th percentile",
            artefact["latency_ms"],
            "at most",
            limits.max_latency_ms,
            "choose fewer or smaller trees",
        )
    if limits.max_size_mb is not None:
        yield _check(
            limits,
            "max_size_mb",
            "artefact: size in MB",
            artefact["size_mb"],
            "at most",
            limits.max_size_mb,
            "choose fewer or smaller trees",
        )


def judge_data(
    validation: Mapping[str, Any], inputs: Mapping[str, str], limits: Gate
) -> Iterator[Check]:
    """What the dataset has to be, and what the model may not see.

    inputs: for each feature's name, and each column that a derived one reads, the feature.
    """
    refusals = validation["refusals"]
    yield _check(
        limits,
        "data",
        "data: refusals of the dataset",
        len(refusals),
        "at most",
        0.0,
        "; ".join(refusals),
    )
    denied = {name.lower() for name in limits.denied_features}
    found = sorted({feature for name, feature in inputs.items() if name.lower() in denied})
    yield _check(
        limits,
        "denied_features",
        f"features on the deny-list{': ' if found else ''}{', '.join(found)}",
        len(found),
        "at most",
        0.0,
        "give it role group or excluded in contract.yaml, or take it out of derived.py",
    )


def _floors(metrics: Mapping[str, Any], limits: Gate, name: str, floor: float) -> Iterator[Check]:
    """A metric of all rows, and the slice where even the interval's upper end is lowest."""
    fit = [each for each in metrics["metrics"] if re.match(MORE_IS_BETTER, each)]
    if name not in fit:
        raise GateError(
            f"params.yaml: gate.floors names {name}, which is no metric of which more is better;"
            f" those are {', '.join(fit)}"
        )
    remedy = "improve the data or the model for these rows"
    yield _check(
        limits, "floors", f"{name} of all rows", metrics["metrics"][name], "at least", floor, remedy
    )
    ends = {
        f"{column} {value}": each["intervals"][name][1]
        for column, values in metrics["slices"].items()
        for value, each in values.items()
        if not each["small"] and each["intervals"].get(name, [None, None])[1] is not None
    }
    if ends:
        lowest = min(ends, key=lambda each: ends[each])
        text = f"{name} where {lowest}, upper end"
        yield _check(limits, "floors", text, ends[lowest], "at least", floor, remedy)


def _check(limits: Gate, gate: str, name: str, figure: float, *rest: Any) -> Check:
    rule, limit, remedy = rest
    return Check(gate, name, figure, rule, limit, remedy, gate in limits.advisory)
