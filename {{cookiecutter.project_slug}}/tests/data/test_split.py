import pandas as pd
import pytest

from {{ cookiecutter.package_name }}.data import split
from {{ cookiecutter.package_name }}.data.split import positions
from {{ cookiecutter.package_name }}.errors import DataError
from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.params import Params


def test_every_row_is_on_one_side(layout: Layout) -> None:
    train, test = pd.read_parquet(layout.train), pd.read_parquet(layout.test)
    together = pd.concat([train, test])
    columns = list(together.columns)
    valid = pd.read_parquet(layout.valid)
    pd.testing.assert_frame_equal(
        together.sort_values(columns, ignore_index=True),
        valid.sort_values(columns, ignore_index=True),
    )
    assert train.merge(test, on=columns).empty


def test_the_share_is_kept(layout: Layout, params: Params) -> None:
    share = len(pd.read_parquet(layout.test)) / len(pd.read_parquet(layout.valid))
    assert share == pytest.approx(params.split.test_share, abs=0.05)


def test_a_row_keeps_its_side_when_others_come_or_move(layout: Layout) -> None:
    frame = pd.read_parquet(layout.valid)
    before = pd.Series(positions(frame, 1), index=frame.index)
    moved = frame.sample(frac=0.5, random_state=0)
    assert (pd.Series(positions(moved, 1), index=moved.index) == before[moved.index]).all()
    assert (positions(frame, 2) != before).any()


def test_a_side_without_rows_is_refused(layout: Layout) -> None:
    pd.read_parquet(layout.valid).head(1).to_parquet(layout.valid, index=False)
    with pytest.raises(DataError, match="of 1 rows out, and each side needs two"):
        split.run(layout)
