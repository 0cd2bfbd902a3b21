"""Evaluate: one set of figures, alike for held-out rows and for rows from production."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from ..contract import Contract, load_contract
from ..data.table import read_table
from ..decision import Decision
from ..errors import TrainingError
from ..files import read_json, write_json
from ..layout import Layout
from ..params import Params, load_params
from .champion import by_champion
from .leakage import single_feature
from .measure import Floats, Outcome, Parts, gain, losses, measure, metrics_of
from .parity import TOLERANCE, distance
from .parts import group_values, slice_values
from .pipeline import is_linear
from .rows import to_rows
from .rules_baseline import by_rules, load_rules
from .skops_file import load
from .value import costs_of


def arguments(parser: argparse.ArgumentParser) -> None:
    """Rows other than the held-out ones."""
    parser.add_argument("--rows", type=Path, help="a Parquet file, such as that of feedback")
    parser.add_argument("--to", type=Path, help="where their figures go")


def run(layout: Layout = Layout(), rows: Path | None = None, to: Path | None = None) -> None:
    """Write the metrics as JSON.

    Raises:
        TrainingError: a label has no row, or a group is none that the contract declares.
    """
    # The order of sums, and so their last digit, is not to depend on the number of processors.
    with threadpool_limits(limits=1, user_api="blas"):
        _evaluate(layout, rows, to)


def _evaluate(layout: Layout, rows: Path | None, to: Path | None) -> None:
    if (rows is None) != (to is None):
        raise TrainingError("evaluate --rows and --to belong together; give both, or neither")
    contract = load_contract(layout.contract)
    params = load_params(layout.params)
    path = rows or layout.test
    train, frame = read_table(layout.train), read_table(path)
    outcome = to_rows(contract, frame)
    absent = [label for place, label in enumerate(contract.labels) if place not in outcome.targets]
    if absent:
        raise TrainingError(
            f"{path} has no row with {contract.target.name} {', '.join(absent)}, so the"
            " model cannot be judged; add rows, or raise split.test_share in params.yaml"
        )
    table = outcome.features.table()
    model = load(layout.model)
    given = answers(contract, model, table)
    others = {
        "constant": answers(contract, load(layout.constant), np.zeros((len(frame), 1))),
        "rules": by_rules(load_rules(layout.rules, contract), contract, train, frame),
    }
    if not is_linear(model):
        others["simpler"] = answers(contract, load(layout.simpler), table)
    decision = Decision.model_validate(read_json(layout.decision))
    judged = Outcome(outcome.targets, given, others["constant"], decision)
    groups = group_values(contract, params, train, frame, str(path))
    report = measure(contract, params, judged, Parts(slice_values(contract, frame), groups))
    champion, its_answers = by_champion(layout, contract, frame)
    if its_answers is not None:
        # An artefact of the same model differs by rounding, which makes nothing better or worse.
        others["champion"] = np.where(distance(its_answers, given) > TOLERANCE, its_answers, given)
    report |= {"training_rows": len(train), "champion": champion}
    report |= _compared(contract, params, judged, others)
    report["single_feature"] = single_feature(contract, to_rows(contract, train), outcome)
    write_json(to or layout.metrics, report)
    if to is None:
        headline = {name: report[name] for name in ("rows", "training_rows", "metrics")}
        gains = {name: each["mean"] for name, each in report["gains"].items()}
        single = {"single_feature": report["single_feature"]}
        write_json(layout.headline, headline | {"gains": gains} | single)
    figures = ", ".join(f"{name} {value:.4f}" for name, value in report["metrics"].items())
    print(f"evaluate: {figures} on {len(frame)} rows of {path}")


def _compared(
    contract: Contract, params: Params, judged: Outcome, others: Mapping[str, Floats]
) -> dict[str, Any]:
    """What the model gains over each other one, and that one's figures at its own best answers."""
    decision = judged.decision
    if contract.labels:
        decision = Decision(costs=costs_of(contract, params.value).tolist())
    mine = losses(contract, judged.targets, judged.answers)
    found: dict[str, Any] = {"gains": {}, "others": {}}
    for name, given in others.items():
        other = judged._replace(answers=given, decision=decision)
        found["gains"][name] = gain(losses(contract, judged.targets, given) - mine, params)
        found["others"][name] = metrics_of(contract, params, other)
    return found


def answers(contract: Contract, model: Any, table: npt.NDArray[Any]) -> Floats:
    """Probabilities, shape (rows, labels), or values, shape (rows,)."""
    predict = model.predict_proba if contract.task == "classification" else model.predict
    return np.asarray(predict(table), np.float64)
