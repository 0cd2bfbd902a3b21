"""Ablation: what the model loses on training rows it has not seen when a feature is left out."""

from typing import Any

from sklearn.base import clone
from sklearn.pipeline import Pipeline
from tqdm import tqdm

from ..errors import TrainingError
from ..features import Encoder
from ..files import write_json
from ..layout import Layout
from ..training.figure import figure
from ..training.pipeline import build
from .bench import load_bench, standard_error


def run(layout: Layout = Layout()) -> None:
    """Leave each feature out in turn, and write the table and its plot.

    Raises:
        TrainingError: there is one feature alone, or the model cannot be built or fitted.
    """
    bench = load_bench(layout)
    encoder = Encoder(bench.contract)
    names = [column.name for column in (*encoder.numbers, *encoder.categories)]
    if len(names) < 2:
        raise TrainingError(
            f"contract.yaml: {names[0]} is the one feature, and a model without any has nothing to"
            " learn; give another column role feature"
        )
    model = build(bench.contract, bench.params.model.chosen, bench.params.seed)
    whole = bench.losses(model)
    found = []
    for place, name in enumerate(tqdm(names, "ablation", disable=None)):
        changes = bench.losses(without(model, place)) - whole
        error = standard_error(changes)
        found.append(
            {
                "feature": name,
                "change": float(changes.mean()),
                "standard_error": error,
                # One standard error: Breiman et al. (1984), section 3.4.3.
                "earns_its_place": bool(changes.mean() > error),
            }
        )
    found.sort(key=lambda each: -each["change"])
    profile, loss = bench.params.model.profile, float(whole.mean())
    report = layout.root / "reports" / "ablation.json"
    write_json(report, {"profile": profile, "loss": loss, "folds": len(whole), "features": found})
    _plot(layout, found)
    print("| left out | change in loss | standard error | earns its place |")
    print("| --- | ---: | ---: | --- |")
    for each in found:
        figures = f"{each['change']:+.3g} | {each['standard_error']:.2g}"
        print(f"| {each['feature']} | {figures} | {'yes' if each['earns_its_place'] else 'no'} |")
    idle = [each["feature"] for each in found if not each["earns_its_place"]]
    said = f"do not earn their place: {', '.join(idle)}" if idle else "all earn their place"
    print(
        f"\nablation: {said} (loss {loss:.6g}; a change above one standard error over"
        f" {len(whole)} folds does)\nablation: take out one at a time, by role excluded in"
        " contract.yaml or in derived.py, and run this again: of two that say the same, neither"
        " seems needed"
    )


def without(model: Pipeline, place: int) -> Pipeline:
    """The unfitted model that does not see the feature in this column of the table."""
    left = [
        (name, step, [each for each in places if each != place])
        for name, step, places in model["columns"].transformers
    ]
    reduced: Pipeline = clone(model).set_params(columns__transformers=left)
    return reduced


def _plot(layout: Layout, found: list[dict[str, Any]]) -> None:
    path = layout.root / "reports" / "ablation.svg"
    with figure(path, 7, 1 + len(found) / 4) as axes:
        rows = found[::-1]
        axes.barh(
            [each["feature"] for each in rows],
            [each["change"] for each in rows],
            xerr=[each["standard_error"] for each in rows],
            color=["tab:blue" if each["earns_its_place"] else "lightgrey" for each in rows],
        )
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_xlabel("change in loss when left out, and its standard error")
