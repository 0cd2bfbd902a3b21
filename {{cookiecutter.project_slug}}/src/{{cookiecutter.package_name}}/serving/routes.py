"""What the service answers by the short way: callers, and the platform that runs it."""

from asyncio import Future, get_running_loop
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from pydantic_core import to_json

from .coalescing import Coalescer
from .endpoint import Asked, Endpoint, Front, Lifecycle, Look
from .feedback import FeedbackService
from .problem import Answer
from .request import Parsed
from .service import PredictionService
from .telemetry import Telemetry

THREAD_BYTES = 16_384
"""A larger body is answered in a thread, so that the others need not wait for it."""
CHOICE, COUNT = "true|false", "[0-9]{1,4}"
PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"


def endpoints(
    service: PredictionService, feedback: FeedbackService, front: Front, max_body_bytes: int
) -> list[Endpoint]:
    """POST /v1/predictions, /v1/explanations and /v1/feedback."""
    together = Coalescer(service.predict)
    # Threads take turns at the interpreter, and more of them at once are slower in sum. What
    # explains has one of its own, so that predictions need not wait for it.
    large, slow = ThreadPoolExecutor(1, "large"), ThreadPoolExecutor(1, "slow")

    def within(
        thread: ThreadPoolExecutor, answer: Callable[..., bytes], *given: object
    ) -> Future[bytes]:
        return get_running_loop().run_in_executor(thread, answer, *given)

    def alone(body: bytes, asked: Asked) -> bytes:
        return service.predict([wanted(service.parse(body), asked)])[0]

    async def predict(body: bytes, asked: Asked) -> Answer:
        if asked.options.get("reasons", "0") != "0":
            return as_json(await within(slow, alone, body, asked))
        if len(body) > THREAD_BYTES:
            return as_json(await within(large, alone, body, asked))
        if asked.is_alone:
            return as_json(alone(body, asked))
        return as_json(await together.answer(wanted(service.parse(body), asked)))

    async def explain(body: bytes, asked: Asked) -> Answer:
        top = int(asked.options["top"]) if "top" in asked.options else None
        return as_json(await within(slow, service.explain, body, top, asked.key))

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


def looks(telemetry: Telemetry, lifecycle: Lifecycle, front: Front) -> list[Endpoint]:
    """GET /health/live, /health/ready, and /metrics for Prometheus."""

    async def live(*_: object) -> Answer:
        return as_json(to_json({"status": "live"}))

    async def ready(*_: object) -> Answer:
        status, said = (503, "stopping") if lifecycle.draining else (200, "ready")
        return as_json(to_json({"status": said}))._replace(status=status)

    async def metrics(*_: object) -> Answer:
        from .metrics import report  # the first scrape waits for its import, and no start does

        return Answer(200, PROMETHEUS, report(telemetry))

    found = {"/health/live": live, "/health/ready": ready, "/metrics": metrics}
    return [Look(path, answer, front) for path, answer in found.items()]
