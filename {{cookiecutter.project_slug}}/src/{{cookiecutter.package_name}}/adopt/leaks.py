"""Leaks: features that tell the target, found in sampled rows; and the examples of the others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..contract import Column, Contract
from ..data.typed import typed
from ..training.leakage import single_feature
from ..training.rows import to_rows
from .quantity import Decision


def _values(column: Column, sample: pa.Table, content: dict[str, Any]) -> pa.Array:
    decimal = content["source"].get("decimalChar", ".")
    values = typed(column, sample[column.name], content["missingValues"], decimal).values
    if column.is_number:  # as validation rejects them
        beyond = pc.or_(pc.less(values, column.minimum), pc.greater(values, column.maximum))
        values = pc.if_else(beyond, None, values)
    return values


def add_examples(content: dict[str, Any], sample: pa.Table) -> None:
    """Give each number its median as example, and each boolean its most frequent value."""
    for field in content["fields"]:
        if field["role"] != "feature" or field["type"] == "string":
            continue
        column = Column.model_validate(field | {"role": "excluded"})
        values = _values(column, sample, content).drop_null().to_numpy()
        middle = float(np.sort(values)[len(values) // 2]) if len(values) else column.minimum
        middle = min(max(middle, column.minimum), column.maximum)
        kind = {"boolean": bool, "integer": int, "number": float}[field["type"]]
        field["example"] = kind(middle)


def exclude_leaks(
    content: dict[str, Any], decisions: Sequence[Decision], sample: pa.Table, limit: float
) -> None:
    """Exclude each feature that alone predicts the target, unless none would remain."""
    contract = Contract.model_validate(content)
    frame = pa.table(
        {each.name: _values(each, sample, content) for each in contract.kept}
    ).to_pandas()
    target = frame[contract.target.name]
    fit = target.isin(contract.labels) if contract.labels else target.notna()
    halves = [frame[fit].iloc[start::2] for start in (0, 1)]
    if any(half[contract.target.name].nunique() < max(len(contract.labels), 2) for half in halves):
        return  # too few rows to tell
    scores = single_feature(contract, *(to_rows(contract, half) for half in halves))
    leaks = {name: score for name, score in scores.items() if score >= limit}
    if len(leaks) == len(contract.features):
        return  # the gate will say so
    for decision in decisions:
        if (score := leaks.get(decision.field["name"])) is not None:
            decision.field["role"] = "excluded"
            decision.doubts.append(
                f"alone predicts {contract.target.name} (score {score:.3f} of 1), so it may be a"
                " copy of it, known only afterwards; make it a feature if it is known beforehand"
            )
