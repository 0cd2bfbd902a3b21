"""The routes: those that take a body, and those that tell about the model and the service."""

from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from ..contract import Contract
from .card import as_markdown, sections
from .coalescing import Coalescer
from .endpoint import Asked, Endpoint, Front, Lifecycle
from .feedback import FeedbackService
from .predictor import Predictor
from .problem import Answer
from .request import Parsed
from .service import PredictionService
from .telemetry import Telemetry
from .variants import Variants

THREAD_BYTES = 16_384
"""A larger body is answered in a thread, so that the others need not wait for it."""
CHOICE, COUNT = "true|false", "[0-9]{1,4}"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
MARKDOWN = "text/markdown"


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


class Health(BaseModel):
    """The state of the service."""

    status: str


def endpoints(
    service: PredictionService, feedback: FeedbackService, front: Front, max_body_bytes: int
) -> list[Endpoint]:
    """POST /v1/predictions, /v1/explanations and /v1/feedback."""
    together = Coalescer(service.predict)
    # Threads take turns at the interpreter, and more of them at once are slower in sum. What
    # explains has one of its own, so that predictions need not wait for it.
    large, slow = CapacityLimiter(1), CapacityLimiter(1)

    def alone(body: bytes, asked: Asked) -> bytes:
        return service.predict([wanted(service.parse(body), asked)])[0]

    async def predict(body: bytes, asked: Asked) -> Answer:
        if asked.options.get("reasons", "0") != "0":
            return as_json(await to_thread.run_sync(alone, body, asked, limiter=slow))
        if len(body) > THREAD_BYTES:
            return as_json(await to_thread.run_sync(alone, body, asked, limiter=large))
        return as_json(await together.answer(wanted(service.parse(body), asked)))

    async def explain(body: bytes, asked: Asked) -> Answer:
        top = int(asked.options["top"]) if "top" in asked.options else None
        explained = await to_thread.run_sync(service.explain, body, top, asked.key, limiter=slow)
        return as_json(explained)

    async def learn(body: bytes, asked: Asked) -> Answer:
        return as_json(feedback.take(body, asked.context))

    return [
        Endpoint("/v1/predictions", predict, front, max_body_bytes, dry_run=CHOICE, reasons=COUNT),
        Endpoint("/v1/explanations", explain, front, max_body_bytes, top=COUNT),
        Endpoint("/v1/feedback", learn, front, max_body_bytes),
    ]


def as_json(content: bytes) -> Answer:
    """An answer that is JSON text."""
    return Answer(200, b"application/json", content)


def wanted(parsed: Parsed, asked: Asked) -> Parsed:
    """The body with what its request says beside it."""
    return Parsed(
        parsed.rows,
        parsed.is_list,
        asked.context,
        asked.key,
        dry_run=asked.options.get("dry_run") == "true",
        reasons=int(asked.options.get("reasons", 0)),
    )


def information_routes(predictor: Predictor, variants: Variants, lifecycle: Lifecycle) -> APIRouter:
    """GET /v1/model, /v1/model/card, /v1/contract, /health/live and /health/ready."""
    router = APIRouter()
    known = predictor.info.model_dump(include=set(Model.model_fields))
    model = Model(**known, labels=list(predictor.contract.labels))

    @router.get("/v1/model")
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

    @router.get("/v1/model/card", response_class=Response, responses=as_text)
    async def read_card() -> Response:
        """What there is to know of the model, in Markdown."""
        card = as_markdown(predictor.contract.title, sections(predictor))
        return Response(card, media_type=MARKDOWN)

    @router.get("/v1/contract", response_class=JSONResponse)
    async def read_contract() -> dict[str, Any]:
        """What a row may hold, as JSON Schema."""
        return as_json_schema(predictor.contract)

    @router.get("/health/live")
    async def live() -> Health:
        """Whether the process answers."""
        return Health(status="live")

    @router.get("/health/ready", responses={503: {"model": Health}})
    async def ready(response: Response) -> Health:
        """Whether the service takes requests; it starts only with a model, and leaves in order."""
        if lifecycle.draining:
            response.status_code = 503
            return Health(status="stopping")
        return Health(status="ready")

    return router


def metrics_route(telemetry: Telemetry) -> APIRouter:
    """GET /metrics, for Prometheus."""
    router = APIRouter()

    @router.get("/metrics", response_class=Response)
    async def read_metrics() -> Response:
        """The counters of all workers of this instance."""
        return Response(telemetry.report(), media_type=PROMETHEUS)

    return router


def as_json_schema(contract: Contract) -> dict[str, Any]:
    """One row as a JSON Schema of its own."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": contract.title,
        **contract.json_schema,
    }
