"""Validate: the rows that keep the contract go on, the others are kept aside with their reasons."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..contract import Column, load_contract
from ..errors import DataError
from ..files import write_json
from ..layout import Layout
from ..params import load_params
from .table import read_table, write_table

REASONS = "(reasons)"
"""The column of the rejected rows that says why; no name of a column that one would choose."""


def run(layout: Layout = Layout()) -> None:
    """Split the snapshot into valid and rejected rows, and report the reasons.

    Raises:
        DataError: a feature has no value at all, or more rows are rejected, or fewer are left,
            than params.yaml allows.
    """
    contract = load_contract(layout.contract)
    limits = load_params(layout.params).validate_
    frame = read_table(layout.raw)
    empty = [column.name for column in contract.features if frame[column.name].isna().all()]
    if empty:
        raise DataError(
            f"{contract.source.path}: {', '.join(empty)} holds no value in any row; give it role"
            f" excluded in {layout.contract}, or add its values"
        )
    reasons: dict[str, int] = {}
    rejected = pd.Series("", index=frame.index, dtype=object)
    for column in contract.fields:
        for reason, broken in _broken(column, frame[column.name]):
            if broken.any():
                reasons[reason] = int(broken.sum())
                rejected[broken] = rejected[broken] + (reason + "; ")
    bad = rejected != ""
    write_table(layout.rejected, frame[bad].assign(**{REASONS: rejected[bad].str.rstrip("; ")}))
    write_table(layout.valid, frame[~bad])
    write_json(
        layout.validation_report,
        {"rows": len(frame), "rejected": int(bad.sum()), "reasons": reasons},
    )
    counts = ", ".join(f"{reason}: {count}" for reason, count in reasons.items()) or "no fault"
    share = float(bad.mean()) if len(frame) else 0.0
    if share > limits.max_rejected_share:
        raise DataError(
            f"{int(bad.sum())} of {len(frame)} rows rejected ({counts}), a share of {share:.4f}"
            f" against validate.max_rejected_share {limits.max_rejected_share} in params.yaml;"
            f" see {layout.rejected}, then correct the source or contract.yaml"
        )
    if (left := int((~bad).sum())) < limits.min_rows:
        raise DataError(
            f"{left} valid rows are left, fewer than validate.min_rows {limits.min_rows} in"
            f" params.yaml; add rows to {contract.source.path}"
        )
    print(f"validate: {left} rows keep the contract, {int(bad.sum())} rejected ({counts})")


def _broken(column: Column, values: "pd.Series[float]") -> Iterator[tuple[str, "pd.Series[bool]"]]:
    """Each rule of a column, and the rows that break it."""
    present = values.notna()
    if column.constraints.required:
        yield f"{column.name} is missing", ~present
    if column.is_number:
        outside = ~values.between(column.minimum, column.maximum) | ~np.isfinite(values)
        yield f"{column.name} is out of range", present & outside
    elif column.constraints.enum is not None:
        yield (
            f"{column.name} is none of its categories",
            present & ~values.isin(column.constraints.enum),
        )
