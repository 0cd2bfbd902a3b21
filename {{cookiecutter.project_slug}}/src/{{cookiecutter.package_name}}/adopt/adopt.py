"""Adopt: read a table that nobody has described, and write the contract that describes it."""

import argparse
import difflib
import hashlib
import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from ..contract import Column, Contract, Source, load_contract
from ..data.fetch import Taken, take
from ..data.source import batches, column_names, files, is_parquet
from ..data.typed import typed
from ..errors import AdoptError, DataError
from ..files import write_bytes
from ..layout import Layout
from ..params import load_params
from ..training.evaluate import single_feature
from ..training.rows import to_rows
from .decide import Decision, decide, decide_target, is_quantity
from .dialect import find_dialect
from .evidence import Evidence, as_texts

SAMPLE = 20_000
"""Rows kept for examples and for the search for leaks."""
HEADER = """\
# What each column is and may hold. Data validation, the request model, the model's inputs and the
# API's documentation all come from this file. Words: Table Schema, with role and pii added.
# role: target, feature, id, time, group (seen by checks, never by the model) or excluded.
"""
MARK = "# As generated; an edit below changes this SHA-256: "


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `make adopt` passes on."""
    parser.add_argument("--data", required=True, help="file, glob, or URL")
    parser.add_argument("--target", required=True, help="the column to predict")
    parser.add_argument("--query", default="", help="SQL, where data is a database's URL")
    parser.add_argument("--task", default="", choices=["", "classification", "regression"])
    parser.add_argument("--encoding", default="", help="of a CSV file that is not UTF-8")
    parser.add_argument("--delimiter", default="", help="of a CSV file, where it is not clear")
    parser.add_argument("--replace", default="", help="anything: replace an edited contract")


def run(  # noqa: PLR0913  (each is an option of `make adopt`)
    layout: Layout = Layout(),
    *,
    data: str,
    target: str,
    query: str = "",
    task: str = "",
    encoding: str = "",
    delimiter: str = "",
    replace: str = "",
) -> None:
    """Write contract.yaml for the table, and put the table under data/ where it is elsewhere.

    Raises:
        DataError: the table cannot be read, or has no such target.
        AdoptError: the present contract was edited, and `replace` is empty.
    """
    if not data or not target:
        raise AdoptError(
            "DATA names no table, or TARGET no column: make adopt DATA=customers.csv TARGET=churn"
        )
    old = load_contract(layout.contract)
    with take(layout, data, query) as taken:
        first = files(taken.place)[0]
        source = find_dialect(first, str(taken.place), encoding, delimiter)
        evidence, sample = survey(source)
        if target not in evidence:
            near = difflib.get_close_matches(target, evidence, 1, 0)
            raise DataError(
                f"{taken.place} has no column {target!r}; it has {', '.join(evidence)}: say"
                f" TARGET={near[0] if near else '…'}"
            )
        found, missing, decisions = _decisions(evidence, target, task)
        content = {
            "name": old.name,
            "title": old.title,
            "description": old.description,
            "task": found,
            "source": _described(source, taken),
            "missingValues": missing,
            "fields": [decision.field for decision in decisions],
        }
        _add_examples(content, sample)
        limit = load_params(layout.params).gate.max_single_feature_score
        _exclude_leaks(content, decisions, sample, limit)
        text = compose(content, decisions)
        _show(data, source, evidence[target].rows, decisions)
        _respect_edits(layout.contract, text, replace)
        taken.keep()
    _set_task(layout.params, found)
    if layout.smoke_cases.exists():
        write_bytes(layout.smoke_cases, _smoke_cases(Contract.model_validate(content)))
    layout.reference.unlink(missing_ok=True)
    write_bytes(layout.contract, text.encode("utf-8"))
    print(f"adopt: wrote {layout.contract}; look at it, then `make serve`")


def survey(source: Source) -> tuple[dict[str, Evidence], pa.Table]:
    """What each column shows, by name, and some of the rows from all over the table.

    Raises:
        DataError: a file cannot be read, or has other columns than the first.
    """
    paths = files(Path(source.path))
    names = column_names(paths[0], source)
    for path in paths[1:]:
        if set(others := column_names(path, source)) != set(names):
            differing = sorted(set(others) ^ set(names))
            raise DataError(
                f"{path} and {paths[0]} differ in {', '.join(differing)}; give all files the same"
                " columns"
            )
    evidence: dict[str, Evidence] = {}
    pieces: list[pa.RecordBatch] = []
    random = np.random.default_rng(0)
    with ThreadPoolExecutor() as pool:
        coming = batches(Path(), source, names)
        ahead = pool.submit(next, coming, None)  # read while the one before is looked at
        while (batch := ahead.result()) is not None:
            ahead = pool.submit(next, coming, None)
            for name in names:
                if name not in evidence:
                    evidence[name] = Evidence(name, source.decimal_char)
            list(pool.map(lambda name, rows=batch: evidence[name].add(rows[name]), names))
            some = random.choice(len(batch), min(len(batch), SAMPLE // 2), replace=False)
            taken = batch.take(pa.array(np.sort(some)))
            pieces.append(pa.record_batch([as_texts(each) for each in taken], names=names))
    if not evidence or not evidence[names[0]].rows:
        raise DataError(f"{paths[0]} has no rows; a model needs some")
    sample = pa.Table.from_batches(pieces)
    if len(sample) > SAMPLE:
        sample = sample.take(np.sort(random.choice(len(sample), SAMPLE, replace=False)))
    return evidence, sample


def compose(content: dict[str, Any], decisions: Sequence[Decision]) -> str:
    """The text of contract.yaml; what is unsure stands as a comment above its field."""
    lines = {key: f"{key}: {_yaml(value)}\n" for key, value in content.items() if key != "fields"}
    head = "".join(lines.pop(key) for key in ("name", "title", "description"))
    rest = "".join([*lines.values(), "fields:\n"])
    for decision in decisions:
        rest += "".join(f"  # Unsure: {' '.join(doubt.split())}\n" for doubt in decision.doubts)
        pairs = [f"{key}: {_yaml(value)}" for key, value in decision.field.items()]
        rest += "  - " + "\n    ".join(pairs) + "\n"
    return f"{HEADER}{MARK}{_digest(rest)}\n{head}{rest}"


def is_edited(text: str) -> bool:
    """Whether somebody changed a contract since it was generated."""
    _, _, rest = text.replace("\r\n", "\n").partition("\ntask:")
    return MARK + _digest("task:" + rest) not in text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def _yaml(value: Any) -> str:
    """A value on one line."""
    text = yaml.safe_dump(
        value, sort_keys=False, allow_unicode=True, default_flow_style=True, width=float("inf")
    )
    text = text.removesuffix("...\n").strip()
    if yaml.safe_load(text) != value:  # YAML takes some characters, such as U+0085, for others
        return json.dumps(value)
    return text


def _decisions(
    evidence: dict[str, Evidence], target: str, task: str
) -> tuple[str, list[str], list[Decision]]:
    """The task, the texts that stand for a missing value, and a decision for each column."""
    marked = {
        text for column in evidence.values() if is_quantity(column) for text in column.markers
    }
    missing = ["", *sorted(marked - {""})]
    decisions = []
    found = task
    for name, column in evidence.items():
        kept = {text: count for text, count in column.markers.items() if text not in missing}
        column.restore(missing)
        if name == target:
            found, decision = decide_target(column, task)
        else:
            decision = decide(column)
        for text, count in kept.items():
            decision.doubts.append(
                f"{text!r} stands there {count} times and is taken as a value; if it means missing,"
                " add it to missingValues"
            )
        decisions.append(decision)
    times = [decision for decision in decisions if decision.field["role"] == "time"]
    for decision in times[1:]:
        decision.field["role"] = "excluded"
        decision.doubts.append(f"a second time beside {times[0].field['name']}, so left out")
    return found, missing, decisions


def _described(source: Source, taken: Taken) -> dict[str, str]:
    described = {"path": taken.path, **taken.origin}
    if source.encoding != "utf-8":
        described["encoding"] = source.encoding
    if source.delimiter != ",":
        described["delimiter"] = source.delimiter
    if source.decimal_char != ".":
        described["decimalChar"] = source.decimal_char
    return described


def _values(column: Column, sample: pa.Table, content: dict[str, Any]) -> pa.Array:
    decimal = content["source"].get("decimalChar", ".")
    values = typed(column, sample[column.name], content["missingValues"], decimal).values
    if column.is_number:  # as validation rejects them
        beyond = pc.or_(pc.less(values, column.minimum), pc.greater(values, column.maximum))
        values = pc.if_else(beyond, None, values)
    return values


def _add_examples(content: dict[str, Any], sample: pa.Table) -> None:
    """Give each number its median as example, and each boolean its most frequent value."""
    for field in content["fields"]:
        if field["role"] != "feature" or field["type"] == "string":
            continue
        column = Column.model_validate(field | {"role": "excluded"})
        values = _values(column, sample, content).drop_null().to_numpy()
        middle = float(np.sort(values)[len(values) // 2]) if len(values) else column.minimum
        middle = min(max(middle, column.minimum), column.maximum)
        kind = {"boolean": bool, "integer": int, "number": float}[field["type"]]
        field["example"] = kind(middle)


def _exclude_leaks(
    content: dict[str, Any], decisions: Sequence[Decision], sample: pa.Table, limit: float
) -> None:
    """Exclude each feature that alone predicts the target, unless none would remain."""
    contract = Contract.model_validate(content)
    frame = pa.table(
        {each.name: _values(each, sample, content) for each in contract.kept}
    ).to_pandas()
    target = frame[contract.target.name]
    fit = target.isin(contract.labels) if contract.labels else target.notna()
    halves = [frame[fit].iloc[start::2] for start in (0, 1)]
    if any(half[contract.target.name].nunique() < max(len(contract.labels), 2) for half in halves):
        return  # too few rows to tell
    scores = single_feature(contract, *(to_rows(contract, half) for half in halves))
    leaks = {name: score for name, score in scores.items() if score >= limit}
    if len(leaks) == len(contract.features):
        return  # the gate will say so
    for decision in decisions:
        if (score := leaks.get(decision.field["name"])) is not None:
            decision.field["role"] = "excluded"
            decision.doubts.append(
                f"alone predicts {contract.target.name} (score {score:.3f} of 1), so it may be a"
                " copy of it, known only afterwards; make it a feature if it is known beforehand"
            )


def _show(data: str, source: Source, rows: int, decisions: Sequence[Decision]) -> None:
    dialect = "Parquet"
    if not is_parquet(files(Path(source.path))[0]):
        dialect = (
            f"{source.encoding}, delimiter {source.delimiter!r}, decimal {source.decimal_char!r}"
        )
    print(f"adopt: {rows} rows, {len(decisions)} columns in {data} ({dialect})")
    width = max(len(decision.field["name"]) for decision in decisions)
    for decision in decisions:
        field = decision.field
        role = f"{field['role']}, pii" if field.get("pii") else field["role"]
        print(f"  {field['name']:{width}}  {role:13}  {field['type']:8}  {decision.reason}")
    doubts: dict[str, list[str]] = {}
    for decision in decisions:
        for doubt in decision.doubts:
            doubts.setdefault(doubt, []).append(decision.field["name"])
    if doubts:
        print("Unsure, so look at these:")
    for doubt, names in doubts.items():
        print(f"  {', '.join(names)}: {doubt}")


def _respect_edits(path: Path, text: str, replace: str) -> None:
    old = path.read_text(encoding="utf-8")
    if replace or old == text or not is_edited(old):
        return
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), text.splitlines(keepends=True), str(path), "as adopted"
    )
    print("".join(lines))
    raise AdoptError(
        f"{path} was edited since it was generated, so it stays; the difference stands above: add"
        " REPLACE=1 to take the new one over the edits, or edit it yourself"
    )


def _smoke_cases(contract: Contract) -> bytes:
    return (
        "# The contract's example. Add rows whose answer is clear, with label, or least and most.\n"
        f"- name: the contract's example\n  row: {_yaml(contract.example)}\n"
    ).encode()


def _set_task(path: Path, task: str) -> None:
    """Let params.yaml name the estimator's form for the task, where it has the other one."""
    wrong, right = "Classifier", "Regressor"
    if task == "classification":
        wrong, right = right, wrong
    old = path.read_text(encoding="utf-8")
    new = re.sub(rf"(?m)^(\s+estimator: \S+?){wrong}\b", rf"\g<1>{right}", old)
    if new != old:
        write_bytes(path, new.encode("utf-8"))
        print(f"adopt: {path} now names a {right.lower()}, for task {task}")
