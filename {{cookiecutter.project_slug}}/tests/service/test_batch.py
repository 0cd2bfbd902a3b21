"""Scoring files: what is refused, what is rejected, and a run that is killed."""

import json
import multiprocessing
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from {{ cookiecutter.package_name }}.batch import parts, rows, score
from {{ cookiecutter.package_name }}.batch.rows import score_table
from {{ cookiecutter.package_name }}.cli import main
from {{ cookiecutter.package_name }}.contract import Column, Contract
from {{ cookiecutter.package_name }}.derived import Numbers
from {{ cookiecutter.package_name }}.errors import ArtefactError, DataError
from {{ cookiecutter.package_name }}.features import Encoder, Features
from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.serving.predictor import Predictor

Row = dict[str, Any]


@pytest.fixture
def table(contract: Contract, pipeline: Layout, as_sent: Callable[..., list[Row]]) -> pa.Table:
    """60 held-out rows as a request holds them."""
    kinds = {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
    schema = pa.schema(
        [(column.name, kinds.get(column.type, pa.string())) for column in contract.features]
    )
    return pa.Table.from_pylist(as_sent(pd.read_parquet(pipeline.test).head(60)), schema)


@pytest.fixture
def source(table: pa.Table, tmp_path: Path) -> Path:
    """The rows as a file of many row groups."""
    path = tmp_path / "in.parquet"
    pq.write_table(table, path, row_group_size=10)
    return path


@pytest.fixture
def run(pipeline: Layout) -> Callable[..., None]:
    """The command, on the pipeline's model."""

    def command(given: Path, output: Path, processes: int = 1) -> None:
        score.run(given, output, processes, pipeline.serving)

    return command


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_ROWS", 10)


def as_text(contract: Contract, column: Column, value: Any) -> str:
    """How the contract's source spells a value."""
    if value is None:
        return contract.missing_values[-1]
    if isinstance(value, bool):
        return (column.true_values if value else column.false_values)[0]
    return str(value).replace(".", contract.source.decimal_char)


def test_rows_are_numbered_and_named_alike_in_every_run(
    source: Path, run: Callable[..., None], predictor: Predictor
) -> None:
    first, second = source.with_name("a.parquet"), source.with_name("b.csv")
    run(source, first)
    run(source, second)
    found = pq.read_table(first)
    assert found["row"].to_pylist() == list(range(1, 61))
    assert set(found["model_version"].to_pylist()) == {predictor.info.version}
    ids = found["prediction_id"].to_pylist()
    assert len(set(ids)) == 60
    assert {len(each) for each in ids} == {32}
    assert pyarrow.csv.read_csv(second)["prediction_id"].to_pylist() == ids
    assert sorted(source.parent.iterdir()) == sorted([source, first, second])


def test_the_model_is_asked_about_rows_of_like_numbers_together(
    table: pa.Table, contract: Contract, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, columns = [], Encoder.columns

    def spied(encoder: Encoder, given: dict[str, Any]) -> Features:
        asked.append(given)
        return columns(encoder, given)

    monkeypatch.setattr(Encoder, "columns", spied)
    score_table(predictor, table)
    name = next(column.name for column in contract.features if column.is_number)
    there = [float(row[name]) for row in predictor.background if row.get(name) is not None]
    quarters = np.sum([asked[0][name] > np.quantile(there, each / 4) for each in (1, 2, 3)], axis=0)
    assert quarters.tolist() == sorted(quarters.tolist())
    assert len(set(quarters.tolist())) > 1


@pytest.mark.usefixtures("small_parts")
def test_several_processes_keep_the_order(source: Path, run: Callable[..., None]) -> None:
    run(source, source.with_name("a.parquet"))
    run(source, source.with_name("b.parquet"), 2)
    assert pq.read_table(source.with_name("a.parquet")).equals(
        pq.read_table(source.with_name("b.parquet"))
    )


def test_the_order_of_columns_changes_nothing_and_others_are_ignored(
    table: pa.Table, source: Path, run: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    moved = table.select(table.column_names[::-1]).append_column("surprise", [["x"] * 60])
    given = source.with_name("moved.parquet")
    pq.write_table(moved, given)
    run(given, source.with_name("a.parquet"))
    assert capsys.readouterr().err == f"score: {given}: ignored columns surprise\n"
    run(source, source.with_name("b.parquet"))
    both = [pq.read_table(source.with_name(name)) for name in ("a.parquet", "b.parquet")]
    assert both[0].drop(["prediction_id"]).equals(both[1].drop(["prediction_id"]))


def test_a_rejected_row_stands_beside_with_its_reasons(
    table: pa.Table,
    source: Path,
    contract: Contract,
    run: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    column = contract.numbers[0]
    texts = [as_text(contract, column, value) for value in table[column.name].to_pylist()]
    texts[3] = "2?"
    where = table.column_names.index(column.name)
    wrong = table.set_column(where, column.name, pa.array(texts))
    given, output = source.with_name("wrong.parquet"), source.with_name("out.csv")
    pq.write_table(wrong, given)
    with pytest.raises(SystemExit) as stop:
        run(given, output)
    assert stop.value.code == 3
    beside = source.with_name("out.rejected.csv")
    assert f"score: 1 rows rejected; {beside} says why" in capsys.readouterr().err
    (fault,) = pyarrow.csv.read_csv(beside).to_pylist()
    assert (fault["row"], fault["field"]) == (4, column.name)
    assert pyarrow.csv.read_csv(output)["row"].to_pylist() == [1, 2, 3, *range(5, 61)]
    run(source, output)  # all rows are good now
    assert not beside.exists()


def test_a_value_is_judged_as_a_request_is(
    client: TestClient, row: Row, contract: Contract, predictor: Predictor
) -> None:
    values: list[Any] = [True, 1, 0.0, 1.5, -1e9, 1e39, "3.5", "yes", "true", "", None, b"x"]
    values += [float("inf"), 2**62, Decimal("1.5"), date(2024, 1, 1), [1], {"a": 1}]
    for column in contract.features:
        for value in values:
            columns = {name: pa.array([each]) for name, each in row.items()}
            table = pa.table({**columns, column.name: pa.array([value])})
            as_json: Any = value
            if isinstance(value, bytes | date):  # JSON has no such values
                as_json = []
            elif isinstance(value, Decimal):
                as_json = float(value)
            elif isinstance(value, float) and value.is_integer() and column.type == "integer":
                as_json = int(value)
            content = json.dumps({**row, column.name: as_json})
            response = client.post(
                "/v1/predictions", content=content, headers={"content-type": "application/json"}
            )
            scored, rejected = score_table(predictor, table)
            assert (len(scored) == 1) == (response.status_code == 200), (column.name, value)
            assert len(scored) == 1 or set(rejected["field"].to_pylist()) == {column.name}
            assert len(score_table(predictor, [{**row, column.name: as_json}]).scored) == len(
                scored
            )


def test_text_of_csv_is_typed_by_the_contract(
    row: Row, contract: Contract, predictor: Predictor
) -> None:
    scorer = rows.Scorer(predictor, "0" * 20, pa.schema([]))
    good = {name: "" if value is None else str(value) for name, value in row.items()}
    good |= {c.name: c.true_values[0] for c in contract.features if c.type == "boolean"}
    for column in contract.features:
        cases = [("", not column.constraints.required)]
        if column.type == "boolean":
            cases += [("yes?", False), ("2", False), (column.false_values[0], True)]
        elif column.is_number:
            cases += [("true", False), ("1;5", False), ("nan", False), ("1e39", False)]
            cases += [("1.5", False)] if column.type == "integer" else []
        elif column.constraints.enum is not None:
            cases += [("surprise", False)]
        for text, taken in cases:
            cells = {name: [each] for name, each in {**good, column.name: text}.items()}
            batch = pa.record_batch(
                [pa.array(each, pa.string()) for each in cells.values()], list(cells)
            )
            scored, rejected = scorer.table(batch, 7, ".")
            assert (len(scored) == 1) == taken, (column.name, text)
            assert rejected["row"].to_pylist() == [7] * (not taken)


def test_parquet_of_other_types_is_typed_by_the_contract(
    table: pa.Table, contract: Contract, source: Path, run: Callable[..., None]
) -> None:
    told = []
    for texts in (False, True):
        if texts:
            cells = [
                [as_text(contract, each, value) for value in table[each.name].to_pylist()]
                for each in contract.features
            ]
            pq.write_table(pa.table(cells, table.column_names), source, row_group_size=10)
        run(source, source.with_name("out.parquet"))
        told.append(pq.read_table(source.with_name("out.parquet")).drop(["prediction_id"]))
    assert told[0].equals(told[1])


def with_keys(predictor: Predictor) -> Predictor:
    content = predictor.contract.model_dump(by_alias=True)
    fields = [field for field in content["fields"] if field["role"] != "id"]
    text = {"name": "account", "type": "string", "role": "id", "constraints": {"required": True}}
    number = {"name": "contract number", "type": "integer", "role": "id"}
    fields += [text, number, {**text, "name": "e-mail", "pii": True}]
    contract = Contract.model_validate({**content, "fields": fields})
    return Predictor(contract, predictor.info, predictor._answer)


def test_ids_are_repeated_and_private_values_are_not(predictor: Predictor, table: pa.Table) -> None:
    keyed, frame = with_keys(predictor), table.slice(0, 3).to_pandas()
    frame["account"], frame["contract number"] = ["a", "b", None], [1, 2**60, 3]
    frame["e-mail"] = ["planted@example.org", "", "c"]
    scored, rejected = score_table(keyed, frame)
    assert scored["account"].to_pylist() == ["a"]
    assert scored["contract number"].to_pylist() == [1]
    assert "e-mail" not in scored.column_names
    faults = rejected.to_pylist()
    assert [(each["row"], each["field"], each["found"]) for each in faults] == [
        (2, "e-mail", None),
        (3, "account", "None"),
    ]
    records = [{**row, "e-mail": "planted", "account": 1} for row in table.slice(0, 1).to_pylist()]
    assert score_table(keyed, records).rejected["field"].to_pylist() == ["account"]
    records[0]["account"] = "b"
    assert score_table(keyed, records).scored["account"].to_pylist() == ["b"]
    with pytest.raises(DataError, match=r"column row of contract\.yaml has the name"):
        rows.Scorer(predictor, "", pa.schema([("row", pa.int64())]))


def test_a_row_without_an_answer_is_rejected_alone(
    predictor: Predictor, table: pa.Table, derive: Callable[..., None]
) -> None:
    def nan(features: Features) -> Any:
        shape = (len(features.numbers), len(predictor.contract.labels) or 1)
        found = np.full(shape, 0.5)
        found[2] = np.nan
        return found

    halting = Predictor(predictor.contract, predictor.info, nan)
    scored, rejected = score_table(halting, table)
    assert (len(scored), rejected["row"].to_pylist()) == (59, [3])
    assert rejected["message"].to_pylist() == ["no finite answer"]

    column = predictor.contract.numbers[0]
    seen = table[column.name].to_pylist()
    worst = next(value for value in seen if value is not None)

    def picky(values: Any) -> Any:
        if (values == worst).any():
            raise ValueError("planted")
        return values

    derive("picky", Numbers, [column], picky)
    deaf = Predictor(  # the model does not know the derived feature, which comes last
        predictor.contract,
        predictor.info,
        lambda rows_: predictor._answer(Features(rows_.numbers[:, :-1], rows_.categories)),
    )
    scored, rejected = score_table(deaf, table)
    assert rejected["row"].to_pylist() == [
        place for place, value in enumerate(seen, 1) if value == worst
    ]
    assert "picky fails on these rows" in rejected["message"][0].as_py()


@pytest.mark.usefixtures("small_parts")
def test_a_second_run_goes_on_from_the_finished_parts(
    source: Path,
    run: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output, fill = source.with_name("out.parquet"), parts.Job._fill
    filled: list[int] = []

    def filling(job: parts.Job, folder: Path, part: parts.Part) -> None:
        if len(filled) == 2:
            raise KeyboardInterrupt
        filled.append(part.first)
        fill(job, folder, part)

    monkeypatch.setattr(parts.Job, "_fill", filling)
    with pytest.raises(KeyboardInterrupt):
        run(source, output)
    assert not output.exists()
    monkeypatch.setattr(parts.Job, "_fill", fill)
    run(source, output)
    assert filled == [1, 11]
    assert "2 parts by an earlier run" in capsys.readouterr().out
    run(source, source.with_name("whole.parquet"))
    assert pq.read_table(output).equals(pq.read_table(source.with_name("whole.parquet")))


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_stopped_run_ends_its_processes_and_is_gone_on_with(
    source: Path, table: pa.Table, layout: Layout, package: str, interrupted: bool
) -> None:
    rows_ = 3 * parts.PART_ROWS
    many = pa.concat_tables([table] * (rows_ // 60 + 1)).slice(0, rows_)
    pq.write_table(many, source, row_group_size=parts.PART_ROWS)
    output = source.with_name("out.parquet")
    left = source.with_name(f".{output.name}.{'0' * 16}.parts")
    (left / "1-131072").mkdir(parents=True)  # of another model or input
    command = [sys.executable, "-m", package, "score", "--processes=2", str(source), str(output)]
    environment = {**os.environ, "ENVIRONMENT": "production"}  # where serving needs API keys
    process = subprocess.Popen(
        command, cwd=layout.root, env=environment, stderr=subprocess.PIPE, start_new_session=True
    )
    while process.poll() is None and not list(source.parent.glob(".out*.parts/1-*/*.arrow")):
        time.sleep(0.01)
        assert not left.exists() or process.poll() is None
    tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
    children = " ".join(each.read_text(encoding="utf-8") for each in tasks).split()
    if interrupted:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        said = "score: interrupted: the same command goes on from the finished parts\n"
        assert process.communicate()[1].decode("utf-8") == said
        assert process.returncode == 130
    else:
        process.kill()
        process.communicate()
    assert not output.exists()
    assert not left.exists()
    deadline = time.monotonic() + 20
    while any(Path("/proc", child, "exe").exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    again = subprocess.run(
        command, cwd=layout.root, capture_output=True, encoding="utf-8", check=False
    )
    assert (again.returncode, "by an earlier run" in again.stdout) == (0, True), again.stderr
    assert pq.read_table(output)["row"].to_pylist() == list(range(1, rows_ + 1))
    assert not list(source.parent.glob(".out*"))


def test_of_two_runs_into_one_file_the_second_is_refused(
    source: Path,
    layout: Layout,
    package: str,
    run: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output, fill = source.with_name("out.parquet"), parts.Job._fill
    command = [sys.executable, "-m", package, "score", str(source), str(output)]

    def filling(*all_: Any) -> None:
        second = subprocess.run(command, cwd=layout.root, capture_output=True, check=False)
        said = f"score: {output}: another run writes it; wait until that one ends, or name another"
        assert second.stderr.decode("utf-8").startswith(said)
        assert second.returncode == 1
        fill(*all_)

    monkeypatch.setattr(parts.Job, "_fill", filling)
    run(source, output)
    assert len(pq.read_table(output)) == 60
    assert sorted(source.parent.glob("*out*")) == [output]


@pytest.mark.usefixtures("small_parts")
def test_the_key_tells_inputs_and_models_apart(
    source: Path, pipeline: Layout, predictor: Predictor
) -> None:
    info = predictor.info.model_copy(update={"sha256": "0" * 64})
    other = Predictor(predictor.contract, info, predictor._answer)
    none = pa.schema([])
    keys = {
        parts.key_of(predictor, "a", ["x"], none),
        parts.key_of(predictor, "b", ["x"], none),
        parts.key_of(other, "a", ["x"], none),
        parts.key_of(predictor, "a", ["x"], pa.schema([("x", pa.int64())])),
    }
    assert len(keys) == 4
    job = score._job(source, source.with_name("o.csv"), pipeline.serving, other)
    with pytest.raises(ArtefactError, match="was replaced while it scored"):
        job.score(next(job.parts()))


@pytest.mark.usefixtures("small_parts")
def test_a_killed_process_is_a_refusal(
    source: Path, pipeline: Layout, predictor: Predictor
) -> None:
    job = score._job(source, source.with_name("o.csv"), pipeline.serving, predictor)
    job.folder.mkdir()
    done = parts.score_all(job, 2)
    next(done)
    for child in multiprocessing.active_children():
        child.kill()  # unless the pool did, after the first
        child.join()
    for folder in job.folder.glob("[2-9]*"):
        shutil.rmtree(folder)  # so that there is something left to do
    with pytest.raises(DataError, match="a process was killed"):
        list(done)


def test_what_cannot_be_scored_is_refused_before_anything_is_written(
    source: Path,
    table: pa.Table,
    run: Callable[..., None],
    contract: Contract,
    predictor: Predictor,
) -> None:
    folder, first = source.parent, re.escape(contract.features[0].name)
    lacking, cut, empty = (folder / name for name in ("lacking.csv", "cut.parquet", "empty.csv"))
    pyarrow.csv.write_csv(table.drop([contract.features[0].name]), lacking)
    cut.write_bytes(source.read_bytes()[:-20])
    empty.touch()
    (folder / "side.rejected.csv").write_bytes(b"x")
    before = sorted(folder.iterdir())
    for given, output, processes, message in [
        (folder / "no.csv", "out.csv", 1, "is no file"),
        (folder, "out.csv", 1, "is no file"),
        (source, "out.xlsx", 1, r"let it end in \.csv or \.parquet"),
        (source, "in.parquet", 1, "would be overwritten"),
        (folder / "side.rejected.csv", "side.csv", 1, "would be overwritten"),
        (source, "out.csv", 0, "--processes is 0"),
        (lacking, "out.csv", 1, f"lacking.csv, read as .*, lacks {first} of contract"),
        (cut, "out.csv", 1, "is a broken Parquet file"),
        (empty, "out.csv", 1, "is empty"),
    ]:
        with pytest.raises(DataError, match=message):
            run(given, folder / output, processes)
    assert sorted(folder.iterdir()) == before
    with pytest.raises(DataError, match=f"the table lacks {first}"):
        score_table(predictor, table.drop([contract.features[0].name]))


def test_a_file_without_rows_gives_one_without_rows(
    source: Path, table: pa.Table, run: Callable[..., None]
) -> None:
    pq.write_table(table.slice(0, 0), source)
    run(source, source.with_name("out.parquet"))
    found = pq.read_table(source.with_name("out.parquet"))
    assert (len(found), found.column_names[:2]) == (0, ["row", "prediction_id"])


def test_a_frame_of_mixed_types_is_refused_without_its_values(
    predictor: Predictor, table: pa.Table
) -> None:
    frame = table.to_pandas().astype(object)
    frame.iloc[0, 0], frame.iloc[1, 0] = 1.5, "planted"
    with pytest.raises(DataError, match="is no table of plain columns") as refusal:
        score_table(predictor, frame)
    assert "planted" not in str(refusal.value)


def test_a_fault_on_the_way_leaves_the_old_result(
    source: Path, run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = source.with_name("out.csv")
    output.write_text("old", encoding="utf-8")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(parts.Job, "_fill", full)
        with pytest.raises(DataError, match="No space left on device; free space"):
            run(source, output)

    fill = parts.Job._fill

    def touching(*all_: Any) -> None:
        fill(*all_)
        os.utime(source, (1, 1))

    monkeypatch.setattr(parts.Job, "_fill", touching)
    with pytest.raises(DataError, match="was changed while it was read"):
        run(source, output)
    assert output.read_text(encoding="utf-8") == "old"


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def test_a_pickle_in_the_place_of_model_or_table_is_never_loaded(
    layout: Layout,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(layout.root)
    marker = layout.root / "marker"
    bomb = pickle.dumps(Bomb(marker))
    (layout.root / "in.csv").write_bytes(bomb)
    for given, said in [("in.csv", "a Python pickle"), (str(source), "the file was altered")]:
        with pytest.raises(SystemExit) as stop:
            main(["score", given, "out.csv"])
        assert stop.value.code == 1
        assert said in capsys.readouterr().err
        for model in layout.serving.glob("model.*[xs]"):
            model.write_bytes(bomb)
    assert not marker.exists()
    assert not (layout.root / "out.csv").exists()


def test_the_snippet_of_the_readme_runs(
    layout: Layout, root: Path, table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(layout.root)
    pq.write_table(table, "customers.parquet")
    readme = (root / "README.md").read_text(encoding="utf-8")
    (snippet,) = readme.split("```python\n")[1:]
    names: dict[str, Any] = {}
    exec(snippet.partition("```")[0], names)  # noqa: S102
    assert len(names["scored"]) == 60
    assert len(names["rejected"]) == 0
