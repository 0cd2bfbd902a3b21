"""What the suites share: the pipeline run once, and a service on its model."""

import json
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fastapi.testclient import TestClient

from {{ cookiecutter.package_name }} import api
from {{ cookiecutter.package_name }}.contract import Column, Contract, load_contract
from {{ cookiecutter.package_name }}.data import ingest, split, validate
from {{ cookiecutter.package_name }}.features import Encoder, as_parameter
from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.params import Params, load_params
from {{ cookiecutter.package_name }}.registry import champion
from {{ cookiecutter.package_name }}.serving.app import create_app
from {{ cookiecutter.package_name }}.serving.prediction_log import PredictionLog
from {{ cookiecutter.package_name }}.serving.predictor import Predictor, load_predictor, sealed
from {{ cookiecutter.package_name }}.serving.settings import Settings
from {{ cookiecutter.package_name }}.training import evaluate, export, gate, train

# A shell has what it starts in the background ignore Ctrl-C, and so would what tests stop by it.
signal.signal(signal.SIGINT, signal.default_int_handler)

STAGES = [ingest, validate, split, train, champion, evaluate, export, gate, api]


@pytest.fixture(scope="session")
def root() -> Path:
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def package() -> str:
    """The package's name."""
    return Layout.__module__.partition(".")[0]


@pytest.fixture(scope="session")
def contract(root: Path) -> Contract:
    return load_contract(root / "contract.yaml")


@pytest.fixture(scope="session")
def params(root: Path) -> Params:
    return load_params(root / "params.yaml")


@pytest.fixture(scope="session")
def pipeline(root: Path, contract: Contract, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A folder in which every stage has run. Nothing may write here."""
    folder = tmp_path_factory.mktemp("pipeline")
    for name in ("contract.yaml", "params.yaml", "baseline.yaml", contract.source.path):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, folder / name)
    for stage in STAGES:
        stage.run(Layout(folder))
    return Layout(folder)


@pytest.fixture
def layout(pipeline: Layout, tmp_path: Path) -> Layout:
    """A copy of the pipeline's folder, to change at will."""
    folder = tmp_path / "project"
    shutil.copytree(pipeline.root, folder)
    return Layout(folder)


@pytest.fixture(scope="session")
def predictor(pipeline: Layout) -> Predictor:
    return load_predictor(pipeline.serving)


@pytest.fixture
def derive(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Adds a derived feature that reads columns of whatever contract there is."""

    def add(name: str, kind: Any, columns: Sequence[Column], compute: Callable[..., Any]) -> None:
        def function(**given: Any) -> Any:
            return compute(*given.values())

        names = [as_parameter(column.name) for column in columns]
        parameters = [Parameter(each, Parameter.KEYWORD_ONLY) for each in names]
        function.__name__ = name
        function.__annotations__ = {"return": kind}
        function.__dict__["__signature__"] = Signature(parameters)
        (before,) = Encoder.__init__.__defaults__ or ((),)
        monkeypatch.setattr(Encoder.__init__, "__defaults__", ((*before, function),))

    return add


@pytest.fixture
def underived(monkeypatch: pytest.MonkeyPatch) -> None:
    """No derived features: for tables of a test's own, which lack the columns that they read."""
    monkeypatch.setattr(Encoder.__init__, "__defaults__", ((),))


@pytest.fixture(scope="session")
def as_sent(contract: Contract) -> Callable[[pd.DataFrame], list[dict[str, Any]]]:
    """Gives the rows of a stage's table as a request holds them."""
    kinds: dict[str, Callable[[Any], Any]] = {"boolean": bool, "integer": int}

    def rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
        return [
            {
                column.name: None
                if pd.isna(value := record[column.name])
                else kinds.get(column.type, lambda value: value)(value)
                for column in contract.features
            }
            for record in frame.to_dict("records")
        ]

    return rows


@pytest.fixture
def other_version() -> str:
    """What `challenger` calls the champion's model."""
    return "other@000000000000"


@pytest.fixture
def challenger(layout: Layout, other_version: str) -> Path:
    """A folder beside the champion's that holds its model under another version."""
    folder = layout.root / "models/challenger"
    shutil.copytree(layout.serving, folder)
    described = json.loads((folder / "model.json").read_bytes())
    del described["checksum"]
    (folder / "model.json").write_bytes(sealed({**described, "version": other_version}))
    return folder


@pytest.fixture
def row(contract: Contract) -> dict[str, Any]:
    """A row that the service accepts."""
    return contract.example


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "predictions.jsonl"


@pytest.fixture
def client(predictor: Predictor, log_file: Path) -> Iterator[TestClient]:
    log = PredictionLog(str(log_file))
    settings = Settings(max_rows=50, max_body_bytes=100_000)
    with TestClient(create_app(predictor, log, settings), raise_server_exceptions=False) as client:
        yield client
    log.close()
