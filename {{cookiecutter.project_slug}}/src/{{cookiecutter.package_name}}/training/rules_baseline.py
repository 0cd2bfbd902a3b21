"""The rules baseline: what somebody would answer without a model, as baseline.yaml says."""

import operator
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..contract import Column, Contract
from ..errors import TrainingError
from ..yaml_file import FROM_HERE, Strict, load_yaml
from .rows import to_targets

COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
COMPARISON = re.compile(r"(<=|>=|<|>)\s*(-?\d+(?:\.\d+)?)")

Mask = npt.NDArray[np.bool_]


class Rule(Strict):
    """An answer for the rows in which every condition holds.

    A condition is the column's value, null for a missing one, or "< 5", "<= 5", "> 5", ">= 5".
    """

    when: dict[str, str | int | float | bool | None]
    answer: str | int | float


class Rules(Strict):
    """The first rule that holds answers; `otherwise` answers where none does."""

    rules: list[Rule]
    otherwise: str | int | float


def load_rules(path: Path, contract: Contract) -> Rules:
    """Read the rules.

    Raises:
        TrainingError: the file is missing, or names a column, value or answer that is none.
    """
    given = load_yaml(path, Rules, TrainingError, FROM_HERE)
    known = {column.name: column for column in contract.features}
    for place, rule in enumerate(given.rules, 1):
        for name, condition in rule.when.items():
            if name not in known:
                raise TrainingError(
                    f"{path}: rule {place} asks for {name}, which is no feature of contract.yaml;"
                    f" its features are {', '.join(known)}"
                )
            if not _fits(known[name], condition):
                raise TrainingError(
                    f"{path}: rule {place} compares {name}, a {known[name].type}, with"
                    f' {condition!r}; write a value of it, null, or "< 5"'
                )
    for answer in (*(rule.answer for rule in given.rules), given.otherwise):
        fits = answer in contract.labels if contract.labels else not isinstance(answer, str)
        if not fits:
            wanted = f"one of {', '.join(contract.labels)}" if contract.labels else "a number"
            raise TrainingError(f"{path}: {answer!r} is no answer; write {wanted}")
    return given


def by_rules(
    rules: Rules, contract: Contract, train: pd.DataFrame, frame: pd.DataFrame
) -> npt.NDArray[np.float64]:
    """What the rules answer: values, or the shares of labels behind each answer in training.

    The shares count each label once more than it was seen, so that none is impossible.
    """
    given = _answers(rules, frame)
    if not contract.labels:
        return given.astype(np.float64)
    answered, targets = _answers(rules, train), to_targets(contract, train)
    found = np.zeros((len(frame), len(contract.labels)))
    for label in contract.labels:
        seen = np.bincount(targets[answered == label], minlength=len(contract.labels)) + 1
        found[given == label] = seen / seen.sum()
    return found


def _answers(rules: Rules, frame: pd.DataFrame) -> npt.NDArray[np.object_]:
    found = np.full(len(frame), rules.otherwise, object)
    for rule in reversed(rules.rules):
        holds = np.ones(len(frame), np.bool_)
        for name, condition in rule.when.items():
            holds &= _holds(frame[name], condition)
        found[holds] = rule.answer
    return found


def _holds(values: "pd.Series[Any]", condition: str | float | bool | None) -> Mask:
    if condition is None:
        return values.isna().to_numpy()
    if isinstance(condition, str) and (match := COMPARISON.fullmatch(condition.strip())):
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
        return np.asarray(COMPARE[match[1]](numbers, float(match[2])), np.bool_)
    return (values == condition).fillna(False).to_numpy(np.bool_)


def _fits(column: Column, condition: str | float | bool | None) -> bool:
    if condition is None:
        return True
    if column.type == "boolean":
        return isinstance(condition, bool)
    if not column.is_number:
        enum = column.constraints.enum
        return isinstance(condition, str) and (enum is None or condition in enum)
    if isinstance(condition, str):
        return COMPARISON.fullmatch(condition.strip()) is not None
    return not isinstance(condition, bool)
