"""Rows of a table, answered as the service answers a request's, but a column at a time.

A row that fails the quick look at its columns gets a second one from the validator of requests, so
that what is refused, and why, is the same.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic_core import SchemaValidator

from ..contract import Column, Contract
from ..data.source import plain, require
from ..data.typed import typed
from ..errors import DataError, DerivedError
from ..features import Encoder, Features
from ..serving.predictor import Predictor
from ..serving.request import RequestParser, value_schema

BATCH_ROWS = 1 << 16
"""Rows that the model is asked about at once."""
REJECTED = pa.schema(
    [("row", pa.int64()), *((name, pa.string()) for name in ("field", "message", "found"))]
)
"""One line for each fault of a rejected row; found is empty where the column is marked pii."""

_JSON = {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}

Table = Mapping[str, npt.NDArray[Any]]


class Scores(NamedTuple):
    """`scored` has a row for each answer, `rejected` one for each fault; rows count from 1."""

    scored: pa.Table
    rejected: pa.Table


class _Cells(NamedTuple):
    """One column: float64, NaN where missing, or str objects, "" where missing.

    unfit: which rows need a second look. wrong: which have a value that `values` cannot hold.
    """

    column: Column
    given: pa.Array
    values: npt.NDArray[Any]
    unfit: npt.NDArray[np.bool_]
    wrong: npt.NDArray[np.bool_]

    def sent(self, place: int) -> Any:
        """One value as a request would hold it."""
        value = self.values[place]
        if self.wrong[place] or not self.column.is_number:
            return self.given[place].as_py()
        if np.isnan(value):
            return None
        return {"integer": int, "boolean": bool}.get(self.column.type, float)(value)


class Scorer:
    """Scores rows with one predictor.

    run: what the ids of the predictions begin with, 20 hexadecimal digits.
    ids: the columns with role id that go into the result, and their types.
    words: the columns that may come as dictionaries.
    """

    def __init__(self, predictor: Predictor, run: str, ids: pa.Schema) -> None:
        contract = predictor.contract
        self._predictor, self._run, self._ids = predictor, run, ids
        self._encoder = Encoder(contract)
        self._parser = RequestParser(contract, max_rows=1)
        self.words = [column.name for column in contract.categories]
        texts = [column for column in contract.requested if not column.is_number]
        self._texts = {column.name: SchemaValidator(value_schema(column)) for column in texts}
        numbers = [column.name for column in contract.features if column.is_number]
        self._quarters = {
            name: _quarters([row.get(name) for row in predictor.background])
            for name in numbers[:32]  # two bits of a key each
        }
        nothing = np.empty((0, len(contract.labels)) if contract.labels else 0)
        outcome = predictor.outcome(nothing)
        self._own = [("row", pa.int64()), ("prediction_id", pa.string())]
        self._own.append(("model_version", pa.string()))
        self._told = [(name, pa.string() if name == "label" else pa.float64()) for name in outcome]
        if taken := sorted({name for name, _ in (*self._own, *self._told)} & set(ids.names)):
            raise DataError(
                f"column {taken[0]} of contract.yaml has the name of a column of the result;"
                " rename it in the data and there"
            )

    @property
    def schema(self) -> pa.Schema:
        """The columns of the scored rows."""
        return pa.schema([*self._own, *self._ids, *self._told])

    def table(self, batch: pa.RecordBatch, first: int, decimal: str = "") -> Scores:
        """Score rows, of which the first is called `first`.

        decimal: the decimal character of a file, whose texts are typed as for training; without one
        a value is what a request says it is.
        """
        contract = self._predictor.contract
        names = set(batch.schema.names)
        cells = [
            self._cells(column, batch[column.name], decimal)
            for column in contract.requested
            if column.name in names
        ]
        doubtful = np.any([each.unfit for each in cells], axis=0)
        faults: list[dict[str, Any]] = []
        for place in np.flatnonzero(doubtful).tolist():
            row = {each.column.name: each.sent(place) for each in cells}
            faults += self._parser.faults(place, row)
        columns = {each.column.name: each.values for each in cells if each.column.role == "feature"}
        ids = {name: batch[name] for name in self._ids.names}
        return self._scores(columns, faults, len(batch), first, ids)

    def mappings(self, rows: Sequence[Mapping[str, Any]]) -> Scores:
        """Score rows as a request holds them."""
        faults = [
            each for place, row in enumerate(rows) for each in self._parser.faults(place, row)
        ]
        refused = {fault["row"] for fault in faults}
        sound = [{} if place in refused else row for place, row in enumerate(rows)]
        columns = {
            each.name: np.array(
                [row.get(each.name) for row in sound], np.float64 if each.is_number else object
            )
            for each in self._predictor.contract.features
        }
        ids = [pa.array([row.get(each.name) for row in sound], each.type) for each in self._ids]
        return self._scores(
            columns, faults, len(rows), 1, dict(zip(self._ids.names, ids, strict=True))
        )

    def _cells(self, column: Column, given: pa.Array, decimal: str) -> _Cells:
        if not column.is_number:
            return self._text(column, given, bool(decimal))
        if decimal and (pa.types.is_string(given.type) or column.type == "boolean"):
            found = typed(column, given, self._predictor.contract.missing_values, decimal)
            values, wrong = _numpy(found.values), _numpy(found.wrong)
        else:
            values, wrong = _as_number(column, given)
        with np.errstate(invalid="ignore"):
            unfit = wrong | (values < column.minimum) | (values > column.maximum)
        if column.constraints.required:
            unfit |= np.isnan(values)
        return _Cells(column, given, values, unfit, wrong)

    def _text(self, column: Column, given: pa.Array, in_file: bool) -> _Cells:
        """Each different text is looked at once."""
        size = len(given)
        if in_file and pa.types.is_primitive(given.type):
            given = given.cast(pa.string())
        known = pa.types.is_dictionary(given.type)
        kind = given.type.value_type if known else given.type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            wrong = _numpy(given.is_valid())
            nothing = np.full(size, "", object)
            unfit = np.ones(size, bool) if column.constraints.required else wrong
            return _Cells(column, given, nothing, unfit, wrong)
        encoded = given
        if not known or len(given.dictionary) > size:  # more words than rows
            encoded = plain(given).dictionary_encode()
        words = encoded.dictionary.to_pylist()
        if in_file:
            gone = {*self._predictor.contract.missing_values, ""}
            words = [None if word in gone else word for word in words]
            known_words = pa.array(words, encoded.dictionary.type)
            given = encoded = pa.DictionaryArray.from_arrays(encoded.indices, known_words)
        schema, may_miss = self._texts[column.name], not column.constraints.required
        fits = [may_miss if word is None else schema.isinstance_python(word) for word in words]
        words = [word or "" for word in words]
        places = _numpy(encoded.indices.fill_null(len(words)))
        unfit = ~np.array([*fits, may_miss])[places]
        return _Cells(
            column, given, np.array([*words, ""], object)[places], unfit, np.zeros(size, bool)
        )

    def _scores(
        self,
        columns: Table,
        faults: list[dict[str, Any]],
        size: int,
        first: int,
        ids: Mapping[str, pa.Array],
    ) -> Scores:
        kept = np.ones(size, bool)
        kept[[fault["row"] for fault in faults]] = False
        labels = self._predictor.contract.labels
        answers = np.full((size, len(labels)) if labels else size, np.nan)
        for asked, features in self._features(columns, self._alike(columns, kept), faults):
            answers[asked] = self._predictor.answers(features)
        finite = np.isfinite(answers.reshape(size, len(labels) or 1)).all(axis=1)
        lacking = {*np.flatnonzero(~finite).tolist()} - {fault["row"] for fault in faults}
        faults += [_fault(place, "no finite answer") for place in lacking]
        places = pa.array(np.flatnonzero(finite))
        rows = pc.add(places, first)
        numbers = pc.utf8_lpad(rows.cast(pa.string()), 12, "0")
        version = pa.repeat(self._predictor.info.version, len(rows))
        ours = [rows, pc.binary_join_element_wise(self._run, numbers, ""), version]
        own = [values.take(places) for values in ids.values()]
        outcome = self._predictor.outcome(answers[finite])
        told = [pa.array(outcome[name], kind) for name, kind in self._told]
        scored = pa.Table.from_arrays([*ours, *own, *told], schema=self.schema)
        faults.sort(key=lambda fault: fault["row"])
        rejected = [{**fault, "row": fault["row"] + first} for fault in faults]
        return Scores(scored, pa.Table.from_pylist(rejected, REJECTED))

    def _alike(self, columns: Table, kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """The places of these rows, those side by side whose numbers lie in the same quarters.

        A processor guesses the branches that a row takes through trees by those of the row before.
        """
        places = np.flatnonzero(kept)
        key = np.zeros(len(kept), np.uint64)
        for name, edges in self._quarters.items():
            key *= np.uint64(4)
            for edge in edges:
                key += columns[name] > edge
        return places[np.argsort(key[places])]

    def _features(
        self, columns: Table, places: npt.NDArray[np.int64], faults: list[dict[str, Any]]
    ) -> Iterator[tuple[npt.NDArray[np.int64], Features]]:
        """Encode these rows; where a derived feature fails, without the rows that it fails on."""
        if not len(places):
            return
        try:
            taken: dict[str, Any] = {name: values[places] for name, values in columns.items()}
            features = self._encoder.columns(taken)
        except DerivedError as fault:
            if len(places) == 1:
                faults.append(_fault(int(places[0]), str(fault)))
                return
            for half in np.array_split(places, 2):
                yield from self._features(columns, half, faults)
        else:
            yield places, features


def score_table(predictor: Predictor, rows: Any) -> Scores:
    """Score a pyarrow table, a pandas frame, or a list of mappings as requests hold them.

    In a table or frame NaN is a missing value, and a whole float in a column of type integer is
    that integer; beyond that the rules are those of requests.

    Raises:
        DataError: a feature has no column, or a column holds values of several types.
    """
    run, contract = os.urandom(10).hex(), predictor.contract
    if isinstance(rows, Sequence):
        types = [
            pa.field(each.name, _JSON.get(each.type, pa.string()))
            for each in contract.ids
            if any(isinstance(row, Mapping) and each.name in row for row in rows)
        ]
        return Scorer(predictor, run, shown_ids(contract, pa.schema(types))).mappings(rows)
    table = rows if isinstance(rows, pa.Table) else _from_frame(rows, contract)
    names = table.column_names
    require("the table", names, [column.name for column in contract.features])
    scorer = Scorer(predictor, run, shown_ids(contract, table.schema))
    parts, first = [scorer.mappings([])], 1
    wanted = [column.name for column in contract.requested if column.name in names]
    for batch in table.select(wanted).to_batches(BATCH_ROWS):
        plainly = pa.record_batch([plain(values) for values in batch.columns], wanted)
        parts.append(scorer.table(plainly, first))
        first += len(batch)
    return Scores(*map(pa.concat_tables, zip(*parts, strict=True)))


def shown_ids(contract: Contract, given: pa.Schema) -> pa.Schema:
    """The given columns that the result repeats: those with role id that are not private."""
    names = [each.name for each in contract.ids if not each.pii and each.name in given.names]
    return pa.schema([(name, plain(pa.nulls(0, given.field(name).type)).type) for name in names])


def _from_frame(frame: Any, contract: Contract) -> pa.Table:
    wanted = [column.name for column in contract.requested if column.name in frame.columns]
    try:
        return pa.Table.from_pandas(frame[wanted], preserve_index=False)
    except (TypeError, ValueError) as fault:  # pyarrow's own are both; the first words show a value
        raise DataError(
            f"the frame is no table of plain columns ({fault.args[-1]}); give each column one name"
            " and one type, or pass its rows: frame.to_dict('records')"
        ) from None


def _as_number(
    column: Column, given: pa.Array
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """The values as float64, NaN where missing or wrong, and which are wrong."""
    kind = given.type
    whole = pa.types.is_integer(kind)
    if column.type == "boolean":
        fits = pa.types.is_boolean(kind)
    else:
        fits = whole or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if not fits:
        return np.full(len(given), np.nan), _numpy(given.is_valid())
    values = _numpy(given.cast(pa.float64(), safe=False))
    wrong = np.zeros(len(values), bool)
    if column.type == "integer" and not whole:
        wrong = ~np.isnan(values) & ~(np.isfinite(values) & (values == np.floor(values)))
        values = np.where(wrong, np.nan, values)
    return values, wrong


def _quarters(values: Sequence[float | None]) -> list[float]:
    """The three values between the quarters of those that are there, booleans as 0 and 1."""
    there = [float(value) for value in values if value is not None]
    return np.quantile(there, (0.25, 0.5, 0.75)).tolist() if there else []


def _numpy(values: pa.Array) -> npt.NDArray[Any]:
    """Floats are NaN where null."""
    found: npt.NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return found


def _fault(place: int, message: str) -> dict[str, Any]:
    return {"row": place, "message": message}
