"""Contract text: contract.yaml as adopt writes it, known again if nobody has edited it."""

import difflib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ..contract import Contract
from ..errors import AdoptError
from ..yaml_file import parse
from .quantity import Decision

HEADER = """\
# What each column is and may hold. Data validation, the request model, the model's inputs and the
# API's documentation all come from this file. Words: Table Schema, with role and pii added.
# role: target, feature, id, time, group (seen by checks, never by the model) or excluded.
"""
MARK = "# As generated; an edit below changes this SHA-256: "


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
    if parse(text) != value:  # YAML takes some characters, such as U+0085, for others
        return json.dumps(value)
    return text


def respect_edits(path: Path, text: str, replace: str, newer: str) -> None:
    """Show what a person's edits would lose.

    newer: how to take the table without losing them.

    Raises:
        AdoptError: there are some, and `replace` is empty.
    """
    old = path.read_text(encoding="utf-8")
    if replace or old == text or not is_edited(old):
        return
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), text.splitlines(keepends=True), str(path), "as adopted"
    )
    print("".join(lines))
    raise AdoptError(
        f"{path} was edited since it was generated, so it stays, and so does the table: {newer}."
        " REPLACE=1 takes the new contract over the edits; the difference stands above"
    )


def smoke_cases(contract: Contract) -> bytes:
    """The cases that fit any contract: its example."""
    return (
        "# The contract's example. Add rows whose answer is clear, with label, or least and most.\n"
        f"- name: the contract's example\n  row: {_yaml(contract.example)}\n"
    ).encode()
