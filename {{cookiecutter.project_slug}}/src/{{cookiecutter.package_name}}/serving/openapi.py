"""OpenAPI, with entries for what FastAPI does not answer; the contract says what they hold."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse

from ..contract import Contract
from .comparison import VARIANTS
from .feedback import ID_PATTERN


def _object(description: str, properties: dict[str, Any], *optional: str) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    told = {"description": description} if description else {}
    return {"type": "object", **told, "properties": properties, "required": required}


FAULT = _object(
    "",
    {
        "row": {"type": "integer"},
        "field": {"type": ["string", "null"]},
        "message": {"type": "string"},
        "found": {"type": "string"},
    },
    "found",
)
PROBLEM = _object(
    "A refusal (RFC 9457).",
    {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {"type": "array", "items": FAULT},
    },
    "errors",
)
REFUSALS = {
    "400": "The body is no JSON text, or names a key twice; or the query has no such option.",
    "401": "The request holds no known API key.",
    "408": "The body took too long to arrive.",
    "413": "The body, or its number of rows, exceeds the limit.",
    "415": "The body is not declared as JSON.",
    "422": "A field is unknown, missing, of a wrong type or out of range; or no answer exists.",
    "503": "The prediction could not be logged, so it is not answered.",
}
REASON = _object(
    "",
    {
        "feature": {"type": "string"},
        "value": {"type": ["boolean", "number", "string", "null"]},
        "contribution": {"type": "number"},
        "standard_error": {"type": "number"},
    },
)
VARIANT_KEY = {
    "name": "X-Variant-Key",
    "in": "header",
    "schema": {"type": "string"},
    "description": "Requests of one key are answered by one variant; without it each is by chance.",
}
HEADERS = [
    {
        "name": "X-Request-ID",
        "in": "header",
        "schema": {"type": "string", "maxLength": 128},
        "description": "Comes back in the answer and stands in the log; made where there is none.",
    },
    {
        "name": "traceparent",
        "in": "header",
        "schema": {"type": "string"},
        "description": "W3C Trace Context; its trace id stands in the log.",
    },
]
HEALTH = _object("The state of the service.", {"status": {"type": "string"}})
_STATE = {"application/json": {"schema": {"$ref": "#/components/schemas/Health"}}}
LOOKS: dict[str, dict[str, Any]] = {
    "/health/live": {
        "summary": "Whether the process answers",
        "operationId": "live",
        "responses": {"200": {"description": "It does.", "content": _STATE}},
    },
    "/health/ready": {
        "summary": "Whether the service takes requests; it starts only with a model",
        "operationId": "ready",
        "responses": {
            "200": {"description": "It does.", "content": _STATE},
            "503": {"description": "It is about to stop.", "content": _STATE},
        },
    },
    "/metrics": {
        "summary": "The counters of all workers of this instance, for Prometheus",
        "operationId": "metrics",
        "responses": {
            "200": {
                "description": "Text format 0.0.4.",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            }
        },
    },
}


class DocumentedApp(FastAPI):
    """A FastAPI app whose OpenAPI document also holds what is answered without it."""

    def __init__(self, contract: Contract) -> None:
        super().__init__(
            title=contract.title,
            description=contract.description,
            version="1.0.0",
            # A proxy may put a prefix before the paths: no answer names one, so none leaves it.
            redirect_slashes=False,
            docs_url=None,
            redoc_url=None,
        )
        self._contract = contract

        async def docs(_: Request) -> HTMLResponse:
            return get_swagger_ui_html(openapi_url="openapi.json", title=contract.title)

        self.add_route("/docs", docs, include_in_schema=False)

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            document = super().openapi()
            document["paths"]["/v1/predictions"] = {"post": _operation(self._contract)}
            document["paths"]["/v1/explanations"] = {"post": _explanations(self._contract)}
            document["paths"]["/v1/feedback"] = {"post": _feedback(self._contract)}
            document["paths"] |= {path: {"get": each} for path, each in LOOKS.items()}
            document["components"]["schemas"] |= {
                "Row": self._contract.json_schema,
                "Prediction": _prediction(self._contract),
                "Explanation": _explanation(self._contract),
                "Reason": REASON,
                "Health": HEALTH,
                "Problem": PROBLEM,
            }
            self.openapi_schema = document
        return self.openapi_schema


def _operation(contract: Contract) -> dict[str, Any]:
    return {
        "summary": f"Predict {contract.target.name} for one row or a list of rows",
        "operationId": "predict",
        "parameters": [
            *HEADERS,
            VARIANT_KEY,
            {
                "name": "dry_run",
                "in": "query",
                "schema": {"enum": ["true", "false"], "default": "false"},
                "description": "Answered and logged as such, but never counted as served.",
            },
            _count("reasons", "How many reasons each answer carries; at most 10 rows then."),
        ],
        "requestBody": _rows(contract),
        "responses": _responses(
            "One prediction for each row, in the same order.", _one_or_many("Prediction")
        ),
    }


def _explanations(contract: Contract) -> dict[str, Any]:
    return {
        "summary": "Explain the answers to one row or a list of rows; none is served or logged",
        "operationId": "explain",
        "parameters": [
            *HEADERS,
            VARIANT_KEY,
            _count("top", "How many reasons; all where it is not said."),
        ],
        "requestBody": _rows(contract),
        "responses": _responses(
            "One explanation for each row, in the same order.", _one_or_many("Explanation")
        ),
    }


def _rows(contract: Contract) -> dict[str, Any]:
    content = {"schema": _one_or_many("Row"), "example": contract.example}
    return {"required": True, "content": {"application/json": content}}


def _count(name: str, description: str) -> dict[str, Any]:
    schema = {"type": "integer", "minimum": 0, "maximum": 9999}
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _explanation(contract: Contract) -> dict[str, Any]:
    unit = "log-odds of the label" if contract.labels else f"units of {contract.target.name}"
    number = {"type": "number"}
    properties = {
        "model_version": {"type": "string"},
        "variant": {"enum": list(VARIANTS)},
        "label": {"type": "string" if contract.labels else "null"},
        "base_value": {**number, "description": "Its mean over the background."},
        "value": {**number, "description": f"What is explained, in {unit}."},
        "reasons": {"type": "array", "items": {"$ref": "#/components/schemas/Reason"}},
        "rest": {**number, "description": "What the other features add."},
    }
    return _object("base_value + the contributions + rest = value, by Shapley values.", properties)


def _feedback(contract: Contract) -> dict[str, Any]:
    target = contract.target
    prediction = {"type": "string", "pattern": ID_PATTERN}
    told = _object("", {"prediction_id": prediction, target.name: target.json_schema})
    told["additionalProperties"] = False
    return {
        "summary": f"Tell the true {target.name} of a prediction, for the next training",
        "operationId": "feedback",
        "parameters": HEADERS,
        "requestBody": {"required": True, "content": {"application/json": {"schema": told}}},
        "responses": _responses("It is logged.", _object("", {"status": {"const": "taken"}})),
    }


def _responses(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        "200": {"description": description, "content": {"application/json": {"schema": schema}}},
        **{
            status: {"description": meaning, "content": {"application/problem+json": problem}}
            for status, meaning in REFUSALS.items()
        },
    }


def _one_or_many(name: str) -> dict[str, Any]:
    one = {"$ref": f"#/components/schemas/{name}"}
    return {"oneOf": [one, {"type": "array", "items": one, "minItems": 1}]}


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
        "variant": {"enum": list(VARIANTS)},
        **answer,
    }
    reasons = {
        "type": "array",
        "description": "The largest contributions, where the request asks for reasons.",
        "items": {"$ref": "#/components/schemas/Reason"},
    }
    return _object("", {**properties, "reasons": reasons}, "reasons")
