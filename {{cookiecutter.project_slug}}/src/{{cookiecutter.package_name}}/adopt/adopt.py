"""Adopt: read a table that nobody has described, and write the contract that describes it."""

import argparse
import difflib
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..contract import Contract, Source, load_contract
from ..data.fetch import Taken, take
from ..data.source import files, is_parquet
from ..errors import AdoptError, DataError
from ..files import write_bytes
from ..layout import Layout
from ..params import load_params
from .contract_text import compose, respect_edits, smoke_cases
from .decide import decide, decide_target, is_quantity
from .dialect import find_dialect
from .evidence import Evidence
from .leaks import add_examples, exclude_leaks
from .quantity import Decision
from .settings import fit_settings
from .survey import survey


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
        add_examples(content, sample)
        limit = load_params(layout.params).gate.max_single_feature_score or float("inf")
        exclude_leaks(content, decisions, sample, limit)
        text = compose(content, decisions)
        _show(data, source, evidence[target].rows, decisions)
        respect_edits(layout.contract, text, replace, _newer(data, query, old, taken, evidence))
        taken.keep()
    fit_settings(layout, old, Contract.model_validate(content), evidence[target])
    if layout.smoke_cases.exists():
        write_bytes(layout.smoke_cases, smoke_cases(Contract.model_validate(content)))
    layout.reference.unlink(missing_ok=True)
    write_bytes(layout.contract, text.encode("utf-8"))
    print(f"adopt: wrote {layout.contract}; look at it, then `make serve`")


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
    if times:
        times[0].doubts.append(
            "the one time by which rows can be split, kept from the model; if it says something"
            " else, such as when a contract began, give it role excluded, and the model a column"
            " with a number of days"
        )
    for decision in times[1:]:
        decision.field["role"] = "excluded"
        decision.doubts.append(f"a second time beside {times[0].field['name']}, so left out")
    return found, missing, decisions


def _newer(data: str, query: str, old: Contract, taken: Taken, columns: Iterable[str]) -> str:
    """How to go on with this table and the present contract."""
    if others := sorted({each.name for each in old.fields} ^ set(columns)):
        return f"{data} and the contract differ in {', '.join(others)}, so edit it"
    if taken.place.resolve() == (taken.layout.root / old.source.path).resolve():
        return "`make train` reads this table under this contract"
    asked = f" QUERY={shlex.quote(query)}" if query else ""
    return f"`make fetch DATA={shlex.quote(data)}{asked}` takes the table under this contract"


def _described(source: Source, taken: Taken) -> dict[str, str]:
    described = {"path": taken.path, **taken.origin}
    if source.encoding != "utf-8":
        described["encoding"] = source.encoding
    if source.delimiter != ",":
        described["delimiter"] = source.delimiter
    if source.decimal_char != ".":
        described["decimalChar"] = source.decimal_char
    return described


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
