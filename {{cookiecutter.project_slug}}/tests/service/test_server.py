"""The real process: it starts, answers, stops, and does not start without its model."""

import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import pytest

from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.params import Params
from {{ cookiecutter.package_name }}.serving.predictor import Predictor
from {{ cookiecutter.package_name }}.serving.service import MAX_EXPLAINED_ROWS
from {{ cookiecutter.package_name }}.serving.settings import Settings


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found: int = free.getsockname()[1]
    return found


@pytest.fixture
def environment(layout: Layout, port: int) -> dict[str, str]:
    own = {
        "MODEL_DIR": str(layout.serving),
        "VARIANTS_FILE": str(layout.root / "variants.yaml"),
        "PORT": str(port),
        "PYTHONWARNINGS": "error",
    }
    return {**os.environ, **own}


def start(
    package: str, environment: dict[str, str], folder: Path, command: str = "serve"
) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", package, command],
        cwd=folder,
        env=environment,
        text=True,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_for(process: "subprocess.Popen[str]", port: int) -> None:
    deadline = time.monotonic() + 30
    with httpx2.Client() as client:
        while True:
            try:
                client.get(f"http://127.0.0.1:{port}/health/ready").raise_for_status()
                break
            except httpx2.TransportError:
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.1)


@pytest.fixture(params=[1])
def running(
    request: pytest.FixtureRequest,
    package: str,
    environment: dict[str, str],
    layout: Layout,
    port: int,
) -> Iterator["subprocess.Popen[str]"]:
    """A service; its parameter is the number of workers."""
    process = start(package, environment | {"WORKERS": str(request.param)}, layout.root)
    wait_for(process, port)
    yield process
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # its workers, too
    process.communicate()


class Callers:
    """Callers that ask one after the other, each on a connection that it keeps until told to go.

    They do not come back then, as a load balancer has other instances to go to.
    """

    def __init__(self, port: int, row: dict[str, Any], count: int) -> None:
        self.answered: list[str] = []
        self.failed: list[str] = []
        self._url = f"http://127.0.0.1:{port}/v1/predictions"
        self._row = row
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with httpx2.Client(timeout=20) as client:
            # Without a pause they would take the processors from the service.
            while not self._stop.wait(0.01):
                try:
                    response = client.post(self._url, json=self._row)
                    self.answered.append(response.raise_for_status().json()["prediction_id"])
                    if response.headers.get("connection") == "close":
                        return
                except (httpx2.HTTPError, OSError) as fault:
                    self.failed.append(repr(fault))


def logged(layout: Layout) -> list[str]:
    """The ids in the log, whose every line is whole."""
    text = (layout.root / "logs/predictions.jsonl").read_text(encoding="utf-8")
    return [json.loads(line)["prediction_id"] for line in text.splitlines()]


@pytest.mark.parametrize("running", [1, 2], indirect=True)
def test_callers_lose_no_request_when_it_is_told_to_stop(
    running: "subprocess.Popen[str]", port: int, row: dict[str, Any], layout: Layout
) -> None:
    with Callers(port, row, 20) as callers:
        time.sleep(1)
        running.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 10
        while (stopping := httpx2.get(f"http://127.0.0.1:{port}/health/ready")).is_success:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert (stopping.status_code, stopping.json()) == (503, {"status": "stopping"})
        assert stopping.headers["connection"] == "close"
        running.communicate(timeout=20)
    assert running.returncode == 0
    assert callers.failed == []
    assert len(callers.answered) > 20
    assert set(callers.answered) <= set(logged(layout))


@pytest.mark.usefixtures("challenger", "running")
@pytest.mark.parametrize("running", [2], indirect=True)
def test_models_are_swapped_and_no_request_fails(
    other_version: str,
    environment: dict[str, str],
    port: int,
    row: dict[str, Any],
    layout: Layout,
) -> None:
    file = Path(environment["VARIANTS_FILE"])
    with Callers(port, row, 8) as callers:
        for swap in range(20):
            share = swap % 2 * 100
            new = file.with_name("new.yaml")
            new.write_text(
                json.dumps({"challenger": other_version, "share": share}), encoding="utf-8"
            )
            new.rename(file)
            time.sleep(0.3)
    assert callers.failed == []
    assert set(callers.answered) <= set(logged(layout))
    text = (layout.root / "logs/predictions.jsonl").read_text(encoding="utf-8")
    told = [json.loads(line) for line in text.splitlines()]
    answered = [record["variant"] for record in told if not record.get("shadow")]
    changes = sum(one != other for one, other in pairwise(answered))
    assert changes >= 19, "each swap reached the callers"


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is set from outside")
def test_a_full_disk_is_told_counted_and_recovered_from(
    running: "subprocess.Popen[str]", port: int, row: dict[str, Any], layout: Layout
) -> None:
    log = layout.root / "logs/predictions.jsonl"
    limits = resource.prlimit(running.pid, resource.RLIMIT_FSIZE)
    with Callers(port, row, 8) as callers:
        # As on a full disk, what still fits of a line is written.
        resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (20_011, limits[1]))
        deadline = time.monotonic() + 10
        while not callers.failed:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        resource.prlimit(running.pid, resource.RLIMIT_FSIZE, limits)
        time.sleep(1)
    assert {"503" in fault for fault in callers.failed} == {True}
    torn, whole = [], []
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            whole.append(json.loads(line)["prediction_id"])
        except ValueError:
            torn.append(line)
    assert set(callers.answered) <= set(whole)
    assert len(torn) <= 1
    metrics = httpx2.get(f"http://127.0.0.1:{port}/metrics").text
    (count,) = re.findall(r"^prediction_log_failures_total (\S+)$", metrics, re.MULTILINE)
    assert 1 <= float(count) <= len(callers.failed)
    assert len(whole) > 20_000 / 400, "it went on"


