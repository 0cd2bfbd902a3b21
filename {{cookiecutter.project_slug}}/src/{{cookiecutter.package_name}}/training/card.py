"""Card: what there is to know of a model, as Markdown with plots beside it."""

import hashlib
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..contract import Contract
from ..data.table import read_table
from ..errors import TrainingError
from ..features import Encoder, Features
from ..files import read_json, write_bytes
from ..layout import Layout
from ..serving.card import as_markdown, sections
from ..serving.predictor import Predictor, load_predictor
from ..yaml_file import parse
from .figure import figure
from .gate import as_markdown as as_table
from .measure import losses
from .rows import Rows, to_rows

REPEATS = 5
MOST_BARS = 15


def run(layout: Layout = Layout()) -> None:
    """Write the card of the model that is served, and its plots.

    Raises:
        TrainingError: no model has passed the gate yet.
    """
    if not (layout.serving / "model.json").exists():
        raise TrainingError(f"{layout.serving} holds no model yet; run `make train`")
    predictor = load_predictor(layout.serving)
    contract, calibration = predictor.contract, predictor.report["calibration"]
    importance = permuted(contract, predictor, to_rows(contract, read_table(layout.test)))
    _plot_importance(layout.card_plots / "importance.svg", importance)
    _plot_calibration(layout.card_plots / "calibration.svg", contract, calibration)
    lines = [
        "<!-- Made by `make card`: change params.yaml or contract.yaml, and train. -->\n",
        as_markdown(contract.title, sections(predictor)),
        f"![calibration]({layout.card_plots.name}/calibration.svg)\n",
        "## What it goes by\n",
        f"![importance]({layout.card_plots.name}/importance.svg)\n",
        "Loss added where a feature's values are shuffled among the held-out rows, the mean of"
        f" {REPEATS} shuffles; features that say the same share it.\n",
        "## Gate\n",
        as_table(read_json(layout.gate_report)) + "\n",
        *_origin(layout, predictor),
    ]
    write_bytes(layout.card, "\n".join(lines).encode("utf-8"))
    print(f"card: wrote {layout.card}, with plots in {layout.card_plots}")


def permuted(contract: Contract, predictor: Predictor, rows: Rows) -> dict[str, float]:
    """The mean loss that each feature's shuffling adds, the largest first.

    Source: Breiman (2001), Random Forests, section 10, on rows that were held out.
    """
    random = np.random.default_rng(0)

    def loss(features: Features) -> float:
        return float(losses(contract, rows.targets, predictor.answers(features)).mean())

    before, found, encoder = loss(rows.features), {}, Encoder(contract)
    for kind, columns in (("numbers", encoder.numbers), ("categories", encoder.categories)):
        for place, column in enumerate(columns):
            added = []
            for _ in range(REPEATS):
                table = getattr(rows.features, kind).copy()
                table[:, place] = random.permutation(table[:, place])
                added.append(loss(rows.features._replace(**{kind: table})) - before)
            found[column.name] = float(np.mean(added))
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _origin(layout: Layout, predictor: Predictor) -> Iterator[str]:
    project = tomllib.loads(layout.project.read_text(encoding="utf-8"))["project"]
    yield "## Where it comes from\n"
    yield f"- Model file: SHA-256 {predictor.info.sha256}"
    if layout.lock.exists():
        outs = parse(layout.lock.read_text(encoding="utf-8"))["stages"]["ingest"]["outs"]
        yield f"- Data: {outs[0]['path']}, MD5 {outs[0]['md5']} in dvc.lock"
    yield f"- Commit: {_commit(layout.root)}"
    lock = hashlib.sha256(layout.environment.read_bytes()).hexdigest()
    yield f"- Environment: uv.lock, SHA-256 {lock}; scikit-learn {predictor.info.scikit_learn}"
    yield f"- Licence: {project['license']}\n"


def _commit(root: Path) -> str:
    git = ["git", "-C", str(root), "describe", "--always", "--dirty=, with changes", "--exclude=*"]
    done = subprocess.run(git, capture_output=True, encoding="utf-8", check=False)  # noqa: S603  (a fixed command)
    return done.stdout.strip() or "none yet"


def _plot_importance(path: Path, importance: Mapping[str, float]) -> None:
    names = list(importance)[:MOST_BARS][::-1]
    with figure(path, 7, 0.6 + 0.32 * len(names)) as axes:
        axes.barh(names, [importance[name] for name in names])
        axes.set_xlabel("loss added")


def _plot_calibration(path: Path, contract: Contract, calibration: Mapping[str, Any]) -> None:
    by_label: dict[Any, list[Mapping[str, Any]]] = {}
    for point in calibration["points"]:
        by_label.setdefault(point.get("label"), []).append(point)
    with figure(path, 5, 4.5) as axes:
        for label, points in by_label.items():
            name = contract.labels[label] if label is not None else contract.target.name
            across = [point["predicted"] for point in points]
            axes.plot(across, [point["observed"] for point in points], marker="o", label=name)
        low, high = axes.get_xlim()
        axes.plot([low, high], [low, high], color="grey", linewidth=0.8)
        axes.set_xlabel("predicted")
        axes.set_ylabel("observed")
        axes.legend()
