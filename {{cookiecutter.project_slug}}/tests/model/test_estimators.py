"""What any estimator has to do that params.yaml may name."""

import hashlib
import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import skops.io
from sklearn.pipeline import Pipeline

from {{ cookiecutter.package_name }}.contract import Contract, load_contract
from {{ cookiecutter.package_name }}.errors import ArtefactError, ExportError, TrainingError
from {{ cookiecutter.package_name }}.features import Encoder, Features
from {{ cookiecutter.package_name }}.files import read_json
from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.params import Params, Profile, load_params
from {{ cookiecutter.package_name }}.serving.predictor import Predictor, load_predictor, sealed
from {{ cookiecutter.package_name }}.training import export
from {{ cookiecutter.package_name }}.training.boosters import float32_below
from {{ cookiecutter.package_name }}.training.evaluate import answers
from {{ cookiecutter.package_name }}.training.export import to_onnx
from {{ cookiecutter.package_name }}.training.judge import judge_artefact
from {{ cookiecutter.package_name }}.training.measure import losses
from {{ cookiecutter.package_name }}.training.parity import compare, probes
from {{ cookiecutter.package_name }}.training.pipeline import build, build_constant, is_linear
from {{ cookiecutter.package_name }}.training.rows import Rows, to_rows
from {{ cookiecutter.package_name }}.training.skops_file import load, save

# Some stop before they converge, which a table of a few rows does not need.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

PROJECT = Layout(Path(__file__).resolve().parents[2])
CLASSIFIES = load_contract(PROJECT.contract).task == "classification"

# They learn a few rows by heart, and once exported they agree on every row.
TREES: dict[str, dict[str, Any]] = {
    "sklearn.tree.DecisionTree": {},
    "sklearn.tree.ExtraTree": {},
    "sklearn.ensemble.Bagging": {"n_estimators": 5, "bootstrap": False},
    "sklearn.ensemble.ExtraTrees": {"n_estimators": 5},
    "sklearn.ensemble.GradientBoosting": {"n_estimators": 10, "learning_rate": 1.0},
    "sklearn.ensemble.HistGradientBoosting": {
        "max_iter": 20,
        "learning_rate": 0.5,
        "min_samples_leaf": 1,
    },
    "sklearn.ensemble.RandomForest": {"n_estimators": 5, "bootstrap": False},
    "lightgbm.LGBM": {
        "n_estimators": 20,
        "learning_rate": 0.5,
        "min_child_samples": 1,
        "min_data_in_bin": 1,
        "verbosity": -1,
    },
    "xgboost.XGB": {"n_estimators": 30, "reg_lambda": 0, "min_child_weight": 0},
}
OTHERS: dict[str, dict[str, Any]] = {
    "sklearn.ensemble.AdaBoost": {"n_estimators": 10},
    "sklearn.neighbors.KNeighbors": {"algorithm": "kd_tree"},
}
OF_ONE_TASK: dict[str, dict[str, Any]] = (
    {
        "sklearn.linear_model.LogisticRegression": {},
        "sklearn.linear_model.SGDClassifier": {"loss": "log_loss", "alpha": 0.1},
        "sklearn.naive_bayes.BernoulliNB": {},
        "sklearn.naive_bayes.GaussianNB": {"var_smoothing": 1.0},
        "sklearn.neural_network.MLPClassifier": {"solver": "lbfgs", "max_iter": 50},
    }
    if CLASSIFIES
    else {
        "sklearn.linear_model.ElasticNet": {},
        "sklearn.linear_model.LinearRegression": {},
        "sklearn.linear_model.Ridge": {},
        "sklearn.linear_model.TweedieRegressor": {},
        "sklearn.neural_network.MLPRegressor": {"solver": "lbfgs", "max_iter": 50},
    }
)


def installed(table: dict[str, dict[str, Any]], ending: str) -> list[Profile]:
    return [
        Profile(estimator=name + ending, parameters=parameters)
        for name, parameters in table.items()
        if find_spec(name.partition(".")[0])
    ]


ENDING = "Classifier" if CLASSIFIES else "Regressor"
EXACT = installed(TREES, ENDING)
PROFILES = [
    *EXACT,
    *installed(OTHERS, ENDING),
    *installed(OF_ONE_TASK, ""),
    *load_params(PROJECT.params).model.profiles.values(),
]


class Fitted(NamedTuple):
    """A model, its rows and the file that it was written to before it answered anything."""

    profile: Profile
    model: Pipeline
    train: Rows
    file: Path


