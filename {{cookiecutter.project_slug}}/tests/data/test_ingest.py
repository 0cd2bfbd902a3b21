from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.data import ingest, validate
from {{ cookiecutter.package_name }}.data.table import FAULTS, JOINED, REASONS
from {{ cookiecutter.package_name }}.errors import DataError
from {{ cookiecutter.package_name }}.layout import Layout

CONTRACT: dict[str, Any] = {
    "name": "orders",
    "title": "Orders",
    "description": "Orders",
    "task": "classification",
    "source": {"path": "data/orders.csv"},
    "fields": [
        {"name": "price", "type": "number", "role": "feature", "example": 1.5},
        {"name": "pieces", "type": "integer", "role": "feature", "example": 2},
        {
            **{"name": "gift", "type": "boolean", "role": "feature", "example": True},
            **{"trueValues": ["ja", "j"], "falseValues": ["nein"]},
        },
        {"name": "town", "type": "string", "role": "feature", "example": "Köln"},
        {"name": "day", "type": "date", "role": "time", "format": "%d.%m.%Y"},
        {"name": "note", "type": "string", "role": "excluded"},
        {
            **{"name": "late", "type": "string", "role": "target"},
            "constraints": {"required": True, "enum": ["no", "yes"]},
        },
    ],
}
ROWS = 300


def edit(path: Path, frame: pd.DataFrame) -> None:
    path.write_text(frame.to_csv(index=False), encoding="utf-8", newline="")


def declare(layout: Layout, **source: str) -> None:
    content = yaml.safe_load(layout.contract.read_text(encoding="utf-8"))
    content["source"] |= source
    layout.contract.write_text(yaml.safe_dump(content), encoding="utf-8")


@pytest.fixture
def layout(root: Path, tmp_path: Path) -> Layout:
    """A project with a table of its own, of every type, in UTF-8 with commas."""
    layout = Layout(tmp_path / "orders")
    (layout.root / "data").mkdir(parents=True)
    layout.contract.write_text(yaml.safe_dump(CONTRACT), encoding="utf-8")
    content = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    content["validate"] |= {"min_rows": 100, "max_rejected_share": 0.01}
    layout.params.write_text(yaml.safe_dump(content), encoding="utf-8")
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "price": [f"{price:.2f}" for price in random.normal(50, 10, ROWS)],
            "pieces": random.integers(1, 9, ROWS).astype(str),
            "gift": random.choice(["ja", "j", "nein", ""], ROWS),
            "town": random.choice(["Köln", "Bern", ""], ROWS),
            "day": [f"{day:02}.03.2024" for day in random.integers(1, 32, ROWS)],
            "note": "nothing",
            "late": random.choice(["no", "yes"], ROWS),
        }
    )
    frame.loc[random.random(ROWS) < 0.1, "price"] = ""
    edit(layout.root / "data/orders.csv", frame)
    ingest.run(layout)
    return layout


@pytest.fixture
def contract() -> Contract:
    return Contract.model_validate(CONTRACT)


@pytest.fixture
def path(layout: Layout, contract: Contract) -> Path:
    return layout.root / contract.source.path


@pytest.fixture
def frame(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def test_text_stays_text_and_numbers_become_numbers(layout: Layout, contract: Contract) -> None:
    snapshot = pd.read_parquet(layout.raw)
    assert list(snapshot.columns) == [*(column.name for column in contract.kept), FAULTS, JOINED]
    for column in contract.kept:
        assert pd.api.types.is_float_dtype(snapshot[column.name]) == column.is_number


def test_nothing_is_lost_or_made_up(
    layout: Layout, contract: Contract, frame: pd.DataFrame
) -> None:
    snapshot = pd.read_parquet(layout.raw)
    assert len(snapshot) == len(frame)
    for column in contract.kept:
        given, taken = frame[column.name], snapshot[column.name]
        assert (taken.isna() == (given == "")).all()
        expected = given[given != ""]
        if column.type == "boolean":
            assert (taken.dropna() == expected.isin(["ja", "j"])).all()
        elif column.is_number:
            assert (taken.dropna() == expected.astype(float)).all()
        elif column.is_time:
            assert (taken.dt.strftime(column.format) == expected).all()
        else:
            assert (taken.dropna() == expected).all()


def test_byte_order_mark_and_windows_line_ends_change_nothing(layout: Layout, path: Path) -> None:
    before = layout.raw.read_bytes()
    text = path.read_text(encoding="utf-8").replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode("utf-8"))
    ingest.run(layout)
    assert layout.raw.read_bytes() == before


