"""Validate: the rows that keep the contract go on, the others are kept aside with their reasons."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from ..contract import Contract, load_contract
from ..errors import DataError
from ..files import read_json, write_json
from ..layout import Layout
from ..params import RULES, Validate, load_params
from .profile import drift, is_default, profile, profiled
from .rules import broken
from .table import FAULTS, JOINED, REASONS, read_table, write_table


def run(layout: Layout = Layout()) -> None:
    """Split the snapshot into valid and rejected rows, report, and judge the dataset.

    The first dataset that passes becomes the reference for drift; `accept` makes a later one it.

    Raises:
        DataError: a rule is broken more often than params.yaml allows, a feature has no value, or
            too few rows, rows of a label, or likeness to the last accepted version are left.
    """
    contract = load_contract(layout.contract)
    limits = load_params(layout.params).validate_
    frame = read_table(layout.raw)
    breaks = _breaks(frame, contract)
    rejecting = [name for name, rule in limits.rules.items() if rule.severity != "warn"]
    reasons = breaks[breaks["rule"].isin(rejecting)].groupby("index")["reason"].agg("; ".join)
    frame = frame.drop(columns=[FAULTS, JOINED])
    valid = frame.drop(index=reasons.index)
    rejected = frame.loc[reasons.index]
    rejected[REASONS] = reasons.astype(str)
    reference = read_json(layout.reference) if layout.reference.exists() else None
    report = _report(frame, breaks, contract, limits)
    unlabelled = f"missing_target: {contract.target.name}"
    report["unlabelled"] = int((rejected[REASONS] == unlabelled).sum())
    report |= {"rejected": len(rejected), "renamed": _renamed(frame, contract, reference)}
    report["drift"] = {}
    if reference is not None and len(valid):
        report["drift"] = drift(reference, valid, contract, limits.max_drift)
    empty = [each.name for each in contract.features if frame[each.name].isna().all()]
    refusals = [
        *(
            f"{name} holds no value in any row; add them, or give it role excluded"
            for name in empty
        ),
        *_too_many(report, limits, reference, layout),
        *_too_little(valid, len(rejected), contract, limits, layout),
        *_changed(report, layout),
    ]
    report["refusals"] = refusals
    write_table(layout.rejected, rejected)
    write_table(layout.valid, valid)
    write_json(layout.validation_report, report)
    write_json(layout.columns_report, _points(valid, contract, report))
    if refusals:
        raise DataError("\n  ".join([f"{contract.source.path} is refused", *refusals]))
    if reference is None:
        accept(layout)
    rules = [(name, rule["rows"]) for name, rule in report["rules"].items()]
    counts = ", ".join(f"{name} {rows}" for name, rows in rules if name != "default_value")
    print(
        f"validate: {len(valid)} rows keep the contract, {len(rejected)} rejected"
        f" ({counts or 'no rule broken'})"
    )


def accept(layout: Layout = Layout()) -> None:
    """Make the validated rows the reference that later versions are compared with."""
    contract = load_contract(layout.contract)
    write_json(layout.reference, profile(read_table(layout.valid), contract))
    print(f"accept: {layout.reference} now describes these rows; commit it")


def _breaks(frame: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """Each break of a rule; a row with a value of a wrong type is looked at no further."""
    faulty = frame[FAULTS] != ""
    faults = frame.loc[faulty, FAULTS]
    wrong = pd.DataFrame(
        {
            "rule": "wrong_type",
            "column": faults.str.split(": ", n=1).str[0],
            "index": faults.index,
            "reason": "wrong_type: " + faults,
        }
    )
    others = broken(frame[~faulty].drop(columns=FAULTS), contract)
    others["reason"] = others["rule"] + ": " + others["column"]
    return pd.concat([wrong, others], ignore_index=True)


def _report(
    frame: pd.DataFrame, breaks: pd.DataFrame, contract: Contract, limits: Validate
) -> dict[str, Any]:
    rules = {}
    for name in RULES:
        of_rule = breaks[breaks["rule"] == name]
        if len(of_rule):
            columns = of_rule["column"].value_counts().sort_index()
            rules[name] = {
                "severity": limits.rules[name].severity,
                "rows": int(of_rule["index"].nunique()),
                "columns": {str(key): int(count) for key, count in columns.items()},
            }
    missing = {column.name: float(frame[column.name].isna().mean()) for column in contract.features}
    imputed = {name: share for name, share in missing.items() if share}
    return {"rows": len(frame), "rules": rules, "imputed": imputed}


def _points(valid: pd.DataFrame, contract: Contract, report: dict[str, Any]) -> list[Any]:
    """What `dvc plots` shows of each column: shares of the valid rows, and the drift index."""
    return [
        {
            "column": column.name,
            "missing": float(valid[column.name].isna().mean()) if len(valid) else 0.0,
            "default": float(is_default(column, valid[column.name]).mean()) if len(valid) else 0.0,
            "drift": report["drift"].get(column.name, (0.0, 0.0))[0],
        }
        for column in profiled(contract)
    ]


def _too_many(
    report: dict[str, Any], limits: Validate, reference: dict[str, Any] | None, layout: Layout
) -> Iterator[str]:
    """What is broken too often."""
    size = max(report["rows"], 1)
    for name, found in report["rules"].items():
        rule = limits.rules[name]
        if name == "default_value":
            continue
        allowed = 0.0 if rule.severity == "stop" else rule.max_share
        if (share := found["rows"] / size) > allowed:
            columns = ", ".join(f"{key} {count}" for key, count in found["columns"].items())
            drop = ", dropping required: true where a value may be missing"
            yield (
                f"{name}: {found['rows']} of {size} rows ({columns}), a share of {share:.4f}"
                f" against {allowed} in {layout.params}; see {layout.rejected}, then correct the"
                f" source, {layout.contract}{drop if name == 'missing' else ''}, or"
                f" validate.rules.{name}"
            )
    faulty = report["rejected"] - report["unlabelled"]
    if (share := faulty / size) > limits.max_rejected_share:
        yield (
            f"{faulty} of {size} rows rejected, a share of {share:.4f} against"
            f" validate.max_rejected_share {limits.max_rejected_share} in {layout.params}; see"
            f" {layout.rejected}, then correct the source or {layout.contract}"
        )
    before = reference["columns"] if reference else {}
    rule = limits.rules["default_value"]
    for column, count in report["rules"].get("default_value", {"columns": {}})["columns"].items():
        rise = count / size - before.get(column, {"defaults": 1.0})["defaults"]
        if rise > (0.0 if rule.severity == "stop" else rule.max_share):
            yield (
                f"default_value: {column} holds 0, -1, 1900-01-01, N/A or the like in {rise:.4f} of"
                f" the rows more than in the last accepted version, against {rule.max_share} in"
                f" {layout.params}; correct the source, or name the value in missingValues"
            )


def _too_little(
    valid: pd.DataFrame, rejected: int, contract: Contract, limits: Validate, layout: Layout
) -> Iterator[str]:
    """What there is too little of."""
    if len(valid) < limits.min_rows:
        step = f"add rows to {contract.source.path}"
        if rejected:
            step = f"{rejected} are rejected: {layout.rejected} says why, so mend that first"
        yield (
            f"{len(valid)} valid rows are left, fewer than validate.min_rows {limits.min_rows} in"
            f" {layout.params}; {step}"
        )
    for label in contract.labels:
        share = float((valid[contract.target.name] == label).mean()) if len(valid) else 0.0
        if share < limits.min_label_share:
            yield (
                f"{contract.target.name} is {label} in a share of {share:.4f} of the rows, against"
                f" validate.min_label_share {limits.min_label_share} in {layout.params}; add rows"
                f" of it, or take it out of {layout.contract}"
            )


def _changed(report: dict[str, Any], layout: Layout) -> Iterator[str]:
    """What is no longer as in the last accepted version."""
    for name, change in report["renamed"].items():
        yield (
            f"renamed_category: of {name} {change}, in like numbers; rename it back in the source,"
            f" or in {layout.contract}, then `make accept`"
        )
    for name, (index, limit) in report["drift"].items():
        if index > limit:
            yield (
                f"drift: {name} has a population stability index of {index:.3f} against the last"
                f" accepted version, the limit is {limit:.3f}; look at `make report`, then correct"
                " the source or, if the change is meant, `make accept`"
            )


def _renamed(
    frame: pd.DataFrame, contract: Contract, reference: dict[str, Any] | None
) -> dict[str, str]:
    """For each column with one, the category that has gone and the like number that has come."""
    found = {}
    before = reference["columns"] if reference else {}
    for column in contract.fields:
        enum = column.constraints.enum
        if enum is None or column.name not in before:
            continue
        now = (frame[column.name].value_counts() / len(frame)).to_dict()
        old = dict(
            zip(before[column.name]["categories"], before[column.name]["shares"][1:], strict=False)
        )
        gone = {each: share for each, share in old.items() if share and each not in now}
        come = {each: share for each, share in now.items() if each not in enum}
        pairs = [
            (new, each)
            for each, share in gone.items()
            for new, other in come.items()
            if share / 2 < other < share * 2
        ]
        if pairs:
            found[column.name] = f"{pairs[0][1]!r} is gone and {pairs[0][0]!r} has come"
    return found
