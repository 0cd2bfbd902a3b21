"""What feedback reads: labels from the ground truth, predictions from the log."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
from pydantic_core import from_json

from ..contract import Column, Contract, Source
from ..errors import ContractError, DataError
from .source import batches, column_names
from .typed import kind, sound, texts, typed

PREDICTION_ID, LABEL_TIME, TIME = "prediction_id", "label_time", "time"
TOLD, LEVEL, DRY_RUN, SHADOW = "feedback", "level", "dry_run", "shadow"
"""What marks the other lines: told by a caller, the service's own log, answered but not served."""
MADE, LINE, INPUTS = "(made)", "(line)", "(inputs)"
"""What a prediction has beside its id and key; no names that one would choose for a column."""
ID = Column(name=PREDICTION_ID, type="string", role="id")
WHEN = Column(name=TIME, type="datetime", role="time")
OWN = (ID, WHEN.model_copy(update={"name": LABEL_TIME}))
"""The columns of feedback beside the contract's."""
Labels = tuple[Sequence[Column], pd.DataFrame, list[str]]
MAX_EXAMPLES, LINES_AT_ONCE = 5, 1 << 14


def read_truth(path: Path, contract: Contract, counts: "Counter[str]") -> Labels:
    """The key of the labels, the valid ones in the order of their times, and invalid examples.

    Raises:
        ContractError: a column has a name that the join needs.
        DataError: a column is missing or unknown, or a value is none of its type.
    """
    source, target = Source(path=str(path)), contract.target
    names = column_names(path, source)
    key = (ID,) if PREDICTION_ID in names or not contract.ids else contract.ids
    _refuse_columns(path, names, [column.name for column in key], contract)
    others = [each for each in (ID, *contract.kept) if each.name in names and each.name != TIME]
    others = [each for each in others if each not in (target, contract.time)]
    pieces, invalid, rows = [empty((OWN[1], target, *others))], list[str](), range(1)
    for batch in batches(Path(), source, names):
        rows = range(rows.stop, rows.stop + len(batch))
        given, missing = batch[target.name], contract.missing_values
        cells = {target.name: typed(target, given, missing, ".").values}
        for name, column in {LABEL_TIME: WHEN, **{each.name: each for each in others}}.items():
            cells[name] = sound(column, batch[column.name], missing, f"{path} row", rows)
        piece = pa.table(cells).to_pandas()
        values, labels = piece[target.name], contract.labels
        fit = values.isin(labels) if labels else values.between(target.minimum, target.maximum)
        for place in piece.index[~fit][: MAX_EXAMPLES - len(invalid)]:
            shown = "a value" if target.pii else f"{given[place].as_py()!r:.80}"
            invalid.append(f"row {rows[place]}: {shown}")
        counts.update(labels=len(fit), invalid=int((~fit).sum()))
        pieces.append(piece[fit])
    return key, pd.concat(pieces).sort_values(LABEL_TIME, kind="stable"), invalid


def told(log: Path, contract: Contract, table: Path) -> None:
    """Write what callers told the service, which stands in its log, as a table of labels.

    Raises:
        DataError: a line is no JSON object.
    """
    target = contract.target
    words = {True: target.true_values[0], False: target.false_values[0]}
    with log.open("rb") as lines, table.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([PREDICTION_ID, TIME, target.name])
        for line in _lines(log, lines, Counter()):
            if TOLD in line.content:
                value = line.content[TOLD]
                shown = words[value] if isinstance(value, bool) else value
                rows.writerow([line.content[PREDICTION_ID], line.content[TIME], shown])


def read_log(path: Path, key: Sequence[Column], counts: "Counter[str]") -> Iterator[pd.DataFrame]:
    """The predictions of a log: their id, `key`, time, line and inputs; a last batch may be empty.

    Raises:
        DataError: a line is neither a prediction nor torn, or a value of its key has another type.
    """
    records = _records(path, counts)
    found = None
    while found is None or len(found) == LINES_AT_ONCE:
        found = list(islice(records, LINES_AT_ONCE))
        lines, times, inputs = ([record[part] for record in found] for part in range(3))
        cells = {MADE: sound(WHEN, texts(WHEN, times), (), f"{path} line", lines)}
        for column in (ID, *key):
            given = texts(column, [row.get(column.name) for row in inputs])
            cells[column.name] = sound(column, given, (), f"{path} line", lines)
        counts["predictions"] += len(lines)
        yield pa.table(cells).to_pandas().assign(**{LINE: lines, INPUTS: inputs})


def empty(columns: Iterable[Column]) -> pd.DataFrame:
    """No rows, in the types of these columns."""
    kinds = [(column.name, kind(column)) for column in columns]
    return pd.DataFrame(pa.schema(kinds).empty_table().to_pandas())


class _Line(NamedTuple):
    number: int
    content: dict[str, Any]


def _records(path: Path, counts: "Counter[str]") -> Iterator[tuple[Any, ...]]:
    """Line, time, and inputs with the id, of each prediction that was served."""
    with path.open("rb") as lines:
        for number, given in _lines(path, lines, counts):
            if TOLD in given or LEVEL in given or given.get(SHADOW):
                continue
            if given.get(DRY_RUN):
                counts["dry_run"] += 1
                continue
            try:
                inputs = given["inputs"] | {PREDICTION_ID: str(given[PREDICTION_ID])}
                yield number, given[TIME], inputs
            except (KeyError, TypeError) as fault:
                raise DataError(_no_line(path, number, fault)) from None


def _lines(path: Path, lines: Iterable[bytes], counts: "Counter[str]") -> Iterator[_Line]:
    """The lines that are whole; after a torn one a restarted service may go on."""
    for number, line in enumerate(lines, 1):
        try:
            given = from_json(line.rstrip(b"\r\n"))
        except ValueError as fault:
            if not str(fault).startswith("EOF while parsing"):
                raise DataError(_no_line(path, number, fault)) from None
            counts["torn"] += 1
            continue
        if not isinstance(given, dict):
            raise DataError(_no_line(path, number, "no JSON object"))
        yield _Line(number, given)


def _no_line(path: Path, number: int, fault: object) -> str:
    return f"{path} line {number} is no prediction ({fault}); take it out"


def _refuse_columns(path: Path, names: list[str], key: list[str], contract: Contract) -> None:
    fields = {column.name: column for column in contract.fields}
    target = contract.target.name
    if taken := {PREDICTION_ID, LABEL_TIME} & set(fields) | {TIME} & {target, *key}:
        raise ContractError(
            f"contract.yaml: column {', '.join(sorted(taken))} has a name that the join needs;"
            " rename it there and in the source"
        )
    if lacking := [name for name in (target, TIME, *key) if name not in names]:
        raise DataError(
            f"{path} lacks {', '.join(lacking)}; its columns are {', '.join(names)}, and it needs"
            f" {target}, {TIME} (when it was known), and {PREDICTION_ID} or all with role id"
        )
    if unknown := [name for name in names if name not in {*fields, TIME, PREDICTION_ID}]:
        raise DataError(
            f"{path} has {', '.join(unknown)}, which contract.yaml does not know; take them out,"
            " or add them there"
        )
    if private := [name for name in key if name in fields and fields[name].pii]:
        raise DataError(
            f"{path} names predictions by {', '.join(private)}, which is pii and so in no log; add"
            f" {PREDICTION_ID}"
        )
