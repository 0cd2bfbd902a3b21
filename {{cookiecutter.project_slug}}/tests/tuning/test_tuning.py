import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from filelock import FileLock
from sklearn.pipeline import Pipeline

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.data import ingest, split, validate
from {{ cookiecutter.package_name }}.derived import Numbers
from {{ cookiecutter.package_name }}.errors import ParamsError, TrainingError
from {{ cookiecutter.package_name }}.files import read_json
from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.params import load_params
from {{ cookiecutter.package_name }}.training.evaluate import answers
from {{ cookiecutter.package_name }}.training.measure import losses
from {{ cookiecutter.package_name }}.training.pipeline import build
from {{ cookiecutter.package_name }}.tuning import ablation, staleness, tune
from {{ cookiecutter.package_name }}.tuning.bench import Bench, load_bench, standard_error

SPACE = {"max_iter": {"low": 5, "high": 20}, "learning_rate": {"low": 0.01, "high": 0.3}}
ENOUGH = 12
"""Trials of which some are placed by those before; Optuna's first ten are random."""


@pytest.fixture(scope="module")
def rows(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a few training rows of the sample, and a quick model. Nothing writes here."""
    folder = tmp_path_factory.mktemp("rows")
    shutil.copytree(root / "data" / "sample", folder / "data" / "sample")
    for name in ("contract.yaml", "params.yaml"):
        shutil.copy(root / name, folder / name)
    for stage in (ingest, validate, split):
        stage.run(Layout(folder))
    frame = pd.read_parquet(Layout(folder).train)
    frame.head(400).to_parquet(Layout(folder).train, index=False)
    text = (folder / "params.yaml").read_text(encoding="utf-8")
    quick = text.replace("max_leaf_nodes: 15\n", "max_leaf_nodes: 3\n        max_iter: 5\n")
    assert quick != text
    (folder / "params.yaml").write_text(quick, encoding="utf-8")
    content = yaml.safe_dump({"profiles": {"accurate": SPACE}})
    (folder / "tuning.yaml").write_text(content, encoding="utf-8")
    return folder


@pytest.fixture
def small(rows: Path, tmp_path: Path) -> Layout:
    """A copy of it, to change at will."""
    return Layout(shutil.copytree(rows, tmp_path / "small"))


def studies(layout: Layout) -> list[list[tuple[Any, Any]]]:
    """What each study has tried, and what it lost."""
    path = layout.root / "reports" / "tuning.db"
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    return [
        [(each.user_attrs["values"], each.user_attrs["losses"]) for each in study.trials]
        for name in optuna.get_all_study_names(storage)
        for study in [optuna.load_study(study_name=name, storage=storage)]
    ]


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_the_winner_is_written_and_nothing_else(
    small: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    before = small.params.read_text(encoding="utf-8")
    tune.run(small, ENOUGH)
    (trials,) = studies(small)
    assert len(trials) == ENOUGH
    parameters = yaml.safe_load(before)["model"]["profiles"]["accurate"]["parameters"]
    assert trials[0][0] == {name: parameters[name] for name in SPACE}
    assert len({tuple(values.values()) for values, _ in trials}) == ENOUGH
    means = [np.mean(each) for _, each in trials]
    best = int(np.argmin(means))
    assert best > 0
    assert load_params(small.params).model.chosen.parameters == parameters | trials[best][0]
    after = small.params.read_text(encoding="utf-8")
    changed = set(before.splitlines()) ^ set(after.splitlines())
    assert {line.split(":")[0].strip() for line in changed} <= {"learning_rate", "max_iter"}
    printed = capsys.readouterr().out
    assert "a new one" in printed
    assert all(line in printed for line in changed)
    gains = np.subtract(trials[0][1], trials[best][1])
    said = f"a gain of {gains.mean():.3g}, standard error {standard_error(gains):.2g} over 5 folds"
    assert said in printed
    assert printed.endswith("git diff params.yaml; make train\n")

    tune.run(small, ENOUGH)
    assert studies(small) == [trials]
    assert small.params.read_text(encoding="utf-8") == after
    printed = capsys.readouterr().out
    assert f"{ENOUGH} trials are there" in printed
    assert f"none of {ENOUGH} trials loses less" in printed


def test_a_study_that_was_stopped_goes_on_as_if_it_had_not_been(
    small: Layout, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Layout(shutil.copytree(rows, tmp_path / "whole"))
    tune.run(whole, ENOUGH)
    own, left = Bench.losses, iter(range(ENOUGH - 2))

    def stopped(bench: Bench, model: Pipeline) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return own(bench, model)

    monkeypatch.setattr(Bench, "losses", stopped)
    before = small.params.read_bytes()
    with pytest.raises(TrainingError, match="stopped; make tune goes on"):
        tune.run(small, ENOUGH)
    assert small.params.read_bytes() == before
    assert [len(each) for each in studies(small)] == [ENOUGH - 2]
    monkeypatch.undo()
    tune.run(small, ENOUGH)
    assert studies(small) == studies(whole)
    assert small.params.read_bytes() == whole.params.read_bytes()


def test_another_seed_tries_others(small: Layout) -> None:
    tune.run(small, 3)
    change(small.params, "seed: 20", "seed: 21")
    tune.run(small, 3)
    one, other = studies(small)
    assert one[1:] != other[1:]


@pytest.mark.parametrize("what", ["rows", "space", "fixed"])
def test_what_cannot_be_compared_starts_a_new_study(
    what: str, small: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    tune.run(small, 2)
    if what == "rows":
        pd.read_parquet(small.train).head(300).to_parquet(small.train, index=False)
    elif what == "space":
        change(small.root / "tuning.yaml", "high: 20", "high: 21")
    else:
        change(small.params, "min_samples_leaf: 20", "min_samples_leaf: 21")
    capsys.readouterr()
    tune.run(small, 2)
    assert "a new one, as rows, features, tuning.yaml or what" in capsys.readouterr().out
    assert [len(each) for each in studies(small)] == [2, 2]


def test_edited_parameters_are_compared_in_the_same_study(small: Layout) -> None:
    tune.run(small, 3)
    change(small.params, "max_iter: ", "max_iter: 1")  # 5 is 15, and 17 is 117
    edited = load_params(small.params).model.chosen.parameters
    tune.run(small, 3)
    (trials,) = studies(small)
    assert len(trials) == 4
    assert trials[3][0] == {name: edited[name] for name in SPACE}


def test_no_test_row_is_looked_at(small: Layout) -> None:
    small.test.unlink()
    tune.run(small, 2)
    ablation.run(small)
    assert len(studies(small)) == 1


def test_a_search_for_what_the_estimator_does_not_take_is_refused(small: Layout) -> None:
    change(small.root / "tuning.yaml", "max_iter", "colour")
    with pytest.raises(ParamsError, match="profiles.accurate names colour, but HistGradient"):
        tune.run(small, 2)
    with pytest.raises(ParamsError, match="TRIALS is 1"):
        tune.run(small, 1)
    assert not (small.root / "reports" / "tuning.db").exists()


def test_parameters_that_cannot_be_fitted_are_refused(small: Layout) -> None:
    change(small.root / "tuning.yaml", "low: 0.01", "low: -9.0")
    change(small.root / "tuning.yaml", "high: 0.3", "high: -1.0")
    with pytest.raises(TrainingError, match="learning_rate=-.* cannot be fitted: .*correct"):
        tune.run(small, 2)


def test_a_study_in_use_or_of_another_kind_is_refused(small: Layout) -> None:
    path = small.root / "reports" / "tuning.db"
    with (
        FileLock(f"{path}.lock"),
        pytest.raises(TrainingError, match=r"tuning.db is in use by another make tune"),
    ):
        tune.run(small, 2)
    path.write_text("no database " * 100, encoding="utf-8")
    with pytest.raises(TrainingError, match=r"tuning.db cannot be used: .*move it away"):
        tune.run(small, 2)
    assert path.read_text(encoding="utf-8") == "no database " * 100
    path.unlink()
    sqlite3.connect(path).close()
    tune.run(small, 2)


def test_rows_that_make_one_fold_are_refused(small: Layout, contract: Contract) -> None:
    change(small.params, "by: random", f"by: group\n  column: {contract.target.name}")
    frame = pd.read_parquet(small.train)
    frame[frame[contract.target.name] == frame[contract.target.name][0]].to_parquet(small.train)
    with pytest.raises(TrainingError, match="make 0 folds, and a comparison needs two"):
        ablation.run(small)


# --- features ------------------------------------------------------------------------------------


def known(frame: pd.DataFrame, contract: Contract) -> "pd.Series[bool]":
    """Something of the target that a feature may tell."""
    target = frame[contract.target.name]
    return target == contract.labels[0] if contract.labels else target > target.mean()


def test_each_feature_has_its_worth(
    small: Layout,
    contract: Contract,
    derive: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    telling = contract.numbers[0]
    frame = pd.read_parquet(small.train)
    frame[telling.name] = np.where(known(frame, contract), 1.0, 2.0)
    frame.to_parquet(small.train, index=False)
    derive("idle", Numbers, [telling], lambda values: values * 0)
    ablation.run(small)
    report = read_json(small.root / "reports" / "ablation.json")
    found = {each["feature"]: each for each in report["features"]}
    assert list(found) == sorted(found, key=lambda name: -found[name]["change"])
    assert set(found) == {*(column.name for column in contract.features), "idle"}
    assert next(iter(found)) == telling.name
    assert found[telling.name]["earns_its_place"]
    for each in found.values():
        assert each["earns_its_place"] == (each["change"] > each["standard_error"])
    assert found["idle"] == {
        "feature": "idle",
        "change": 0.0,
        "standard_error": 0.0,
        "earns_its_place": False,
    }
    printed = capsys.readouterr().out
    rows = [line.split("|")[1].strip() for line in printed.splitlines() if line.startswith("|")]
    assert rows[2:] == list(found)
    assert re.search("do not earn their place: .*idle", printed)
    drawn = (small.root / "reports" / "ablation.svg").read_bytes()
    ablation.run(small)
    assert (small.root / "reports" / "ablation.svg").read_bytes() == drawn


def test_a_feature_left_out_is_not_seen(small: Layout) -> None:
    bench = load_bench(small)
    table = bench.rows.features.table()
    model = build(bench.contract, bench.params.model.chosen, bench.params.seed)
    for place in range(table.shape[1]):
        others = table.copy()
        others[:, place] = table[0, place]
        fitted = ablation.without(model, place).fit(table, bench.rows.targets)
        assert fitted[-1].n_features_in_ < model.fit(table, bench.rows.targets)[-1].n_features_in_
        np.testing.assert_array_equal(fitted.predict(others), fitted.predict(table))


def test_one_feature_alone_cannot_be_left_out(small: Layout) -> None:
    content = yaml.safe_load(small.contract.read_text(encoding="utf-8"))
    features = [field for field in content["fields"] if field["role"] == "feature"]
    for field in features[1:]:
        field["role"] = "excluded"
    small.contract.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(TrainingError, match=f"{features[0]['name']} is the one feature"):
        ablation.run(small)


# --- age -----------------------------------------------------------------------------------------


@pytest.fixture
def dated(small: Layout, contract: Contract) -> Layout:
    """Five quarters of 80 rows each; a feature tells the target from the third on."""
    frame = pd.read_parquet(small.train)
    quarter = np.arange(len(frame)) // 80
    chance = np.random.default_rng(0).uniform(size=len(frame)) < 0.5
    if not contract.labels:
        frame[contract.target.name] = np.random.default_rng(1).integers(1, 3, len(frame))
    telling = np.where(quarter < 2, chance, known(frame, contract))
    frame[contract.numbers[0].name] = np.where(telling, 1.0, 2.0)
    start = pd.Timestamp("2024-01-15T23:30:00Z")
    frame["at"] = [start + pd.DateOffset(months=3 * int(each)) for each in quarter]
    frame.to_parquet(small.train, index=False)
    content = yaml.safe_load(small.contract.read_text(encoding="utf-8"))
    content["fields"].append({"name": "at", "type": "datetime", "role": "time"})
    small.contract.write_text(yaml.safe_dump(content), encoding="utf-8")
    return small


def test_an_old_model_loses_more_than_a_newer_one(
    dated: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    staleness.run(dated)
    report = read_json(dated.root / "reports" / "staleness.json")
    # The first quarter alone has fewer rows than validate.min_rows.
    judged = {(each["trained_until"], each["judged_on"]): each for each in report["models"]}
    assert list(judged) == [
        *(("2024Q2", later) for later in ("2024Q3", "2024Q4", "2025Q1")),
        *(("2024Q3", later) for later in ("2024Q4", "2025Q1")),
        ("2024Q4", "2025Q1"),
    ]
    bench = load_bench(dated)
    table, targets = bench.rows.features.table(), bench.rows.targets
    model = build(bench.contract, bench.params.model.chosen, bench.params.seed)
    model.fit(table[:160], targets[:160])
    given = answers(bench.contract, model, table[320:])
    oldest = judged["2024Q2", "2025Q1"]
    assert oldest["loss"] == pytest.approx(losses(bench.contract, targets[320:], given).mean())
    newest = judged["2024Q4", "2025Q1"]
    assert oldest["extra"] == pytest.approx(oldest["loss"] - newest["loss"])
    ages = {each["age"]: each for each in report["ages"]}
    assert {age: each["periods"] for age, each in ages.items()} == {1: 3, 2: 2, 3: 1}
    assert ages[1]["extra"] == 0
    assert 0 < ages[2]["extra"] < ages[3]["extra"] == oldest["extra"]
    assert ages[3]["standard_error"] is None
    assert f"| 3 | 1 | {oldest['loss']:.4g} | {oldest['extra']:+.3g} |" in capsys.readouterr().out
    assert b"</svg>" in (dated.root / "reports" / "staleness.svg").read_bytes()


def test_rows_without_a_time_or_past_without_a_label_are_left_out(
    dated: Layout, contract: Contract
) -> None:
    frame = pd.read_parquet(dated.train)
    frame.loc[320:329, "at"] = pd.NaT
    if contract.labels:
        frame.loc[:159, contract.target.name] = contract.labels[0]
    frame.to_parquet(dated.train, index=False)
    staleness.run(dated)
    models = read_json(dated.root / "reports" / "staleness.json")["models"]
    assert models[-1]["rows"] == 70
    assert ("2024Q2" in {each["trained_until"] for each in models}) != bool(contract.labels)


def test_an_age_that_cannot_be_known_is_refused(small: Layout) -> None:
    with pytest.raises(TrainingError, match="gives no column role time.*then make train"):
        staleness.run(small)


def test_too_few_periods_are_refused(dated: Layout) -> None:
    pd.read_parquet(dated.train).head(240).to_parquet(dated.train, index=False)
    with pytest.raises(TrainingError, match=r"at covers 3 quarters, too few .*another PERIOD"):
        staleness.run(dated)
    assert not (dated.root / "reports" / "staleness.json").exists()
