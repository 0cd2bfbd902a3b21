"""Report: one page on a dataset version, with what is wrong first.

Columns marked `pii` are listed by name alone. The page forbids requests to the network.
"""

import os
import re
import tempfile
from datetime import UTC, datetime
from itertools import pairwise
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
from jinja2 import Environment
from markupsafe import Markup

from ..contract import Contract, load_contract
from ..errors import DataError
from ..files import read_json, write_bytes
from ..layout import Layout
from ..params import Validate, load_params
from ..yaml_file import parse
from .profile import drift, profiled, shares
from .table import REASONS

PAGE = Path(__file__).with_suffix(".html")
SAMPLE = 20_000
MOST_REJECTED = 200
MOST_LABELS = 5
Places = npt.NDArray[np.int64]


def run(layout: Layout = Layout()) -> None:
    """Write the page on the dataset that was validated last, refused or not.

    Raises:
        DataError: no dataset was validated, or it lacks a column of the contract.
    """
    contract = load_contract(layout.contract)
    limits = load_params(layout.params).validate_
    for path in (layout.validation_report, layout.valid, layout.rejected):
        if not path.exists():
            raise DataError(f"{path} is not there yet; run `make train`, or `make pull`")
    there = pyarrow.parquet.read_schema(layout.valid).names
    if absent := [each.name for each in contract.kept if each.name not in there]:
        raise DataError(
            f"{layout.valid} lacks {', '.join(absent)} of {layout.contract}; run `make train`"
        )
    report = read_json(layout.validation_report)
    size = pyarrow.parquet.read_metadata(layout.valid).num_rows
    lock = parse(layout.lock.read_bytes()) if layout.lock.exists() else {"stages": {}}
    drawn = np.sort(np.random.default_rng(0).permutation(size)[:SAMPLE])
    sample = _take(layout.valid, contract, drawn)
    environment = Environment(autoescape=True, finalize=_shown)
    page = environment.from_string(PAGE.read_text(encoding="utf-8")).render(
        **_wrong(contract, limits, report),
        **_changes(layout, contract, limits, size),
        **_rejected(layout, contract, report),
        **_groups(layout, contract, sample),
        contract=contract,
        look=_look,
        now=datetime.now(UTC),
        report=report,
        sample=sample,
        size=size,
        snapshots=lock["stages"].get("ingest", {}).get("outs", []),
    )
    write_bytes(layout.data_report, page.encode("utf-8"))
    print(f"report: {layout.data_report} is a page for the browser")


def _wrong(contract: Contract, limits: Validate, report: dict[str, Any]) -> dict[str, Any]:
    heads, rules = ["Rule", "Severity", "Rows", "Share", "Limit", "Columns"], []
    for name, found in report["rules"].items():
        share = round(found["rows"] / report["rows"], 4)
        limit = 0.0 if found["severity"] == "stop" else limits.rules[name].max_share
        columns = ", ".join(f"{column} {count:,}" for column, count in found["columns"].items())
        rules.append((name, found["severity"], found["rows"], share, limit, columns))
    hidden = [column.name for column in contract.fields if column.pii]
    # Quoted where the column was marked only after it had been validated.
    quoted = [report["renamed"][name] for name in hidden if name in report["renamed"]]
    quoted += [f"{contract.target.name} is "] if contract.target.pii else []
    return {
        "rules": pd.DataFrame(rules, columns=heads),
        "hidden": hidden,
        "refusals": [
            line for line in report["refusals"] if not any(each in line for each in quoted)
        ],
        "refused_rules": {line.partition(":")[0] for line in report["refusals"]},
    }


