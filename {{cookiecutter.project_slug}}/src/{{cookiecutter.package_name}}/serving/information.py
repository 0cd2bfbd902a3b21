"""What FastAPI answers: the model, its card, its contract, and the document of the whole API."""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..contract import Contract
from .card import as_markdown, sections
from .endpoint import FAULT, Endpoint
from .openapi import DocumentedApp
from .predictor import Predictor
from .problem import problem
from .variants import Variants

MARKDOWN = "text/markdown"
logger = logging.getLogger(__name__)


class Challenger(BaseModel):
    """The model that may take the champion's place.

    share: percent of the requests that it answers; 0 as a shadow.
    """

    version: str
    share: int


class Model(BaseModel):
    """The champion, and who stands beside it."""

    name: str
    version: str
    task: str
    labels: list[str]
    estimator: str
    sha256: str
    metrics: dict[str, float]
    challenger: Challenger | None = None


def information(predictor: Predictor, variants: Variants, elsewhere: Sequence[Endpoint]) -> FastAPI:
    """GET /v1/model, /v1/model/card, /v1/contract, /docs and /openapi.json.

    elsewhere: what is answered without FastAPI, which refuses their other methods.
    """
    app = DocumentedApp(predictor.contract)
    known = predictor.info.model_dump(include=set(Model.model_fields))
    model = Model(**known, labels=list(predictor.contract.labels))

    @app.get("/v1/model")
    async def read_model() -> Model:
        """Which model answers, and its figures on held-out rows."""
        plan = variants.plan
        if plan.challenger is None:
            return model
        beside = Challenger(version=plan.wanted.challenger, share=plan.share)
        return model.model_copy(update={"challenger": beside})

    as_text: dict[int | str, dict[str, Any]] = {
        200: {"content": {MARKDOWN: {"schema": {"type": "string"}}}}
    }

    @app.get("/v1/model/card", response_class=Response, responses=as_text)
    async def read_card() -> Response:
        """What there is to know of the model, in Markdown."""
        card = as_markdown(predictor.contract.title, sections(predictor))
        return Response(card, media_type=MARKDOWN)

    @app.get("/v1/contract", response_class=JSONResponse)
    async def read_contract() -> dict[str, Any]:
        """What a row may hold, as JSON Schema."""
        return as_json_schema(predictor.contract)

    for path in dict.fromkeys(each.path for each in elsewhere):
        methods = [name for each in elsewhere if each.path == path for name in each.methods]
        # For 405: those methods do not come here, so any endpoint may stand for them.
        app.router.routes.append(Route(path, elsewhere[0], methods=methods))
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(Exception, _fault)
    return app


def as_json_schema(contract: Contract) -> dict[str, Any]:
    """One row as a JSON Schema of its own."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": contract.title,
        **contract.json_schema,
    }


async def _http_problem(_: Request, fault: Exception) -> Response:
    http = cast(HTTPException, fault)
    response = _problem(HTTPStatus(http.status_code), http.detail)
    response.headers.update(http.headers or {})
    return response


async def _fault(request: Request, _: Exception) -> Response:
    logger.exception("%s %s failed", request.method, request.url.path)
    return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, FAULT)


def _problem(status: HTTPStatus, detail: str) -> Response:
    answer = problem(status, detail)
    return Response(answer.content, answer.status, media_type=answer.media_type.decode())
