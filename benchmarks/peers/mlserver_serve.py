# /// script
# requires-python = ">=3.11"
# dependencies = ["joblib", "mlserver", "mlserver-sklearn", "pandas", "scikit-learn==1.9.1"]
# ///
"""MLServer with its runtime for scikit-learn, without a pool of workers."""

import json
import os
import sys
from pathlib import Path

import model

folder = model.FOLDER / "mlserver"
folder.mkdir(exist_ok=True)
settings = {"http_port": model.PORT, "parallel_workers": 0, "host": "127.0.0.1", "debug": False}
settings |= {"grpc_port": model.PORT + 1, "metrics_port": model.PORT + 2}
(folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
described = {
    "name": "model",
    "implementation": "mlserver_sklearn.SKLearnModel",
    "parameters": {"uri": str(model.FOLDER / "model.joblib")},
}
(folder / "model-settings.json").write_text(json.dumps(described), encoding="utf-8")
program = Path(sys.executable).with_name("mlserver")
os.execv(program, [str(program), "start", str(folder)])
