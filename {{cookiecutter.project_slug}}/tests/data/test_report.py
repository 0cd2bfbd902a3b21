import re
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.data import report, validate
from {{ cookiecutter.package_name }}.data.table import FAULTS, REASONS
from {{ cookiecutter.package_name }}.errors import DataError
from {{ cookiecutter.package_name }}.files import read_json, write_json
from {{ cookiecutter.package_name }}.layout import Layout

SCRIPT = "<script>alert(1)</script>"
PLANTED = "planted-"
# Columns that a table may have beside the contract's: their fields, and their values.
MORE: dict[str, tuple[dict[str, Any], Sequence[Any]]] = {
    "(t) mail": ({"type": "string", "pii": True}, [f"{PLANTED}{row}" for row in range(20)]),
    "(t) phone": ({"type": "integer", "pii": True}, [np.nan]),
    f"(t) {SCRIPT}": ({"type": "string"}, [SCRIPT, f"{SCRIPT}2", "$x^2$"]),
    "(t) one": ({"type": "number"}, [7.0]),
    "(t) none": ({"type": "string"}, [None]),
    "(t) flag": ({"type": "boolean"}, [0.0, 1.0, np.nan]),
    "(t) day": ({"type": "date"}, [datetime(2020, 1, day, tzinfo=UTC) for day in range(1, 20)]),
}


def edit(layout: Layout, *fields: dict[str, Any]) -> None:
    """Change fields of the contract, or add them."""
    content = yaml.safe_load(layout.contract.read_text(encoding="utf-8"))
    known = {field["name"]: field for field in content["fields"]}
    for field in fields:
        known[field["name"]] = known.get(field["name"], {}) | field
    content["fields"] = list(known.values())
    layout.contract.write_text(yaml.safe_dump(content), encoding="utf-8")