def workers(process: "subprocess.Popen[str]") -> list[int]:
    """The processes that the service started to answer requests."""
    found = []
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    for child in map(int, path.read_text(encoding="utf-8").split()):
        with suppress(OSError):  # it has just ended
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found


@pytest.mark.skipif(not Path("/proc").exists(), reason="no processes to look at")
@pytest.mark.parametrize("running", [2], indirect=True)
def test_the_death_of_a_worker_is_survived_and_no_count_lost(
    running: "subprocess.Popen[str]", port: int, row: dict[str, Any], layout: Layout
) -> None:
    with Callers(port, row, 8) as callers:
        for _ in range(3):
            time.sleep(1)
            before = workers(running)
            os.kill(before[0], signal.SIGKILL)
            deadline = time.monotonic() + 10
            while len(now := workers(running)) < 2 or now == before:
                assert time.monotonic() < deadline
                time.sleep(0.1)
    assert len(callers.failed) <= 3 * 8  # those inside a killed worker
    assert set(callers.answered) <= set(logged(layout))
    texts = {httpx2.get(f"http://127.0.0.1:{port}/metrics").text for _ in range(20)}
    pattern = r'^http_requests_total\{route="/v1/predictions",status="200"\} (\S+)$'
    counts = {float(found) for text in texts for found in re.findall(pattern, text, re.MULTILINE)}
    assert len(counts) == 1
    # Logged and counted, but its caller may have lost the answer with the worker.
    assert 0 <= counts.pop() - len(callers.answered) <= len(callers.failed)


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
    out, err = running.communicate(timeout=10)
    assert (running.returncode, err) == (0, "")
    assert f"serve: {predictor.info.version} on http://127.0.0.1:{port}" in out


@pytest.mark.parametrize(
    ("running", "workers"), [(1, "2"), (2, "1"), (2, "2")], indirect=["running"]
)
@pytest.mark.usefixtures("running")
def test_a_port_in_use_is_said_and_ends_it(
    workers: str, package: str, environment: dict[str, str], layout: Layout
) -> None:
    process = start(package, environment | {"WORKERS": workers}, layout.root)
    out, _ = process.communicate(timeout=20)
    assert process.returncode != 0
    (line,) = out.splitlines()
    assert "address already in use" in json.loads(line)["message"].lower()


def test_it_starts_again_on_its_port_at_once(
    package: str, environment: dict[str, str], layout: Layout, port: int
) -> None:
    for count in ("1", "2", "2", "1"):
        process = start(package, environment | {"WORKERS": count}, layout.root)
        wait_for(process, port)
        with httpx2.Client() as kept:  # which the service closes, and the system remembers
            kept.get(f"http://127.0.0.1:{port}/health/live").raise_for_status()
            os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C; SIGTERM would wait for callers
            process.communicate(timeout=20)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("fault", ["missing", "truncated", "port"])
def test_it_does_not_start_with_a_fault(
    fault: str, workers: str, package: str, environment: dict[str, str], layout: Layout
) -> None:
    environment["WORKERS"] = workers
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


def test_a_constant_is_served_before_there_is_a_model(
    package: str, environment: dict[str, str], layout: Layout, port: int, row: dict[str, Any]
) -> None:
    shutil.rmtree(layout.serving)
    process = start(package, environment, layout.root, "mock")
    try:
        wait_for(process, port)
        url = f"http://127.0.0.1:{port}/v1/predictions"
        one, other = (httpx2.post(f"{url}?reasons=1", json=row).json() for _ in range(2))
        assert one["model_version"].endswith("@mock")
        assert {**one, "prediction_id": ""} == {**other, "prediction_id": ""}
        assert httpx2.post(url, json={}).status_code == 422
    finally:
        process.kill()
        process.communicate()
    assert not (layout.root / "logs/predictions.jsonl").exists()


