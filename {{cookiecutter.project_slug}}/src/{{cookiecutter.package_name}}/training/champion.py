"""The champion: what the model in production answers to the rows that a new one is judged by."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..contract import Contract, load_contract
from ..errors import ProjectError
from ..features import Encoder, Function
from ..files import read_json
from ..layout import Layout
from ..serving.predictor import load_predictor
from .measure import Floats

NONE = {"version": None, "reason": None}


def by_champion(
    layout: Layout, contract: Contract, frame: pd.DataFrame
) -> tuple[dict[str, Any], Floats | None]:
    """Its version, and its answers by its own contract and derived features.

    The answers are None where there is no champion, or where it cannot answer these rows; the
    description then says why.
    """
    described: dict[str, Any] = NONE
    if (layout.champion / "champion.json").exists():
        described = read_json(layout.champion / "champion.json")
    if described["version"] is None or described["reason"]:
        return described, None
    folder = layout.champion / "model"
    its = load_contract(folder / "contract.yaml")
    lacking = [column.name for column in its.features if column.name not in frame]
    if (its.target.name, its.labels) != (contract.target.name, contract.labels):
        return described | {"reason": "it predicts another target"}, None
    if lacking:
        return described | {"reason": f"it needs {', '.join(lacking)}, which these rows lack"}, None
    try:
        derived = layout.champion / "derived.py"
        functions = _functions(derived)
        predictor = load_predictor(folder, derived, functions)
        columns = {column.name: frame[column.name].tolist() for column in its.features}
        rows = Encoder(its, functions).columns(columns)
        return described, predictor.answers(rows)
    except ProjectError as fault:
        return described | {"reason": str(fault)}, None


def _functions(path: Path) -> Sequence[Function]:
    """What that version's derived.py lists; it may import what is beside today's."""
    name = f"{__package__.rpartition('.')[0]}.champion_derived"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return tuple(module.DERIVED)
