"""Serve: the application under uvicorn, with what the environment says."""

import uvicorn

from .app import create_app
from .prediction_log import PredictionLog
from .predictor import load_predictor
from .settings import Settings


def run(settings: Settings | None = None) -> None:
    """Load the model, then serve until the process is told to stop.

    Raises:
        ArtefactError: the model folder cannot be served.
        SettingsError: a setting is wrong.
    """
    settings = settings or Settings.from_environment()
    predictor = load_predictor(settings.model_dir)
    log = PredictionLog(settings.prediction_log)
    print(
        f"serve: {predictor.info.version} on http://{settings.host}:{settings.port}"
        " (documentation under /docs, Ctrl-C stops)",
        flush=True,
    )
    uvicorn.run(
        create_app(predictor, log, settings),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=30,
    )
    log.close()
