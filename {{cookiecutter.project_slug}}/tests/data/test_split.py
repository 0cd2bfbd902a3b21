from typing import Any

import numpy as np
import pandas as pd
import pytest

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.data import split
from {{ cookiecutter.package_name }}.data.split import positions, sides
from {{ cookiecutter.package_name }}.errors import DataError
from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.params import Params, Split


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


@pytest.fixture
def frame() -> pd.DataFrame:
    """2,000 orders of 300 customers over a year, sorted by label and time."""
    random = np.random.default_rng(0)
    size = 2_000
    label = np.sort(random.choice(["no", "yes"], size, p=[0.9, 0.1]))
    days = np.sort(random.integers(0, 365, size))
    return pd.DataFrame(
        {
            "customer": random.integers(0, 300, size).astype(float),
            "at": pd.Timestamp("2025-01-01", tz="UTC") + pd.to_timedelta(days, unit="D"),
            "city": random.choice([f"city {place}" for place in range(60)], size),
            "x": random.normal(size=size),
            "y": label,
        }
    )


def described(**roles: str) -> Contract:
    field = {
        "x": "number",
        "y": "string",
        "customer": "integer",
        "at": "datetime",
        "city": "string",
    }
    columns: list[dict[str, Any]] = [
        {"name": name, "type": kind, "role": roles.get(name, "group")}
        for name, kind in field.items()
    ]
    columns[0] |= {"role": "feature", "example": 1.0}
    columns[1] |= {"role": "target", "constraints": {"required": True, "enum": ["no", "yes"]}}
    return Contract.model_validate(
        {
            "name": "orders",
            "title": "Orders",
            "description": "Orders",
            "task": "classification",
            "source": {"path": "orders.csv"},
            "fields": columns,
        }
    )


def test_no_id_is_on_both_sides(frame: pd.DataFrame) -> None:
    held_out, left_out = sides(
        frame, described(customer="id"), Split(by="random", test_share=0.2), 1
    )
    assert set(frame["customer"][held_out]).isdisjoint(frame["customer"][~held_out])
    assert not left_out.any()
    assert held_out.mean() == pytest.approx(0.2, abs=0.06)


def test_no_group_is_on_both_sides(frame: pd.DataFrame) -> None:
    how = Split(by="group", test_share=0.2, column="city")
    held_out, _ = sides(frame, described(), how, 1)
    assert set(frame["city"][held_out]).isdisjoint(frame["city"][~held_out])
    with pytest.raises(DataError, match="split.column in params.yaml is town, none of the columns"):
        sides(frame, described(), how.model_copy(update={"column": "town"}), 1)


def test_by_time_the_latest_rows_judge_and_none_of_their_ids_train(frame: pd.DataFrame) -> None:
    how = Split(by="time", test_share=0.2)
    held_out, left_out = sides(frame, described(customer="id", at="time"), how, 1)
    assert frame["at"][held_out].min() > frame["at"][~held_out].max()
    assert held_out.mean() == pytest.approx(0.2, abs=0.02)
    train = ~held_out & ~left_out
    assert set(frame["customer"][held_out]).isdisjoint(frame["customer"][train])
    held_out, left_out = sides(frame, described(at="time"), how, 1)
    assert not left_out.any()


def test_by_time_needs_times(frame: pd.DataFrame) -> None:
    how = Split(by="time", test_share=0.2)
    with pytest.raises(DataError, match="no field of contract.yaml has role time"):
        sides(frame, described(), how, 1)
    frame.loc[3, "at"] = pd.NaT
    with pytest.raises(DataError, match="at is missing in 1 rows"):
        sides(frame, described(at="time"), how, 1)


def test_each_label_is_held_out_alike_and_never_by_the_order_of_rows(frame: pd.DataFrame) -> None:
    how = Split(by="random", test_share=0.2)
    held_out, _ = sides(frame, described(), how, 1)
    for label, rows in frame.groupby("y"):
        # Three standard deviations of a binomial share.
        chance = 3 * (0.2 * 0.8 / len(rows)) ** 0.5
        assert held_out[rows.index].mean() == pytest.approx(0.2, abs=chance), label
    shuffled = frame.sample(frac=1, random_state=0)
    again, _ = sides(shuffled, described(), how, 1)
    assert (again == held_out[shuffled.index]).all()


@pytest.mark.parametrize("roles", [{}, {"customer": "id"}])
def test_a_row_keeps_its_side_when_rows_are_added(
    frame: pd.DataFrame, roles: dict[str, str]
) -> None:
    how = Split(by="random", test_share=0.2)
    before, _ = sides(frame[:1500], described(**roles), how, 1)
    after, _ = sides(frame, described(**roles), how, 1)
    assert (after[:1500] == before).all()


def test_a_rare_label_is_held_out_too(frame: pd.DataFrame) -> None:
    few = pd.concat([frame[frame["y"] == "no"], frame[frame["y"] == "yes"].head(3)])
    for seed in range(20):
        held_out, _ = sides(few, described(), Split(by="random", test_share=0.2), seed)
        assert (few["y"][held_out] == "yes").any()
