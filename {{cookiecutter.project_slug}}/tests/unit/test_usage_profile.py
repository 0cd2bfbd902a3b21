from pathlib import Path
from typing import Any

import pytest
import yaml

from {{ cookiecutter.package_name }}.errors import SettingsError
from {{ cookiecutter.package_name }}.serving import usage_profile
from {{ cookiecutter.package_name }}.serving.settings import Settings
from {{ cookiecutter.package_name }}.serving.usage_profile import PROFILE

CONTENT = {
    "requests_per_second": 500,
    "burst_per_second": 2500,
    "rows_per_request": 1,
    "max_rows_per_request": 20,
    "latency_ms": 0.5,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "usage-profile.yaml"


def write(path: Path, **changes: Any) -> Path:
    path.write_text(yaml.safe_dump(CONTENT | changes), encoding="utf-8")
    return path


def test_the_projects_own_can_be_used(root: Path) -> None:
    assert usage_profile.load_profile(root / PROFILE).settings()["workers"] >= 1


@pytest.mark.parametrize(
    ("burst", "rows", "processors", "workers"),
    [(500, 1, 8, 1), (2500, 1, 8, 3), (2500, 1, 2, 2), (500, 20, 8, 2), (2500, 1, None, 1)],
)
def test_the_workers_follow_from_the_burst(
    burst: int,
    rows: int,
    processors: int | None,
    workers: int,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: processors)
    write(path, burst_per_second=burst, rows_per_request=rows)
    assert Settings.from_environment({}, path).workers == workers


def test_the_limits_follow_and_the_environment_goes_before(path: Path) -> None:
    found = Settings.from_environment({}, write(path))
    assert (found.max_rows, found.max_body_bytes) == (20, 20_000)
    environment = {"WORKERS": "7", "MAX_ROWS": "8", "MAX_BODY_BYTES": "9"}
    found = Settings.from_environment(environment, path)
    assert (found.workers, found.max_rows, found.max_body_bytes) == (7, 8, 9)


def test_without_one_the_settings_are_their_defaults(path: Path) -> None:
    assert Settings.from_environment({}, path) == Settings()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"request_per_second": 1}, r"request_per_second: .* \(found 1\); remove it, or correct"),
        ({"latency_ms": 0}, r"latency_ms: Input should be greater than 0 \(found 0\)"),
        ({"latency_ms": "5 ms"}, r"latency_ms: Input should be a valid number \(found '5 ms'\)"),
        ({"latency_ms": float("nan")}, "latency_ms: Input should be a finite number"),
        ({"burst_per_second": 2.5}, r"burst_per_second: Input should be a valid integer"),
        ({"rows_per_request": 0}, "rows_per_request: Input should be greater than or equal to 1"),
        ({"burst_per_second": 499}, "requests_per_second 500 is more than burst_per_second 499;"),
        ({"rows_per_request": 21}, "rows_per_request 21 is more than max_rows_per_request 20;"),
    ],
)
def test_a_fault_is_refused_by_name(changes: dict[str, Any], message: str, path: Path) -> None:
    with pytest.raises(SettingsError, match=f"usage-profile.yaml: .*{message}"):
        Settings.from_environment({}, write(path, **changes))


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "latency_ms: 1"])
def test_what_is_no_profile_is_refused(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"usage-profile.yaml"):
        Settings.from_environment({}, path)
