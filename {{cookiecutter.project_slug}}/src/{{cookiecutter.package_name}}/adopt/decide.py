"""Decide: a column's type, role and constraints from its evidence, why, and what is unsure."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from ..contract import FLOAT32_MAX
from ..data.typed import MAX_INTEGER
from ..errors import DataError
from .evidence import LIKELY, Evidence
from .personal import (
    are_full_names,
    are_personal,
    is_personal_name,
    is_protected,
    says_person,
)
from .spelling import (
    FALSE,
    TRUE,
    are_dates,
    are_yyyymmdd,
    is_boolean,
    is_written_out,
    pattern,
    shape,
    spellings,
    split_words,
)

MOST_LISTED = 50
"""Categories that the contract lists; of more, a new one is no news."""
MOST_CATEGORIES = 255
"""As many as scikit-learn's histogram trees tell apart."""
MOST_LABELS = 20
"""Whole numbers up to this many are taken for classes."""
MOST_KINDS = 10
"""Kinds of customers, drivers and the like; more values are rather they themselves."""
IDS = {"id", "uuid", "guid", "identifier"}
IDENTIFIERS = IDS | {"key", "index", "number", "no", "nr", "nummer"}
"""Some of these may also count, such as week_no."""
TIMES = {"time", "timestamp", "date", "epoch", "at", "ts", "created", "updated"}
CODES = {"zip", "zipcode", "postal", "postcode", "plz", "code", "sku", "ean", "isbn", "fips"}
LEAST_MARKS = 10
"""As often a text is a mark that may be shown; a rarer one may be somebody's name."""
Task = Literal["classification", "regression"]


@dataclasses.dataclass
class Decision:
    """One field of the contract, why it is so, and what a person should look at."""

    field: dict[str, Any]
    reason: str
    doubts: list[str] = dataclasses.field(default_factory=list)


def decide(column: Evidence) -> Decision:
    """Decide on a column that is not the target."""
    rules: tuple[Callable[[Evidence], Decision | None], ...] = (
        *(_constant, _personal, _time, _identifier, _code, _boolean),
        lambda each: None if each.numbers is None else _number(each),
        _category,
    )
    decision = next(found for rule in rules if (found := rule(column)) is not None)
    if decision.field["role"] != "feature":
        return decision
    kinds = MOST_CATEGORIES if column.values is None else len(column.values)
    if is_protected(column.name, kinds):
        decision.field["role"] = "group"
        decision.field.get("constraints", {}).pop("required", None)
        decision.doubts.append(
            "protected in many countries, so seen by checks and never by the model; make it a"
            " feature only where law and purpose allow"
        )
    elif column.whole and kinds > _most_kinds(column.name):
        decision.doubts.append(
            f"may name who or what a row is about ({kinds} values); if so, give it role id, which"
            " the split keeps together, or excluded"
        )
    return decision


def decide_target(column: Evidence, task: str) -> tuple[Task, Decision]:
    """Decide on the target, and the task if it is not given.

    Raises:
        DataError: the column cannot be a target for the task.
    """
    values = column.values
    counted = values is not None and column.whole and len(values) <= 10
    found = task or ("classification" if column.numbers is None or counted else "regression")
    doubts = []
    if missing := column.rows - column.present:
        doubts.append(f"{missing} rows lack it, and are rejected")
    if found == "regression":
        if column.numbers is None:
            raise DataError(
                f"{column.name} holds texts, so the task is no regression; leave TASK out"
            )
        decision = _number(column)
        decision.field |= {"role": "target"}
        decision.field["constraints"]["required"] = True
        return "regression", Decision(decision.field, "a number", doubts + decision.doubts)
    if values is None or not 2 <= len(values) <= MOST_LABELS:
        count = f"more than {MOST_LABELS}" if values is None else len(values)
        raise DataError(
            f"{column.name} holds {count} values, and a classification needs 2 to {MOST_LABELS};"
            " name another TARGET, or TASK=regression"
        )
    labels = sorted(values)
    if column.numbers is not None and not task:
        doubts.append(f"{len(labels)} whole numbers, taken as labels; TASK=regression otherwise")
    doubts += spellings(values)
    constraints = {"required": True, "enum": labels}
    field = {"name": column.name, "type": "string", "role": "target", "constraints": constraints}
    return "classification", Decision(field, f"labels {', '.join(labels)}", doubts)


def is_quantity(column: Evidence) -> bool:
    """Whether the column holds numbers, times or booleans, in which a word means missing."""
    return column.numbers is not None or column.times is not None or is_boolean(column)


def _constant(column: Evidence) -> Decision | None:
    if not column.present:
        return _excluded(column, "holds no value")
    if column.values is not None and len(column.values) == 1:
        return _excluded(column, "holds one value alone")
    return None


def _personal(column: Evidence) -> Decision | None:
    few = column.values is not None and len(column.values) <= min(MOST_LISTED, column.present / 2)
    amount = few and column.numbers is not None and column.high < 1000 and not column.coded
    by_name = is_personal_name(column.name) and not is_boolean(column) and not amount
    by_value = are_personal(column.shown) or (
        says_person(column.name) and are_full_names(column.shown)
    )
    if not by_name and not by_value:
        return None
    why = "its name says personal data" if by_name else "its values look like personal data"
    decision = _excluded(
        column, why, "personal data unless you say otherwise: pii: true keeps it out"
    )
    decision.field["pii"] = True
    return decision


