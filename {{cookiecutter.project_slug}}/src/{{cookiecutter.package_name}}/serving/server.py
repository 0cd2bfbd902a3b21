"""Serve: the application under uvicorn, with what the environment says."""

import asyncio
import logging
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from ..errors import ArtefactError, ProjectError
from .app import Service, create_app
from .endpoint import Lifecycle
from .logs import log_as_json
from .prediction_log import PredictionLog
from .predictor import Predictor, check_folder, load_predictor
from .settings import Settings

KEEP_ALIVE_SECONDS = 75
"""Longer than a load balancer keeps a connection idle (60 s on AWS), so that it closes first."""
DRAIN_SECONDS = 2
"""After the signal callers are still answered, and asked to leave, before the doors close."""
GRACE_SECONDS = 23
"""For requests in flight; platforms kill 30 s after the signal, as ECS does by default."""
logger = logging.getLogger(__name__)
SHARED = "SERVICE_SHARED_FOLDER"
"""The environment variable by which the workers of this process find what they share."""


def run(settings: Settings | None = None, predictor: Predictor | None = None) -> None:
    """Load the model, then serve until the process is told to stop.

    predictor: what answers instead of the model folder; one worker only.

    Raises:
        ArtefactError: the model folder cannot be served.
        SettingsError: a setting is wrong.
    """
    settings = settings or Settings.from_environment()
    log_as_json()
    info = predictor.info if predictor else check_folder(settings.model_dir)[0]
    where = f"http://{settings.host}:{settings.port}"
    announcement = f"serve: {info.version} on {where} (described in /openapi.json, Ctrl-C stops)"
    config = uvicorn.Config(
        f"{__name__}:worker",
        factory=True,
        http=_protocol(),
        ws="none",
        lifespan="on",
        workers=settings.workers,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # no answer depends on who asks, or on the address they used
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    if settings.workers > 1:
        _serve_by_many(settings, config, announcement)
        return
    # uvicorn drains on SIGTERM, then raises it again: a stop that was asked for ends with 0.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config.app, config.factory = application(settings, None, predictor), False
    listening = config.bind_socket()
    logger.info(announcement)
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])


def _protocol() -> Any:
    if find_spec("httptools") is None:  # on Windows, where h11 limits heads by itself
        return "auto"
    from .protocol import Protocol

    return Protocol


def _serve_by_many(settings: Settings, config: uvicorn.Config, announcement: str) -> None:
    config.loop = f"{__package__}.acceptor:Loop"
    listening = config.bind_socket()
    memory = Path("/dev/shm")  # noqa: S108  (the folder made in it has a random name)
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as shared:
        os.environ[SHARED] = shared
        logger.info(announcement)
        supervisor = Multiprocess(config, sockets=[listening])
        supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise ArtefactError(f"a worker does not start with {settings.model_dir}; see above")


def worker() -> Service:
    """The application of one of several workers."""
    log_as_json()
    try:
        return application(Settings.from_environment(), Path(os.environ[SHARED]))
    except ProjectError as refusal:
        print(f"serve: {refusal}", file=sys.stderr)
        sys.exit(STARTUP_FAILURE)


def application(
    settings: Settings, shared: Path | None, predictor: Predictor | None = None
) -> Service:
    """The application and its log, as the settings say."""
    predictor = predictor or load_predictor(settings.model_dir)
    log = PredictionLog(settings.prediction_log, settings.log_fsync, settings.log_max_bytes)
    app = create_app(predictor, log, settings, shared)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        _drain_first(app.lifecycle)
        if shared is not None:
            loop: Any = asyncio.get_running_loop()
            loop.is_busier, loop.leave = app.telemetry.is_busier, app.telemetry.leave
        app.variants.watch()
        yield
        app.variants.stop()
        app.predictions.close()
        log.close()

    app.lifespan = lifespan
    return app


def _drain_first(lifecycle: Lifecycle) -> None:
    """Let SIGTERM reach uvicorn, which closes idle connections, only once callers have left.

    A caller who keeps a connection may send its next request at that very moment, and would lose
    it.
    """
    loop, stop = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)

    def drain(number: int, frame: FrameType | None) -> None:
        lifecycle.draining = True
        if callable(stop):
            loop.call_soon_threadsafe(loop.call_later, DRAIN_SECONDS, stop, number, frame)

    signal.signal(signal.SIGTERM, drain)
