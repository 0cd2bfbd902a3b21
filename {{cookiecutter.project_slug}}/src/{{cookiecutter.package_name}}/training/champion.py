"""The champion: what the model in production answers to the rows that a new one is judged by."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..contract import Contract
from ..errors import ContractError, ProjectError, TrainingError
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
    try:
        return described, _answers(layout.champion, contract, frame)
    except ProjectError as fault:
        return described | {"reason": str(fault)}, None


def _answers(folder: Path, contract: Contract, frame: pd.DataFrame) -> Floats:
    derived = folder / "derived.py"
    functions = _functions(derived)
    predictor = load_predictor(folder / "model", derived, functions)
    its = predictor.contract
    if (its.target.name, its.labels) != (contract.target.name, contract.labels):
        raise TrainingError("it predicts another target")
    if lacking := [column.name for column in its.features if column.name not in frame]:
        raise TrainingError(f"it needs {', '.join(lacking)}, which these rows lack")
    columns = {column.name: frame[column.name].tolist() for column in its.features}
    return predictor.answers(Encoder(its, functions).columns(columns))


def _functions(path: Path) -> Sequence[Function]:
    """What that version's derived.py lists; it may import what is beside today's."""
    package = __package__.rpartition(".")[0]
    content: dict[str, Any] = {"__package__": package, "__name__": f"{package}.champion_derived"}
    try:
        # Of a commit of this repository; executed, since an import would write beside it.
        exec(compile(path.read_bytes(), path, "exec"), content)  # noqa: S102  (our own code)
        return tuple(content["DERIVED"])
    except Exception as fault:  # the file is the team's, and may raise anything
        raise ContractError(f"{path} cannot be run: {type(fault).__name__}: {fault}") from fault
