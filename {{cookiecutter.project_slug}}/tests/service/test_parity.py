"""One answer to a row, whichever way it comes: REST, a file, in process; and the model's own."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from {{ cookiecutter.package_name }}.batch import score
from {{ cookiecutter.package_name }}.batch.parts import score_all
from {{ cookiecutter.package_name }}.batch.rows import score_table
from {{ cookiecutter.package_name }}.contract import Contract, Source
from {{ cookiecutter.package_name }}.features import Encoder
from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.params import Params
from {{ cookiecutter.package_name }}.serving.app import create_app
from {{ cookiecutter.package_name }}.serving.prediction_log import PredictionLog
from {{ cookiecutter.package_name }}.serving.predictor import Predictor
from {{ cookiecutter.package_name }}.serving.settings import Settings
from {{ cookiecutter.package_name }}.training.evaluate import answers
from {{ cookiecutter.package_name }}.training.parity import compare, probes
from {{ cookiecutter.package_name }}.training.rows import to_rows
from {{ cookiecutter.package_name }}.training.skops_file import load

ROWS = 10_000
Row = dict[str, Any]
TYPES = {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}


def arrow(contract: Contract, rows: list[Row]) -> pa.Table:
    kinds = [(each.name, TYPES.get(each.type, pa.string())) for each in contract.features]
    return pa.Table.from_pylist(rows, pa.schema(kinds))


def write_csv(
    path: Path,
    contract: Contract,
    rows: list[Row],
    source: Source,
    end: str = "\n",
    more: Sequence[str] = (),
) -> Path:
    """A file in the dialect of `source`, UTF-8 with a byte order mark; `more` are other columns."""
    columns = contract.features

    def text(value: Any, place: int) -> str:
        if isinstance(value, bool):
            return (columns[place].true_values if value else columns[place].false_values)[0]
        if isinstance(value, float):
            return repr(value).replace(".", source.decimal_char)
        return "" if value is None else str(value)

    encoding = "utf-8-sig" if source.encoding == "utf-8" else source.encoding
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=source.delimiter, lineterminator=end)
        writer.writerow([*(column.name for column in columns), *more])
        for row in rows:
            cells = [text(row[each.name], place) for place, each in enumerate(columns)]
            writer.writerow([*cells, *more])
    return path


@pytest.fixture(scope="module")
def rows(pipeline: Layout, contract: Contract) -> list[Row]:
    """Held-out rows, edges, gaps, unseen categories, and mixtures of them."""
    held_out = to_rows(contract, pd.read_parquet(pipeline.test)).features
    found = probes(contract, held_out, 3)
    kinds = {"boolean": bool, "integer": int}
    return [
        {
            column.name: None if math.isnan(value) else kinds.get(column.type, float)(value)
            for column, value in zip(
                contract.numbers, numbers[: len(contract.numbers)], strict=True
            )
        }
        | {
            column.name: text or None
            for column, text in zip(
                contract.categories, texts[: len(contract.categories)], strict=True
            )
        }
        for numbers, texts in zip(
            found.numbers[:ROWS].tolist(), found.categories[:ROWS].tolist(), strict=True
        )
    ]


def told(table: pa.Table) -> list[Row]:
    """What each row is told, but for the id of the prediction."""
    return [{**row, "prediction_id": ""} for row in table.to_pylist()]


def test_every_way_gives_the_same_answers(
    rows: list[Row],
    pipeline: Layout,
    contract: Contract,
    predictor: Predictor,
    params: Params,
    tmp_path: Path,
) -> None:
    table = arrow(contract, rows)
    scored, rejected = score_table(predictor, table)
    refused = set(rejected["row"].to_pylist())
    assert len(refused) < ROWS / 20  # edges: missing where required, or beyond an enum
    good = [row for place, row in enumerate(rows, 1) if place not in refused]
    assert len(scored) == len(good)

    # REST refuses the very rows, with the same faults, and answers the others to the last bit.
    log = PredictionLog(str(tmp_path / "log.jsonl"))
    settings = Settings(max_rows=1000, max_body_bytes=10**7)
    client = TestClient(create_app(predictor, log, settings))
    faults = []
    for place in sorted(refused):
        response = client.post("/v1/predictions", json=rows[place - 1])
        assert response.status_code == 422
        faults += [(place, each["field"], each["message"]) for each in response.json()["errors"]]
    given = rejected.to_pylist()
    assert [(each["row"], each["field"], each["message"]) for each in given] == faults
    asked: list[Row] = []
    for start in range(0, len(good), 1000):
        asked += client.post("/v1/predictions", json=good[start : start + 1000]).json()
    log.close()
    assert {each.pop("variant") for each in asked} == {"champion"}  # batch has no other
    expected = [{**row, "prediction_id": ""} for row in asked]
    assert [{name: each[name] for name in expected[0]} for each in told(scored)] == expected

    # So does a list of mappings, and a file of either kind.
    assert told(score_table(predictor, rows).scored) == told(scored)
    pq.write_table(table.select(table.column_names[::-1]), tmp_path / "in.parquet")
    source = write_csv(tmp_path / "in.csv", contract, rows, contract.source, "\r\n")
    for path, output in [(tmp_path / "in.parquet", "a.parquet"), (source, "b.parquet")]:
        with pytest.raises(SystemExit) as stop:
            score.run(path, tmp_path / output, 1, pipeline.serving)
        assert stop.value.code == 3
        assert told(pq.read_table(tmp_path / output)) == told(scored)
        names = ("row", "field", "message")
        beside = pq.read_table(tmp_path / output.replace(".", ".rejected."))
        assert beside.select(names).equals(rejected.select(names))
    with pytest.raises(SystemExit):
        score.run(source, tmp_path / "c.csv", 1, pipeline.serving)
    with (tmp_path / "c.csv").open(encoding="utf-8", newline="") as file:
        texts = list(csv.DictReader(file))
    for text, row in zip(texts, told(scored), strict=True):
        kinds = {name: type(value) for name, value in row.items()}
        assert {name: kinds[name](text[name]) for name in row} | {"prediction_id": ""} == row

    # And the model itself, within what the gate allows.
    features = Encoder(contract).rows(good)
    parity = compare(predictor, features, answers(contract, load(pipeline.model), features.table()))
    assert parity.differing <= math.ceil((params.gate.max_differing_answers or 0) * len(good))
    assert np.isfinite(parity.largest)


def test_a_file_says_its_dialect_where_it_is_not_the_contract_s(
    rows: list[Row],
    pipeline: Layout,
    contract: Contract,
    predictor: Predictor,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # An encoding that knows every letter, and reads UTF-8 as other ones without a word.
    own = Source(path="any", encoding="gb18030", delimiter=";", decimalChar=",")
    keeper = Predictor(
        contract.model_copy(update={"source": own}), predictor.info, predictor._answer
    )
    some = rows[:200]
    expected = told(score_table(predictor, arrow(contract, some)).scored)
    said = "read as utf-8 with {} and {}, unlike contract.yaml's source"
    for written, note in [
        (own, ""),
        (own.model_copy(update={"encoding": "utf-8"}), said.format("';'", "','")),
        (Source(path="any"), said.format("','", "'.'")),
    ]:
        path = write_csv(tmp_path / "in.csv", contract, some, written, more=["ß"])
        job = score._job(path, tmp_path / f"{len(note)}.csv", pipeline.serving, keeper)
        printed = capsys.readouterr().err
        assert (note in printed, "unlike" in printed) == (True, bool(note))
        job.folder.mkdir()
        found = [pa.ipc.open_file(f / "scored.arrow").read_all() for f, _ in score_all(job, 1)]
        assert told(pa.concat_tables(found)) == expected
