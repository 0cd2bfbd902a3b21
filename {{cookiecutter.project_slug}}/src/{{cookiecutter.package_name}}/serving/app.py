"""The application, made from its collaborators."""

import logging
from http import HTTPStatus
from typing import cast

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from .openapi import DocumentedApp
from .prediction_log import PredictionLog
from .predictor import Predictor
from .problem import problem
from .routes import information_routes, predictions_route
from .service import PredictionService
from .settings import Settings


def create_app(predictor: Predictor, log: PredictionLog, settings: Settings) -> FastAPI:
    """The service for one predictor."""
    app = DocumentedApp(predictor.contract)
    app.include_router(information_routes(predictor))
    service = PredictionService(predictor, log, settings.max_rows)
    # First, since routes are tried in turn and most requests want this one.
    app.router.routes.insert(0, predictions_route(service, settings.max_body_bytes))
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _fault)
    return app


async def _http_problem(_: Request, fault: Exception) -> Response:
    http = cast(HTTPException, fault)
    response = problem(HTTPStatus(http.status_code), http.detail)
    response.headers.update(http.headers or {})
    return response


async def _gone(_: Request, __: Exception) -> Response:
    return problem(HTTPStatus.BAD_REQUEST, "the caller left before the body was read")


async def _fault(request: Request, _: Exception) -> Response:
    logging.getLogger(__name__).exception("%s %s failed", request.method, request.url.path)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "an unexpected fault; it has been logged")
