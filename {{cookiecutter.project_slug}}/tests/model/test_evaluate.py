"""One set of figures, in development and for production, and beside the champion's."""

import re
import shutil
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.errors import GateError, TrainingError
from {{ cookiecutter.package_name }}.features import DERIVED_FILE
from {{ cookiecutter.package_name }}.files import read_json, write_json
from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.training import evaluate, export, gate, train


@pytest.fixture
def crowned(layout: Layout) -> Layout:
    """The layout, with its own model as the champion."""
    shutil.rmtree(layout.champion)
    layout.champion.mkdir()
    shutil.copytree(layout.serving, layout.champion / "model")
    shutil.copy(DERIVED_FILE, layout.champion / "derived.py")
    write_json(layout.champion / "champion.json", {"version": "model@v1.0.0", "reason": None})
    return layout


def judge_again(layout: Layout) -> None:
    for stage in (evaluate, export, gate):
        stage.run(layout)


def test_the_same_model_is_neither_better_nor_worse(crowned: Layout) -> None:
    judge_again(crowned)
    metrics = read_json(crowned.metrics)
    assert metrics["gains"]["champion"] == {"mean": 0, "low": 0, "high": 0}
    assert metrics["others"]["champion"]["saving"] == pytest.approx(
        metrics["metrics"]["saving"], abs=metrics["metrics"]["cost"]
    )
    assert read_json(crowned.gate_report)["champion"] == "model@v1.0.0"


def test_a_worse_model_is_refused(crowned: Layout, contract: Contract) -> None:
    frame = pd.read_parquet(crowned.train)
    name = contract.target.name
    places = np.random.default_rng(0).permutation(len(frame))[: int(len(frame) * 0.9)]
    values = frame[name].to_numpy(object).copy()
    values[places] = np.random.default_rng(1).permutation(values[places])
    frame[name] = values if contract.labels else values.astype(float)
    frame.to_parquet(crowned.train, index=False)
    train.run(crowned)
    with pytest.raises(GateError, match="REFUSED loss saved against champion, upper end: -"):
        judge_again(crowned)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: (folder / "model" / "model.json").unlink(), "model.json cannot be read"),
        (lambda folder: (folder / "derived.py").write_text("DERIVED = ()", "utf-8"), "derived.py"),
    ],
)
def test_a_champion_that_cannot_answer_is_refused_with_the_reason(
    spoil: Callable[..., None], reason: str, crowned: Layout
) -> None:
    spoil(crowned.champion)
    with pytest.raises(GateError, match=f"(?s)REFUSED champion model@v1.0.0 compared: .*{reason}"):
        judge_again(crowned)


def test_a_champion_that_could_not_be_brought_is_refused(crowned: Layout) -> None:
    said = {"version": "model@v1.0.0", "reason": "the remote lacks it"}
    write_json(crowned.champion / "champion.json", said)
    with pytest.raises(GateError, match="REFUSED champion model@v1.0.0 .* the remote lacks it"):
        judge_again(crowned)


def test_where_no_champion_can_be_known_that_is_said(
    crowned: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {"version": None, "reason": "this clone is shallow"}
    write_json(crowned.champion / "champion.json", said)
    judge_again(crowned)
    assert "ADVICE  champion that may be in production" in capsys.readouterr().out


def test_a_champion_of_columns_that_are_gone_is_refused(
    crowned: Layout, contract: Contract
) -> None:
    column = contract.features[-1].name
    text = crowned.contract.read_text(encoding="utf-8")
    field = re.search(rf"  - name: {column}\n(    .*\n?)+", text)
    assert field
    crowned.contract.write_text(text.replace(field[0], ""), encoding="utf-8")
    for path in (crowned.train, crowned.test):
        pd.read_parquet(path).drop(columns=[column]).to_parquet(path, index=False)
    train.run(crowned)
    with pytest.raises(GateError, match=f"REFUSED champion .*: it needs {column}, which these"):
        judge_again(crowned)


def test_rows_from_production_get_the_same_figures(layout: Layout, contract: Contract) -> None:
    live = layout.root / "live.parquet"
    rows = pd.read_parquet(layout.test)
    labelled = pd.concat([rows, rows])
    ids = {column.name for column in contract.fields if column.role == "group"}
    labelled.drop(columns=[*ids]).assign(**dict.fromkeys(ids)).to_parquet(live)
    development, headline = layout.metrics.read_bytes(), layout.headline.read_bytes()
    to = layout.root / "reports" / "live.json"
    evaluate.run(layout, live, to)
    assert (layout.metrics.read_bytes(), layout.headline.read_bytes()) == (development, headline)
    found, known = read_json(to), read_json(layout.metrics)
    assert set(found) == set(known)
    assert found["rows"] == 2 * known["rows"]
    for name in set(known["metrics"]) & {"log_loss", "rmse", "skill", "saving"}:
        assert found["metrics"][name] == pytest.approx(known["metrics"][name])


def test_rows_and_the_place_of_their_figures_belong_together(layout: Layout) -> None:
    with pytest.raises(TrainingError, match="--rows and --to belong together"):
        evaluate.run(layout, layout.test)


def test_the_headline_is_what_the_metrics_say(layout: Layout) -> None:
    short, metrics = read_json(layout.headline), read_json(layout.metrics)
    assert short["metrics"] == metrics["metrics"]
    assert short["gains"] == {name: each["mean"] for name, each in metrics["gains"].items()}
