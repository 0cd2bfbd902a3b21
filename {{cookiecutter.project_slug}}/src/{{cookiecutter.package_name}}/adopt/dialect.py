"""Dialect: encoding, delimiter and decimal character of a CSV file, found or asked for."""

import csv
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from pydantic import ValidationError

from ..contract import Source
from ..data.source import BLOCK_BYTES, find_fault, is_parquet, open_text, refuse_other_formats
from ..errors import DataError

MARKS = {  # the longer ones first: they begin like the others
    **{b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32"},
    **{b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"},
}
DELIMITERS = (",", ";", "\t", "|")
LINES = 500
"""Records looked at: enough to meet each column, and read at once."""
COMMA = re.compile(r"[+-]?\d+,\d+")
POINT = re.compile(r"[+-]?\d+\.\d+")


def find_dialect(file: Path, path: str, encoding: str = "", delimiter: str = "") -> Source:
    """The source with its dialect; what is given is taken as said.

    Raises:
        DataError: the file is no text in the encoding, or no delimiter divides its lines alike.
    """
    if is_parquet(file):
        return Source(path=path)
    refuse_other_formats(file)
    with file.open("rb") as opened:
        start = opened.read(4)
    marked = (name for mark, name in MARKS.items() if start.startswith(mark))
    encoding = encoding or next(marked, "utf-8")
    try:
        delimiter = delimiter or _delimiter(file, _source(path, encoding, ","))
        source = _source(path, encoding, delimiter)
        return source.model_copy(update={"decimal_char": _decimal(file, source)})
    except (UnicodeError, csv.Error) as fault:
        find_fault(file, _source(path, encoding, delimiter or ","))
        raise DataError(f"{file} cannot be read as CSV: {fault}") from fault


def _source(path: str, encoding: str, delimiter: str) -> Source:
    try:
        return Source(path=path, encoding=encoding, delimiter=delimiter)
    except ValidationError as fault:
        said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in fault.errors())
        raise DataError(f"ENCODING={encoding}, DELIMITER={delimiter}: {said}") from None


def _records(file: Path, source: Source) -> Iterator[list[str]]:
    csv.field_size_limit(BLOCK_BYTES)
    with open_text(file, source) as lines:
        yield from islice(csv.reader(lines, delimiter=source.delimiter), LINES)


def _delimiter(file: Path, source: Source) -> str:
    """The delimiter that divides every record into the same number of columns, the most."""
    widths, first = {}, {}
    for each in DELIMITERS:
        rows = _records(file, source.model_copy(update={"delimiter": each}))
        first[each] = len(next(rows, []))
        try:
            counts = {first[each], *(len(row) for row in rows)} - {0}
        except csv.Error:
            continue
        if len(counts) == 1:
            widths[each] = counts.pop()
    best = max(widths, key=lambda each: widths[each], default="")
    if widths.get(best, 1) < 2:
        likely = max(first, key=lambda each: first[each])
        if first[likely] > 1:
            find_fault(file, source.model_copy(update={"delimiter": likely}))
            if likely not in widths:
                raise DataError(
                    f"{file} holds a value longer than {BLOCK_BYTES} bytes; shorten it, or leave"
                    " its column out"
                )
        raise DataError(
            f"{file}: none of {DELIMITERS} divides its first {LINES} lines into the same number of"
            " columns; say which one does (DELIMITER=…), or correct the lines"
        )
    return best


def _decimal(file: Path, source: Source) -> str:
    if source.delimiter == ",":
        return "."
    rows = list(_records(file, source))[1:]
    commas = sum(COMMA.fullmatch(value.strip()) is not None for row in rows for value in row)
    points = sum(POINT.fullmatch(value.strip()) is not None for row in rows for value in row)
    return "," if commas > points else "."
