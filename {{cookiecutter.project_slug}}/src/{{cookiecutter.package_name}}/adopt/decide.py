"""Decide: a column's type, role and constraints from its evidence, why, and what is unsure."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

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
from .quantity import Decision, number, required, strangers
from .spelling import (
    FALSE,
    TRUE,
    are_dates,
    is_boolean,
    is_written_out,
    pattern,
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
CODES = {"zip", "zipcode", "postal", "postcode", "plz", "code", "sku", "ean", "isbn", "fips"}
Task = Literal["classification", "regression"]


def decide(column: Evidence) -> Decision:
    """Decide on a column that is not the target."""
    rules: tuple[Callable[[Evidence], Decision | None], ...] = (
        *(_constant, _personal, _time, _identifier, _code, _boolean),
        lambda each: None if each.numbers is None else number(each),
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
        decision = number(column)
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
    doubts = strangers(column, column.times)
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
    constraints: dict[str, Any] = required(column)
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
    field |= {"constraints": required(column), "trueValues": true, "falseValues": false}
    doubts = [] if len(true) == len(false) == 1 else [f"spelled {', '.join(true + false)}"]
    return Decision(field, f"true ({', '.join(true)}) or false ({', '.join(false)})", doubts)


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
    field["constraints"] = required(column)
    if len(values) <= MOST_LISTED:
        field["constraints"]["enum"] = sorted(values)
    elif form := pattern(values):
        field["constraints"]["pattern"] = form
    field["example"] = values.most_common(1)[0][0]
    return Decision(field, why or f"{len(values)} categories", doubts + spellings(values))


def _excluded(column: Evidence, why: str, *doubts: str) -> Decision:
    return Decision({"name": column.name, "type": "string", "role": "excluded"}, why, list(doubts))
