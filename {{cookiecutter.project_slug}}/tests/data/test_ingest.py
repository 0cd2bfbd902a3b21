from pathlib import Path

import pandas as pd
import pytest
import yaml

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.data import source
from {{ cookiecutter.package_name }}.errors import DataError
from {{ cookiecutter.package_name }}.layout import Layout


@pytest.fixture
def path(layout: Layout, contract: Contract) -> Path:
    return layout.root / contract.source.path


def edit(path: Path, frame: pd.DataFrame) -> None:
    path.write_text(frame.to_csv(index=False), encoding="utf-8", newline="")


@pytest.fixture
def frame(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def test_text_stays_text_and_numbers_become_numbers(layout: Layout, contract: Contract) -> None:
    snapshot = pd.read_parquet(layout.raw)
    assert list(snapshot.columns) == [column.name for column in contract.fields]
    for column in contract.fields:
        assert pd.api.types.is_float_dtype(snapshot[column.name]) == column.is_number


def test_nothing_is_lost_or_made_up(
    layout: Layout, contract: Contract, frame: pd.DataFrame
) -> None:
    snapshot = pd.read_parquet(layout.raw)
    assert len(snapshot) == len(frame)
    for column in contract.fields:
        given, taken = frame[column.name], snapshot[column.name]
        assert (taken.isna() == (given == "")).all()
        expected = given[given != ""]
        if column.is_number:
            assert (taken.dropna() == expected.astype(float)).all()
        else:
            assert (taken.dropna() == expected).all()


def test_byte_order_mark_and_windows_line_ends_change_nothing(layout: Layout, path: Path) -> None:
    before = layout.raw.read_bytes()
    text = path.read_text(encoding="utf-8").replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode("utf-8"))
    source.run(layout)
    assert layout.raw.read_bytes() == before


def test_a_missing_source_is_refused(layout: Layout, path: Path) -> None:
    path.unlink()
    with pytest.raises(DataError, match="cannot be read .No such file.*correct .source."):
        source.run(layout)


def test_a_lacking_column_is_named(
    layout: Layout, path: Path, frame: pd.DataFrame, contract: Contract
) -> None:
    name = contract.features[0].name
    edit(path, frame.drop(columns=name))
    with pytest.raises(DataError, match=f"lacks {name} of contract.yaml"):
        source.run(layout)


def test_an_unknown_column_is_named(layout: Layout, path: Path, frame: pd.DataFrame) -> None:
    edit(path, frame.assign(surprise="1"))
    with pytest.raises(DataError, match="has surprise, which contract.yaml does not know"):
        source.run(layout)


@pytest.mark.parametrize("value", ["1,5", "n/a", "twelve", "0x10"])
def test_text_in_a_number_is_named(
    value: str, layout: Layout, path: Path, frame: pd.DataFrame, contract: Contract
) -> None:
    name = contract.numbers[0].name
    frame.loc[2, name] = value
    edit(path, frame)
    with pytest.raises(DataError, match=f"row 3, column {name}: '{value}' is no"):
        source.run(layout)


def test_a_private_value_is_not_shown(
    layout: Layout, path: Path, frame: pd.DataFrame, contract: Contract
) -> None:
    name = contract.numbers[0].name
    frame.loc[2, name] = "planted"
    edit(path, frame)
    marked = yaml.safe_load(layout.contract.read_text(encoding="utf-8"))
    for field in marked["fields"]:
        field["pii"] = True
    layout.contract.write_text(yaml.safe_dump(marked), encoding="utf-8")
    with pytest.raises(DataError, match=f"row 3, column {name}: a value is no") as refusal:
        source.run(layout)
    assert "planted" not in str(refusal.value)


@pytest.mark.parametrize("value", ["1.5", "9007199254740993000"])
def test_a_broken_integer_is_named(
    value: str, layout: Layout, path: Path, frame: pd.DataFrame, contract: Contract
) -> None:
    name = next(column.name for column in contract.numbers if column.type == "integer")
    frame.loc[4, name] = value
    edit(path, frame)
    with pytest.raises(DataError, match=f"row 5, column {name}: '{value}' is no integer"):
        source.run(layout)


def test_more_values_than_names_are_refused(layout: Layout, path: Path) -> None:
    first, *rows = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([first, *(row + ",1" for row in rows)]), encoding="utf-8")
    with pytest.raises(DataError, match="more values in a row than columns in its first line"):
        source.run(layout)


def test_another_encoding_is_refused(layout: Layout, path: Path) -> None:
    path.write_bytes(path.read_bytes() + "caf\u00e9".encode("latin-1"))
    with pytest.raises(DataError, match="is no comma-separated file in UTF-8"):
        source.run(layout)


def test_a_refused_source_leaves_the_old_snapshot(layout: Layout, path: Path) -> None:
    before = layout.raw.read_bytes()
    path.write_text("", encoding="utf-8")
    with pytest.raises(DataError):
        source.run(layout)
    assert layout.raw.read_bytes() == before
