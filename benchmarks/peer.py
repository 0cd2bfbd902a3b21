"""What one would write first: FastAPI endpoints that check their rows by a pydantic model.

The answer is a constant, so this is what HTTP and the checks cost alone. Runs in a project's
folder, by its Python and under its server, hence with its settings of uvicorn.
"""

import importlib
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, create_model

TYPES: dict[str, Any] = {"integer": int, "number": float, "string": str}
ANSWERS: dict[str, dict[str, Any]] = {
    "classification": {
        "label": (str, "good"),
        "probability": (float, 0.8765432100123456),
        "score": (float, 0.8765432100123456),
        "threshold": (float, 0.5432100123456789),
    },
    "regression": {"value": (float, 123456.7890123456)},
}


def field(column: dict[str, Any]) -> Any:
    """A column of the contract as a pydantic field."""
    limits = column.get("constraints", {})
    kind = TYPES[column["type"]]
    if "enum" in limits:
        kind = Literal[tuple(limits["enum"])]
    elif kind is str:
        kind = Annotated[str, Field(min_length=1)]
    else:
        finite = {"allow_inf_nan": False} if kind is float else {}
        kind = Annotated[kind, Field(ge=limits.get("minimum"), le=limits.get("maximum"), **finite)]
    return kind if limits.get("required") else kind | None


def create_app(contract: dict[str, Any]) -> FastAPI:
    """One endpoint for a row and one for a list, so that no union costs time."""
    features = [column for column in contract["fields"] if column["role"] == "feature"]
    row: Any = create_model(
        "Row",
        __config__=ConfigDict(extra="forbid", strict=True),
        **{column["name"]: (field(column), ...) for column in features},
    )
    answer: Any = create_model(
        "Answer",
        __config__=ConfigDict(protected_namespaces=()),
        prediction_id=(str, "0" * 32),
        model_version=(str, f"{contract['name']}@000000000000"),
        variant=(str, "champion"),
        **ANSWERS[contract["task"]],
    )
    constant: BaseModel = answer()
    app = FastAPI()

    @app.post("/v1/predictions")
    async def predict(row: row) -> answer:
        return constant

    @app.post("/v1/predictions/list")
    async def predict_list(rows: Annotated[list[row], Field(max_length=1000)]) -> list[answer]:
        return [constant] * len(rows)

    return app


if __name__ == "__main__":
    (package,) = Path("src").iterdir()
    server: Any = importlib.import_module(f"{package.name}.serving.server")
    contract = yaml.safe_load(Path("contract.yaml").read_text(encoding="utf-8"))
    server.create_app = lambda *_: create_app(contract)
    sys.exit(server.run())
