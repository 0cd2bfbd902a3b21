"""Spelling: what the texts of a column look like."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from itertools import groupby

from .evidence import LIKELY, Evidence

TRUE = {"true", "t", "yes", "y", "ja", "j", "oui", "si", "on", "1"}
FALSE = {"false", "f", "no", "n", "nein", "non", "off", "0"}
DATE = re.compile(r"\d{1,4}([-/.])(\d{1,2}|[A-Za-z]{3})\1\d{1,4}\b")
YYYYMMDD = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
QUANTITY = re.compile(
    r"(?!\d+$)[-+(]?\s?[$€£¥]?\s?[-+]?\d+([.,'\u2019_ \u00a0\u202f]\d{3})*([.,]\d+)?\s?[%$€£¥]?\)?"
)
"""A number with a currency, a percent sign, separated thousands, or another decimal character."""


def is_boolean(column: Evidence) -> bool:
    """Whether the texts are words for true and for false."""
    if column.numbers is not None or not column.values or len(column.values) > 8:
        return False
    spelled = {each.strip().lower() for each in column.values}
    return spelled <= TRUE | FALSE and bool(spelled & TRUE) and bool(spelled & FALSE)


def is_written_out(column: Evidence) -> bool:
    """Whether nearly all texts are numbers with signs or separators."""
    return column.numbers is None and most(QUANTITY.fullmatch(each) for each in _shown(column))


def are_dates(column: Evidence) -> bool:
    """Whether nearly all texts begin like dates."""
    return most(DATE.match(each) for each in _shown(column))


def are_yyyymmdd(column: Evidence) -> bool:
    """Whether nearly all numbers are days such as 20240131."""
    return most(YYYYMMDD.fullmatch(each) for each in _shown(column))


def spellings(values: Counter[str]) -> list[str]:
    """A doubt, where values differ in case or surrounding space alone."""
    written: dict[str, list[str]] = {}
    for each in sorted(values):
        written.setdefault(each.strip().casefold(), []).append(each)
    alike = [names for names in written.values() if len(names) > 1]
    return [f"{alike[0]} may be one value, spelled differently"] if alike else []


def pattern(values: Iterable[str]) -> str:
    """The one shape of all values, such as [A-Z]{2}[0-9]{4}; "" if they have several."""
    shapes = {shape(each) for each in values}
    if len(shapes) != 1 or len(one := shapes.pop()) > 40:
        return ""
    classes = {"9": "[0-9]", "A": "[A-Z]", "a": "[a-z]"}
    runs = [(sign, len(list(run))) for sign, run in groupby(one)]
    return "".join(
        classes.get(sign, re.escape(sign)) + (f"{{{count}}}" if count > 1 else "")
        for sign, count in runs
    )


def shape(text: str) -> str:
    """The text with each letter and digit replaced by one of its kind."""
    return re.sub("[0-9]", "9", re.sub("[a-z]", "a", re.sub("[A-Z]", "A", text)))


def split_words(name: str) -> list[str]:
    """The words of a name such as customerId or Stra\u00dfe_Nr, in lower case, without accents."""
    parts = unicodedata.normalize("NFKD", name)
    plain = "".join(each for each in parts if not unicodedata.combining(each))
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", plain)
    return [word for word in re.split(r"[\W_]+", spaced.casefold()) if word]


def most(matches: Iterable[re.Match[str] | None]) -> bool:
    """Whether nearly all of them are matches, and there are some."""
    fit = [match is not None for match in matches]
    return bool(fit) and sum(fit) >= LIKELY * len(fit)


def _shown(column: Evidence) -> list[str]:
    return [each.strip() for each in column.shown]
