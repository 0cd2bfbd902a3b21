"""Staleness: what a model loses as it grows old, by models of the past judged on what came after.

All rows are training rows. A model of a period has seen the rows up to its end; on each later
period it is compared with the newest model that could be had then, on the same rows, so that
neither an easy period nor its number of rows tells of age.
"""

import argparse
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.ticker import MaxNLocator
from sklearn.base import clone
from tqdm import tqdm

from ..errors import TrainingError
from ..files import write_json
from ..layout import Layout
from ..training.evaluate import answers
from ..training.figure import figure
from ..training.measure import losses
from ..training.pipeline import build
from .bench import Bench, load_bench, standard_error

PERIODS = {"day": "D", "week": "W", "month": "M", "quarter": "Q"}
MOST_MODELS = 12
"""Models fitted at most, of the latest periods."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The unit of age."""
    parser.add_argument("--period", choices=PERIODS, default="quarter", help="the unit of age")


def run(layout: Layout = Layout(), period: str = "quarter") -> None:
    """Train on the past and judge on what followed, and write the losses by age and their plot.

    Raises:
        TrainingError: the contract has no time column, or the rows cover too few periods.
    """
    bench = load_bench(layout)
    if bench.contract.time is None:
        raise TrainingError(
            "contract.yaml gives no column role time, so nobody knows how old a model is; give it"
            " to the column that says when a row was, then make train"
        )
    times = pd.to_datetime(bench.frame[bench.contract.time.name], utc=True).dt.tz_localize(None)
    periods = times.dt.to_period(PERIODS[period])
    judged = _judged(bench, periods)
    compared = [each for each in judged if each["age"] > each["newest"]]
    if not compared:
        raise TrainingError(
            f"{layout.train}: {bench.contract.time.name} covers {periods.nunique()} {period}s, too"
            f" few to compare two ages with validate.min_rows {bench.params.validate_.min_rows}"
            f" before a period and evaluate.min_slice_rows {bench.params.evaluate.min_slice_rows}"
            f" in it; give another PERIOD ({', '.join(PERIODS)}), or add rows"
        )
    ages = [_by_age(age, judged) for age in sorted({each["age"] for each in judged})]
    reports = layout.root / "reports"
    write_json(reports / "staleness.json", {"period": period, "ages": ages, "models": judged})
    _plot(layout, period, ages)
    print(f"| age in {period}s | periods judged | loss | beyond the newest | standard error |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for each in ages:
        error = "" if each["standard_error"] is None else f"{each['standard_error']:.2g}"
        figures = f"{each['loss']:.4g} | {each['extra']:+.3g} | {error}"
        print(f"| {each['age']} | {each['periods']} | {figures} |")


def _judged(bench: Bench, periods: "pd.Series[Any]") -> list[dict[str, Any]]:
    """The loss of each model on each later period."""
    model = build(bench.contract, bench.params.model.chosen, bench.params.seed)
    table, targets = bench.rows.features.table(), bench.rows.targets
    counts = periods.value_counts().sort_index()
    least, slice_rows = bench.params.validate_.min_rows, bench.params.evaluate.min_slice_rows
    found: list[dict[str, Any]] = []
    for cut in tqdm(counts.index[-MOST_MODELS - 1 : -1], "staleness", disable=None):
        seen = _places(periods <= cut)
        after = counts.index[(counts.index > cut) & (counts >= slice_rows)]
        absent = len({*targets[seen]}) < len(bench.contract.labels)
        if len(seen) < least or absent or after.empty:
            continue
        fitted = clone(model).fit(table[seen], targets[seen])
        for later in after:
            aside = _places(periods == later)
            given = answers(bench.contract, fitted, table[aside])
            found.append(
                {
                    "trained_until": str(cut),
                    "judged_on": str(later),
                    "age": int((later - cut).n),
                    "rows": len(aside),
                    "loss": float(losses(bench.contract, targets[aside], given).mean()),
                }
            )
    newest = {each["judged_on"]: each for each in found}  # the last one is of the latest cut
    for each in found:
        each["newest"] = newest[each["judged_on"]]["age"]
        each["extra"] = each["loss"] - newest[each["judged_on"]]["loss"]
    return found


def _places(rows: "pd.Series[bool]") -> npt.NDArray[np.intp]:
    return np.flatnonzero(rows.to_numpy(np.bool_))


def _by_age(age: int, judged: list[dict[str, Any]]) -> dict[str, Any]:
    mine = [each for each in judged if each["age"] == age]
    extra = np.array([each["extra"] for each in mine])
    return {
        "age": age,
        "periods": len(mine),
        "loss": float(np.mean([each["loss"] for each in mine])),
        "extra": float(extra.mean()),
        "standard_error": standard_error(extra) if len(mine) > 1 else None,
    }


def _plot(layout: Layout, period: str, ages: list[dict[str, Any]]) -> None:
    with figure(layout.root / "reports" / "staleness.svg", 7, 4) as axes:
        axes.errorbar(
            [each["age"] for each in ages],
            [each["extra"] for each in ages],
            yerr=[each["standard_error"] or 0.0 for each in ages],
            marker="o",
            capsize=3,
        )
        axes.axhline(0, color="black", linewidth=0.8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel(f"age of the model in {period}s")
        axes.set_ylabel("loss a row beyond that of the newest model")
