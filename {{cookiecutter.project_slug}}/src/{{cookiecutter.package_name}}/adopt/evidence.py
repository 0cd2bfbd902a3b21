"""Evidence: what the values of one column show, gathered batch by batch in bounded memory."""

import re
from collections import Counter
from collections.abc import Iterable
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..data.typed import MAX_INTEGER, parse_numbers, parse_times

MARKERS = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "?", "-", ".")
"""Texts that people and programs write where a value is missing."""
MOST_DISTINCT = 10_000
"""Values remembered with their counts; a column with more holds no categories."""
LIKELY = 0.9
"""Share of the first values that have to fit for a kind to be looked into."""
TRIED = 1_000
"""Values on which each format of dates is tried."""
FORMATS = (
    *(None, "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y"),
    *("%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M"),
    *("%d.%m.%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S"),
    *("%d.%m.%y", "%d/%m/%y", "%m/%d/%y"),
    *("%d/%m/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M:%S %p", "%Y-%m-%d %I:%M:%S %p"),
    *("%d/%m/%Y %I:%M %p", "%m/%d/%Y %I:%M %p", "%Y-%m-%d %I:%M %p"),
)
LEAST_OF_A_TIME = r"\d.*\d.*\d"
"""A digit each for day, month and year; trying all formats on texts without takes its time."""
MARK = r"^[\p{L}.]{1,6}$"
"""A short text of letters and dots, which may mean missing where it stands often."""
CODE = r"^(\+\d|[+-]?0\d|-?(9\d{15}|\d{17,})$)"
"""Digits that a number would lose: leading zeros, a telephone number's plus, those after 2**53."""


