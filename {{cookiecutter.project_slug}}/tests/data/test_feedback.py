import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from dvc.repo import Repo
from fastapi.testclient import TestClient

from {{ cookiecutter.package_name }}.contract import Contract, load_contract
from {{ cookiecutter.package_name }}.data import feedback, ingest, labels, source, split, validate
from {{ cookiecutter.package_name }}.data.typed import texts
from {{ cookiecutter.package_name }}.errors import ContractError, DataError
from {{ cookiecutter.package_name }}.files import read_json
from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.params import Params

NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)
DAY = timedelta(days=1)
KEY = "customer number of the tests"

Row = dict[str, Any]


class Case:
    """A project whose contract has two certain answers, and a log and labels to write."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.log, self.csv = layout.root / "log.jsonl", layout.root / "labels.csv"
        frame = pd.read_parquet(layout.raw)
        self.answers = sorted(frame[self.contract.target.name].dropna().unique())[:2]
        self.log.write_text("", encoding="utf-8")

    @property
    def contract(self) -> Contract:
        return load_contract(self.layout.contract)

    def edit(self, change: Callable[[list[Row]], Any]) -> None:
        content = yaml.safe_load(self.layout.contract.read_text(encoding="utf-8"))
        change(content["fields"])
        self.layout.contract.write_text(yaml.safe_dump(content), encoding="utf-8")

    def predict(self, name: str, time: datetime = NOON, inputs: Row | None = None) -> None:
        known = {each.name: each.example for each in self.contract.features if not each.pii}
        record = {"time": time.isoformat(), "prediction_id": name, "inputs": known | (inputs or {})}
        with self.log.open("a", encoding="utf-8", newline="") as file:
            file.write(json.dumps(record) + "\n")

    def label(self, name: str, answer: int = 0, time: object = NOON + DAY) -> Row:
        target = self.contract.target.name
        return {"prediction_id": name, "time": time, target: self.answers[answer]}

    def join(self, *labels: Row) -> Row:
        pd.DataFrame(labels).to_csv(self.csv, index=False, encoding="utf-8")
        feedback.run(self.layout, truth=str(self.csv), log=str(self.log))
        report: Row = read_json(self.layout.feedback_report)
        parts = ("joined", "duplicate", "conflicting", "late", "orphan", "invalid")
        assert report["labels"] == len(labels) == sum(report[part] for part in parts)
        return report

    def kept(self) -> dict[str, Any]:
        frame = pd.read_parquet(self.layout.feedback)
        return dict(zip(frame["prediction_id"], frame[self.contract.target.name], strict=True))


@pytest.fixture
def case(layout: Layout) -> Case:
    return Case(layout)


def drop(fields: list[Row], role: str) -> None:
    fields[:] = [field for field in fields if field["role"] != role]


def add_key(fields: list[Row], **changes: Any) -> None:
    drop(fields, "id")
    fields.append({"name": KEY, "type": "integer", "role": "id", **changes})


def some(report: Row) -> Row:
    """What of the counts is more than nothing, but for what each join has."""
    rest = {"labels", "predictions", "rows", "invalid_examples"}
    return {key: value for key, value in report.items() if value and key not in rest}


def test_a_label_meets_its_prediction(case: Case) -> None:
    case.predict("p")
    case.predict("q")
    assert some(case.join(case.label("p", 1))) == {"joined": 1, "added": 1, "waiting": 1}
    assert case.kept() == {"p": case.answers[1]}
    frame = pd.read_parquet(case.layout.feedback)
    expected = ["prediction_id", "label_time", *(column.name for column in case.contract.kept)]
    assert list(frame.columns) == expected
    assert frame["label_time"].tolist() == [NOON + DAY]


def test_the_first_label_stays_wherever_it_stands(case: Case) -> None:
    case.predict("p")
    later = case.label("p", 1, NOON + 2 * DAY)
    report = case.join(later, case.label("p", 0), later)
    assert some(report) == {"joined": 1, "added": 1, "conflicting": 2}
    assert case.kept() == {"p": case.answers[0]}


def test_the_same_label_again_is_a_duplicate(case: Case) -> None:
    case.predict("p")
    labels = [case.label("p"), case.label("p"), case.label("p", 0, NOON + 2 * DAY)]
    assert some(case.join(*labels)) == {"joined": 1, "added": 1, "duplicate": 2}


def test_of_two_labels_at_one_time_none_is_kept(case: Case) -> None:
    case.predict("p")
    labels = [case.label("p", 0), case.label("p", 1), case.label("p", 1, NOON + 2 * DAY)]
    assert some(case.join(*labels)) == {"conflicting": 3}
    assert not case.layout.feedback.exists()


def test_a_label_after_the_window_is_late(case: Case, params: Params) -> None:
    case.predict("p")
    case.predict("q")
    end = NOON + params.feedback.max_delay_days * DAY
    labels = [case.label("p", 0, end), case.label("q", 0, end + timedelta(seconds=1))]
    assert some(case.join(*labels)) == {"joined": 1, "added": 1, "late": 1, "waiting": 1}
    assert list(case.kept()) == ["p"]


def test_a_label_without_an_earlier_prediction_is_an_orphan(case: Case) -> None:
    case.predict("p")
    case.predict("q")
    before = case.label("q", 0, NOON - timedelta(seconds=1))
    labels = [case.label("nobody"), before, case.label("p", 0, NOON)]
    assert some(case.join(*labels)) == {"joined": 1, "added": 1, "orphan": 2, "waiting": 1}
    assert list(case.kept()) == ["p"]


@pytest.mark.parametrize("value", ["surprise", "", "nan", "1_000", "1e400"])
def test_a_label_that_the_contract_does_not_allow_is_invalid(value: str, case: Case) -> None:
    case.predict("p")
    report = case.join({**case.label("p"), case.contract.target.name: value})
    assert some(report) == {"invalid": 1, "waiting": 1}
    assert report["invalid_examples"] == [f"row 1: '{value}'"]


def mark_private(fields: list[Row]) -> None:
    for field in fields:
        field["pii"] = field["type"] != "string" or field["role"] not in {"feature", "target"}


def test_few_invalid_labels_are_shown_and_none_of_a_private_target(case: Case) -> None:
    wrong = {**case.label("p"), case.contract.target.name: "planted"}
    assert len(case.join(*[wrong] * 9)["invalid_examples"]) == 5
    case.edit(mark_private)
    report = case.join(wrong)
    assert report["invalid"] == 1
    assert ("planted" in json.dumps(report)) == bool(case.contract.labels)


def test_torn_lines_are_skipped_and_counted(case: Case) -> None:
    case.predict("p")
    torn = case.log.read_bytes()[:-20]
    case.log.write_bytes(torn + b"\n")
    case.predict("q")
    case.log.write_bytes(case.log.read_bytes() + torn[:40])
    assert some(case.join(case.label("q"))) == {"joined": 1, "added": 1, "torn": 2}


@pytest.mark.parametrize(
    "line", [b"serve: on", b"{}", b"[]", b'{"time": "noon"}', b'{"time" 1}', b'{"a": "\xff"}']
)
def test_another_line_is_refused_by_its_number(line: bytes, case: Case) -> None:
    case.predict("p")
    case.log.write_bytes(case.log.read_bytes() + line + b"\n")
    with pytest.raises(DataError, match=r"log.jsonl line 2 is no prediction .*; take it out"):
        case.join(case.label("p"))


def test_a_logged_time_that_is_none_is_refused_by_its_line(case: Case) -> None:
    case.predict("p")
    noon = b'{"time": "noon", "prediction_id": 1, "inputs": {}}'
    case.log.write_bytes(case.log.read_bytes() + noon)
    with pytest.raises(DataError, match="log.jsonl line 2, column time: 'noon' is no datetime"):
        case.join(case.label("p"))


def test_what_the_log_holds_is_kept_exactly(case: Case) -> None:
    case.edit(lambda fields: add_key(fields, name="flag", type="boolean", trueValues=["yes", "1"]))
    number = next(each for each in case.contract.numbers if each.type == "number").name
    values = [0.1 + 0.2, 1e-5, 2.0**70, 1 / 3, None]
    for place, value in enumerate(values):
        case.predict(str(place), inputs={number: value, "flag": value != 1e-5})
    case.join(*(case.label(str(place)) for place in range(len(values))))
    frame = pd.read_parquet(case.layout.feedback)
    assert frame[number].tolist()[:4] == values[:4]
    assert frame[number].isna().tolist() == [False] * 4 + [True]
    assert frame["flag"].tolist() == [1.0, 0.0, 1.0, 1.0, 1.0]


def test_markers_of_missing_values_hold_for_labels_not_for_the_log(case: Case) -> None:
    case.edit(lambda fields: add_key(fields, type="string"))
    content = yaml.safe_load(case.layout.contract.read_text(encoding="utf-8"))
    content["missingValues"] = ["", "none"]
    case.layout.contract.write_text(yaml.safe_dump(content), encoding="utf-8")
    case.predict("p", inputs={KEY: "none"})
    case.predict("q")
    case.join({**case.label("p"), KEY: "none"}, {**case.label("q"), KEY: "none"})
    frame = pd.read_parquet(case.layout.feedback)
    assert frame[KEY].isna().tolist() == [False, True]


def test_rows_and_lines_are_counted_across_batches(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "LINES_AT_ONCE", 2)
    monkeypatch.setattr(source, "BLOCK_BYTES", 150)
    for place in range(8):
        case.predict(str(place))
    given = [case.label(str(place)) for place in range(8)]
    assert some(case.join(*given)) == {"joined": 8, "added": 8}
    target = case.contract.target.name
    assert case.join(*given[:7], {**given[7], target: "x"})["invalid_examples"] == ["row 8: 'x'"]
    with pytest.raises(DataError, match="row 8, column time: 'noon'"):
        case.join(*given[:7], case.label("7", 0, "noon"))
    case.log.write_bytes(case.log.read_bytes() + b"\n".join([b"{"] * 3 + [b"no"]))
    with pytest.raises(DataError, match="line 12 is no prediction"):
        case.join(*given)


def test_joining_again_changes_no_byte(case: Case) -> None:
    for name in ("q", "p", "r"):
        case.predict(name)
    first = case.join(case.label("r"), case.label("p"))
    before = case.layout.feedback.read_bytes()
    assert case.join(case.label("r"), case.label("p")) == {**first, "added": 0}
    assert case.layout.feedback.read_bytes() == before
    case.layout.feedback.unlink()
    case.join(case.label("p"), case.label("r"))
    assert case.layout.feedback.read_bytes() == before


def test_later_logs_add_rows_and_change_none(case: Case) -> None:
    case.predict("p")
    case.join(case.label("p", 0))
    before = pd.read_parquet(case.layout.feedback)
    case.log.write_text("", encoding="utf-8")
    case.predict("b", NOON + DAY)
    assert some(case.join(case.label("b", 1))) == {"joined": 1, "added": 1}
    case.predict("p")
    report = case.join(case.label("p", 1, NOON), case.label("p", 0, NOON + 3 * DAY))
    assert some(report) == {"conflicting": 1, "duplicate": 1}
    after = pd.read_parquet(case.layout.feedback)
    assert after["prediction_id"].tolist() == ["b", "p"]
    pd.testing.assert_frame_equal(after.tail(1).reset_index(drop=True), before)


def test_by_key_a_label_belongs_to_the_newest_prediction_before_it(case: Case) -> None:
    case.edit(add_key)
    for name, key, days in [("a", 1, 0), ("b", 1, 2), ("c", 1, 4), ("d", 2, 0), ("e", None, 0)]:
        case.predict(name, NOON + days * DAY, inputs={KEY: key})
    case.predict("f")
    labels = [
        {**case.label("", answer, NOON + days * DAY), KEY: key}
        for key, answer, days in [
            (1, 0, 1),
            (1, 1, 2),
            (1, 1, 3),
            (2, 0, -1),
            (3, 0, 1),
            ("", 0, 9),
        ]
    ]
    for label in labels:
        del label["prediction_id"]
    report = case.join(*labels)
    assert some(report) == {"joined": 2, "added": 2, "duplicate": 1, "orphan": 3, "waiting": 4}
    assert case.kept() == {"a": case.answers[0], "b": case.answers[1]}
    assert pd.read_parquet(case.layout.feedback)[KEY].tolist() == [1, 1]


def test_of_two_predictions_at_one_time_the_greater_id_wins_in_any_order(case: Case) -> None:
    case.edit(add_key)
    for name in ("c", "b", "d", "a"):
        case.predict(name, inputs={KEY: 1})
    label = {**case.label(""), KEY: 1}
    del label["prediction_id"]
    case.join(label)
    assert list(case.kept()) == ["d"]


def test_what_the_log_does_not_hold_comes_from_the_labels(case: Case) -> None:
    case.edit(lambda fields: fields.append({"name": "later", "type": "number", "role": "group"}))
    case.edit(lambda fields: drop(fields, "time"))
    case.edit(lambda fields: fields.append({"name": "seen", "type": "date", "role": "time"}))
    feature = case.contract.features[0]
    case.predict("p", inputs={feature.name: None})
    case.predict("q")
    more: Row = {"later": "1.5", "seen": "1999-01-01"}
    if feature.name != "time":
        more[feature.name] = texts(feature, [feature.example])[0].as_py()
    case.join({**case.label("p"), **more}, {**case.label("q"), "later": ""})
    frame = pd.read_parquet(case.layout.feedback)
    assert frame["later"].isna().tolist() == [False, True]
    assert frame["later"][0] == 1.5
    assert frame["seen"].tolist() == [NOON.replace(hour=0)] * 2
    assert frame[feature.name].isna().tolist() == [True, False]


TIMES: list[tuple[object, str]] = [
    ("2026-03-06T23:30:00", "2026-03-06T23:30:00+00:00"),
    ("2026-03-06 23:30:00.5", "2026-03-06T23:30:00.500000+00:00"),
    ("2026-03-06T23:30:00Z", "2026-03-06T23:30:00+00:00"),
    ("2026-03-06T23:30:00-05:00", "2026-03-07T04:30:00+00:00"),
    ("2026-03-06", "2026-03-06T00:00:00+00:00"),
    (datetime(2026, 3, 6, 23, 30), "2026-03-06T23:30:00+00:00"),  # noqa: DTZ001  (no zone: UTC)
    (datetime(2026, 3, 6, 23, 30, tzinfo=timezone(-5 * DAY / 24)), "2026-03-07T04:30:00+00:00"),
    (date(2026, 3, 6), "2026-03-06T00:00:00+00:00"),
]


@pytest.mark.parametrize(("given", "expected"), TIMES, ids=str)
@pytest.mark.parametrize("made", ["2026-03-05T12:00:00.000+00:00", "2026-03-05T12:00:00"])
def test_times_with_and_without_zone_follow_one_rule(
    given: object, expected: str, made: str, case: Case
) -> None:
    case.predict("p")
    text = case.log.read_text(encoding="utf-8").replace(NOON.isoformat(), made)
    case.log.write_text(text, encoding="utf-8")
    table = case.layout.root / "labels.parquet"
    pd.DataFrame([case.label("p", 0, given)]).to_parquet(table, index=False)
    feedback.run(case.layout, truth=str(table), log=str(case.log))
    first = case.layout.feedback.read_bytes()
    (found,) = pd.read_parquet(case.layout.feedback)["label_time"]
    assert found.isoformat() == expected
    case.layout.feedback.unlink()
    case.join(case.label("p", 0, given))
    assert case.layout.feedback.read_bytes() == first


@pytest.mark.parametrize("value", ["", "noon", "1772711400", "5.3.2026", "2026-02-30", "20260306"])
def test_what_is_no_time_is_refused_by_row_and_value(value: str, case: Case) -> None:
    message = f"labels.csv row 2, column time: '{value}' is no datetime; write it as ISO 8601"
    with pytest.raises(DataError, match=message):
        case.join(case.label("p"), case.label("p", 0, value))
    assert not case.layout.feedback_report.exists()


def test_a_file_that_lacks_what_is_needed_is_refused(case: Case) -> None:
    case.edit(lambda fields: drop(fields, "id"))
    for name in case.label("p"):
        rest = {key: value for key, value in case.label("p").items() if key != name}
        with pytest.raises(
            DataError, match=f"labels.csv lacks .*{re.escape(name)}.*; its columns are"
        ):
            case.join(rest)


TEXTS = {
    "an unknown column": (",surprise", ",1", "has surprise, which contract.yaml does not know"),
    "a column twice": (",time", ",1", "time names several columns"),
    "too many values": ("", ",1", "line 2: 4 values where the first line names 3"),
    "a broken quote": ("", '\n"a"b', "line 3: a quoted value is not closed, or goes on behind"),
    "an open quote": ("", '\n"a', "line 3: a quoted value is not closed"),
    "another encoding": (",caf\u00e9", ",1", "line 1, byte .*: 0xE9 is not utf-8"),
}


@pytest.mark.parametrize("fault", TEXTS)
def test_a_table_with_a_fault_is_refused(fault: str, case: Case) -> None:
    name, value, message = TEXTS[fault]
    target = case.contract.target.name
    text = f"prediction_id,time,{target}{name}\np,2026-03-06,{case.answers[0]}{value}\n"
    case.csv.write_bytes(text.encode("utf-8").replace(b"\xc3\xa9", b"\xe9"))
    with pytest.raises(DataError, match=message):
        feedback.run(case.layout, truth=str(case.csv), log=str(case.log))


def test_a_missing_file_is_refused(case: Case) -> None:
    case.log.unlink()
    with pytest.raises(DataError, match="log.jsonl cannot be read .No such file.*name .* LOG="):
        case.join(case.label("p"))
    for name in ("labels.csv", "labels.parquet"):
        case.csv.unlink(missing_ok=True)
        with pytest.raises(DataError, match=f"{name} cannot be read .No such file"):
            feedback.run(case.layout, truth=str(case.csv.with_name(name)), log=str(case.log))
    case.log.touch()
    table = case.csv.with_name("labels.parquet")
    table.write_bytes(b"PAR1")
    with pytest.raises(DataError, match="labels.parquet is a broken Parquet file"):
        feedback.run(case.layout, truth=str(table), log=str(case.log))


def test_a_value_of_another_type_is_refused_and_shown_unless_private(case: Case) -> None:
    case.edit(lambda fields: add_key(fields, role="group"))
    for private in (False, True):
        for value in ("planted", "1.5", "1_0", "9007199254740993"):
            shown = "a value" if private else f"'{value}'"
            with pytest.raises(DataError, match=f"row 1, column {KEY}: {shown} is no integer"):
                case.join({**case.label("p"), KEY: value})
        case.edit(mark_private)


@pytest.mark.parametrize("value", [NOON, [1]])
def test_a_value_of_another_kind_in_parquet_is_refused(value: object, case: Case) -> None:
    case.edit(add_key)
    table = case.layout.root / "labels.parquet"
    pd.DataFrame([{**case.label("p"), KEY: value}]).to_parquet(table, index=False)
    with pytest.raises(DataError, match=f"row 1, column {KEY}: .* is no integer; correct it"):
        feedback.run(case.layout, truth=str(table), log=str(case.log))


def test_a_logged_value_of_another_type_is_refused_by_its_line(case: Case) -> None:
    number = case.contract.numbers[0].name
    case.predict("p")
    case.predict("q", inputs={number: "text"})
    with pytest.raises(DataError, match=f"line 2, column {re.escape(number)}: 'text' is no"):
        case.join(case.label("q"))


def test_a_private_key_is_refused(case: Case) -> None:
    case.edit(lambda fields: add_key(fields, pii=True))
    label = {**case.label("p"), KEY: 1}
    del label["prediction_id"]
    with pytest.raises(DataError, match=f"by {KEY}, which is pii .* add prediction_id"):
        case.join(label)


@pytest.mark.parametrize("name", ["prediction_id", "label_time"])
def test_a_column_with_a_name_of_the_joins_own_is_refused(name: str, case: Case) -> None:
    case.edit(lambda fields: add_key(fields, name=name))
    with pytest.raises(ContractError, match=f"column {name} has a name that the join needs"):
        case.join(case.label("p"))


def test_rows_of_another_contract_are_refused(case: Case) -> None:
    case.predict("p")
    case.join(case.label("p"))
    case.edit(lambda fields: fields.append({"name": KEY, "type": "integer", "role": "id"}))
    with pytest.raises(DataError, match=f"does not fit contract.yaml in {KEY}; undo"):
        case.join(case.label("p"))
    with pytest.raises(DataError, match=f"does not fit contract.yaml in {KEY}; undo"):
        feedback.rows(case.layout, case.contract)


def test_a_killed_join_leaves_the_old_rows_and_can_be_repeated(case: Case, package: str) -> None:
    case.predict("p")
    case.join(case.label("p"))
    before = case.layout.feedback.read_bytes()
    case.predict("q")
    pd.DataFrame([case.label("q")]).to_csv(case.csv, index=False, encoding="utf-8")
    lines = [
        "import os, pathlib, signal",
        f"from {package}.data import feedback",
        "pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)",
        f"feedback.run(truth={str(case.csv)!r}, log={str(case.log)!r})",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=case.layout.root, check=False
    )
    assert done.returncode == -9
    assert case.layout.feedback.read_bytes() == before
    assert some(case.join(case.label("q"))) == {"joined": 1, "added": 1}
    assert list(case.kept()) == ["p", "q"]


@pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")
def test_dvc_tracks_the_rows_and_none_are_lost_without_a_word(case: Case) -> None:
    Repo.init(str(case.layout.root), no_scm=True).close()
    case.predict("p")
    case.join(case.label("p"))
    pointer = case.layout.feedback.with_name("rows.parquet.dvc")
    first = pointer.read_text(encoding="utf-8")
    case.predict("q")
    case.join(case.label("q"))
    assert pointer.read_text(encoding="utf-8") != first
    pointer.write_text(first, encoding="utf-8")
    for _ in range(2):
        for act in (lambda: case.join(case.label("q")), lambda: ingest.run(case.layout)):
            with pytest.raises(DataError, match="is missing, or not the file .*run `uv run dvc p"):
                act()
        case.layout.feedback.unlink(missing_ok=True)


@pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")
def test_rows_that_dvc_cannot_track_are_refused(case: Case) -> None:
    Repo.init(str(case.layout.root), no_scm=True).close()
    (case.layout.root / ".dvcignore").write_text("*.parquet\n", encoding="utf-8")
    case.predict("p")
    with pytest.raises(DataError, match="rows.parquet cannot be put under DVC.*run `uv run dvc a"):
        case.join(case.label("p"))


def test_predicted_rows_with_labels_are_trained_on(
    client: TestClient, log_file: Path, case: Case, as_sent: Callable[..., list[Row]]
) -> None:
    layout, contract = case.layout, case.contract
    raw = pd.read_parquet(layout.raw)
    rows = raw.copy()  # no row is one of those that are there
    rows[contract.features[0].name] = raw[contract.features[0].name].to_numpy()[::-1]
    rows = rows.merge(raw, how="left", indicator=True).query("_merge == 'left_only'")
    rows = rows.drop(columns="_merge").drop_duplicates().head(20).reset_index(drop=True)
    for column in contract.ids:
        top = raw[column.name].max() if column.is_number else 0
        fresh = top + 1 + rows.index
        rows[column.name] = fresh if column.is_number else "new " + fresh.astype(str)
    answers = client.post("/v1/predictions", json=as_sent(rows)).json()
    known = [column for column in contract.kept if column.role != "feature" or column.pii]
    labels = rows[[column.name for column in known if "time" not in (column.name, column.role)]]
    labels = labels.assign(prediction_id=[answer["prediction_id"] for answer in answers])
    labels = labels.assign(time=(datetime.now(UTC) + DAY).isoformat())
    case.log = log_file
    assert case.join(*json.loads(labels.to_json(orient="records")))["added"] == len(rows)
    for stage in (ingest, validate, split):
        stage.run(layout)
    compared = [column.name for column in contract.kept if column.role != "time"]
    for path in (layout.raw, layout.valid):
        found = pd.read_parquet(path)[compared].merge(rows[compared].drop_duplicates())
        assert len(found) == len(rows)
    halves = [pd.read_parquet(path) for path in (layout.train, layout.test)]
    assert all(len(half[compared].merge(rows[compared])) for half in halves)
    assert sum(map(len, halves)) == len(pd.read_parquet(layout.valid))


def test_a_known_id_comes_back_as_one_more_observation(case: Case) -> None:
    """Unique is what an id is among the source's own rows."""
    layout, table = case.layout, case.layout.root / "data" / "keyed.parquet"
    case.edit(lambda fields: add_key(fields, constraints={"required": True, "unique": True}))
    known = pd.read_parquet(layout.valid)
    known[KEY] = range(len(known))
    names = [column.name for column in case.contract.kept]
    content = yaml.safe_load(layout.contract.read_text(encoding="utf-8"))
    content["source"] = {"path": "data/keyed.parquet"}
    for field in content["fields"]:
        if field["type"] == "boolean":
            field |= {"trueValues": ["1"], "falseValues": ["0"]}
    layout.contract.write_text(yaml.safe_dump(content), encoding="utf-8")
    known[names].to_parquet(table, index=False)
    for name, key in [("p", 3), ("q", 3), ("r", 4)]:
        case.predict(name, inputs={KEY: key})
    case.join(*(case.label(name) for name in "pqr"))
    for stage in (ingest, validate, split):
        stage.run(layout)
    frame = pd.read_parquet(layout.valid)
    assert len(frame) == len(known) + 3
    assert (frame[KEY] == 3).sum() == 3
    halves = [set(pd.read_parquet(path)[KEY]) for path in (layout.train, layout.test)]
    assert halves[0].isdisjoint(halves[1])
    known.loc[5, KEY] = 3
    known[names].to_parquet(table, index=False)
    ingest.run(layout)
    with pytest.raises(DataError, match=f"duplicate_id: 1 of .* rows .{KEY} 1."):
        validate.run(layout)


def test_what_callers_told_the_service_is_joined(case: Case) -> None:
    for name in ("p", "q", "dry"):
        case.predict(name)
    lines = case.log.read_text(encoding="utf-8").splitlines()
    lines[2] = json.dumps({**json.loads(lines[2]), "dry_run": True})
    lines.append(json.dumps({**json.loads(lines[1]), "shadow": True}))
    time = (NOON + DAY).isoformat()
    for number, name in enumerate(["p", "q", "dry"]):
        answer = case.answers[number % 2]
        value = answer if case.contract.labels else float(answer)
        lines.append(json.dumps({"time": time, "prediction_id": name, "feedback": value}))
    lines.append(json.dumps({"time": time, "level": "INFO", "message": "of the service itself"}))
    case.log.write_text("\n".join(lines) + '\n{"torn', encoding="utf-8")
    feedback.run(case.layout, truth=str(case.log), log=str(case.log))
    report = read_json(case.layout.feedback_report)
    found = [report[each] for each in ("joined", "orphan", "dry_run", "torn", "predictions")]
    assert found == [2, 1, 1, 1, 2]
    assert case.kept() == {"p": case.answers[0], "q": case.answers[1]}
