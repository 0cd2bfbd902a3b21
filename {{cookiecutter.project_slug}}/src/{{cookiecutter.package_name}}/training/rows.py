"""A table of rows as the model's input and its target."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..contract import Contract
from ..errors import TrainingError
from ..features import Encoder, Features

ROWS_ALONE = 50
"""Rows looked at alone; a feature that depends on its neighbours shows in nearly any of them."""

BACKGROUND_ROWS = 100
"""Rows with which explanations compare a row, or all where there are fewer."""


class Rows(NamedTuple):
    """Features and targets of equal length.

    targets: the label's place in the contract's labels (int64), or the value (float64).
    """

    features: Features
    targets: npt.NDArray[np.int64] | npt.NDArray[np.float64]


def to_rows(contract: Contract, frame: pd.DataFrame) -> Rows:
    """Encode a validated table.

    Raises:
        TrainingError: a target is none of the contract's labels, or a derived feature of a row
            depends on the rows beside it.
    """
    return Rows(_encode(contract, frame), to_targets(contract, frame))


def to_targets(contract: Contract, frame: pd.DataFrame) -> npt.NDArray[Any]:
    """The targets as `Rows` holds them.

    Raises:
        TrainingError: one is none of the contract's labels.
    """
    target = frame[contract.target.name]
    if contract.task == "regression":
        return target.to_numpy(np.float64)
    places = {label: place for place, label in enumerate(contract.labels)}
    unknown = sorted(set(target) - set(places))
    if unknown:
        raise TrainingError(
            f"column {contract.target.name} holds {unknown}, none of the labels"
            f" {list(places)} in contract.yaml; add them there or correct the data"
        )
    return np.array([places[label] for label in target], np.int64)


def _encode(contract: Contract, frame: pd.DataFrame) -> Features:
    """All rows together; some of them are encoded alone, too, as the service may meet them."""
    columns = {column.name: frame[column.name].tolist() for column in contract.features}
    encoder = Encoder(contract)
    together = encoder.columns(columns)
    for place in range(0, len(frame), len(frame) // ROWS_ALONE + 1):
        alone = encoder.columns(
            {name: values[place : place + 1] for name, values in columns.items()}
        )
        same = [
            *np.isclose(alone.numbers[0], together.numbers[place], 1e-5, 0, equal_nan=True),
            *(alone.categories[0] == together.categories[place]),
        ]
        if not all(same):
            name = [*encoder.numbers, *encoder.categories][same.index(False)].name
            raise TrainingError(
                f"derived.py: {name} differs when row {place} comes alone, as in serving; compute"
                " it from its own row, and write what it needs of the others down as a constant"
            )
    return together


def to_background(contract: Contract, frame: pd.DataFrame, seed: int) -> list[dict[str, Any]]:
    """A sample of the rows as requests hold them, the same one for the same table and seed.

    It leaves with the model, so a number marked pii is the column's median in all of them.
    """
    kinds: dict[str, Callable[[Any], Any]] = {
        "boolean": bool,
        "integer": round,
        "number": float,
        "string": str,
    }
    drawn = np.random.default_rng(seed).permutation(len(frame))[:BACKGROUND_ROWS]
    columns = {}
    for column in contract.features:
        values = frame[column.name]
        sample = [values.median()] * len(drawn) if column.pii else values.iloc[drawn]
        kind = kinds[column.type]
        columns[column.name] = [None if pd.isna(value) else kind(value) for value in sample]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
