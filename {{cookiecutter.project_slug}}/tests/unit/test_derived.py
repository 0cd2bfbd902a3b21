"""Derived features from functions of the tests' own, on a contract of their own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.derived import DERIVED, Categories, Numbers
from {{ cookiecutter.package_name }}.errors import ContractError, DerivedError
from {{ cookiecutter.package_name }}.features import Encoder, derived_sha256

FIELDS: list[dict[str, Any]] = [
    {"name": "width", "type": "number", "role": "feature"},
    {"name": "unit price", "type": "integer", "role": "feature"},
    {"name": "sold", "type": "boolean", "role": "feature"},
    {"name": "class", "type": "string", "role": "feature"},
    {"name": "age", "type": "integer", "role": "group"},
    {"name": "secret", "type": "string", "role": "excluded"},
    {"name": "customer", "type": "string", "role": "id"},
    {"name": "since", "type": "date", "role": "time"},
    {"name": "worth", "type": "number", "role": "target", "constraints": {"required": True}},
]
ROW = {"width": 3.0, "unit price": 2, "sold": True, "class": "a"}


def contract_of(fields: list[dict[str, Any]]) -> Contract:
    about = {"name": "own", "title": "", "description": "", "task": "regression"}
    return Contract.model_validate({**about, "source": {"path": "own.csv"}, "fields": fields})


CONTRACT = contract_of(FIELDS)


def width_per_price(width: Numbers, unit_price: Numbers) -> Numbers:
    return width / unit_price


def fate(sold: Numbers, class_: Categories) -> Categories:
    return np.where(sold == 1, class_, "unsold").astype(object)


def encode(function: Any, row: dict[str, Any] = ROW, contract: Contract = CONTRACT) -> Any:
    """What the function makes of one row."""
    numbers, categories = Encoder(contract, [function]).rows([row])
    return numbers[0, 3] if numbers.shape[1] > 3 else categories[0, 1]


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "width": st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False),
            "unit price": st.none() | st.integers(-(2**53), 2**53),
            "sold": st.none() | st.booleans(),
            "class": st.none() | st.text(min_size=1),
        }
    ),
    min_size=1,
)


@given(rows=ROWS)
def test_rows_columns_and_single_rows_are_encoded_alike(rows: list[dict[str, Any]]) -> None:
    encoder = Encoder(CONTRACT, (width_per_price, fate))
    table = {name: [row[name] for row in rows] for name in ROW}
    together, by_column = encoder.rows(rows), encoder.columns(table)
    alone = [encoder.rows([row]) for row in rows]
    for other in (
        by_column.numbers.tobytes(),
        b"".join(each.numbers.tobytes() for each in alone),
    ):
        assert other == together.numbers.tobytes()
    assert by_column.categories.tolist() == together.categories.tolist()
    assert [each.categories[0].tolist() for each in alone] == together.categories.tolist()


def test_derived_features_follow_the_contracts_own() -> None:
    encoder = Encoder(CONTRACT, (fate, width_per_price))
    assert [each.name for each in encoder.numbers[3:]] == ["width_per_price"]
    assert [each.name for each in encoder.categories[1:]] == ["fate"]
    rows = [ROW, {**ROW, "sold": False}, dict.fromkeys(ROW)]
    features = encoder.rows(rows)
    assert features.numbers.dtype == np.float32
    np.testing.assert_array_equal(features.numbers[:, 3], [1.5, 1.5, np.nan])
    assert features.categories.tolist() == [["a", "a"], ["a", "unsold"], ["", "unsold"]]
    plain = Encoder(CONTRACT, ()).rows(rows)
    np.testing.assert_array_equal(features.numbers[:, :3], plain.numbers)
    np.testing.assert_array_equal(features.categories[:, :1], plain.categories)


def test_a_function_reads_float64() -> None:
    def last_digit(unit_price: Numbers) -> Numbers:
        return unit_price % 10

    assert encode(last_digit, {**ROW, "unit price": 2**53 - 1}) == 1


@pytest.mark.parametrize("price", [0, None])
def test_an_infinite_number_is_missing(price: int | None) -> None:
    assert np.isnan(encode(width_per_price, {**ROW, "unit price": price}))


def test_a_number_beyond_float32_is_missing() -> None:
    def huge(width: Numbers) -> Numbers:
        return width * 1e300

    assert np.isnan(encode(huge))


@pytest.mark.parametrize("name", ["age", "secret", "customer", "since", "worth"])
def test_what_the_model_may_not_see_is_refused_by_role(name: str) -> None:
    def sly(width: Numbers) -> Numbers:
        return width

    role = next(field["role"] for field in FIELDS if field["name"] == name)
    renamed = {"width": name, name: "width"}
    fields = [{**field, "name": renamed.get(field["name"], field["name"])} for field in FIELDS]
    with pytest.raises(ContractError, match=f"sly reads width, which has role {role}.*take the"):
        Encoder(contract_of(fields), [sly])


def unknown(height: Numbers) -> Numbers:
    return height


def sold(width: Numbers) -> Numbers:
    return width


def silent(width: Numbers):  # type: ignore[no-untyped-def]  # what is refused
    return width


def floats(width: Numbers) -> float:
    return float(width[0])


def confused(class_: Numbers) -> Numbers:
    return class_


REFUSED: dict[str, tuple[Any, str]] = {
    "no column": ([unknown], "unknown reads height, which names no columns .* are width, unit pr"),
    "a column's name": ([sold], "sold is a column of contract.yaml already; rename"),
    "no annotation": ([silent], "silent does not say what it returns; annotate it with -> Numb"),
    "another annotation": ([floats], "floats does not say what it returns"),
    "another type": ([confused], "confused reads class_, which has type string.*with Categories"),
    "listed twice": ([fate, fate], "DERIVED lists fate twice; keep one"),
    "no tuple": (fate, "DERIVED is a function; put a comma after it"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_function_that_does_not_fit_is_refused(fault: str) -> None:
    functions, message = REFUSED[fault]
    with pytest.raises(ContractError, match=f"^derived.py: {message}"):
        Encoder(CONTRACT, functions)


def test_a_parameter_that_could_name_two_columns_is_refused() -> None:
    fields = [*FIELDS, {"name": "unit_price", "type": "number", "role": "excluded"}]
    with pytest.raises(ContractError, match="unit_price, which names 2 columns"):
        Encoder(contract_of(fields), [width_per_price])


@pytest.mark.parametrize(
    ("found", "kind", "message"),
    [
        (1.0, Numbers, r"float64 of shape \(\) for 1 rows; return an array with one number"),
        ([1.0, 2.0], Numbers, r"float64 of shape \(2,\) for 1 rows"),
        ([[1.0]], Numbers, r"float64 of shape \(1, 1\) for 1 rows"),
        (["a"], Numbers, "<U1 of shape .* one number, NaN where missing"),
        ([None], Numbers, "object of shape"),
        ([None], Categories, 'object of shape .* one text, "" where missing'),
        ([1.0], Categories, "float64 of shape"),
        ("a", Categories, r"<U1 of shape \(\)"),
    ],
)
def test_a_result_of_another_length_or_kind_is_refused(found: Any, kind: Any, message: str) -> None:
    def wrong() -> Any:
        return found if isinstance(found, float) else np.array(found)

    wrong.__annotations__["return"] = kind
    with pytest.raises(DerivedError, match=f"^derived.py: wrong returns {message}"):
        encode(wrong)


def test_whole_numbers_and_truth_values_are_numbers() -> None:
    def wide(width: Numbers) -> Numbers:
        return width > 2  # type: ignore[return-value]  # what is refused

    assert encode(wide) == 1


def test_a_function_that_changes_its_input_is_refused() -> None:
    def meddling(width: Numbers) -> Numbers:
        width[:] = 0
        return width

    with pytest.raises(DerivedError, match="meddling fails on these rows .*read-only"):
        encode(meddling)


def test_a_fault_names_no_private_value() -> None:
    def lookup(class_: Categories) -> Numbers:
        return np.array([{}[word] for word in class_])

    with pytest.raises(DerivedError, match=r"lookup fails on these rows \(KeyError: 'a'\)"):
        encode(lookup)
    plain = contract_of(FIELDS)
    marked = [each.model_copy(update={"pii": each.name == "class"}) for each in plain.fields]
    private = plain.model_copy(update={"fields": marked})
    with pytest.raises(DerivedError, match=r"lookup fails on these rows \(KeyError\)"):
        encode(lookup, contract=private)


def test_the_hash_is_the_same_with_other_line_ends(tmp_path: Path) -> None:
    found = []
    for content in (b"a\nb\n", b"a\r\nb\r\n", b"a\nc\n"):
        (tmp_path / "derived.py").write_bytes(content)
        found.append(derived_sha256(tmp_path / "derived.py"))
    assert found[0] == found[1] != found[2]


def test_the_teams_own_features_fit_the_contract(contract: Contract) -> None:
    names = [each.name for each in (*Encoder(contract).numbers, *Encoder(contract).categories)]
    assert len(names) == len(contract.features) + len(DERIVED)
