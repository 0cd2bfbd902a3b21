"""Serve: the application under uvicorn, with what the environment says."""

import signal
import sys
from contextlib import suppress

import uvicorn

from .app import create_app
from .prediction_log import PredictionLog
from .predictor import load_predictor
from .settings import Settings

KEEP_ALIVE_SECONDS = 75
"""Longer than a load balancer keeps a connection idle (60 s on AWS), so that it closes first."""
GRACE_SECONDS = 25
"""For requests in flight; platforms kill 30 s after the signal, as ECS does by default."""


def run(settings: Settings | None = None) -> None:
    """Load the model, then serve until the process is told to stop.

    Raises:
        ArtefactError: the model folder cannot be served.
        SettingsError: a setting is wrong.
    """
    settings = settings or Settings.from_environment()
    predictor = load_predictor(settings.model_dir)
    log = PredictionLog(settings.prediction_log)
    # uvicorn drains on SIGTERM, then raises it again: a stop that was asked for ends with 0.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config = uvicorn.Config(
        create_app(predictor, log, settings),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    listening = config.bind_socket()
    print(
        f"serve: {predictor.info.version} on http://{settings.host}:{settings.port}"
        " (described in /openapi.json, Ctrl-C stops)",
        flush=True,
    )
    try:
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])
    finally:
        log.close()