def test_a_missing_source_is_refused(layout: Layout, path: Path) -> None:
    path.unlink()
    with pytest.raises(DataError, match="is no file, nor a folder.*correct source.path"):
        ingest.run(layout)


def test_a_lacking_column_is_named(
    layout: Layout, path: Path, frame: pd.DataFrame, contract: Contract
) -> None:
    name = contract.features[0].name
    edit(path, frame.drop(columns=name))
    with pytest.raises(DataError, match=f"lacks {name} of contract.yaml"):
        ingest.run(layout)


def test_an_unknown_column_is_named(layout: Layout, path: Path, frame: pd.DataFrame) -> None:
    edit(path, frame.assign(surprise="1"))
    with pytest.raises(DataError, match="has surprise, which contract.yaml does not know"):
        ingest.run(layout)


@pytest.mark.parametrize("value", ["1,5", "twelve", "0x10", "nan", "inf", "1 000"])
def test_text_in_a_number_is_kept_beside_its_row(
    value: str, layout: Layout, path: Path, frame: pd.DataFrame, contract: Contract
) -> None:
    name, kind = contract.numbers[0].name, contract.numbers[0].type
    frame.loc[2, name] = value
    edit(path, frame)
    ingest.run(layout)
    snapshot = pd.read_parquet(layout.raw)
    assert snapshot.loc[2, FAULTS] == f"{name}: {value!r} is no {kind}"
    assert snapshot[name].isna()[2]
    assert (snapshot[FAULTS] != "").sum() == 1
    validate.run(layout)
    rejected = pd.read_parquet(layout.rejected)
    assert rejected[REASONS].tolist() == [f"wrong_type: {name}: {value!r} is no {kind}"]


def test_a_private_value_is_not_shown(
    layout: Layout, path: Path, frame: pd.DataFrame, contract: Contract
) -> None:
    name = contract.numbers[0].name
    frame.loc[2, name] = "planted"
    edit(path, frame)
    marked = yaml.safe_load(layout.contract.read_text(encoding="utf-8"))
    for field in marked["fields"]:
        field["pii"] = field["type"] != "string"
    layout.contract.write_text(yaml.safe_dump(marked), encoding="utf-8")
    ingest.run(layout)
    faults = pd.read_parquet(layout.raw)[FAULTS]
    assert faults[2] == f"{name}: a value is no {contract.numbers[0].type}"


@pytest.mark.parametrize("value", ["1.5", "9007199254740993", "9007199254740993000"])
def test_a_broken_integer_is_a_fault(
    value: str, layout: Layout, path: Path, frame: pd.DataFrame, contract: Contract
) -> None:
    name = next(column.name for column in contract.numbers if column.type == "integer")
    frame.loc[4, name] = value
    edit(path, frame)
    ingest.run(layout)
    assert pd.read_parquet(layout.raw)[FAULTS][4] == f"{name}: {value!r} is no integer"


def test_more_values_than_names_are_refused(layout: Layout, path: Path) -> None:
    first, *rows = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([first, *(row + ",1" for row in rows)]), encoding="utf-8")
    width = first.count(",") + 1
    with pytest.raises(DataError, match=f"line 2: {width + 1} values where .* {width} columns"):
        ingest.run(layout)


def test_another_encoding_is_refused_with_line_and_byte(layout: Layout, path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b"caf\xe9", *lines[3:]]))
    with pytest.raises(
        DataError, match="line 4, byte 4: 0xE9 is not utf-8; as cp1252 it is '\u00e9'"
    ):
        ingest.run(layout)


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
def test_a_declared_dialect_gives_the_same_snapshot(
    encoding: str, layout: Layout, path: Path, frame: pd.DataFrame
) -> None:
    before = layout.raw.read_bytes()
    frame["price"] = frame["price"].str.replace(".", ",")
    text = frame.to_csv(index=False, sep=";", lineterminator="\r\n")
    path.write_bytes(text.encode(encoding))
    declare(layout, encoding=encoding, delimiter=";", decimalChar=",")
    ingest.run(layout)
    assert layout.raw.read_bytes() == before


