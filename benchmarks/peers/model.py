"""What the peers share: the pickled pipeline, asked through a DataFrame as its users do."""

import json
import sys
from pathlib import Path
from typing import Any

FOLDER, PORT = Path(sys.argv[1] if sys.argv[1:] else "."), int((sys.argv[2:] or ["0"])[0])


def described() -> dict[str, Any]:
    """The columns in the order of the pipeline: `numbers`, then `words`."""
    found: dict[str, Any] = json.loads((FOLDER / "columns.json").read_text(encoding="utf-8"))
    return found


class Model:
    """The pipeline, by joblib."""

    def __init__(self) -> None:
        import joblib

        self._pipeline = joblib.load(FOLDER / "model.joblib")
        self._columns = described()

    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        """The score of each row."""
        import pandas as pd

        names = [*self._columns["numbers"], *self._columns["words"]]
        frame = pd.DataFrame(rows, columns=names)
        frame = frame.astype(dict.fromkeys(self._columns["numbers"], "float64"))
        scores: list[float] = self._pipeline.predict_proba(frame)[:, -1].tolist()
        return scores
