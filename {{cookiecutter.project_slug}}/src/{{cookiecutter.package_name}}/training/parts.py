"""Parts: the slices and groups of rows that have figures of their own."""

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..contract import Column, Contract
from ..errors import TrainingError
from ..features import MISSING_CATEGORY
from ..params import Params

MISSING = "missing"

Values = npt.NDArray[np.object_]


def slice_values(contract: Contract, frame: pd.DataFrame) -> dict[str, Values]:
    """For each feature of listed categories, or true and false: what each row holds."""
    return {
        column.name: _named(frame[column.name])
        for column in contract.features
        if column.constraints.enum is not None or column.type == "boolean"
    }


def group_values(
    contract: Contract, params: Params, train: pd.DataFrame, frame: pd.DataFrame, path: str
) -> dict[str, Values]:
    """For each column with role group: the group that each row belongs to.

    A number is cut at evaluate.bins, or at the quartiles of the training rows.

    Raises:
        TrainingError: a row holds a group that contract.yaml does not declare.
    """
    columns = [column for column in contract.fields if column.role == "group"]
    known = {column.name for column in columns if column.is_number}
    if strange := sorted(set(params.evaluate.bins) - known):
        raise TrainingError(
            f"params.yaml: evaluate.bins names {', '.join(strange)}, no number with role group in"
            f" contract.yaml; those are {', '.join(sorted(known)) or 'none'}"
        )
    found = {}
    for column in columns:
        _refuse_undeclared(column, frame[column.name], path)
        if not column.is_number:
            found[column.name] = _named(frame[column.name])
            continue
        cuts = params.evaluate.bins.get(column.name)
        if cuts is None:
            cuts = np.unique(train[column.name].dropna().quantile([0.25, 0.5, 0.75])).tolist()
        found[column.name] = _cut(frame[column.name], cuts)
    return found


def _refuse_undeclared(column: Column, values: "pd.Series[Any]", path: str) -> None:
    limits = column.constraints
    if column.is_number:
        strange = values[(values < column.minimum) | (values > column.maximum)]
    elif limits.enum is not None:
        strange = values[~values.isna() & ~values.isin(limits.enum)]
    else:
        return
    if len(strange):
        raise TrainingError(
            f"{path}: {column.name} holds {sorted(set(strange))[:5]}, a group that contract.yaml"
            " does not declare, so nobody would look at it; add it there, or correct the rows"
        )


def _named(values: "pd.Series[Any]") -> Values:
    missing = values.isna() | (values == MISSING_CATEGORY)
    return np.where(missing, MISSING, values.astype(str)).astype(object)


def _cut(values: "pd.Series[Any]", cuts: list[float]) -> Values:
    edges = [f"{edge:g}" for edge in cuts]
    names = [f"below {edges[0]}"] if edges else ["all"]
    names += [f"{low} to {high}" for low, high in pairwise(edges)]
    names += [f"from {edges[-1]}"] if edges else []
    places = np.digitize(values.fillna(0).to_numpy(np.float64), cuts)
    return np.where(values.isna(), MISSING, np.array(names, object)[places]).astype(object)
