"""One set of figures, in development and for what production has answered."""

import pandas as pd
import pytest

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.errors import TrainingError
from {{ cookiecutter.package_name }}.files import read_json
from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.training import evaluate


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
