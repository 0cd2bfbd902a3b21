"""Split: which rows are held out, so that no row, id or group is on both sides.

A row's side is decided by a hash of its id, its group, or else its whole content, so it keeps its
side when others are added, whatever their order, and equal rows share one. Within each label the
same share is held out, but for chance; cut to the exact share, rows would change sides.
"""

import hashlib

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..contract import Contract, load_contract
from ..errors import DataError
from ..layout import Layout
from ..params import Split, load_params
from .table import read_table, write_table

Mask = npt.NDArray[np.bool_]


def run(layout: Layout = Layout()) -> None:
    """Write the training and the held-out rows.

    Raises:
        DataError: the split needs a column that is not there or not filled, or one side would
            have fewer than two rows, with which nothing can be measured.
    """
    contract = load_contract(layout.contract)
    params = load_params(layout.params)
    frame = read_table(layout.valid)
    held_out, left_out = sides(frame, contract, params.split, params.seed)
    train = ~held_out & ~left_out
    if min(held_out.sum(), train.sum()) < 2:
        raise DataError(
            f"split.test_share {params.split.test_share} in {layout.params} holds"
            f" {int(held_out.sum())} of {len(frame)} rows out, and each side needs two (equal rows,"
            " ids and groups share one); choose another share, or add rows"
        )
    write_table(layout.train, frame[train])
    write_table(layout.test, frame[held_out])
    print(
        f"split: {int(train.sum())} rows to train on, {int(held_out.sum())} held out"
        + (f", {int(left_out.sum())} left out, as their id is held out" if left_out.any() else "")
    )


def sides(frame: pd.DataFrame, contract: Contract, split: Split, seed: int) -> tuple[Mask, Mask]:
    """Which rows are held out, and which belong to neither side.

    Raises:
        DataError: `split` needs a column that the contract does not have, or that lacks values.
    """
    keys = together(contract, split)
    names = list(frame.columns) if keys is None else keys
    if split.by != "time":
        held_out = _with_every_label(frame, contract, split, positions(frame[names], seed))
        return held_out, np.zeros(len(frame), np.bool_)
    if contract.time is None:
        raise DataError(
            "split.by in params.yaml is time, but no field of contract.yaml has role time; give it"
            " to one, or split by random"
        )
    times = frame[contract.time.name]
    if times.isna().any():
        raise DataError(
            f"split.by in params.yaml is time, but {contract.time.name} is missing in"
            f" {int(times.isna().sum())} rows; make it required in contract.yaml"
        )
    cut = times.sort_values().iloc[int(len(times) * (1 - split.test_share))]
    held_out = (times >= cut).to_numpy()
    if keys is None:
        return held_out, np.zeros(len(frame), np.bool_)
    known = pd.MultiIndex.from_frame(frame.loc[held_out, keys])
    return held_out, pd.MultiIndex.from_frame(frame[keys]).isin(known) & ~held_out


def together(contract: Contract, split: Split) -> list[str] | None:
    """The columns whose equal values stay on one side; None for the whole row.

    Raises:
        DataError: `split` names a column that the contract does not have.
    """
    if split.by == "group":
        kept = [column.name for column in contract.kept]
        if split.column not in kept:
            raise DataError(
                f"split.column in params.yaml is {split.column}, none of the columns"
                f" {', '.join(kept)}; name the one whose rows belong together"
            )
        return [split.column]
    repeating = [column.name for column in contract.ids if not column.constraints.unique]
    return repeating or [column.name for column in contract.ids] or None


def _with_every_label(
    frame: pd.DataFrame, contract: Contract, split: Split, places: npt.NDArray[np.float64]
) -> Mask:
    """The rows placed below the share; of a label that had none, those placed lowest."""
    held_out = places < split.test_share
    for label in contract.labels:
        mine = (frame[contract.target.name] == label).to_numpy()
        if mine.any() and not (held_out & mine).any():
            held_out |= places == places[mine].min()
    return held_out


def positions(frame: pd.DataFrame, seed: int) -> npt.NDArray[np.float64]:
    """A number in [0, 1) for each row, from SHA-256 over the seed and the row's values."""
    rows = frame.itertuples(index=False, name=None)
    digests = (hashlib.sha256(repr((seed, row)).encode("utf-8")).digest()[:8] for row in rows)
    return np.array([int.from_bytes(digest, "big") / 2**64 for digest in digests], np.float64)