def _time(column: Evidence) -> Decision | None:
    if column.times is None or column.times < LIKELY * column.present:
        return None
    kind = "datetime" if column.has_hours else "date"
    field: dict[str, Any] = {"name": column.name, "type": kind, "role": "time"}
    if column.formats[0] is not None:
        field["format"] = column.formats[0]
    doubts = _strangers(column, column.times)
    if len(column.formats) > 1:
        doubts.append(f"written as {' or '.join(map(str, column.formats))}: taken as the first")
    return Decision(
        field, f"points in time, without a zone UTC ({column.formats[0] or 'ISO 8601'})", doubts
    )


def _identifier(column: Evidence) -> Decision | None:
    if column.numbers is not None and not column.whole:
        return None
    last = "".join(split_words(column.name)[-1:])
    named = last in IDENTIFIERS or last.endswith("nummer")
    many = column.values is None or len(column.values) > MOST_LISTED
    steps = column.high - column.low + 1 == column.present and column.numbers is not None
    texts = column.numbers is None and not any(" " in each for each in column.shown)
    texts = texts and not is_written_out(column)
    if last in IDS and not many and column.numbers is not None:
        return _excluded(
            column,
            "names something, so its numbers are no quantity",
            f"{len(column.values or ())} numbers that repeat; give it role id if they name who or"
            " what a row is about, which the split keeps together, or type string, role feature"
            " and an example if they are kinds",
        )
    if not many or not (named or (column.unique and (steps or texts))):
        return None
    constraints: dict[str, Any] = _required(column)
    doubts = []
    if column.unique:
        constraints["unique"] = True
    else:
        doubts.append(
            "repeats, so a row is not named by it alone; the split keeps its rows together"
        )
    kind = (
        "integer"
        if column.numbers == column.present
        and not column.coded
        and not texts
        and abs(column.high) <= MAX_INTEGER
        else "string"
    )
    field = {"name": column.name, "type": kind, "role": "id", "constraints": constraints}
    return Decision(field, "names rows, never seen by the model", doubts)


def _most_kinds(name: str) -> float:
    """Of more values than these, a column of this name may name who or what a row is about."""
    if not IDENTIFIERS.isdisjoint(split_words(name)[-1:]):
        return 2
    return MOST_KINDS if says_person(name) else np.inf


def _code(column: Evidence) -> Decision | None:
    if column.numbers is None:
        return None
    if not column.coded and not (column.whole and not CODES.isdisjoint(split_words(column.name))):
        return None
    why = "digits that are a code, not a quantity"
    return _texts(column, why, ["looks like a number; if it is one, give it type integer"])


def _boolean(column: Evidence) -> Decision | None:
    if not is_boolean(column):
        return None
    true = sorted(each for each in column.values or () if each.strip().lower() in TRUE)
    false = sorted(each for each in column.values or () if each.strip().lower() in FALSE)
    field: dict[str, Any] = {"name": column.name, "type": "boolean", "role": "feature"}
    field |= {"constraints": _required(column), "trueValues": true, "falseValues": false}
    doubts = [] if len(true) == len(false) == 1 else [f"spelled {', '.join(true + false)}"]
    return Decision(field, f"true ({', '.join(true)}) or false ({', '.join(false)})", doubts)


def _number(column: Evidence) -> Decision:
    whole = column.whole and max(abs(column.low), abs(column.high)) <= MAX_INTEGER
    low, high = np.clip(_bounds(column.low, column.high), -FLOAT32_MAX, FLOAT32_MAX).tolist()
    limits = {"minimum": int(low) if whole else low, "maximum": int(high) if whole else high}
    kind = "integer" if whole else "number"
    field: dict[str, Any] = {"name": column.name, "type": kind, "role": "feature"}
    # A text among the numbers may mean missing.
    required = _required(column) if column.numbers == column.present else {}
    field["constraints"] = {**required, **limits}
    doubts = _strangers(column, column.numbers or 0)
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


def _category(column: Evidence) -> Decision:
    doubts = []
    if column.first_share >= 0.5:
        doubts.append(f"{column.first_share:.0%} of the first values are numbers, the others not")
    if is_written_out(column):
        doubts.append(
            "numbers written with signs or separators, so taken as texts; write them plain, such as"
            f" 1234{column.decimal}5"
        )
    if are_dates(column):
        doubts.append(
            "dates in no one known format, so taken as texts; write them as ISO 8601, or give it"
            ' type date or datetime, role time, and format as strptime reads it, such as "%d %b %Y"'
        )
    return _texts(column, "", doubts)


def _texts(column: Evidence, why: str, doubts: list[str]) -> Decision:
    values = column.values
    if values is None or len(values) > MOST_CATEGORIES:
        count = "many" if values is None else len(values)
        return _excluded(
            column,
            why or "free text",
            f"{count} different values, too many for categories",
            *doubts,
        )
    field: dict[str, Any] = {"name": column.name, "type": "string", "role": "feature"}
    field["constraints"] = _required(column)
    if len(values) <= MOST_LISTED:
        field["constraints"]["enum"] = sorted(values)
    elif form := pattern(values):
        field["constraints"]["pattern"] = form
    field["example"] = values.most_common(1)[0][0]
    return Decision(field, why or f"{len(values)} categories", doubts + spellings(values))


def _excluded(column: Evidence, why: str, *doubts: str) -> Decision:
    return Decision({"name": column.name, "type": "string", "role": "excluded"}, why, list(doubts))


def _required(column: Evidence) -> dict[str, Any]:
    return {"required": True} if column.present == column.rows else {}


def _strangers(column: Evidence, fitting: int) -> list[str]:
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
