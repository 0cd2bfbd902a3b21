import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.errors import TrainingError
from {{ cookiecutter.package_name }}.features import Encoder, Features
from {{ cookiecutter.package_name }}.files import read_json
from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.serving.predictor import Answers, Predictor
from {{ cookiecutter.package_name }}.training import card
from {{ cookiecutter.package_name }}.training.rows import Rows, to_rows


@pytest.fixture
def carded(layout: Layout, root: Path) -> Layout:
    """A trained project with what a card takes from its other files."""
    for path in (layout.project, layout.environment):
        shutil.copy(root / path.name, path)
    card.run(layout)
    return layout


def as_told(text: str) -> str:
    """Text of the project in Markdown, where it may not be read as HTML or as a cell's end."""
    return " ".join(text.split()).replace("<", "&lt;").replace("|", "\\|")


def test_the_card_holds_what_the_metrics_say(carded: Layout, contract: Contract) -> None:
    text = carded.card.read_text(encoding="utf-8")
    described, metrics = (
        read_json(carded.serving / name) for name in ("model.json", "metrics.json")
    )
    for name, value in metrics["metrics"].items():
        low, high = metrics["intervals"][name]
        assert f"| {name} | {value:.4g} | {low:.4g} to {high:.4g} |" in text
    for key in ("slices", "groups"):
        for column, values in metrics[key].items():
            for value, each in values.items():
                small = " (small)" if each["small"] else ""
                part = as_told(f"{column}: {value}")
                assert f"| {part} | {each['rows']}{small} |" in text
    for said in (contract.title, contract.description, described["version"], described["sha256"]):
        assert as_told(said) in text
    assert "| passed | loss saved against constant" in text


def test_the_plots_stand_beside_it_the_same_each_time(carded: Layout) -> None:
    text = carded.card.read_text(encoding="utf-8")
    plots = sorted(carded.card_plots.iterdir())
    assert [path.name for path in plots] == ["calibration.svg", "importance.svg"]
    before = [path.read_bytes() for path in plots]
    for path, content in zip(plots, before, strict=True):
        assert f"]({carded.card_plots.name}/{path.name})" in text
        assert len(list(ElementTree.fromstring(content).iter())) > 50  # noqa: S314  (our own)
    card.run(carded)
    assert [path.read_bytes() for path in plots] == before
    assert carded.card.read_text(encoding="utf-8") == text


def test_a_feature_counts_as_far_as_the_model_goes_by_it(
    layout: Layout, contract: Contract, predictor: Predictor
) -> None:
    rows = to_rows(contract, pd.read_parquet(layout.test))
    column = contract.numbers[0].name

    def answer(features: Features) -> Answers:
        values = np.nan_to_num(features.numbers[:, 0]).astype(float)
        if not contract.labels:
            return values
        given = np.full((len(values), len(contract.labels)), 0.1)
        given[np.arange(len(values)), (values > np.median(values)).astype(int)] = 0.9
        return given

    by_one = Predictor(contract, predictor.info, answer)
    targets = answer(rows.features)
    if contract.labels:
        targets = targets.argmax(axis=1)
    found = card.permuted(contract, by_one, Rows(rows.features, targets))
    assert next(iter(found)) == column
    assert found[column] > 0
    encoder = Encoder(contract)
    assert set(found) == {each.name for each in (*encoder.numbers, *encoder.categories)}
    assert [value for name, value in found.items() if name != column] == [0] * (len(found) - 1)


def test_without_a_model_there_is_no_card(layout: Layout) -> None:
    shutil.rmtree(layout.serving)
    with pytest.raises(TrainingError, match="holds no model yet; run `make train`"):
        card.run(layout)