def memory(pid: int) -> int:
    """Bytes that a process holds."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    (line,) = (line for line in text.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc").exists(), reason="nothing tells the memory")
@pytest.mark.parametrize("length", ["Content-Length: 500000000", "Transfer-Encoding: chunked"])
def test_a_body_of_500_mb_is_refused_and_takes_no_memory(
    length: str, running: "subprocess.Popen[str]", port: int, row: dict[str, Any]
) -> None:
    url = f"http://127.0.0.1:{port}/v1/predictions"
    assert httpx2.post(url, json=row).is_success
    before, megabyte = memory(running.pid), b"x" * 1_000_000
    part = b"f4240\r\n" + megabyte + b"\r\n" if "chunked" in length else megabyte
    head = f"POST /v1/predictions HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n{length}"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"{head}\r\n\r\n".encode())
        for _ in range(500):
            connection.sendall(part)
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
    assert memory(running.pid) - before < 20_000_000
    assert httpx2.post(url, json=row).is_success


@pytest.mark.skipif(not Path("/proc").exists(), reason="nothing tells the memory")
@pytest.mark.parametrize("running", [2], indirect=True)
def test_a_worker_takes_at_most_120_mb(
    running: "subprocess.Popen[str]", port: int, row: dict[str, Any], params: Params
) -> None:
    # Each request on a connection of its own, so that both workers have some.
    alone = {"connection": "close"}
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", headers=alone) as client:
        for rows in [[row] * 500, *[[row]] * 50]:
            assert client.post("/v1/predictions", json=rows).is_success
    most = 120_000_000 if params.artefact == "onnx" else 300_000_000  # with scikit-learn
    sizes = [memory(worker) for worker in workers(running)]
    assert len(sizes) == 2
    assert max(sizes) <= most


@pytest.mark.skipif(not Path("/proc").exists(), reason="nothing tells whose a connection is")
@pytest.mark.parametrize("running", [2], indirect=True)
def test_callers_that_stay_are_spread_over_the_workers(
    running: "subprocess.Popen[str]", port: int
) -> None:
    deadline = time.monotonic() + 30

    def sockets(change: int = 0, before: Sequence[int] = ()) -> list[int]:
        """Those of each worker, once both are there and their sum has changed so much."""
        last, found = [-1], [0]
        while last != found or len(found) != 2 or sum(found) - sum(before) < change:
            assert time.monotonic() < deadline, (before, found)
            time.sleep(0.3)
            files = [Path(f"/proc/{each}/fd").iterdir() for each in workers(running)]
            last, found = found, [sum(file.is_socket() for file in each) for each in files]
        return found

    before = sockets()
    while max(before) != min(before):  # one of them starts
        before = sockets()
    with ExitStack() as callers:
        for _ in range(20):
            callers.enter_context(socket.create_connection(("127.0.0.1", port)))
            time.sleep(0.01)  # so that both wait, and the system would choose the same one
        after = sockets(20, before)
        taken = [now - then for now, then in zip(after, before, strict=True)]
    assert min(taken) >= 5, taken  # where the system chooses, one has 1


@pytest.mark.usefixtures("running")
def test_health_is_answered_during_the_largest_requests(port: int, row: dict[str, Any]) -> None:
    url = f"http://127.0.0.1:{port}"
    largest = [row] * min(Settings.max_rows, Settings.max_body_bytes // (len(json.dumps(row)) + 9))
    explained = [row] * MAX_EXPLAINED_ROWS
    bodies = {"/v1/predictions": json.dumps(largest), "/v1/explanations": json.dumps(explained)}
    answered: list[str] = []
    over = threading.Event()

    def ask(path: str) -> None:
        headers = {"content-type": "application/json"}
        with httpx2.Client(base_url=url, headers=headers, timeout=20) as client:
            while not over.is_set():
                assert client.post(path, content=bodies[path]).is_success
                answered.append(path)

    def seconds(client: httpx2.Client) -> float:
        time.sleep(0.02)
        start = time.monotonic()
        assert client.get("/health/live").is_success
        return time.monotonic() - start

    threads = [threading.Thread(target=ask, args=[path]) for path in bodies]
    for thread in threads:
        thread.start()
    p99 = slowest = 1.0
    try:
        with httpx2.Client(base_url=url) as client:
            for _ in range(3):  # a machine that does something else is given more time
                *_, p99, slowest = sorted(seconds(client) for _ in range(100))
                if p99 < 0.1 and slowest < 1:
                    break
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert p99 < 0.1
    assert slowest < 1
    assert set(answered) == set(bodies)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processors cannot be taken away")
def test_one_processor_is_enough(
    package: str, environment: dict[str, str], layout: Layout, port: int
) -> None:
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(all_of_them)})
    try:
        process = start(package, environment, layout.root)
    finally:
        os.sched_setaffinity(0, all_of_them)
    wait_for(process, port)
    process.terminate()
    out, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (0, "")
    assert "ERROR" not in out
