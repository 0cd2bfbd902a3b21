"""Typed: a column's values as the contract's type, and which of them are none.

In memory and in Parquet, integers, numbers and booleans are float64, texts are strings, and points
in time are microseconds in UTC. Times are read by one rule: they are UTC where they have no zone,
and a date is its midnight in UTC.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ..contract import Column
from ..errors import DataError

MAX_INTEGER = 2**53 - 1
"""Beyond it float64 takes two integers for one; larger codes are text."""
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
ZONE = r"(Z|[+-]\d\d:?\d\d)$"
TIME = pa.timestamp("us", "UTC")
FINER = r"(\.\d{6})\d+"
"""Digits of a second that microseconds cannot hold."""
ISO_TIME = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?$"


class Typed(NamedTuple):
    """Values of equal length, null where missing or wrong; and whether each is wrong."""

    values: pa.Array
    wrong: pa.Array


def kind(column: Column) -> pa.DataType:
    """The type of a column's values."""
    if column.is_number:
        return pa.float64()
    return TIME if column.is_time else pa.string()


def typed(column: Column, values: pa.Array, missing: Sequence[str], decimal: str) -> Typed:
    """One batch of one column in the contract's type.

    missing: texts that stand for no value, beside "".
    decimal: the decimal character of texts.
    """
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_string(values.type):
        values = _unless(pc.is_in(values, pa.array({*missing, ""})), values)
    misplaced = column.is_number and pa.types.is_temporal(values.type)
    if misplaced or pa.types.is_nested(values.type):  # Arrow has no cast for it
        return Typed(pa.nulls(len(values), kind(column)), values.is_valid())
    if column.type == "string":
        return Typed(values.cast(pa.string()), pa.repeat(pa.scalar(value=False), len(values)))
    if column.is_time:
        return _times(column, values)
    if column.type == "boolean":
        return _booleans(column, values)
    return _numbers(column, values, decimal)


def sound(
    column: Column, values: pa.Array, missing: Sequence[str], place: str, numbers: Sequence[int]
) -> pa.Array:
    """The values in the contract's type, where none may be wrong; with role time, none missing.

    numbers: what each value's row or line is called, behind `place`.

    Raises:
        DataError: one is; the message names its place.
    """
    found, wrong = typed(column, values, missing, ".")
    first = pc.index(found.is_null() if column.role == "time" else wrong, value=True).as_py()
    if first >= 0:
        shown = "a value" if column.pii else f"{values[first].as_py()!r:.80}"
        step = "write it as ISO 8601" if column.role == "time" else "correct it, or leave it out"
        raise DataError(
            f"{place} {numbers[first]}, column {column.name}: {shown} is no {column.type}; {step}"
        )
    return found


def texts(column: Column, values: Sequence[Any]) -> pa.Array:
    """JSON's values as a table holds them: null if missing, and numbers with all their digits."""
    booleans = column.false_values[:1], column.true_values[:1]
    return pa.array(
        [
            each
            if each is None or isinstance(each, str)
            else "".join(booleans[each])
            if isinstance(each, bool)
            else repr(each)
            for each in values
        ],
        pa.string(),
    )


def _unless(unfit: pa.Array, values: pa.Array) -> pa.Array:
    """The values, null where unfit; as they are where all fit, which is the usual case."""
    return pc.if_else(unfit, None, values) if pc.any(unfit).as_py() else values


def _numbers(column: Column, values: pa.Array, decimal: str) -> Typed:
    given = values
    if pa.types.is_integer(values.type) and column.type == "integer":
        values = _unless(pc.greater(pc.abs(values), MAX_INTEGER), values).cast(pa.float64())
    elif pa.types.is_string(values.type):
        values = parse_numbers(values, decimal)
    else:
        values = values.cast(pa.float64(), safe=False)
    values = _unless(pc.invert(pc.is_finite(values)), values)
    if column.type == "integer":
        values = _unless(pc.not_equal(values, pc.floor(values)), values)
        values = _unless(pc.greater(pc.abs(values), MAX_INTEGER), values)
    return Typed(values, pc.and_(given.is_valid(), values.is_null()))


def parse_numbers(values: pa.Array, decimal: str) -> pa.Array:
    """Texts as float64, null where one is no number with this decimal character."""
    if decimal == ",":
        values = _unless(pc.match_substring(values, "."), values)
        values = pc.replace_substring(values, ",", ".")
    try:
        return values.cast(pa.float64())
    except pa.ArrowInvalid:
        values = pc.utf8_trim_whitespace(values)
        unfit = pc.invert(pc.match_substring_regex(values, NUMBER))
        return _unless(unfit, values).cast(pa.float64())


def _booleans(column: Column, values: pa.Array) -> Typed:
    if pa.types.is_boolean(values.type):  # trueValues and falseValues are how texts spell it
        return Typed(values.cast(pa.float64()), pa.repeat(pa.scalar(value=False), len(values)))
    values = values.cast(pa.string())
    true = pc.is_in(values, pa.array(column.true_values))
    false = pc.is_in(values, pa.array(column.false_values))
    known = pc.or_(true, false)
    numbers = pc.if_else(known, true.cast(pa.float64()), None)
    return Typed(numbers, pc.and_(values.is_valid(), pc.invert(known)))


def _times(column: Column, values: pa.Array) -> Typed:
    if column.format and (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        values = values.cast(pa.string())  # 20240131 is a day by its digits
    if pa.types.is_string(values.type):
        found = parse_times(values, column.format)
    elif pa.types.is_temporal(values.type):
        found = values.cast(pa.timestamp("us", getattr(values.type, "tz", None)), safe=False)
        found = found.cast(TIME)
    else:
        found = pa.nulls(len(values), TIME)
    return Typed(found, pc.and_(values.is_valid(), found.is_null()))


def parse_times(values: pa.Array, form: str | None) -> pa.Array:
    """Texts as points in time, null where one is none; without a zone they are UTC."""
    if form is not None:
        found = pc.strptime(values, form, "us", error_is_null=True)
        # %Y takes 24 for the year 24
        return _unless(pc.less(pc.year(found), 1000), found).cast(TIME)
    values = _unless(pc.invert(pc.match_substring_regex(values, ISO_TIME)), values)
    if (pc.max(pc.binary_length(values)).as_py() or 0) > len("2024-01-01T10:00:00.123456"):
        values = pc.replace_substring_regex(values, FINER, r"\1")
    zoned = pc.match_substring_regex(values, ZONE)
    return pc.if_else(
        zoned,
        _cast_each(pc.if_else(zoned, values, None), TIME),
        _cast_each(pc.if_else(zoned, None, values), pa.timestamp("us")).cast(TIME),
    )


def _cast_each(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Cast, value by value where one of them, such as 30 February, cannot be cast."""
    try:
        return values.cast(kind)
    except pa.ArrowInvalid:
        if len(values) == 1:
            return pa.nulls(1, kind)
        half = len(values) // 2
        return pa.concat_arrays([_cast_each(values[:half], kind), _cast_each(values[half:], kind)])