def test_an_undeclared_dialect_is_refused(layout: Layout, path: Path, frame: pd.DataFrame) -> None:
    path.write_text(frame.to_csv(index=False, sep=";"), encoding="utf-8")
    with pytest.raises(DataError, match="the delimiter ',' finds one column"):
        ingest.run(layout)


def test_line_breaks_inside_quotes_and_doubled_quotes_stay(
    layout: Layout, path: Path, frame: pd.DataFrame
) -> None:
    name = "town"
    frame.loc[1, name] = 'a "b"\r\nc'
    edit(path, frame)
    ingest.run(layout)
    snapshot = pd.read_parquet(layout.raw)
    assert snapshot.loc[1, name] == 'a "b"\r\nc'
    assert len(snapshot) == len(frame)


@pytest.mark.parametrize("quotes", [1, 2])
def test_a_quote_that_is_not_closed_takes_no_row_with_it(
    quotes: int, layout: Layout, path: Path
) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    for line in (3, 8)[:quotes]:
        lines[line] = '"' + lines[line]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 4: a quoted value is not closed"):
        ingest.run(layout)


@pytest.mark.parametrize(
    ("start", "kind"), [(b"PK\x03\x04", "Excel workbook"), (b"\x1f\x8b", "compressed")]
)
def test_what_is_no_table_is_named(start: bytes, kind: str, layout: Layout, path: Path) -> None:
    path.write_bytes(start + bytes(100))
    with pytest.raises(DataError, match=kind):
        ingest.run(layout)


def test_a_name_that_stands_twice_is_refused(
    layout: Layout, path: Path, frame: pd.DataFrame
) -> None:
    first = frame.columns[0]
    edit(path, frame.rename(columns={frame.columns[1]: first}))
    with pytest.raises(DataError, match=f"{first} names several columns"):
        ingest.run(layout)


def test_a_folder_of_files_is_one_table(layout: Layout, frame: pd.DataFrame) -> None:
    before = pd.read_parquet(layout.raw)
    folder = layout.root / "data" / "parts"
    folder.mkdir()
    edit(folder / "a.csv", frame[:100])
    edit(folder / "b.csv", frame[100:][list(reversed(frame.columns))])
    declare(layout, path="data/parts")
    ingest.run(layout)
    pd.testing.assert_frame_equal(pd.read_parquet(layout.raw), before)


def test_parquet_with_types_of_its_own_gives_the_same_table(layout: Layout) -> None:
    before = pd.read_parquet(layout.raw)
    typed = before.drop(columns=[FAULTS, JOINED]).convert_dtypes()
    typed["gift"] = before["gift"].astype("boolean")
    typed.to_parquet(layout.root / "data" / "typed.parquet", index=False)
    declare(layout, path="data/typed.parquet")
    ingest.run(layout)
    pd.testing.assert_frame_equal(pd.read_parquet(layout.raw), before)


def test_a_broken_parquet_file_is_refused(layout: Layout) -> None:
    path = layout.root / "data" / "broken.parquet"
    path.write_bytes(layout.raw.read_bytes()[:-100])
    declare(layout, path="data/broken.parquet")
    with pytest.raises(DataError, match="broken.parquet is a broken Parquet file"):
        ingest.run(layout)


def test_a_notebook_reads_the_same_table(layout: Layout) -> None:
    pd.testing.assert_frame_equal(ingest.frame(layout), pd.read_parquet(layout.raw))


def test_a_refused_source_leaves_the_old_snapshot(layout: Layout, path: Path) -> None:
    before = layout.raw.read_bytes()
    path.write_text("", encoding="utf-8")
    with pytest.raises(DataError):
        ingest.run(layout)
    assert layout.raw.read_bytes() == before
