"""Where the pipeline keeps its files: the paths of dvc.yaml, which a test compares with these."""

from dataclasses import dataclass
from pathlib import Path


class Below:
    """A path below the layout's root."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __get__(self, layout: "Layout", _: type) -> Path:
        return layout.root / self._path


@dataclass(frozen=True)
class Layout:
    """The files of one project folder."""

    root: Path = Path()

    contract = Below("contract.yaml")
    params = Below("params.yaml")
    project = Below("pyproject.toml")
    environment = Below("uv.lock")
    rules = Below("baseline.yaml")
    lock = Below("dvc.lock")
    smoke_cases = Below("tests/smoke/cases.yaml")
    external = Below("data/external")
    reference = Below("data/reference.json")
    raw = Below("data/raw.parquet")
    valid = Below("data/valid.parquet")
    rejected = Below("data/rejected.parquet")
    feedback = Below("data/feedback/rows.parquet")
    feedback_tracked = Below("data/feedback/rows.parquet.dvc")
    train = Below("data/train.parquet")
    test = Below("data/test.parquet")
    model = Below("models/model.skops")
    constant = Below("models/constant.skops")
    simpler = Below("models/simpler.skops")
    decision = Below("models/decision.json")
    champion = Below("models/champion")
    candidate = Below("models/candidate")
    serving = Below("models/serving")
    validation_report = Below("reports/validation.json")
    feedback_report = Below("reports/feedback.json")
    columns_report = Below("reports/columns.json")
    api = Below("docs/openapi.json")
    card = Below("docs/model-card.md")
    card_plots = Below("docs/model-card")
    data_report = Below("reports/data.html")
    headline = Below("reports/headline.json")
    metrics = Below("reports/metrics.json")
    artefact_report = Below("reports/artefact.json")
    gate_report = Below("reports/gate.json")
