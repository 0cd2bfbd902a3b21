# /// script
# requires-python = ">=3.11"
# dependencies = ["bentoml", "joblib", "pandas", "scikit-learn==1.9.1"]
# ///
"""A service of BentoML, with one worker."""

import os
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    here, port = Path(__file__).resolve(), sys.argv[2]
    os.environ["MODEL_FOLDER"] = sys.argv[1]
    serve = ["-m", "bentoml", "serve", f"{here.stem}:Service", "--port", port]
    os.chdir(here.parent)
    os.execv(sys.executable, [sys.executable, *serve, "--api-workers", "1"])

sys.argv[1:] = [os.environ["MODEL_FOLDER"]]

import bentoml  # noqa: E402  (only where bentoml has imported this file)
import model  # noqa: E402  (it reads the arguments that were set above)


@bentoml.service(workers=1)
class Service:
    def __init__(self) -> None:
        self._model = model.Model()

    @bentoml.api
    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        return self._model.predict(rows)