def _changes(layout: Layout, contract: Contract, limits: Validate, size: int) -> dict[str, Any]:
    heads = ["Column", "Drift", "Limit", "Missing before", "Missing now"]
    rows, moved = list[Any](), dict[str, pd.DataFrame]()
    accepted = read_json(layout.reference) if size and layout.reference.exists() else {}
    for column in profiled(contract) if accepted else ():
        frame = pd.read_parquet(layout.valid, columns=[column.name])
        alone = contract.model_copy(update={"fields": [column]})
        for index, limit in drift(accepted, frame, alone, limits.max_drift).values():
            before = accepted["columns"][column.name]
            parts = ["missing", *_parts(before)]
            table = pd.DataFrame({"Values": parts, "Share before": before["shares"]})
            table["Share now"] = shares(frame[column.name], before)
            rows.append((column.name, index, limit, *table.iloc[0, 1:]))
            if index > limit:
                moved[column.name] = table.round(4)
    changes = pd.DataFrame(rows, columns=heads).round(4).sort_values("Drift", ascending=False)
    added = [each.name for each in profiled(contract) if each.name not in set(changes["Column"])]
    return {"changes": changes, "moved": moved, "added": added}


def _rejected(layout: Layout, contract: Contract, report: dict[str, Any]) -> dict[str, Any]:
    rejecting = {key: each for key, each in report["rules"].items() if each["severity"] != "warn"}
    counts = [(key, *each) for key, found in rejecting.items() for each in found["columns"].items()]
    first = np.arange(min(MOST_REJECTED, report["rejected"]))
    rows = _take(layout.rejected, contract, first, REASONS)
    if hidden := [re.escape(column.name) for column in contract.fields if column.pii]:
        # Ingest quoted the value where the column was marked only afterwards.
        quote = rf"({'|'.join(hidden)}): (?!a value is no ).*"
        rows[REASONS] = rows[REASONS].str.replace(quote, r"\1: a value", regex=True, flags=re.S)
    return {"rejected": rows, "reasons": pd.DataFrame(counts, columns=["Rule", "Column", "Rows"])}


def _groups(layout: Layout, contract: Contract, sample: pd.DataFrame) -> dict[str, Any]:
    """The sample by label, or by thirds of the target, each with its rows in the whole table."""
    target = contract.target
    values = pd.read_parquet(layout.valid, columns=[target.name])[target.name].dropna()
    if target.pii or values.empty:
        return {}
    drawn = sample[target.name]
    if contract.task == "regression":
        edges = values.quantile([1 / 3, 2 / 3], interpolation="lower").unique().tolist()
        bounds, names = [-np.inf, *edges, np.inf], _parts({"edges": edges})
        values = pd.cut(values, bounds, labels=names)
        drawn = pd.cut(drawn.astype(float), bounds, labels=names)
    counts = values.value_counts(sort=contract.task == "classification")
    most = counts[counts > 0].head(MOST_LABELS)
    others = sample.drop(columns=target.name)
    return {
        "groups": [(name, count, others[drawn == name]) for name, count in most.items()],
        "left_out": list(counts.index[MOST_LABELS:]),
    }


def _take(path: Path, contract: Contract, places: Places, *more: str) -> pd.DataFrame:
    """The rows at these places, which ascend; whole numbers are without a fraction."""
    names = [*more, *(column.name for column in contract.kept if not column.pii)]
    # One at a time: the whole of a large table would fill the memory.
    columns = [pyarrow.parquet.read_table(path, columns=[name])[0].take(places) for name in names]
    frame: pd.DataFrame = pa.table(columns, names).to_pandas()
    return frame.convert_dtypes()


def _look(frame: pd.DataFrame, associations: bool | str) -> Markup:
    # Else skrub makes a folder in the user's home when it is imported.
    os.environ.setdefault("SKB_DATA_DIRECTORY", tempfile.gettempdir())
    from skrub import TableReport

    shown = {"plot_distributions": True, "open_tab": "distributions", "verbose": 0}
    look = TableReport(frame, compute_associations=associations, **shown)
    return Markup(look.html_snippet())  # noqa: S704  (skrub escapes what comes from the data)


def _parts(found: dict[str, Any]) -> list[str]:
    """The names of the parts of a profile's column, after the missing values."""
    if "categories" in found:
        return [*found["categories"], "others"]
    edges = [_shown(edge) for edge in found["edges"]]
    inner = [f"more than {low}, at most {high}" for low, high in pairwise(edges)]
    return [f"at most {edges[0]}", *inner, f"more than {edges[-1]}"] if edges else ["any"]


def _shown(value: Any) -> Any:
    return "" if pd.isna(value) else f"{value:,.15g}" if isinstance(value, Real) else value