@pytest.fixture(scope="module")
def refused(
    pipeline: Layout, contract: Contract, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Layout, str]:
    """A project whose data was refused, and the page on it."""
    folder = tmp_path_factory.mktemp("refused") / "project"
    shutil.copytree(pipeline.root, folder)
    layout = Layout(folder)
    frame = pd.read_parquet(layout.raw)
    for name, (_, values) in MORE.items():
        frame[name] = pd.Series([values[row % len(values)] for row in range(len(frame))])
    frame.loc[: len(frame) // 4, contract.target.name] = None
    # As ingest wrote it while the column was not marked yet.
    frame.loc[0, FAULTS] = f"(t) phone: '{PLANTED}1; {PLANTED}2' is no integer"
    moved = contract.numbers[-1].name
    frame[moved] = frame[moved].max()
    frame.to_parquet(layout.raw, index=False)
    edit(layout, *({"name": name, "role": "group", **MORE[name][0]} for name in MORE))
    with pytest.raises(DataError, match="is refused"):
        validate.run(layout)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    report.run(layout)
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert dict(after.items() - before.items()).keys() == {layout.data_report}
    return layout, layout.data_report.read_text(encoding="utf-8")


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without skrub's part, which takes seconds."""
    monkeypatch.setattr(report, "_look", lambda *_: "")


def section(page: str, title: str) -> str:
    return page.partition(f"<h2>{title}</h2>")[2].partition("<h2>")[0]


def rows(part: str) -> list[list[str]]:
    """The cells of each row of the tables."""
    return [re.findall("<td[^>]*>(.*?)</td>", row) for row in re.findall("<tr.*?</tr>", part)]


def made(layout: Layout) -> str:
    report.run(layout)
    return layout.data_report.read_text(encoding="utf-8")


def test_what_is_wrong_comes_first(refused: tuple[Layout, str], contract: Contract) -> None:
    layout, page = refused
    assert re.findall("^<h2>(.*?)</h2>", page, re.MULTILINE) == [
        "What is wrong",
        "Changes since the accepted version",
        "Rejected rows",
        "Distributions and missing values",
        f"By {escape(contract.target.name)}",
    ]
    found = read_json(layout.validation_report)
    wrong = section(page, "What is wrong")
    assert "This dataset is refused." in wrong
    assert found["refusals"]
    for line in found["refusals"]:
        assert f"<li>{escape(line)}</li>" in wrong
    missing = found["rules"]["missing_target"]["rows"]
    assert ["missing_target <strong>beyond</strong>", "reject", f"{missing:,}"] in [
        row[:3] for row in rows(wrong)
    ]
    share = str(round(1 / found["rows"], 4))
    assert ["wrong_type", "reject", "1", share, "0.01", "(t) phone 1"] in rows(wrong)


def test_a_column_that_moved_is_marked_and_shown_before_and_now(
    refused: tuple[Layout, str], contract: Contract
) -> None:
    layout, page = refused
    changes = section(page, "Changes since the accepted version")
    name = escape(contract.numbers[-1].name)
    index, limit = read_json(layout.validation_report)["drift"][contract.numbers[-1].name]
    first = rows(changes)[1]
    assert first[0] == f"{name} <strong>beyond</strong>"
    assert [float(each.replace(",", "")) for each in first[1:3]] == [
        pytest.approx(index, abs=1e-4),
        pytest.approx(limit, abs=1e-4),
    ]
    parts = rows(changes.partition(f"<h3>{name}</h3>")[2])[1:]
    for place in (1, 2):
        assert sum(float(row[place]) for row in parts) == pytest.approx(1, abs=0.01)
    assert max(float(row[2]) for row in parts) > 0.9


def test_rejected_rows_stand_with_their_reasons(
    refused: tuple[Layout, str], contract: Contract
) -> None:
    layout, page = refused
    rejected = section(page, "Rejected rows")
    found = read_json(layout.validation_report)
    count = found["rules"]["missing_target"]["columns"][contract.target.name]
    assert ["missing_target", escape(contract.target.name), f"{count:,}"] in rows(rejected)
    shown = min(report.MOST_REJECTED, found["rejected"])
    assert f"The first {shown} of {found['rejected']:,}:" in rejected
    reasons = [row[0] for row in rows(rejected) if len(row) > 3]
    assert len(reasons) == shown
    assert reasons.count(f"missing_target: {escape(contract.target.name)}") > 1


def test_personal_data_is_named_and_not_shown(refused: tuple[Layout, str]) -> None:
    layout, page = refused
    assert PLANTED in pd.read_parquet(layout.rejected)[REASONS].str.cat()
    assert "wrong_type: (t) phone: a value" in page
    assert "(t) mail, (t) phone: marked <code>pii</code>" in page
    assert page.count("(t) mail") == 1
    for path in layout.data_report.parent.iterdir():
        assert PLANTED not in path.read_text(encoding="utf-8"), path


def test_text_of_the_data_is_text_on_the_page(refused: tuple[Layout, str]) -> None:
    _, page = refused
    assert escape(SCRIPT) in section(page, "Distributions and missing values")
    assert escape(f"(t) {SCRIPT}") in section(page, "Changes since the accepted version")
    assert "<script>alert" not in page
    assert "$x^2$" in page


def test_the_page_asks_the_network_for_nothing(refused: tuple[Layout, str]) -> None:
    _, page = refused
    assert "Content-Security-Policy\" content=\"default-src 'none'" in page
    assert re.findall(r"<(?!a\b)[^>]*\s(?:src|href)=.?(?:https?:)?//", page) == []
    assert "@import" not in page


def test_the_groups_of_the_target_are_counted_exactly(
    refused: tuple[Layout, str], contract: Contract
) -> None:
    layout, page = refused
    by = section(page, f"By {escape(contract.target.name)}")
    counts = [int(each.replace(",", "")) for each in re.findall(r"<p>([\d,]+) rows, a", page)]
    valid = pd.read_parquet(layout.valid)[contract.target.name]
    assert by.count("<h3>") >= len(counts) > 1
    if contract.labels:
        assert counts == valid.value_counts().head(report.MOST_LABELS).tolist()
    else:
        assert sum(counts) == len(valid)
        assert max(counts) < len(valid) / 2


@pytest.mark.usefixtures("plain")
def test_a_large_table_is_drawn_from(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "SAMPLE", 50)
    size = len(pd.read_parquet(layout.valid))
    assert f"<p>50 of the {size:,} valid rows, drawn at random.</p>" in made(layout)


@pytest.mark.usefixtures("plain")
def test_many_labels_are_cut_and_one_is_enough(layout: Layout, contract: Contract) -> None:
    name = contract.target.name
    frame = pd.read_parquet(layout.valid)
    frame[name] = frame[name].max()
    frame.to_parquet(layout.valid, index=False)
    assert made(layout).count("rows, a share of 1.0000") == 1
    if contract.labels:
        labels = [f"label-{number}" for number in range(report.MOST_LABELS + 2)]
        frame[name] = np.resize(labels, len(frame))
        frame.to_parquet(layout.valid, index=False)
        page = made(layout)
        assert page.count("rows, a share of 0.1") == report.MOST_LABELS
        assert f"as they are rarer: {', '.join(labels[-2:])}." in page


@pytest.mark.usefixtures("plain")
def test_a_dataset_without_a_valid_row_has_a_page(layout: Layout) -> None:
    frame = pd.read_parquet(layout.valid)
    frame.iloc[:0].to_parquet(layout.valid, index=False)
    assert "There is nothing to compare" in made(layout)


@pytest.mark.usefixtures("plain")
def test_without_an_accepted_version_nothing_is_compared(layout: Layout) -> None:
    assert "There is nothing to compare" not in made(layout)
    layout.reference.unlink()
    page = made(layout)
    assert "There is nothing to compare" in page
    assert "Nothing is beyond its limit." in page


@pytest.mark.usefixtures("plain")
def test_the_snapshot_is_named_as_in_the_lock(layout: Layout) -> None:
    assert "not in dvc.lock" in made(layout)
    lock = {"stages": {"ingest": {"outs": [{"path": "data/raw.parquet", "md5": "0a1b2c"}]}}}
    layout.lock.write_text(yaml.safe_dump(lock), encoding="utf-8")
    assert "MD5 0a1b2c, by dvc.lock" in made(layout)


@pytest.mark.usefixtures("plain")
def test_what_is_marked_after_validation_is_not_shown(layout: Layout, contract: Contract) -> None:
    column = next(each for each in contract.features if each.constraints.enum)
    found = read_json(layout.validation_report)
    found["renamed"] = {column.name: f"'{PLANTED}1' is gone"}
    lines = [
        f"renamed_category: of {column.name} '{PLANTED}1' is gone, in like numbers",
        "drift: x",
    ]
    write_json(layout.validation_report, found | {"refusals": lines})
    assert made(layout).count(PLANTED) == 1
    edit(layout, {"name": column.name, "pii": True, "role": "group"})
    if contract.target.is_number:
        edit(layout, {"name": contract.target.name, "pii": True})
    page = made(layout)
    assert PLANTED not in page
    assert "<li>drift: x</li>" in page
    assert (f"<h2>By {contract.target.name}" in page) == bool(contract.labels)


@pytest.mark.parametrize("name", ["validation_report", "valid", "rejected"])
def test_what_is_not_there_yet_is_named(layout: Layout, name: str) -> None:
    getattr(layout, name).unlink()
    with pytest.raises(DataError, match=f"{getattr(layout, name)} is not there yet; run `make tr"):
        report.run(layout)
    assert not layout.data_report.exists()


def test_a_column_that_the_data_lack_is_named(layout: Layout) -> None:
    edit(layout, {"name": "later", "type": "string", "role": "group"})
    with pytest.raises(DataError, match=f"{layout.valid} lacks later of .*; run `make train`"):
        report.run(layout)
    assert not layout.data_report.exists()
