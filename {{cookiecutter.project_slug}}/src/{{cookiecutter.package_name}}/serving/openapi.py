"""OpenAPI, with an entry for the predictions made from the contract."""

from typing import Any

from fastapi import FastAPI

from ..contract import Contract

PROBLEM = {
    "type": "object",
    "description": "A refusal (RFC 9457).",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "row": {"type": "integer"},
                    "field": {"type": ["string", "null"]},
                    "message": {"type": "string"},
                    "found": {"type": "string"},
                },
                "required": ["row", "field", "message"],
            },
        },
    },
    "required": ["type", "title", "status", "detail"],
}
REFUSALS = {
    "400": "The body is no JSON text, or names a key twice.",
    "413": "The body, or its number of rows, exceeds the limit.",
    "415": "The body is not declared as JSON.",
    "422": "A field is unknown, missing, of a wrong type or out of range; or no answer exists.",
    "503": "The prediction could not be logged, so it is not answered.",
}


class DocumentedApp(FastAPI):
    """A FastAPI app whose OpenAPI document also holds POST /v1/predictions."""

    def __init__(self, contract: Contract) -> None:
        super().__init__(title=contract.title, description=contract.description, version="1.0.0")
        self._contract = contract

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            document = super().openapi()
            document["paths"]["/v1/predictions"] = {"post": _operation(self._contract)}
            document["components"]["schemas"] |= {
                "Row": self._contract.json_schema,
                "Prediction": _prediction(self._contract),
                "Problem": PROBLEM,
            }
            self.openapi_schema = document
        return self.openapi_schema


def _operation(contract: Contract) -> dict[str, Any]:
    return {
        "summary": f"Predict {contract.target.name} for one row or a list of rows",
        "operationId": "predict",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _one_or_many("Row"), "example": contract.example}
            },
        },
        "responses": {
            "200": {
                "description": "One prediction for each row, in the same order.",
                "content": {"application/json": {"schema": _one_or_many("Prediction")}},
            },
            **{
                status: {"description": meaning, "content": _problem_content()}
                for status, meaning in REFUSALS.items()
            },
        },
    }


def _one_or_many(name: str) -> dict[str, Any]:
    one = {"$ref": f"#/components/schemas/{name}"}
    return {"oneOf": [one, {"type": "array", "items": one, "minItems": 1}]}


def _problem_content() -> dict[str, Any]:
    return {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def _prediction(contract: Contract) -> dict[str, Any]:
    answer: dict[str, Any] = {"value": {"type": "number"}}
    if contract.labels:
        answer = {
            "label": {"type": "string", "enum": list(contract.labels)},
            "probability": {
                "type": "number",
                "minimum": 0,
                "maximum": 1,
                "description": "The model's probability of this label.",
            },
        }
        if len(contract.labels) == 2:
            answer |= {
                "score": {
                    "type": "number",
                    "minimum": 0,
                    "maximum": 1,
                    "description": f"The model's probability of {contract.labels[1]}.",
                },
                "threshold": {
                    "type": "number",
                    "description": f"The score from which the label is {contract.labels[1]}.",
                },
            }
    properties = {
        "prediction_id": {"type": "string"},
        "model_version": {"type": "string"},
        **answer,
    }
    return {"type": "object", "properties": properties, "required": list(properties)}
