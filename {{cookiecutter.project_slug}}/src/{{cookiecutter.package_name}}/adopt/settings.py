"""Settings: what params.yaml and baseline.yaml say of a target, made to fit another one."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from ..contract import Contract
from ..files import write_bytes
from ..layout import Layout
from .evidence import Evidence

ESTIMATORS = (("Classifier", "Regressor"), ("LogisticRegression", "Ridge"))
"""Endings of import paths that differ between the tasks."""


def fit_settings(layout: Layout, old: Contract, new: Contract, target: Evidence) -> None:
    """Let both files fit the new contract; they stay as they are where the target does."""
    if (old.task, old.target.name, old.labels) == (new.task, new.target.name, new.labels):
        return
    text = layout.params.read_text(encoding="utf-8")
    changed = text
    for pair in ESTIMATORS:
        wrong, right = pair if new.task == "regression" else pair[::-1]
        changed = re.sub(rf"(?m)^(\s+estimator: \S+?){wrong}\b", rf"\g<1>{right}", changed)
    # Each task's linear model has parameters of its own.
    changed = re.sub(r"(?m)(Ridge\s+parameters: )\{max_iter: 1000\}", r"\g<1>{}", changed)
    changed = re.sub(r"(?m)(LogisticR\w+\s+parameters: )\{\}", r"\g<1>{max_iter: 1000}", changed)
    changed = re.sub(r"(?m)^  bins: .*$", "  bins: {}", changed)
    changed = _replaced(changed, "value", _value(new, target))
    changed = _replaced(changed, "card", "  audience: ''\n  limits: []\n")
    _write(layout.params, changed, text, f"value is assumed for {new.target.name}")
    content = f"{_comments(layout.rules)}rules: []\notherwise: {_flow(_usual(new, target))}\n"
    _write(
        layout.rules,
        content,
        layout.rules.read_text(encoding="utf-8"),
        f"no rule is known for {new.target.name}",
    )


def _replaced(text: str, section: str, content: str) -> str:
    new = f"{section}:\n{content}\n"
    return re.sub(rf"(?ms)^{section}:\n.*?(?=^\S)", lambda _: new, text)


def _value(contract: Contract, target: Evidence) -> str:
    """Mistakes cost in inverse proportion to how often the label is true, as balanced weights do.

    Source: King and Zeng (2001), Logistic Regression in Rare Events Data, section 4.2.
    """
    if not contract.labels:
        lines = [
            "# Assumed: say what each unit costs by which an answer is off, and in what.",
            f"unit: {_flow('units of ' + contract.target.name)}",
            "cost_per_unit: 1",
        ]
    else:
        counts = target.values or Counter()
        shares = {label: counts[label] / target.present for label in contract.labels}
        costs = {each: float(f"{1 / len(shares) / share:.3g}") for each, share in shares.items()}
        lines = [
            "# Assumed, the rarer the dearer: say what a wrong answer costs, by the true label.",
            "unit: average mistakes",
            f"costs: {_flow(costs)}",
        ]
    return "".join(f"  {line}\n" for line in [*lines, "hurdle: 0"])


def _usual(contract: Contract, target: Evidence) -> str | float:
    if not contract.labels:
        return target.middle
    return max(contract.labels, key=(target.values or Counter()).__getitem__)


def _comments(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if line.startswith("#"))


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=float("inf"))
    return text.removesuffix("...\n").strip()


def _write(path: Path, new: str, old: str, why: str) -> None:
    if new != old:
        write_bytes(path, new.encode("utf-8"))
        print(f"adopt: {path} changed, as {why}; look at it")
