"""Bench: the training rows, and what a model loses on those of them that it has not seen."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from ..contract import Contract, load_contract
from ..data.table import read_table
from ..errors import TrainingError
from ..layout import Layout
from ..params import Params, load_params
from ..training.folds import fold_answers
from ..training.measure import Floats, losses
from ..training.rows import Rows, to_rows


class Bench(NamedTuple):
    """What every choice is judged with; no test row is among it."""

    contract: Contract
    params: Params
    frame: pd.DataFrame
    rows: Rows

    def losses(self, model: Pipeline) -> Floats:
        """The mean loss of each fold, shape (folds,): log loss, or squared error.

        Raises:
            TrainingError: the model cannot be fitted, or there are fewer than two folds.
        """
        try:
            answers = list(fold_answers(model, self.rows, self.frame, self.contract, self.params))
        except (ValueError, TypeError) as fault:
            raise TrainingError(
                f"{' '.join(str(model[-1]).split())} cannot be fitted: {fault}; correct params.yaml"
                " or tuning.yaml"
            ) from fault
        if len(answers) < 2:
            raise TrainingError(
                f"the {len(self.frame)} training rows make {len(answers)} folds, and a comparison"
                " needs two; add rows, or another split in params.yaml"
            )
        return np.array(
            [
                losses(self.contract, self.rows.targets[aside], given).mean()
                for given, aside in answers
            ]
        )


def load_bench(layout: Layout) -> Bench:
    """Read the training rows.

    Raises:
        ProjectError: contract.yaml, params.yaml or the rows cannot be used.
    """
    contract = load_contract(layout.contract)
    frame = read_table(layout.train)
    return Bench(contract, load_params(layout.params), frame, to_rows(contract, frame))


def standard_error(values: Floats) -> float:
    """Of the mean of the values, as if they were independent; folds are nearly so.

    Source: Hastie et al. (2009), The Elements of Statistical Learning, section 7.10.
    """
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))
