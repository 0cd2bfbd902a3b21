"""The application, made from its collaborators."""

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from pathlib import Path
from time import perf_counter
from typing import cast

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from ..errors import UnauthorizedError
from .auth import Keys
from .endpoint import FAULT, Endpoint, Front, Lifecycle, identify, respond
from .feedback import FeedbackService
from .openapi import DocumentedApp
from .page.page import Page
from .prediction_log import PredictionLog
from .predictor import Predictor
from .problem import problem, refused
from .routes import endpoints, information_routes, metrics_route
from .service import PredictionService
from .settings import Settings
from .telemetry import Telemetry
from .variants import Variants

logger = logging.getLogger(__name__)

OPEN = ("/health/",)
"""Paths that need no key, since the platform asks them."""
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class Service(DocumentedApp):
    """Posts go the short way; every other request goes through FastAPI."""

    endpoints: Mapping[str, Endpoint]
    front: Front

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or run the lifespan."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if scope["method"] == "POST" and (endpoint := self.endpoints.get(path)):
            await endpoint(scope, receive, send)
            return
        start = perf_counter()
        given = dict(scope["headers"])
        request_id, trace_id = identify(given)
        if not path.startswith(OPEN):
            try:
                self.front.admit(given)
            except UnauthorizedError as refusal:
                answer = refused(refusal)
                self.front.done("other", answer.status, start, request_id, trace_id)
                await respond(answer, self.front.headers(request_id), send)
                return
        status = HTTPStatus.INTERNAL_SERVER_ERROR.value

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = self.front.headers(request_id)
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        try:
            await super().__call__(scope, receive, send_on)
        finally:
            self.front.done("other", status, start, request_id, trace_id)


def create_app(
    predictor: Predictor,
    log: PredictionLog,
    settings: Settings,
    shared: Path | None = None,
    lifespan: Lifespan | None = None,
) -> Service:
    """The service for one predictor.

    shared: a folder that the workers of an instance have in common.
    """
    telemetry, lifecycle = Telemetry(predictor, shared), Lifecycle()
    front = Front(telemetry, lifecycle, Keys(settings.api_keys, settings.api_keys_file))
    variants = Variants(
        predictor, telemetry.comparison, settings.challenger_dir, settings.variants_file
    )
    service = PredictionService(predictor.contract, variants, log, telemetry, settings.max_rows)
    feedback = FeedbackService(predictor.contract, log)
    posts = endpoints(service, feedback, front, settings.max_body_bytes)
    page = Page(predictor, posts[0].answer, posts[-1].answer)
    posts += page.forms(front, settings.max_body_bytes)
    app = Service(predictor.contract, lifespan)
    app.front, app.endpoints = front, {each.path: each for each in posts}
    app.state.lifecycle, app.state.variants, app.state.service = lifecycle, variants, service
    app.include_router(information_routes(predictor, variants, lifecycle))
    app.include_router(metrics_route(telemetry))
    app.router.routes.extend(page.routes())
    # For 405.
    app.router.routes.extend(Route(each.path, each, methods=["POST"]) for each in posts)
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(Exception, _fault)
    return app


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
