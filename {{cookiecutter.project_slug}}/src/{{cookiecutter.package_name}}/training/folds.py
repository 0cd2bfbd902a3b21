"""Folds: training rows that are set aside in turns, for choices that no test row may decide."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone

from ..contract import Contract
from ..data.split import positions, together
from ..params import Params
from .rows import Rows

FOLDS = 5


def folds(
    frame: pd.DataFrame, contract: Contract, params: Params
) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Places of rows to fit on and of rows set aside, by the rule that holds the test rows out.

    By time, each part is judged by a model of the parts before it.
    """
    if params.split.by == "time" and contract.time is not None:
        order = np.argsort(frame[contract.time.name].to_numpy(), kind="stable")
        parts = np.array_split(order, FOLDS + 1)
        for number in range(1, len(parts)):
            yield np.concatenate(parts[:number]), parts[number]
        return
    names = together(contract, params.split) or list(frame.columns)
    # Positions of the split's own seed have chosen the test rows, so these lack a part of them.
    parts_of = (positions(frame[names], params.seed + 1) * FOLDS).astype(int)
    for number in range(FOLDS):
        yield np.flatnonzero(parts_of != number), np.flatnonzero(parts_of == number)


def fold_answers(
    model: Any, rows: Rows, frame: pd.DataFrame, contract: Contract, params: Params
) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]]:
    """For each fold, answers to its rows by a model that has not seen them, and their places.

    The answers are probabilities, shape (rows, labels), or values, shape (rows,).
    """
    table = rows.features.table()
    for seen, aside in folds(frame, contract, params):
        if not len(aside) or not len(seen):
            continue
        fitted = clone(model).fit(table[seen], rows.targets[seen])
        if contract.labels:
            given = np.zeros((len(aside), len(contract.labels)))
            given[:, fitted.classes_] = fitted.predict_proba(table[aside])
        else:
            given = np.asarray(fitted.predict(table[aside]), np.float64)
        yield given, aside


def unseen_answers(
    model: Any, rows: Rows, frame: pd.DataFrame, contract: Contract, params: Params
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """The answers of all folds, and the rows' places."""
    found, places = zip(*fold_answers(model, rows, frame, contract, params), strict=True)
    return np.concatenate(found), np.concatenate(places)
