"""Quantity: the field of a column of numbers, its bounds, and what among them is none."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from ..contract import FLOAT32_MAX
from ..data.typed import MAX_INTEGER
from .evidence import Evidence
from .spelling import are_yyyymmdd, shape, split_words

TIMES = {"time", "timestamp", "date", "epoch", "at", "ts", "created", "updated"}
LEAST_MARKS = 10
"""As often a text is a mark that may be shown; a rarer one may be somebody's name."""


@dataclasses.dataclass
class Decision:
    """One field of the contract, why it is so, and what a person should look at."""

    field: dict[str, Any]
    reason: str
    doubts: list[str] = dataclasses.field(default_factory=list)


def number(column: Evidence) -> Decision:
    """The decision on a column of numbers, as a feature."""
    whole = column.whole and max(abs(column.low), abs(column.high)) <= MAX_INTEGER
    low, high = np.clip(_bounds(column.low, column.high), -FLOAT32_MAX, FLOAT32_MAX).tolist()
    limits = {"minimum": int(low) if whole else low, "maximum": int(high) if whole else high}
    kind = "integer" if whole else "number"
    field: dict[str, Any] = {"name": column.name, "type": kind, "role": "feature"}
    # A text among the numbers may mean missing.
    always = required(column) if column.numbers == column.present else {}
    field["constraints"] = {**always, **limits}
    doubts = strangers(column, column.numbers or 0)
    if max(abs(column.low), abs(column.high)) > FLOAT32_MAX:
        doubts.append(f"values beyond {FLOAT32_MAX:g}, which float32 ends at: rows are rejected")
    if column.values is not None and set(column.values) == {"0", "1"}:
        doubts.append("0 and 1 alone: if they mean no and yes, type boolean says so to callers")
    if whole and are_yyyymmdd(column):
        doubts.append(
            "days such as 20240131, taken as numbers; if so, give it type date, role time and"
            ' format "%Y%m%d", without minimum, maximum and example'
        )
    elif whole and _may_be_epoch(column):
        doubts.append(
            "may be seconds or milliseconds since 1970, taken as numbers; write them as ISO 8601 to"
            " split by time"
        )
    why = f"{'whole numbers' if whole else 'numbers'} from {column.low:g} to {column.high:g}"
    return Decision(field, why, doubts)


def required(column: Evidence) -> dict[str, Any]:
    """The constraint, where no row lacks a value."""
    return {"required": True} if column.present == column.rows else {}


def strangers(column: Evidence, fitting: int) -> list[str]:
    """A doubt, where some values are not what `fitting` of them are."""
    if column.strange is None:
        return []
    count, (row, value) = column.present - fitting, column.strange
    mark, times = next(iter(column.marks.most_common(1)), ("", 0))
    if times >= LEAST_MARKS and times > count / 2:
        return [
            f"{count} values are none, {times} of them {mark!r}: rows are rejected; if it means"
            " missing, add it to missingValues"
        ]
    # Whoever put it there may have put somebody's name there.
    like = re.sub(r"[^\x00-\x7f]", "a", shape(value))[:40]
    return [
        f"{count} values are none, first one of the form {like!r} (letters and digits replaced) in"
        f" row {row}: rows are rejected; a text that means missing belongs in missingValues"
    ]


def _may_be_epoch(column: Evidence) -> bool:
    """Between 2001 and 2100, in seconds or milliseconds, under a name that says time."""
    if TIMES.isdisjoint(split_words(column.name)):
        return False
    return any(1e9 * unit <= column.low <= column.high < 4.11e9 * unit for unit in (1, 1000))


def _bounds(low: float, high: float) -> tuple[float, float]:
    """The range seen, as wide again to either side, in two digits; not below 0 if nothing is."""
    spread = high - low
    least = max(0.0, low - spread) if low >= 0 else low - spread
    return min(_outward(least, np.floor), low), max(_outward(high + spread, np.ceil), high)


def _outward(value: float, to: Callable[[float], float]) -> float:
    if not 1e-300 < abs(value) < np.inf:
        return value if abs(value) > 1 else 0.0
    digits = 1 - int(np.floor(np.log10(abs(value))))
    return float(round(to(round(value * 10.0**digits, 6)) / 10.0**digits, max(digits, 0)))
