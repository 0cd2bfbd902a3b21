"""Gate: every figure beside its limit; only a candidate that passes becomes the served model."""

import argparse
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..contract import load_contract
from ..errors import GateError
from ..features import Encoder
from ..files import read_json, replaced, write_json
from ..layout import Layout
from ..params import Gate, load_params


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


def arguments(parser: argparse.ArgumentParser) -> None:
    """How the verdict is shown."""
    parser.add_argument("--markdown", action="store_true", help="the last verdict as a table")


def run(layout: Layout = Layout(), markdown: bool = False) -> None:
    """Judge the candidate, write the verdict, and put a candidate that passes in its place.

    Raises:
        GateError: a limit is missed; the message holds every figure beside its limit.
    """
    if markdown:
        if not layout.gate_report.exists():
            raise GateError(f"{layout.gate_report} is not there yet; run `make train`")
        print(as_markdown(read_json(layout.gate_report)))
        return
    params = load_params(layout.params)
    described = read_json(layout.candidate / "model.json")
    limits = params.gate
    checks = [
        *judge_model(read_json(layout.metrics), limits, params.value.hurdle, params.value.unit),
        *judge_artefact(read_json(layout.artefact_report), limits),
        *judge_data(read_json(layout.validation_report), _inputs(layout), limits),
    ]
    passed = all(check.passed or check.advisory for check in checks)
    off = [name for name, limit in limits.model_dump().items() if limit is None]
    report = {
        "passed": passed,
        "version": described["version"],
        "model_sha256": described["sha256"],
        "champion": read_json(layout.metrics)["champion"]["version"],
        "checks": [{**asdict(check), "passed": check.passed} for check in checks],
        "off": off,
    }
    write_json(layout.gate_report, report)
    lines = [_line(check) for check in checks]
    lines += [f"  off     {name}" for name in off]
    if not passed:
        steps = [f"  {check.remedy}" for check in checks if not check.passed and not check.advisory]
        raise GateError(
            "\n".join(
                [
                    "the model is refused",
                    *lines,
                    *dict.fromkeys(steps),
                    f"the limits stand in {layout.params} under gate and value, the figures in"
                    f" {layout.metrics}",
                ]
            )
        )
    with replaced(layout.serving) as folder:
        shutil.copytree(layout.candidate, folder)
    advice = [f"  {check.remedy}" for check in checks if not check.passed]
    print("\n".join([f"gate: {described['version']} may be served", *lines, *advice]))


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


def as_markdown(report: Mapping[str, Any]) -> str:
    """The verdict as a table for a pull request."""
    rows = [
        f"| {'passed' if each['passed'] else 'advice' if each['advisory'] else '**refused**'}"
        f" | {each['name'].replace('|', '/')} | {each['figure']:.4g}"
        f" | {each['rule']} {each['limit']:.4g} |"
        for each in report["checks"]
    ]
    verdict = "passed" if report["passed"] else "is refused"
    return "\n".join(
        [
            f"### Gate: {report['version']} {verdict}",
            "",
            "| verdict | what | figure | limit |",
            "| --- | --- | ---: | --- |",
            *rows,
            *(f"| off | {name} | | |" for name in report["off"]),
        ]
    )


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


def _line(check: Check) -> str:
    return (
        f"  {check.verdict:7} {check.name}: {check.figure:.4g} (must be {check.rule}"
        f" {check.limit:.4g})"
    )


def _inputs(layout: Layout) -> dict[str, str]:
    return Encoder(load_contract(layout.contract)).inputs
