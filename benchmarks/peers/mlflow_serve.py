# /// script
# requires-python = ">=3.11"
# dependencies = ["joblib", "mlflow", "pandas", "scikit-learn==1.9.1"]
# ///
"""`mlflow models serve`, with a signature, in this environment."""

import os
import sys
from pathlib import Path

import joblib
import mlflow
import model
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

columns, saved = model.described(), model.FOLDER / "mlflow"
numbers = [ColSpec("double", name, required=False) for name in columns["numbers"]]
words = [ColSpec("string", name) for name in columns["words"]]
if not saved.exists():
    mlflow.sklearn.save_model(
        joblib.load(model.FOLDER / "model.joblib"),
        saved,
        signature=ModelSignature(Schema([*numbers, *words])),
        pyfunc_predict_fn="predict_proba",
        serialization_format="cloudpickle",
        pip_requirements=[],
    )
arguments = ["models", "serve", "-m", str(saved), "-p", str(model.PORT), "--env-manager", "local"]
os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
os.execv(sys.executable, [sys.executable, "-m", "mlflow", *arguments, "--workers", "1"])
