"""Feedback: ground truth joined with the prediction log, into rows that training adds to its own.

A label belongs to the prediction of its id, or to the newest one of its key, that was made at or
before the label's time: whoever predicts later may know the outcome. The contract's time column
gets the time of the prediction, since the features were known then. For the same reason the log's
values go before the truth's, which may be of a later day.
"""

import argparse
import hashlib
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from filelock import FileLock

from ..contract import Contract, load_contract
from ..errors import DataError, VersionError
from ..files import write_json
from ..layout import Layout
from ..params import load_params
from .labels import (
    INPUTS,
    LABEL_TIME,
    LINE,
    MADE,
    OWN,
    PREDICTION_ID,
    Labels,
    empty,
    read_log,
    read_truth,
    told,
)
from .table import read_table, write_table
from .typed import sound, texts

LOG = "logs/predictions.jsonl"
NAME_THEM = "name the labels as TRUTH=…, the prediction log as LOG=…"
KEPT = " (kept)"
KINDS = {
    "joined": "labels that have their row",
    "added": "of them, rows that are new",
    "duplicate": "labels that repeat the first one",
    "conflicting": "labels that differ from the first one, which stays; of two at one time none",
    "late": "labels known more than feedback.max_delay_days after the prediction",
    "orphan": "labels for which no prediction had been made by their time",
    "invalid": "labels that contract.yaml does not allow",
    "waiting": "predictions without a label so far",
    "dry_run": "predictions that were answered and not served",
    "torn": "lines of the log that a crash cut off",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command is told."""
    parser.add_argument(
        "truth",
        nargs="?",
        default=LOG,
        help="CSV or Parquet: target, time, and prediction_id or ids; or a prediction log, for what"
        " callers told the service (%(default)s)",
    )
    parser.add_argument("--log", default=LOG, help="the prediction log (%(default)s)")


def run(layout: Layout = Layout(), *, truth: str = LOG, log: str = LOG) -> None:
    """Add a row for each prediction that has its first label, and count what became of the rest.

    Raises:
        ContractError: a column has a name that the join needs.
        DataError: a file cannot be read, does not fit, or is not what DVC tracks.
    """
    contract = load_contract(layout.contract)
    limit = pd.Timedelta(days=load_params(layout.params).feedback.max_delay_days)
    counts = Counter[str]()
    for path in (truth, log):
        try:
            Path(path).open("rb").close()
        except OSError as fault:
            raise DataError(f"{path} cannot be read ({fault.strerror}); {NAME_THEM}") from None
    layout.feedback.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(layout.feedback.parent / ".lock"):  # of two joins at once, neither loses rows
        frame = _read(layout, contract)
        key, labels, invalid = _labels(Path(truth), contract, counts)
        by = [column.name for column in key]
        wanted = labels[by].dropna().drop_duplicates()
        offered = []
        for batch in read_log(Path(log), key, counts):
            counts["waiting"] += int((~batch[PREDICTION_ID].isin(frame[PREDICTION_ID])).sum())
            offered.append(batch.merge(wanted))
        made = pd.concat(offered).sort_values([MADE, PREDICTION_ID, LINE])
        dated = labels.dropna(subset=by)
        found = pd.merge_asof(dated, made, left_on=LABEL_TIME, right_on=MADE, by=by)
        found = found[found[MADE].notna()]
        timely = found[found[LABEL_TIME] - found[MADE] <= limit]
        counts.update(orphan=len(labels) - len(found), late=len(found) - len(timely))
        new = _first(timely, frame, contract.target.name, counts)
        counts["added"] = len(new)
        if len(new):
            frame = pd.concat([frame, _rows(new, contract, log)]).sort_values(PREDICTION_ID)
            write_table(layout.feedback, frame)
        _track(layout)
    report: dict[str, Any] = {kind: counts[kind] for kind in ("labels", "predictions", *KINDS)}
    report |= {"rows": len(frame), "invalid_examples": invalid}
    write_json(layout.feedback_report, report)
    for what, meaning in KINDS.items():
        print(f"feedback: {counts[what]} {what} ({meaning})")
    print(f"feedback: {len(frame)} rows in {layout.feedback}; `make train` takes them in")


def _labels(truth: Path, contract: Contract, counts: "Counter[str]") -> Labels:
    if truth.suffix != ".jsonl":
        return read_truth(truth, contract, counts)
    with TemporaryDirectory() as folder:
        table = Path(folder) / f"{truth.stem}.csv"
        told(truth, contract, table)
        return read_truth(table, contract, counts)


def rows(layout: Layout, contract: Contract) -> pd.DataFrame:
    """The joined rows, in the columns and types of a snapshot; none where nothing was joined.

    Raises:
        DataError: they were joined under another contract, or are not what DVC tracks.
    """
    return _read(layout, contract)[[column.name for column in contract.kept]]


def _first(
    found: pd.DataFrame, kept: pd.DataFrame, target: str, counts: "Counter[str]"
) -> pd.DataFrame:
    """The new first labels. One kept earlier is the first; of two at one time none is."""
    first = found.groupby(PREDICTION_ID, sort=False)[[LABEL_TIME, target]].transform("first")
    earlier = kept.set_index(PREDICTION_ID)[[LABEL_TIME, target]].add_suffix(KEPT)
    found = found.join(earlier, on=PREDICTION_ID)
    known = found[LABEL_TIME + KEPT].notna()
    same_time = found[LABEL_TIME] == found[LABEL_TIME + KEPT].where(known, first[LABEL_TIME])
    differs = found[target] != found[target + KEPT].where(known, first[target])
    differs |= found[PREDICTION_ID].isin(found.loc[same_time & differs & ~known, PREDICTION_ID])
    joined = found[same_time & ~differs].drop_duplicates(PREDICTION_ID)
    counts.update(joined=len(joined), conflicting=int(differs.sum()))
    counts["duplicate"] = len(found) - len(joined) - counts["conflicting"]
    counts["waiting"] -= found.loc[~known, PREDICTION_ID].nunique()
    return joined[~known[joined.index]].reset_index(drop=True)


def _rows(new: pd.DataFrame, contract: Contract, log: str) -> pd.DataFrame:
    lines, inputs = new[LINE].tolist(), new[INPUTS].tolist()
    for column in contract.kept:
        name = column.name
        if column == contract.time:
            new[name] = new[MADE].dt.normalize() if column.type == "date" else new[MADE]
        elif column != contract.target:
            known = pd.Series([name in row for row in inputs])
            given = texts(column, [row.get(name) for row in inputs])
            cells = sound(column, given, (), f"{log} line", lines).to_pandas()
            new[name] = cells.where(known, new[name]) if name in new else cells
    expected = empty((*OWN, *contract.kept))
    return new[list(expected.columns)].astype(expected.dtypes)


def _read(layout: Layout, contract: Contract) -> pd.DataFrame:
    """The rows joined so far."""
    path, expected = layout.feedback, empty((*OWN, *contract.kept))
    tracked = layout.feedback_tracked
    content = path.read_bytes() if path.exists() else b""
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if tracked.exists() and found not in tracked.read_text(encoding="utf-8"):
        raise DataError(
            f"{path} is missing, or not the file that {tracked} names; run `uv run dvc pull"
            f" {tracked}`, or `uv run dvc add {path}` if a join was interrupted"
        )
    frame = read_table(path) if content else expected
    if differing := set(frame.dtypes.items()) ^ set(expected.dtypes.items()):
        names = sorted({str(name) for name, _ in differing})
        raise DataError(
            f"{path} does not fit contract.yaml in {', '.join(names)}; undo the change there, or"
            f" delete the file and {tracked.name}, and join the logs again"
        )
    return frame[list(expected.columns)]


def _track(layout: Layout) -> None:
    """Put the rows under DVC, so that whoever clones the project gets them."""
    if (layout.root / ".dvc").is_dir() and layout.feedback.exists():
        from ..versions import track

        try:
            track(layout.root, layout.feedback)
        except VersionError as fault:
            step = f"run `uv run dvc add {layout.feedback}`"
            raise DataError(f"{fault}; the rows are written, so {step}") from fault
