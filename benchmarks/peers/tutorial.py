# /// script
# requires-python = ">=3.11"
# dependencies = ["fastapi", "joblib", "pandas", "scikit-learn==1.9.1", "uvicorn[standard]"]
# ///
"""The service of the tutorials: pydantic, a DataFrame, a pipeline."""

from typing import Any

import model
import uvicorn
from fastapi import FastAPI
from pydantic import create_model

columns = model.described()
kinds: dict[str, Any] = dict.fromkeys(columns["numbers"], (float | None, ...))
Row: Any = create_model("Row", **kinds, **dict.fromkeys(columns["words"], (str, ...)))
app, loaded = FastAPI(), model.Model()


@app.post("/predict")
def predict(row: Row) -> dict[str, float]:
    return {"score": loaded.predict([row.model_dump()])[0]}


@app.post("/predict/list")
def predict_list(rows: list[Row]) -> list[float]:
    return loaded.predict([row.model_dump() for row in rows])


uvicorn.run(app, port=model.PORT, access_log=False)
