"""Who sends a known key is answered, and nobody else."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from {{ cookiecutter.package_name }}.cli import main
from {{ cookiecutter.package_name }}.errors import SettingsError, UnauthorizedError
from {{ cookiecutter.package_name }}.serving import auth
from {{ cookiecutter.package_name }}.serving.app import create_app
from {{ cookiecutter.package_name }}.serving.auth import Keys
from {{ cookiecutter.package_name }}.serving.prediction_log import PredictionLog
from {{ cookiecutter.package_name }}.serving.predictor import Predictor
from {{ cookiecutter.package_name }}.serving.settings import Settings


def entry(name: str, key: str) -> str:
    return f"{name}:{hashlib.sha256(key.encode()).hexdigest()}"


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture
def guarded(predictor: Predictor, log_file: Path) -> TestClient:
    settings = Settings(api_keys=f"{entry('shop', 'first')} {entry('app', 'second')}")
    return TestClient(create_app(predictor, PredictionLog(str(log_file)), settings))


def test_a_known_key_is_answered_and_its_name_logged(
    guarded: TestClient, row: dict[str, Any], log_file: Path
) -> None:
    basic = {"authorization": "Basic " + base64.b64encode(b"anybody:second").decode()}
    for headers in (bearer("first"), bearer("second"), basic):
        assert guarded.post("/v1/predictions", json=row, headers=headers).status_code == 200
        assert guarded.get("/metrics", headers=headers).status_code == 200
    lines = log_file.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["caller"] for line in lines] == ["shop", "app", "app"]


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "first",
        "Basic first",
        "Basic Zmlyc3Q=",  # first, and no colon
        "Bearer " + hashlib.sha256(b"first").hexdigest(),
        "Bearer first second",
    ],
)
def test_anything_else_is_refused_before_it_is_read(
    authorization: str, guarded: TestClient, log_file: Path
) -> None:
    headers = {"authorization": authorization, "content-type": "application/json"}
    for path in ("/v1/predictions", "/v1/explanations", "/v1/feedback"):
        refused = guarded.post(path, content="{" * 200_000, headers=headers)
        assert refused.status_code == 401
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["www-authenticate"].startswith("Basic ")
    closed = ("/", "/v1/model", "/v1/contract", "/metrics", "/openapi.json", "/docs", "/nowhere")
    for path in closed:
        assert guarded.get(path, headers=headers).status_code == 401
    assert log_file.read_text(encoding="utf-8") == ""
    for path in ("/health/live", "/health/ready"):
        assert guarded.get(path, headers=headers).status_code == 200


def test_keys_are_exchanged_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(auth, "LOOK_SECONDS", 0.0)
    path = tmp_path / "keys"

    def write(text: str) -> None:
        new = tmp_path / "new"
        new.write_text(text, encoding="utf-8")
        new.replace(path)

    write(f"# ours\n{entry('old', '1')}\n")
    keys = Keys(path=path)
    assert keys.name(b"Bearer 1") == "old"
    write(f"{entry('old', '1')}\n{entry('new', '2')} # both, for a while\n")
    assert (keys.name(b"Bearer 1"), keys.name(b"Bearer 2")) == ("old", "new")
    write(entry("new", "2"))
    with pytest.raises(UnauthorizedError):
        keys.name(b"Bearer 1")
    for broken in ("", "new:123"):  # who can call stays able to
        write(broken)
        assert keys.name(b"Bearer 2") == "new"
        assert "API keys stay as they were" in caplog.records[-1].getMessage()
    path.unlink()
    assert keys.name(b"Bearer 2") == "new"


def test_what_is_no_key_is_refused_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    with pytest.raises(SettingsError, match="keys cannot be read"):
        Keys(path=path)
    path.write_text("# none\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="keys holds no key; write a name"):
        Keys(path=path)
    for wrong in ("secret", "name:secret", f"a b:{'0' * 64}", f"n:{'0' * 63}"):
        with pytest.raises(SettingsError, match="API_KEYS: .* is no key; write a name"):
            Keys(wrong)


def test_a_new_key_fits_its_entry(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["key", "shop"])
    assert stop.value.code == 0
    key, made = re.findall(r": +(\S+)$", capsys.readouterr().out, re.MULTILINE)
    assert len(key) >= 43
    assert Keys(made).name(f"Bearer {key}".encode()) == "shop"
    with pytest.raises(SystemExit) as stop:
        main(["key", "a b"])
    assert stop.value.code == 1
    assert "'a b' is no name for a key" in capsys.readouterr().err
