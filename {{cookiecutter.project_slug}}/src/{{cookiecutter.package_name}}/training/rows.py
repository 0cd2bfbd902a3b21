"""A table of rows as the model's input and its target."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..contract import Contract
from ..errors import TrainingError
from ..features import Encoder, Features


class Rows(NamedTuple):
    """Features and targets of equal length.

    targets: the label's place in the contract's labels (int64), or the value (float64).
    """

    features: Features
    targets: npt.NDArray[np.int64] | npt.NDArray[np.float64]


def to_rows(contract: Contract, frame: pd.DataFrame) -> Rows:
    """Encode a validated table.

    Raises:
        TrainingError: a target is none of the contract's labels.
    """
    columns = {column.name: frame[column.name].tolist() for column in contract.features}
    target = frame[contract.target.name]
    if contract.task == "regression":
        return Rows(Encoder(contract).columns(columns), target.to_numpy(np.float64))
    places = {label: place for place, label in enumerate(contract.labels)}
    unknown = sorted(set(target) - set(places))
    if unknown:
        raise TrainingError(
            f"column {contract.target.name} holds {unknown}, none of the labels"
            f" {list(places)} in contract.yaml; add them there or correct the data"
        )
    codes = np.array([places[label] for label in target], np.int64)
    return Rows(Encoder(contract).columns(columns), codes)
