from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.errors import SettingsError
from {{ cookiecutter.package_name }}.serving.settings import Settings


def test_the_environment_is_read() -> None:
    environment = {
        "HOST": "0.0.0.0",
        "PORT": "81",
        "MODEL_DIR": "elsewhere",
        "PREDICTION_LOG": "-",
        "MAX_ROWS": "7",
        "MAX_BODY_BYTES": "99",
    }
    assert Settings.from_environment(environment) == Settings(
        "0.0.0.0", 81, Path("elsewhere"), "-", 7, 99
    )
    assert Settings.from_environment({}) == Settings()


@pytest.mark.parametrize("value", ["", "-1", "8e3", "http", "\u0663", "9" * 5000, "65536", "0"])
def test_a_port_that_is_no_number_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="PORT is .* set it to a whole number"):
        Settings.from_environment({"PORT": value})
