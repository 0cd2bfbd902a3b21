"""Rows to arrays, by the contract: the one encoding that training and serving share."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .contract import Contract

MISSING_CATEGORY = ""
"""The category of its own that stands for a missing one."""


class Features(NamedTuple):
    """The model's two inputs, row by row.

    numbers: float32, shape (rows, numeric features), NaN where missing.
    categories: str objects, shape (rows, categorical features), "" where missing.
    """

    numbers: npt.NDArray[np.float32]
    categories: npt.NDArray[np.object_]

    def table(self) -> npt.NDArray[np.object_]:
        """Both arrays side by side, as scikit-learn takes them: numbers first."""
        return np.hstack([self.numbers.astype(object), self.categories])


class Encoder:
    """Encodes rows of one contract."""

    def __init__(self, contract: Contract) -> None:
        self._numbers = [column.name for column in contract.numbers]
        self._categories = [column.name for column in contract.categories]

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> Features:
        """Encode validated rows, each a mapping from a feature's name to its value or None."""
        shape = (len(rows), len(self._categories))
        numbers = [[row[name] for name in self._numbers] for row in rows]
        categories = [
            [MISSING_CATEGORY if row[name] is None else row[name] for name in self._categories]
            for row in rows
        ]
        return Features(
            np.array(numbers, np.float32).reshape(len(rows), len(self._numbers)),
            np.array(categories, object).reshape(shape),
        )

    def columns(self, table: Mapping[str, Sequence[Any]]) -> Features:
        """Encode a table given by columns of equal length, None or NaN where missing."""
        size = len(next(iter(table.values()))) if table else 0
        numbers = np.empty((size, len(self._numbers)), np.float32)
        categories = np.empty((size, len(self._categories)), object)
        for place, name in enumerate(self._numbers):
            numbers[:, place] = np.array(table[name], np.float32)
        for place, name in enumerate(self._categories):
            categories[:, place] = [
                value if isinstance(value, str) else MISSING_CATEGORY for value in table[name]
            ]
        return Features(numbers, categories)
