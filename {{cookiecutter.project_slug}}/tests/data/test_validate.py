from typing import Any

import numpy as np
import pandas as pd
import pytest

from {{ cookiecutter.package_name }}.contract import Column, Contract
from {{ cookiecutter.package_name }}.data import validate
from {{ cookiecutter.package_name }}.errors import DataError
from {{ cookiecutter.package_name }}.files import read_json
from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.params import Params


def spoil(layout: Layout, name: str, value: Any, rows: int) -> None:
    frame = pd.read_parquet(layout.raw)
    frame.loc[: rows - 1, name] = value
    frame.to_parquet(layout.raw, index=False)


def faults(column: Column) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    if column.constraints.required:
        found.append(("is missing", None))
    if column.is_number:
        found.append(("is out of range", np.inf))
        if column.constraints.minimum is not None:
            found.append(("is out of range", column.minimum - 1))
        if column.constraints.maximum is not None:
            found.append(("is out of range", column.maximum + 1))
    elif column.constraints.enum is not None:
        found.append(("is none of its categories", "surprise"))
    return found


def test_each_rule_of_each_column_rejects_the_row_with_its_reason(
    layout: Layout, contract: Contract
) -> None:
    before = pd.read_parquet(layout.raw)
    for column in contract.fields:
        for reason, value in faults(column):
            spoil(layout, column.name, value, 1)
            validate.run(layout)
            rejected = pd.read_parquet(layout.rejected)
            assert rejected[validate.REASONS].tolist() == [f"{column.name} {reason}"]
            assert len(pd.read_parquet(layout.valid)) == len(before) - 1
            assert read_json(layout.validation_report)["reasons"] == {f"{column.name} {reason}": 1}
            before.to_parquet(layout.raw, index=False)


def test_too_many_rejected_rows_stop_the_pipeline(
    layout: Layout, contract: Contract, params: Params
) -> None:
    limit = params.validate_.max_rejected_share
    too_many = int(limit * len(pd.read_parquet(layout.raw))) + 1
    spoil(layout, contract.target.name, None, too_many)
    with pytest.raises(DataError, match=f"{too_many} of .* rows rejected .*share {limit}"):
        validate.run(layout)
    assert len(pd.read_parquet(layout.rejected)) == too_many


def test_a_feature_without_any_value_is_refused_by_name(layout: Layout, contract: Contract) -> None:
    name = contract.features[0].name
    spoil(layout, name, float("nan"), len(pd.read_parquet(layout.raw)))
    with pytest.raises(DataError, match=f"{name} holds no value in any row"):
        validate.run(layout)


def test_too_few_rows_stop_the_pipeline(layout: Layout, params: Params) -> None:
    least = params.validate_.min_rows
    pd.read_parquet(layout.raw).head(least - 1).to_parquet(layout.raw, index=False)
    with pytest.raises(DataError, match=f"{least - 1} valid rows are left, fewer than .* {least}"):
        validate.run(layout)
