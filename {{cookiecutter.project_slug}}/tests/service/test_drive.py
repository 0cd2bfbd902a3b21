"""`make burst` and `make soak`: seconds of each against the real service, and what fails them."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

from {{ cookiecutter.package_name }}.layout import Layout

PROFILE = """
requests_per_second: 20
burst_per_second: 40
rows_per_request: 2
max_rows_per_request: 10
latency_ms: {}
"""
Done = subprocess.CompletedProcess[str]


@pytest.fixture
def drive(root: Path, layout: Layout) -> Callable[..., Done]:
    """Runs a job for little more than a second, or two, under a profile with this aim."""

    def run(job: str, port: int, latency_ms: float = 5000) -> Done:
        profile = layout.root / "ops/usage-profile.yaml"
        profile.parent.mkdir(exist_ok=True)
        profile.write_text(PROFILE.format(latency_ms), encoding="utf-8")
        return subprocess.run(
            [sys.executable, root / "tests/load/drive.py", job, "--minutes=0.02"],
            cwd=layout.root,
            env={**os.environ, "SERVICE_URL": f"http://127.0.0.1:{port}"},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    return run


def is_ready(client: httpx2.Client, port: int) -> bool:
    try:
        return client.get(f"http://127.0.0.1:{port}/health/ready").is_success
    except httpx2.TransportError:
        return False


@pytest.fixture
def port(package: str, layout: Layout) -> Iterator[int]:
    """Where the service listens, with workers and limits of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found: int = free.getsockname()[1]
    environment = {**os.environ, "MODEL_DIR": str(layout.serving), "PORT": str(found)}
    command = [sys.executable, "-m", package, "serve"]
    with (
        httpx2.Client() as client,
        subprocess.Popen(
            command, cwd=layout.root, env=environment, stdout=subprocess.DEVNULL
        ) as process,
    ):
        deadline = time.monotonic() + 30
        while not is_ready(client, found):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield found
        process.kill()


@contextmanager
def stub(status: int, leak: int = 0) -> Iterator[int]:
    """The port of a service that is ready, answers so, and keeps so many bytes each time."""
    kept: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(200)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            kept.append(b"x" * leak)
            self.answer(status)

        def answer(self, code: int) -> None:
            self.send_response(code)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_service_that_keeps_up_passes(
    drive: Callable[..., Done], port: int, layout: Layout
) -> None:
    for job, said in (("burst", "burst_per_second 40 for 1.2 s: "), ("soak", "14 requests/s")):
        done = drive(job, port)
        assert done.returncode == 0, done
        assert said in done.stdout
        assert "0 errors" in done.stdout
    log = (layout.root / "logs/predictions.jsonl").read_text(encoding="utf-8").splitlines()
    inputs = [json.dumps(json.loads(line)["inputs"]) for line in log]
    count = 2 * (24 + 48)
    assert len(set(inputs[:count])) == count  # of one job; the other begins again
    assert all(json.loads(line)["dry_run"] for line in log)
    late = drive("burst", port, latency_ms=0.001)
    assert late.returncode == 1
    assert "and latency_ms of ops/usage-profile.yaml is 0.001; " in late.stderr


@pytest.mark.parametrize("job", ["burst", "soak"])
def test_a_service_that_fails_does_not_pass(job: str, drive: Callable[..., Done]) -> None:
    with stub(500) as port:
        done = drive(job, port)
    assert done.returncode == 1
    assert "requests failed; see above" in done.stderr
    assert "0.0 answered a second" in done.stdout
    gone = drive(job, port)
    assert gone.returncode == 1
    assert f"for http://127.0.0.1:{port}" in gone.stderr or "is not ready" in gone.stderr


@pytest.mark.skipif(not Path("/proc").exists(), reason="nothing tells the memory")
def test_a_service_that_grows_does_not_pass(drive: Callable[..., Done]) -> None:
    with stub(200, leak=1_000_000) as port:
        done = drive("soak", port)
    assert done.returncode == 1
    assert "MB in 10 min, at most 1.0; find out why" in done.stderr


def test_a_wrong_profile_is_refused_by_name(drive: Callable[..., Done]) -> None:
    done = drive("burst", 1, latency_ms=-1)
    assert done.returncode == 1
    assert done.stderr.startswith("burst: ops/usage-profile.yaml: latency_ms: Input should be")
