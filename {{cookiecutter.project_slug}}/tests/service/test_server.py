"""The real process: it starts, answers, stops, and does not start without its model."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.serving.predictor import Predictor


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found: int = free.getsockname()[1]
    return found


@pytest.fixture
def environment(layout: Layout, port: int) -> dict[str, str]:
    return {**os.environ, "MODEL_DIR": str(layout.serving), "PORT": str(port)}


def start(package: str, environment: dict[str, str], folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", package, "serve"],
        cwd=folder,
        env=environment,
        text=True,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.fixture
def running(
    package: str, environment: dict[str, str], layout: Layout, port: int
) -> Iterator["subprocess.Popen[str]"]:
    process = start(package, environment, layout.root)
    deadline = time.monotonic() + 30
    while True:
        try:
            httpx2.get(f"http://127.0.0.1:{port}/health/ready").raise_for_status()
            break
        except httpx2.TransportError:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
    yield process
    process.kill()
    process.communicate()


def test_it_answers_and_stops_when_told(
    running: "subprocess.Popen[str]",
    port: int,
    row: dict[str, Any],
    predictor: Predictor,
    layout: Layout,
) -> None:
    answer = httpx2.post(f"http://127.0.0.1:{port}/v1/predictions", json=row)
    assert answer.status_code == 200
    assert answer.json()["model_version"] == predictor.info.version
    log = (layout.root / "logs/predictions.jsonl").read_text(encoding="utf-8")
    assert answer.json()["prediction_id"] in log
    running.send_signal(signal.SIGTERM)
    out, _ = running.communicate(timeout=10)
    assert running.returncode == 0
    assert f"serve: {predictor.info.version} on http://127.0.0.1:{port}" in out


def test_a_port_in_use_is_said_and_ends_it(
    package: str, environment: dict[str, str], layout: Layout, port: int
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        process = start(package, environment, layout.root)
        out, err = process.communicate(timeout=20)
    assert process.returncode != 0
    assert out == ""
    assert "address already in use" in err.lower()


@pytest.mark.parametrize("fault", ["missing", "truncated", "port"])
def test_it_does_not_start_with_a_fault(
    fault: str, package: str, environment: dict[str, str], layout: Layout
) -> None:
    artefact = layout.serving / "model.onnx"
    if fault == "missing":
        artefact.unlink()
    elif fault == "truncated":
        artefact.write_bytes(artefact.read_bytes()[:1000])
    else:
        environment["PORT"] = "http"
    process = start(package, environment, layout.root)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 1, out
    expected = {"missing": "cannot be read", "truncated": "was altered", "port": "PORT is 'http'"}
    assert expected[fault] in err.splitlines()[-1]
    assert "Traceback" not in err
