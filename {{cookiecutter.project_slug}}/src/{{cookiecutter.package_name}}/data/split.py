"""Split: which rows are held out, decided by each row's content alone.

A row keeps its side when others are added, and equal rows share one side, so no copy of a training
row is among those that judge the model.
"""

import hashlib

import numpy as np
import pandas as pd

from ..errors import DataError
from ..layout import Layout
from ..params import load_params
from .table import read_table, write_table


def run(layout: Layout = Layout()) -> None:
    """Write the training and the held-out rows.

    Raises:
        DataError: one side would have fewer than two rows, with which nothing can be measured.
    """
    params = load_params(layout.params)
    frame = read_table(layout.valid)
    held_out = positions(frame, params.seed) < params.split.test_share
    if not 2 <= held_out.sum() <= len(frame) - 2:
        raise DataError(
            f"split.test_share {params.split.test_share} in params.yaml holds"
            f" {int(held_out.sum())} of {len(frame)} rows out, and each side needs two (equal rows"
            " share one); choose another share, or add rows"
        )
    write_table(layout.train, frame[~held_out])
    write_table(layout.test, frame[held_out])
    print(f"split: {int((~held_out).sum())} rows to train on, {int(held_out.sum())} held out")


def positions(frame: pd.DataFrame, seed: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """A number in [0, 1) for each row, from SHA-256 over the seed and the row's values."""
    rows = frame.itertuples(index=False, name=None)
    digests = (hashlib.sha256(repr((seed, row)).encode("utf-8")).digest()[:8] for row in rows)
    return np.array([int.from_bytes(digest, "big") / 2**64 for digest in digests], np.float64)
