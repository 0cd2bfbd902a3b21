from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.features import Encoder


@pytest.fixture
def rows(contract: Contract) -> list[dict[str, Any]]:
    return [contract.example, dict.fromkeys(contract.example), contract.example]


@pytest.mark.parametrize("kind", [list, lambda values: np.array(values, object)])
def test_rows_and_columns_are_encoded_alike(
    contract: Contract, rows: list[dict[str, Any]], kind: Callable[[list[Any]], Any]
) -> None:
    columns = {name: kind([row[name] for row in rows]) for name in contract.example}
    by_row, by_column = Encoder(contract).rows(rows), Encoder(contract).columns(columns)
    np.testing.assert_array_equal(by_row.numbers, by_column.numbers)
    np.testing.assert_array_equal(by_row.categories, by_column.categories)


def test_numbers_are_float32_and_nan_where_missing(
    contract: Contract, rows: list[dict[str, Any]]
) -> None:
    numbers = Encoder(contract, ()).rows(rows).numbers
    assert numbers.dtype == np.float32
    assert numbers.shape == (3, len(contract.numbers))
    assert np.isnan(numbers[1]).all()
    expected = [contract.example[column.name] for column in contract.numbers]
    np.testing.assert_array_equal(numbers[0], np.array(expected, np.float32))


def test_a_missing_category_is_a_category_of_its_own(
    contract: Contract, rows: list[dict[str, Any]]
) -> None:
    categories = Encoder(contract, ()).rows(rows).categories
    assert categories.shape == (3, len(contract.categories))
    assert (categories[1] == "").all()
    expected = [contract.example[column.name] for column in contract.categories]
    assert categories[0].tolist() == expected


def test_the_order_of_keys_changes_nothing(contract: Contract) -> None:
    turned = dict(reversed(contract.example.items()))
    first, second = (Encoder(contract).rows([row]) for row in (contract.example, turned))
    np.testing.assert_array_equal(first.table(), second.table())
