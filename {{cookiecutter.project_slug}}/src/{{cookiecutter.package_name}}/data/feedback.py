"""Feedback: ground truth joined with the prediction log, into rows that training adds to its own.

A label belongs to the prediction of its id, or to the newest one of its key, that was made at or
before the label's time: whoever predicts later may know the outcome. The contract's time column
gets the time of the prediction, since the features were known then. For the same reason the log's
values go before the truth's, which may be of a later day. Times are read by the rule of `cells`.
"""

import argparse
import hashlib
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from ..contract import Contract, load_contract
from ..errors import DataError
from ..files import write_json
from ..layout import Layout
from ..params import load_params
from .cells import Cell, read_cells
from .labels import LABEL_TIME, PREDICTION_ID, Label, Prediction, Truth, read_log, read_truth
from .table import read_table, write_table

LOG = "logs/predictions.jsonl"
KINDS = {
    "joined": "labels that have their row",
    "added": "of them, rows that are new",
    "duplicate": "labels that repeat the first one",
    "conflicting": "labels that differ from the first one, which stays; of two at one time none",
    "late": "labels known more than feedback.max_delay_days after the prediction",
    "orphan": "labels for which no prediction had been made by their time",
    "invalid": "labels that contract.yaml does not allow",
    "waiting": "predictions without a label so far",
    "torn": "lines of the log that a crash cut off",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command is told."""
    parser.add_argument("truth", help="CSV or Parquet: target, time, and prediction_id or ids")
    parser.add_argument("--log", default=LOG, help="the prediction log (%(default)s)")


def run(layout: Layout = Layout(), *, truth: str, log: str = LOG) -> None:
    """Add a row for each prediction that has its first label, and count what became of the rest.

    Raises:
        ContractError: a column has a name that the join needs.
        DataError: a file cannot be read, does not fit, or is not what DVC tracks; the message
            names the file, and its row or line.
    """
    contract = load_contract(layout.contract)
    limit = timedelta(days=load_params(layout.params).feedback.max_delay_days)
    counts = Counter[str]()
    layout.feedback.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(layout.feedback.parent / ".lock"):  # of two joins at once, neither loses rows
        frame = _read(layout, contract)
        dated = zip(frame[LABEL_TIME], frame[contract.target.name], strict=True)
        kept = dict(zip(frame[PREDICTION_ID], dated, strict=True))
        given = read_truth(Path(truth), contract, counts)
        for prediction in read_log(Path(log), counts):
            counts["waiting"] += prediction.prediction_id not in kept
            given.offer(prediction, contract, log)
        new = []
        for prediction, labels in _by_prediction(given, limit, counts):
            known = kept.get(prediction.prediction_id)
            first = _first(labels, known, counts)
            if known is None:
                counts["waiting"] -= 1
                new += [] if first is None else [_row(first, prediction, contract, log)]
        counts["added"] = len(new)
        if new:
            frame = pd.concat([frame, _table(contract, new)]).sort_values(PREDICTION_ID)
            write_table(layout.feedback, frame)
        _track(layout)
    report: dict[str, Any] = {kind: counts[kind] for kind in ("labels", "predictions", *KINDS)}
    report |= {"rows": len(frame), "invalid_examples": given.invalid}
    write_json(layout.feedback_report, report)
    for kind, meaning in KINDS.items():
        print(f"feedback: {counts[kind]} {kind} ({meaning})")
    print(f"feedback: {len(frame)} rows in {layout.feedback}; `make train` takes them in")


def rows(layout: Layout, contract: Contract) -> pd.DataFrame:
    """The joined rows, in the columns and types of a snapshot; none where nothing was joined.

    Raises:
        DataError: they were joined under another contract, or are not what DVC tracks.
    """
    return _read(layout, contract)[[column.name for column in contract.kept]]


def _by_prediction(
    truth: Truth, limit: timedelta, counts: "Counter[str]"
) -> Iterable[tuple[Prediction, list[Label]]]:
    """Each prediction with the labels that came in time."""
    found: dict[str, tuple[Prediction, list[Label]]] = {}
    for labels in truth.labels.values():
        for label in labels:
            if label.prediction is None:
                counts["orphan"] += 1
            elif label.time - label.prediction.made > limit:
                counts["late"] += 1
            else:
                where = label.prediction.prediction_id
                found.setdefault(where, (label.prediction, []))[1].append(label)
    return found.values()


def _first(
    labels: list[Label], kept: tuple[datetime, Cell] | None, counts: "Counter[str]"
) -> Label | None:
    """The first label, unless another is of the same time; one kept earlier is the first."""
    first = min(labels, key=lambda label: label.time)
    if kept is None:
        if any(each.time == first.time and each.value != first.value for each in labels):
            counts["conflicting"] += len(labels)
            return None
        kept = first.time, first.value
    joined = any((each.time, each.value) == kept for each in labels)
    differing = sum(each.value != kept[1] for each in labels)
    counts["joined"] += joined
    counts["conflicting"] += differing
    counts["duplicate"] += len(labels) - differing - joined
    return first


def _row(label: Label, prediction: Prediction, contract: Contract, log: str) -> dict[str, Cell]:
    place, missing = f"{log} line {prediction.line}", contract.missing_values
    row = label.others | read_cells(contract.kept, prediction.inputs, missing, place)
    row |= {PREDICTION_ID: prediction.prediction_id, LABEL_TIME: label.time}
    if contract.time is not None:
        day = prediction.made.replace(hour=0, minute=0, second=0, microsecond=0)
        row[contract.time.name] = day if contract.time.type == "date" else prediction.made
    return row | {contract.target.name: label.value}


def _table(contract: Contract, rows: list[dict[str, Cell]]) -> pd.DataFrame:
    kinds = {PREDICTION_ID: "str", LABEL_TIME: "datetime64[us, UTC]"}
    for column in contract.kept:
        time_or_text = "datetime64[us, UTC]" if column.is_time else "str"
        kinds[column.name] = "float64" if column.is_number else time_or_text
    columns = {name: [row.get(name) for row in rows] for name in kinds}
    return pd.DataFrame({name: pd.Series(columns[name], dtype=kinds[name]) for name in kinds})


def _read(layout: Layout, contract: Contract) -> pd.DataFrame:
    """The rows joined so far."""
    path, expected = layout.feedback, _table(contract, [])
    tracked = path.with_name(f"{path.name}.dvc")
    content = path.read_bytes() if path.exists() else b""
    if tracked.exists():
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found not in tracked.read_text(encoding="utf-8"):
            raise DataError(
                f"{path} is missing, or not the file that {tracked} names; run `uv run dvc pull"
                f" {tracked}`, or `uv run dvc add {path}` if a join was interrupted"
            )
    if not content:
        return expected
    frame = read_table(path)
    if dict(frame.dtypes) != dict(expected.dtypes):
        differing = set(frame.dtypes.items()) ^ set(expected.dtypes.items())
        names = ", ".join(sorted({str(name) for name, _ in differing}))
        raise DataError(
            f"{path} does not fit contract.yaml in {names}; undo the change there, or delete the"
            f" file and {tracked.name}, and join the logs again"
        )
    return frame[list(expected.columns)]


def _track(layout: Layout) -> None:
    """Put the rows under DVC, so that whoever clones the project gets them."""
    if not (layout.root / ".dvc").is_dir() or not layout.feedback.exists():
        return
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(layout.root) as repo:
            repo.add(str(layout.feedback.absolute()))
    except DvcException as fault:
        raise DataError(
            f"{layout.feedback} is written, but DVC does not track it ({fault}); run `uv run dvc"
            f" add {layout.feedback}`"
        ) from fault
