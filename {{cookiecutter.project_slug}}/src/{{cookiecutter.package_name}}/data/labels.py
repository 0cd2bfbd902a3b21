"""What feedback reads, row by row: labels from the ground truth, predictions from the log."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import from_json

from ..contract import Column, Contract
from ..errors import ContractError, DataError
from .cells import Cell, read_cell, read_cells, read_time, records

PREDICTION_ID, LABEL_TIME, TIME = "prediction_id", "label_time", "time"
MAX_EXAMPLES = 5


class Prediction(NamedTuple):
    """A line of the log; of two, the later one is the greater."""

    made: datetime
    prediction_id: str
    line: int
    inputs: dict[str, Any]


@dataclass(slots=True)
class Label:
    """A row of the truth; `others` are the contract's other columns that it holds."""

    time: datetime
    value: Cell
    others: dict[str, Cell]
    prediction: Prediction | None = None


class Truth(NamedTuple):
    """Valid labels, by prediction id or by the values of the columns `key` where there are some.

    invalid: examples of the other labels.
    """

    key: tuple[Column, ...]
    labels: dict[Any, list[Label]]
    invalid: list[str]

    def offer(self, prediction: Prediction, contract: Contract, log: str) -> None:
        """Give a prediction of `log` to the labels for which it is the newest so far.

        Raises:
            DataError: its key is not of the contract's types.
        """
        where: Any = prediction.prediction_id
        if self.key:
            place = f"{log} line {prediction.line}"
            cells = read_cells(self.key, prediction.inputs, contract.missing_values, place)
            where = tuple(cells.get(column.name) for column in self.key)
            if None in where:
                return
        for label in self.labels.get(where, ()):
            newest = label.prediction is None or prediction[:3] > label.prediction[:3]
            if prediction.made <= label.time and newest:
                label.prediction = prediction


def read_truth(path: Path, contract: Contract, counts: "Counter[str]") -> Truth:
    """Read the labels of a CSV or Parquet file.

    Raises:
        ContractError: a column has a name that the join needs.
        DataError: a column is missing or unknown, or a value is none of its type.
    """
    names, rows = records(path)
    truth = Truth(() if PREDICTION_ID in names else contract.ids, {}, [])
    key = [column.name for column in truth.key]
    _refuse_columns(path, names, key or [PREDICTION_ID], contract)
    target = contract.target
    others = [each for each in contract.kept if each not in (target, contract.time)]
    others = [each for each in others if each.name != TIME]
    for number, row in enumerate(rows, 1):
        place = f"{path} row {number}"
        try:
            time = read_time(row[TIME])
        except ValueError as fault:
            raise DataError(f"{place}, column {TIME}: {fault}; write it as ISO 8601") from None
        cells = read_cells(others, row, contract.missing_values, place)
        value = _label(row[target.name], contract)
        counts["labels"] += 1
        if value is None:
            counts["invalid"] += 1
            if len(truth.invalid) < MAX_EXAMPLES:
                shown = "a value" if target.pii else f"{row[target.name]!r:.80}"
                truth.invalid.append(f"row {number}: {shown}")
        else:
            where = tuple(cells[name] for name in key) if key else str(row[PREDICTION_ID])
            truth.labels.setdefault(where, []).append(Label(time, value, cells))
    return truth


def read_log(path: Path, counts: "Counter[str]") -> Iterator[Prediction]:
    """Each prediction of a log; after a torn line others may follow, of the restarted service.

    Raises:
        DataError: a line is neither a prediction nor torn.
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    given = from_json(line.rstrip(b"\r\n"))
                    made, inputs = read_time(given["time"]), dict(given["inputs"])
                    prediction = Prediction(made, str(given[PREDICTION_ID]), number, inputs)
                except (KeyError, TypeError, ValueError) as fault:
                    if not str(fault).startswith("EOF while parsing"):
                        raise DataError(
                            f"{path} line {number} is no prediction ({fault}); take it out"
                        ) from None
                    counts["torn"] += 1
                else:
                    counts["predictions"] += 1
                    yield prediction
    except OSError as fault:
        raise DataError(
            f"{path} cannot be read ({fault.strerror}); name the prediction log (--log, or LOG=…)"
        ) from None


def _refuse_columns(path: Path, names: list[str], key: list[str], contract: Contract) -> None:
    fields = {column.name: column for column in contract.fields}
    target = contract.target.name
    if taken := {PREDICTION_ID, LABEL_TIME} & set(fields) | {TIME} & {target, *key}:
        raise ContractError(
            f"contract.yaml: column {', '.join(sorted(taken))} has a name that the join needs;"
            " rename it there and in the source"
        )
    if lacking := [name for name in (target, TIME, *key) if name not in names]:
        raise DataError(
            f"{path} lacks {', '.join(lacking)}; its columns are {', '.join(names)}, and it needs"
            f" {target}, {TIME} (when it was known), and {PREDICTION_ID} or all with role id"
        )
    if unknown := [name for name in names if name not in {*fields, TIME, PREDICTION_ID}]:
        raise DataError(
            f"{path} has {', '.join(unknown)}, which contract.yaml does not know; take them out,"
            " or add them there"
        )
    if private := [name for name in key if name in fields and fields[name].pii]:
        raise DataError(
            f"{path} names predictions by {', '.join(private)}, which is pii and so in no log; add"
            f" {PREDICTION_ID}"
        )


def _label(value: Any, contract: Contract) -> Cell:
    """The value as a label, or None where the contract does not allow it."""
    target = contract.target
    try:
        cell = read_cell(target, value, contract.missing_values)
    except ValueError:
        return None
    if isinstance(cell, float):
        return cell if target.minimum <= cell <= target.maximum else None
    return cell if cell in contract.labels else None