class Evidence:
    """One column so far.

    numbers, times: how many values are one; None where hardly any is.
    values: each value's count; None where there are too many.
    strange: row and value of the first one that is not what most are.
    marks: how often each short text that may mean missing is such a one.
    shown: the first values.
    """

    def __init__(self, name: str, decimal: str) -> None:
        self.name = name
        self.rows = self.present = 0
        self.markers: Counter[str] = Counter()
        self.numbers: int | None = 0
        self.first_share = 0.0
        self.low, self.high = np.inf, -np.inf
        self.whole = True
        self._coded = False
        self.times: int | None = 0
        self.formats: list[str | None] = []
        self.has_hours = False
        self.values: Counter[str] | None = Counter()
        self.strange: tuple[int, str] | None = None
        self.marks: Counter[str] = Counter()
        self.shown: list[str] = []
        self.decimal = decimal
        # Of the values as numbers or texts, sorted in each batch; None once a value came twice.
        self._hashes: list[npt.NDArray[np.uint64]] | None = []

    @cached_property
    def unique(self) -> bool:
        """Whether no value came twice, asked once all batches are in."""
        if not self._hashes:
            return False
        every = np.concatenate(self._hashes)
        every.sort(kind="stable")  # which merges what is sorted in parts
        return not _has_twins(every)

    @property
    def coded(self) -> bool:
        """Whether a number among the values would lose a digit."""
        return self._coded or any(re.match(CODE, each) for each in self.values or ())

    @property
    def middle(self) -> float:
        """The median of the first numbers."""
        parsed = parse_numbers(pa.array(self.shown), self.decimal)
        return float(np.nanmedian(parsed.to_numpy(zero_copy_only=False)))

    def add(self, given: pa.Array) -> None:
        """Take a batch into account."""
        texts = as_texts(given)
        parsed = self._all_numbers(texts)
        kept, places = texts, None
        if parsed is None:
            marked = pc.or_(pc.is_in(texts, pa.array(MARKERS)), texts.is_null())
            if pc.any(marked).as_py():
                found = pc.fill_null(texts.filter(marked), "")
                self.markers.update(_as_dict(found.value_counts()))
                places = pc.indices_nonzero(pc.invert(marked))
                kept = texts.take(places)
        if len(kept):
            self.shown = self.shown or kept[:TRIED].to_pylist()
            parsed = self._numbers(kept, parsed, places)
            self._times(kept, places)
            self._distinct(kept, parsed)
        self.rows += len(texts)
        self.present += len(kept)

    def _all_numbers(self, texts: pa.Array) -> pa.Array | None:
        """The texts as numbers, if each is a finite one: then none is a marker."""
        if self.numbers is None or texts.null_count:
            return None
        parsed = parse_numbers(texts, self.decimal)
        return parsed if pc.all(pc.is_finite(parsed), skip_nulls=False).as_py() else None

    def restore(self, missing: Iterable[str]) -> None:
        """Count markers that are none of `missing` as values again."""
        for text in set(self.markers) - set(missing):
            count = self.markers.pop(text)
            self.present += count
            if self.values is not None:
                self.values[text] += count

    def _numbers(
        self, kept: pa.Array, parsed: pa.Array | None, places: pa.Array | None
    ) -> pa.Array | None:
        if self.numbers is None:
            return None
        if parsed is None:
            parsed = parse_numbers(kept, self.decimal)
            parsed = pc.if_else(pc.is_finite(parsed), parsed, None)
        found = len(kept) - parsed.null_count
        if not self.present:
            self.first_share = found / len(kept)
            if self.first_share < LIKELY:
                self.numbers = None
                return None
        self.numbers += found
        self._note_strange(kept, parsed, places)
        limits = pc.min_max(parsed)
        if limits["min"].is_valid:
            self.low = min(self.low, limits["min"].as_py())
            self.high = max(self.high, limits["max"].as_py())
        self.whole = self.whole and bool(pc.all(pc.equal(parsed, pc.floor(parsed))).as_py())
        if self.whole and self.values is None and not self._coded:
            self._coded = _any_matches(kept, CODE)
        return parsed

    def _times(self, kept: pa.Array, places: pa.Array | None) -> None:
        if self.times is None or self.numbers is not None:
            return
        if not self.present:
            sample = kept[:TRIED]
            if pc.mean(pc.match_substring_regex(sample, LEAST_OF_A_TIME)).as_py() >= LIKELY:
                self.formats = [form for form in FORMATS if _share_of_times(sample, form) >= LIKELY]
        if not self.formats:
            self.times = None
            return
        parsed = parse_times(kept, self.formats[0])
        self.times += len(kept) - parsed.null_count
        self._note_strange(kept, parsed, places)
        self.has_hours = self.has_hours or bool(
            pc.any(pc.not_equal(parsed, pc.floor_temporal(parsed, unit="day"))).as_py()
        )

    def _note_strange(self, kept: pa.Array, parsed: pa.Array, places: pa.Array | None) -> None:
        if not parsed.null_count:
            return
        others = kept.filter(parsed.is_null())
        marks = others.filter(pc.match_substring_regex(others, MARK))
        self.marks.update(_as_dict(marks.value_counts()))
        if self.strange is None:
            place = pc.index(parsed.is_null(), value=True).as_py()
            row = place if places is None else places[place].as_py()
            self.strange = (self.rows + row + 1, kept[place].as_py())

    def _distinct(self, kept: pa.Array, parsed: pa.Array | None) -> None:
        if self.numbers is not None and not self.whole:
            self._hashes = None
        if self._hashes is not None:
            exact = max(abs(self.low), abs(self.high)) <= MAX_INTEGER
            values = kept if parsed is None or parsed.null_count or not exact else parsed
            hashes = pd.util.hash_array(values.to_numpy(zero_copy_only=False), categorize=False)
            hashes.sort()
            self._hashes.append(hashes)
            if _has_twins(hashes):
                self._hashes = None
        if self.values is not None:
            counted = kept.value_counts()
            if len(counted) <= MOST_DISTINCT:
                self.values.update(_as_dict(counted))
            if max(len(counted), len(self.values)) > MOST_DISTINCT:
                self._coded = self.coded or _any_matches(kept, CODE)
                self.values = None


def _has_twins(ordered: npt.NDArray[np.uint64]) -> bool:
    return bool((ordered[1:] == ordered[:-1]).any())


def _any_matches(texts: pa.Array, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(texts, pattern)).as_py())


def as_texts(given: pa.Array) -> pa.Array:
    """The values as texts; one that has no text, such as a list, as "(no text)"."""
    if pa.types.is_floating(given.type):
        given = pc.if_else(pc.is_nan(given), None, given)
    if pa.types.is_nested(given.type) or pa.types.is_binary(given.type):
        return pa.array([None if each is None else "(no text)" for each in given.to_pylist()])
    return given if pa.types.is_string(given.type) else given.cast(pa.string())


def _as_dict(counted: pa.StructArray) -> dict[str, int]:
    values, counts = counted.field("values").to_pylist(), counted.field("counts").to_pylist()
    return dict(zip(values, counts, strict=True))


def _share_of_times(sample: pa.Array, form: str | None) -> float:
    return 1.0 - float(parse_times(sample, form).null_count) / len(sample)
