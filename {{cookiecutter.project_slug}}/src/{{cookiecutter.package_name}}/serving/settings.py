"""What the service is told by its environment, read here alone."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import SettingsError
from .usage_profile import PROFILE, load_profile

MAX_PORT = 65_535
MAX_COUNT = 10**12


@dataclass(frozen=True)
class Settings:
    """Each setting is the environment variable of the same name in capitals.

    environment: outside of `development` API keys are required.
    api_keys, api_keys_file: see Keys.
    challenger_dir, variants_file: see Variants.
    prediction_log: a file to append to, or `-` for standard output.
    """

    environment: str = "development"
    api_keys: str = ""
    api_keys_file: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    model_dir: Path = Path("models/serving")
    challenger_dir: Path = Path("models/challenger")
    variants_file: Path | None = None
    prediction_log: str = "logs/predictions.jsonl"
    log_fsync: bool = False
    log_max_bytes: int = 1_000_000_000
    max_rows: int = 1000
    max_body_bytes: int = 1_000_000

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] = os.environ, profile: Path = PROFILE
    ) -> "Settings":
        """Read the settings; those that are left out follow from the usage profile, if any.

        Raises:
            SettingsError: a number is none, is below 1 or too large; a choice is neither 0 nor 1;
                keys are required, and there are none; the usage profile cannot be used.
        """
        planned = replace(cls(), **load_profile(profile).settings()) if profile.exists() else cls
        found = cls(
            environment=environment.get("ENVIRONMENT", cls.environment),
            api_keys=environment.get("API_KEYS", cls.api_keys),
            api_keys_file=Path(file) if (file := environment.get("API_KEYS_FILE")) else None,
            host=environment.get("HOST", cls.host),
            port=_count(environment, "PORT", cls.port, MAX_PORT),
            workers=_count(environment, "WORKERS", planned.workers, 64),
            model_dir=model_dir(environment),
            challenger_dir=Path(environment.get("CHALLENGER_DIR", cls.challenger_dir)),
            variants_file=Path(file) if (file := environment.get("VARIANTS_FILE")) else None,
            prediction_log=environment.get("PREDICTION_LOG", cls.prediction_log),
            log_fsync=_choice(environment, "LOG_FSYNC", cls.log_fsync),
            log_max_bytes=_count(environment, "LOG_MAX_BYTES", cls.log_max_bytes),
            max_rows=_count(environment, "MAX_ROWS", planned.max_rows),
            max_body_bytes=_count(environment, "MAX_BODY_BYTES", planned.max_body_bytes),
        )
        if found.environment != cls.environment and not (found.api_keys or found.api_keys_file):
            raise SettingsError(
                f"ENVIRONMENT is {found.environment[:80]!r}, and there is no API key; set API_KEYS"
                " or API_KEYS_FILE to what `make key` prints, or ENVIRONMENT to development"
            )
        return found


def model_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of the model, which a batch needs, too."""
    return Path(environment.get("MODEL_DIR", Settings.model_dir))


def _count(environment: Mapping[str, str], name: str, default: int, most: int = MAX_COUNT) -> int:
    text = environment.get(name, str(default))
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(most))
    if not digits or not 1 <= int(text) <= most:
        raise SettingsError(
            f"environment variable {name} is {text[:80]!r}; set it to a whole number from 1 to"
            f" {most}"
        )
    return int(text)


def _choice(environment: Mapping[str, str], name: str, default: bool) -> bool:
    text = environment.get(name, str(int(default)))
    if text not in ("0", "1"):
        raise SettingsError(f"environment variable {name} is {text[:80]!r}; set it to 0 or 1")
    return text == "1"
