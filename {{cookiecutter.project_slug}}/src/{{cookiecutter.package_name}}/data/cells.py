"""Single values by the contract: those of labels and logs, which come row by row.

One rule for times: ISO 8601, UTC where they name no zone, and a date is its midnight in UTC.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from math import isnan
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ..contract import Column
from ..errors import DataError

Cell = float | str | datetime | None

TOO_LARGE = 2**53
"""From here on, float64 does not tell integers apart; larger codes are text."""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
TIME = re.compile(r"\d{4}-\d\d-\d\d([T ].+)?", re.ASCII)


def records(path: Path) -> tuple[list[str], Iterator[dict[str, Any]]]:
    """The column names of a CSV (UTF-8, commas) or Parquet file, and its rows, read as they go.

    Raises:
        DataError: the file cannot be read, or has a column twice; rows raise it as they are read.
    """
    rows = _parquet(path) if path.suffix == ".parquet" else _csv(path)
    rows = _refusing(path, rows)
    names = next(rows, [])
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path}: column {', '.join(twice)} stands there twice; keep one of each")
    return names, (dict(zip(names, row, strict=True)) for row in rows)


def read_cells(
    columns: Iterable[Column], given: Mapping[str, Any], missing: list[str], place: str
) -> dict[str, Cell]:
    """The values of the columns that `given` holds, as a snapshot holds them.

    Raises:
        DataError: a value is not of its column's type; `place` says where it stands.
    """
    cells = {}
    for column in columns:
        if column.name in given:
            value = given[column.name]
            try:
                cells[column.name] = read_cell(column, value, missing)
            except ValueError:
                shown = "a value" if column.pii else f"{value!r:.80}"
                raise DataError(
                    f"{place}, column {column.name}: {shown} is no {column.type}; correct it, or"
                    " leave it out"
                ) from None
    return cells


def read_cell(column: Column, value: Any, missing: list[str]) -> Cell:
    """A float for numbers and booleans, text, a time in UTC, or None where it is missing.

    Raises:
        ValueError: the value is not of the column's type.
    """
    if value is None or value in missing or (isinstance(value, float) and isnan(value)):
        return None
    if column.is_time:
        return read_time(value)
    if not column.is_number:
        whole = isinstance(value, float) and value.is_integer()
        return str(int(value) if whole else value)
    if column.type == "boolean" and isinstance(value, str):
        if value not in {*column.true_values, *column.false_values}:
            raise ValueError
        return float(value in column.true_values)
    if isinstance(value, str) and not NUMBER.fullmatch(value):
        raise ValueError
    try:
        number = float(value)
    except (OverflowError, TypeError):
        raise ValueError from None
    if column.type == "integer" and not (number.is_integer() and abs(number) < TOO_LARGE):
        raise ValueError
    return number


def read_time(value: Any) -> datetime:
    """A time in UTC, to the microsecond.

    Raises:
        ValueError: the value is no time by the rule of this module.
    """
    text = value.isoformat() if isinstance(value, date) else str(value)
    try:
        if not TIME.fullmatch(text):
            raise ValueError
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (OverflowError, ValueError):
        raise ValueError(f"{text!r:.80} is no time") from None


def _parquet(path: Path) -> Iterator[list[Any]]:
    with path.open("rb") as file:
        table = pq.ParquetFile(file)
        yield list(table.schema_arrow.names)
        for batch in table.iter_batches():
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _csv(path: Path) -> Iterator[list[Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, strict=True)
        names = next(lines, [])
        yield names
        for number, values in enumerate(filter(None, lines), 1):
            if len(values) != len(names):
                raise DataError(
                    f"{path} row {number} has {len(values)} values, and its first line names"
                    f" {len(names)} columns; correct the row"
                )
            yield values


def _refusing(path: Path, rows: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from rows
    except OSError as fault:
        raise DataError(
            f"{path} cannot be read ({fault.strerror}); name a file with labels"
        ) from None
    except (ValueError, csv.Error) as fault:
        raise DataError(
            f"{path} is no Parquet file, or no comma-separated file in UTF-8: {fault}"
        ) from fault
