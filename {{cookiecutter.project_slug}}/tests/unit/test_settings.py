from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.errors import SettingsError
from {{ cookiecutter.package_name }}.serving.settings import Settings


def test_the_environment_is_read() -> None:
    environment = {
        "ENVIRONMENT": "production",
        "API_KEYS": "a:b",
        "API_KEYS_FILE": "keys",
        "HOST": "0.0.0.0",
        "PORT": "81",
        "WORKERS": "2",
        "MODEL_DIR": "elsewhere",
        "CHALLENGER_DIR": "beside",
        "VARIANTS_FILE": "variants.yaml",
        "PREDICTION_LOG": "-",
        "LOG_FSYNC": "1",
        "LOG_MAX_BYTES": "5",
        "MAX_ROWS": "7",
        "MAX_BODY_BYTES": "99",
    }
    assert Settings.from_environment(environment) == Settings(
        environment="production",
        api_keys="a:b",
        api_keys_file=Path("keys"),
        host="0.0.0.0",
        port=81,
        workers=2,
        model_dir=Path("elsewhere"),
        challenger_dir=Path("beside"),
        variants_file=Path("variants.yaml"),
        prediction_log="-",
        log_fsync=True,
        log_max_bytes=5,
        max_rows=7,
        max_body_bytes=99,
    )


@pytest.mark.parametrize("value", ["", "-1", "8e3", "http", "\u0663", "9" * 5000, "65536", "0"])
def test_a_port_that_is_no_number_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="PORT is .* set it to a whole number"):
        Settings.from_environment({"PORT": value})


def test_a_choice_is_0_or_1() -> None:
    with pytest.raises(SettingsError, match="LOG_FSYNC is 'yes'; set it to 0 or 1"):
        Settings.from_environment({"LOG_FSYNC": "yes"})


@pytest.mark.parametrize("name", ["production", "staging", "", "Development"])
def test_only_development_goes_without_keys(name: str) -> None:
    with pytest.raises(SettingsError, match="there is no API key; set API_KEYS or API_KEYS_FILE"):
        Settings.from_environment({"ENVIRONMENT": name})
    keys = {"API_KEYS_FILE": "keys"}
    assert Settings.from_environment({"ENVIRONMENT": name, **keys}).environment == name
