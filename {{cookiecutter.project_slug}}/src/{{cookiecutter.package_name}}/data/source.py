"""Ingest: a typed snapshot of the contract's source."""

import pandas as pd

from ..contract import Column, load_contract
from ..errors import DataError
from ..layout import Layout
from . import feedback
from .table import write_table

MAX_INTEGER = 2**53
"""The integers up to it are the ones that float64 tells apart; larger codes are text."""


def run(layout: Layout = Layout()) -> None:
    """Write the source as Parquet, in the contract's columns and types.

    Raises:
        DataError: the source cannot be read, its columns are not the contract's, or a number is
            none; the message names file, column, row and value.
    """
    contract = load_contract(layout.contract)
    source = layout.root / contract.source.path
    try:
        frame = pd.read_csv(
            source,
            dtype=str,
            encoding="utf-8-sig",
            keep_default_na=False,
            na_values=contract.missing_values,
            on_bad_lines="error",
        )
    except OSError as fault:
        raise DataError(
            f"{source} cannot be read ({fault.strerror}); correct `source` in {layout.contract},"
            " or add the file"
        ) from None
    except (ValueError, UnicodeDecodeError) as fault:
        raise DataError(f"{source} is no comma-separated file in UTF-8: {fault}") from fault
    if not isinstance(frame.index, pd.RangeIndex):
        raise DataError(
            f"{source} has more values in a row than columns in its first line, which names"
            f" {len(frame.columns)}; name each column there"
        )
    _same_columns(str(source), list(frame.columns), [column.name for column in contract.fields])
    for column in contract.fields:
        if column.is_number:
            frame[column.name] = _numbers(str(source), column, frame[column.name])
    joined = feedback.rows(layout, contract)
    whole = pd.concat([frame, joined]) if len(joined) else frame
    write_table(layout.raw, whole[[column.name for column in contract.fields]])
    print(
        f"ingest: {len(frame)} rows, {len(frame.columns)} columns from {source}, {len(joined)} rows"
        " of feedback"
    )


def _same_columns(source: str, found: list[str], expected: list[str]) -> None:
    missing = [name for name in expected if name not in found]
    unknown = [name for name in found if name not in expected]
    if missing:
        raise DataError(
            f"{source} lacks {', '.join(missing)} of contract.yaml; its columns are"
            f" {', '.join(found)}: rename them there, or take them out of the contract"
        )
    if unknown:
        raise DataError(
            f"{source} has {', '.join(unknown)}, which contract.yaml does not know; add them"
            " there, with role excluded if the model may not see them"
        )


def _numbers(source: str, column: Column, values: "pd.Series[str]") -> "pd.Series[float]":
    numbers = pd.to_numeric(values, errors="coerce")
    wrong = numbers.isna() & values.notna()
    if column.type == "integer":
        wrong |= numbers.notna() & ((numbers % 1 != 0) | (numbers.abs() > MAX_INTEGER))
    if wrong.any():
        place = int(wrong.to_numpy().argmax())
        found = "a value" if column.pii else repr(values.iloc[place])
        kind = "integer up to 2**53" if column.type == "integer" else "number"
        raise DataError(
            f"{source} row {place + 1}, column {column.name}: {found} is no {kind}; correct it, or"
            f" add it to missingValues in contract.yaml ({int(wrong.sum())} such values)"
        )
    return numbers.astype("float64")
