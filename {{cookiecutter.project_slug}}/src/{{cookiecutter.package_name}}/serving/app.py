"""The application, made from its collaborators."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from starlette.types import Message, Receive, Scope, Send

from ..errors import UnauthorizedError
from .auth import Keys
from .endpoint import FAULT, Endpoint, Front, Lifecycle, identify, respond
from .feedback import FeedbackService
from .page.page import Page
from .prediction_log import PredictionLog
from .predictor import Predictor
from .problem import problem, refused
from .routes import endpoints, looks
from .service import PredictionService
from .settings import Settings
from .telemetry import Telemetry
from .variants import Variants

if TYPE_CHECKING:
    from fastapi import FastAPI

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Service:
    """Its endpoints answer by the short way; every other request goes through FastAPI.

    inform: makes the FastAPI application.
    lifespan: what is open while the service answers.
    """

    endpoints: Sequence[Endpoint]
    front: Front
    lifecycle: Lifecycle
    variants: Variants
    predictions: PredictionService
    telemetry: Telemetry
    inform: Callable[[], "FastAPI"]
    lifespan: Callable[[], AbstractAsyncContextManager[None]] = nullcontext

    def __post_init__(self) -> None:
        self._short = {(name, each.path): each for each in self.endpoints for name in each.methods}
        self._loading = asyncio.Lock()

    @cached_property
    def information(self) -> "FastAPI":
        """The FastAPI application, made for the first who asks: no start waits for its import."""
        return self.inform()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or live from start to shutdown."""
        if scope["type"] == "lifespan":
            await receive()
            async with self.lifespan():
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
        if endpoint := self._short.get((scope["method"], path)):
            await endpoint(scope, receive, send)
            return
        start = perf_counter()
        given = dict(scope["headers"])
        request_id, trace_id = identify(given)
        status = HTTPStatus.INTERNAL_SERVER_ERROR.value

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = self.front.headers(request_id)
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        try:
            self.front.admit(path, given)
            app = await self._made()
        except UnauthorizedError as refusal:
            answer = refused(refusal)
        except Exception:  # of any kind: what the endpoints answer does not need it
            logger.exception("FastAPI cannot be loaded")
            answer = problem(HTTPStatus.INTERNAL_SERVER_ERROR, FAULT)
        else:
            try:
                await app(scope, receive, send_on)
            finally:
                self.front.done("other", status, start, request_id, trace_id)
            return
        self.front.done("other", answer.status, start, request_id, trace_id)
        await respond(answer, self.front.headers(request_id), send)

    async def _made(self) -> "FastAPI":
        if "information" not in vars(self):
            async with self._loading:
                await asyncio.to_thread(lambda: self.information)
        return self.information


def create_app(
    predictor: Predictor,
    log: PredictionLog,
    settings: Settings,
    shared: Path | None = None,
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
    short = [*posts, *looks(telemetry, lifecycle, front)]
    short += page.endpoints(front, settings.max_body_bytes)

    def inform() -> "FastAPI":
        from .information import information

        return information(predictor, variants, short)

    return Service(short, front, lifecycle, variants, service, telemetry, inform)