@pytest.fixture(scope="module")
def frame(pipeline: Layout) -> pd.DataFrame:
    return pd.read_parquet(pipeline.train).head(300)


@pytest.fixture(scope="module")
def unseen(pipeline: Layout, contract: Contract, frame: pd.DataFrame) -> Features:
    """Held-out rows, the contract's edges, mixtures, and numbers where trees have thresholds.

    Those are the numbers that they have seen, and halfway between two of them.
    """
    held_out = to_rows(contract, pd.read_parquet(pipeline.test).head(200)).features
    rows = probes(contract, held_out, 7)
    seen = np.sort(to_rows(contract, frame).features.numbers, axis=0)
    halfway = ((seen[1:].astype(np.float64) + seen[:-1]) / 2).astype(np.float32)
    return Features(
        np.vstack([rows.numbers[:1200], seen, halfway]),
        np.resize(
            rows.categories[:1200], (1200 + len(seen) + len(halfway), rows.categories.shape[1])
        ),
    )


@pytest.fixture(scope="module", params=PROFILES, ids=lambda profile: profile.estimator)
def fitted(
    request: pytest.FixtureRequest,
    contract: Contract,
    params: Params,
    frame: pd.DataFrame,
    tmp_path_factory: pytest.TempPathFactory,
) -> Fitted:
    rows = to_rows(contract, frame)
    model = build(contract, request.param, params.seed).fit(rows.features.table(), rows.targets)
    path = tmp_path_factory.mktemp("fitted") / "model.skops"
    save(path, model)
    return Fitted(request.param, model, rows, path)


def mean_loss(contract: Contract, model: Any, rows: Rows) -> float:
    given = answers(contract, model, rows.features.table())
    return float(losses(contract, rows.targets, given).mean())


def constant_loss(contract: Contract, rows: Rows) -> float:
    constant = build_constant(contract).fit(rows.features.table(), rows.targets)
    return mean_loss(contract, constant, rows)


