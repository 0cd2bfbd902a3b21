"""Where the pipeline keeps its files: the paths of dvc.yaml, which a test compares with these."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Paths below one project folder."""

    root: Path = Path()

    @property
    def contract(self) -> Path:
        """What the columns are."""
        return self.root / "contract.yaml"

    @property
    def params(self) -> Path:
        """What the pipeline is told."""
        return self.root / "params.yaml"

    @property
    def raw(self) -> Path:
        """The snapshot of the source."""
        return self.root / "data/raw.parquet"

    @property
    def valid(self) -> Path:
        """The rows that keep the contract."""
        return self.root / "data/valid.parquet"

    @property
    def rejected(self) -> Path:
        """The rows that do not, with their reasons."""
        return self.root / "data/rejected.parquet"

    @property
    def train(self) -> Path:
        """The rows to fit on."""
        return self.root / "data/train.parquet"

    @property
    def test(self) -> Path:
        """The rows held out."""
        return self.root / "data/test.parquet"

    @property
    def model(self) -> Path:
        """The fitted pipeline."""
        return self.root / "models/model.skops"

    @property
    def baseline(self) -> Path:
        """The fitted baseline."""
        return self.root / "models/baseline.skops"

    @property
    def serving(self) -> Path:
        """The folder that the service loads: artefact, its description, the contract."""
        return self.root / "models/serving"

    @property
    def validation_report(self) -> Path:
        """Counts of rejected rows by reason."""
        return self.root / "reports/validation.json"

    @property
    def metrics(self) -> Path:
        """Figures of model and baseline on the held-out rows."""
        return self.root / "reports/metrics.json"

    @property
    def gate_report(self) -> Path:
        """The gate's figures against its limits."""
        return self.root / "reports/gate.json"
