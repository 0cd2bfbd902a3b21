"""The routes under /v1 and /health."""

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..errors import BodyTooLargeError, MediaTypeError, RequestError
from .coalescing import Coalescer
from .predictor import Predictor
from .problem import refuse
from .service import PredictionService

THREAD_BYTES = 16_384
"""A larger body is answered in a thread, so that the others need not wait for it."""


class Model(BaseModel):
    """The model that answers."""

    name: str
    version: str
    task: str
    labels: list[str]
    estimator: str
    sha256: str
    metrics: dict[str, float]


class Health(BaseModel):
    """The state of the service."""

    status: str


def predictions_route(service: PredictionService, max_body_bytes: int) -> Route:
    """POST /v1/predictions as a plain Starlette route, which costs less than a FastAPI one."""
    together = Coalescer(service.predict)

    def alone(body: bytes) -> bytes:
        return service.predict([service.parse(body)])[0]

    async def predictions(request: Request) -> Response:
        try:
            _expect_json(request)
            body = await _read(request, max_body_bytes)
            if len(body) > THREAD_BYTES:
                answer = await run_in_threadpool(alone, body)
            else:
                answer = await together.answer(service.parse(body))
        except RequestError as refusal:
            return refuse(refusal)
        return Response(answer, media_type="application/json")

    return Route("/v1/predictions", predictions, methods=["POST"])


def information_routes(predictor: Predictor) -> APIRouter:
    """GET /v1/model, /health/live and /health/ready."""
    router = APIRouter()
    known = predictor.info.model_dump(include=set(Model.model_fields))
    model = Model(**known, labels=list(predictor.contract.labels))

    @router.get("/v1/model")
    async def read_model() -> Model:
        """Which model answers, and its figures on held-out rows."""
        return model

    @router.get("/health/live")
    async def live() -> Health:
        """Whether the process answers."""
        return Health(status="live")

    @router.get("/health/ready")
    async def ready() -> Health:
        """Whether the model is loaded; the service starts only with one."""
        return Health(status="ready")

    return router


def _expect_json(request: Request) -> None:
    given = request.headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() != "application/json":
        raise MediaTypeError(f"Content-Type is {given[:100]!r}; send the rows as application/json")


async def _read(request: Request, limit: int) -> bytes:
    """The body, read no further than the limit, and not at all where its length says so."""
    refusal = BodyTooLargeError(
        f"the body is larger than {limit} bytes; send its rows in several requests"
    )
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit:
        raise refusal
    parts = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise refusal
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