def served(pipeline: Layout, folder: Path, content: bytes, name: str) -> Predictor:
    """The predictor of a folder like the pipeline's, but with another artefact."""
    shutil.copytree(pipeline.serving, folder)
    described = read_json(folder / "model.json")
    (folder / described["artefact"]).unlink()
    (folder / name).write_bytes(content)
    del described["checksum"]
    changed = {"artefact": name, "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "model.json").write_bytes(sealed(described | changed))
    return load_predictor(folder)


def test_it_learns(fitted: Fitted, contract: Contract) -> None:
    rows = fitted.train
    if not contract.labels:
        assert mean_loss(contract, fitted.model, rows) < constant_loss(contract, rows)
    # No loss: boosted stumps rank three labels well and are no good probabilities.
    given = answers(contract, fitted.model, rows.features.table())
    for place in range(len(contract.labels)):
        own = rows.targets == place
        assert given[own, place].mean() > given[~own, place].mean()


@pytest.mark.parametrize("profile", EXACT, ids=lambda profile: profile.estimator)
def test_a_few_rows_are_learnt_by_heart(
    profile: Profile, contract: Contract, params: Params, frame: pd.DataFrame
) -> None:
    few = frame.drop_duplicates([column.name for column in contract.numbers])
    rows = to_rows(contract, few.groupby(contract.target.name).head(6).head(12))
    model = build(contract, profile, params.seed).fit(rows.features.table(), rows.targets)
    assert mean_loss(contract, model, rows) < 0.1 * constant_loss(contract, rows)


def test_every_row_has_an_answer_in_range(
    fitted: Fitted, contract: Contract, unseen: Features
) -> None:
    given = answers(contract, fitted.model, unseen.table())
    assert np.isfinite(given).all()
    if contract.labels:
        assert given.shape == (len(unseen.numbers), len(contract.labels))
        assert given.min() >= 0
        np.testing.assert_allclose(given.sum(axis=1), 1, atol=1e-6)
    else:
        assert given.shape == (len(unseen.numbers),)


def test_the_order_of_columns_does_not_matter(
    fitted: Fitted, contract: Contract, frame: pd.DataFrame
) -> None:
    expected = answers(contract, fitted.model, fitted.train.features.table())
    turned = to_rows(contract, frame[frame.columns[::-1]]).features
    np.testing.assert_array_equal(answers(contract, fitted.model, turned.table()), expected)
    features = frame[[column.name for column in reversed(contract.features)]].astype(object)
    rows: list[Any] = features.where(features.notna(), None).to_dict("records")
    named = Encoder(contract).rows(rows)
    np.testing.assert_array_equal(answers(contract, fitted.model, named.table()), expected)


def test_the_file_holds_the_model_and_is_the_same_again(
    fitted: Fitted,
    contract: Contract,
    params: Params,
    unseen: Features,
    pipeline: Layout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = answers(contract, fitted.model, unseen.table())
    np.testing.assert_array_equal(answers(contract, load(fitted.file), unseen.table()), expected)
    content = fitted.file.read_bytes()
    predictor = served(pipeline, tmp_path / "served", content, "model.skops")
    np.testing.assert_array_equal(predictor.answers(unseen), expected)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # a machine of one processor
    again = build(contract, fitted.profile, params.seed)
    save(tmp_path / "again.skops", again.fit(fitted.train.features.table(), fitted.train.targets))
    assert (tmp_path / "again.skops").read_bytes() == content


def test_the_artefact_agrees_or_the_other_way_is_named(
    fitted: Fitted,
    contract: Contract,
    params: Params,
    unseen: Features,
    pipeline: Layout,
    tmp_path: Path,
) -> None:
    exact = fitted.profile in EXACT
    try:
        content = to_onnx(contract, fitted.model)
    except ExportError as refusal:
        assert "artefact: skops" in str(refusal)
        assert not exact
        return
    predictor = served(pipeline, tmp_path / "served", content, "model.onnx")
    parity = compare(predictor, unseen, answers(contract, fitted.model, unseen.table()))
    report = {
        "estimator": fitted.profile.estimator,
        "linear": is_linear(fitted.model),
        "differing": parity.differing / parity.rows,
        "flipped": parity.flipped if contract.labels else None,
        "latency_ms": 0.0,
        "size_mb": 0.0,
    }
    refusals = [each for each in judge_artefact(report, params.gate) if not each.passed]
    assert all("artefact: skops" in each.remedy for each in refusals)
    assert not exact or not parity.differing


@pytest.mark.parametrize(
    "values", [np.linspace(-7, 7, 1001) / 3, np.geomspace(1e-30, 1e30, 1001) / 3]
)
def test_a_rounded_threshold_divides_as_the_exact_one(values: npt.NDArray[np.float64]) -> None:
    below = float32_below(values)
    nearest = values.astype(np.float32)
    for given in (nearest, np.nextafter(nearest, -np.inf), np.nextafter(nearest, np.inf)):
        np.testing.assert_array_equal(given <= below, given.astype(np.float64) <= values)
    assert (below != nearest).any()


def test_a_type_beyond_the_trusted_ones_is_refused(
    contract: Contract, params: Params, frame: pd.DataFrame, tmp_path: Path
) -> None:
    name = f"sklearn.gaussian_process.GaussianProcess{ENDING}"
    profile = Profile(estimator=name, parameters={"optimizer": None})
    rows = to_rows(contract, frame)
    model = build(contract, profile, params.seed).fit(rows.features.table(), rows.targets)
    with pytest.raises(ExportError, match=r"kernels.* would not be trusted .* name another esti"):
        save(tmp_path / "model.skops", model)
    assert list(tmp_path.iterdir()) == []


def test_a_library_that_training_lacks_is_named(contract: Contract) -> None:
    profile = Profile(estimator="no_such_library.Model", parameters={})
    with pytest.raises(TrainingError, match="'no_such_library'; .* into GROUPS in the Makefile"):
        build(contract, profile, 1)


@pytest.mark.parametrize(("library", "group"), [("lightgbm", "lightgbm"), ("scipy", "skops")])
def test_a_library_that_serving_lacks_is_named(
    library: str, group: str, pipeline: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ModuleNotFoundError("not here", name=library)

    monkeypatch.setattr(skops.io, "loads", fail)
    content = pipeline.model.read_bytes()
    path = tmp_path / "served" / "model.skops"
    said = re.escape(f"{path} needs {library}, which is not installed; ")
    message = f"{said}.*--group {group}\\)"
    with pytest.raises(ArtefactError, match=message):
        served(pipeline, tmp_path / "served", content, "model.skops")


def test_an_artefact_that_answers_nothing_names_the_other_way(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "to_onnx", lambda *_: b"no graph")
    with pytest.raises(ExportError, match="does not answer: .*; set artefact: skops in params"):
        export.run(layout)
