"""The product's image, built by buildah on a stand-in for its base: started, asked, stopped."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from answers import SETS
from conftest import Project
from machine import answers, buildah, free_port, started, tool, train

SECRET = "planted-secret"


@pytest.mark.parametrize("name", SETS)
def test_hadolint_finds_nothing(render: Callable[..., Project], name: str) -> None:
    project = render(**SETS[name])
    assert project.run(tool("hadolint"), "Dockerfile", check=False).stdout == ""


@pytest.fixture(scope="module")
def context(shared: Path, project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained project that has a secret and a cache lying about."""
    context = tmp_path_factory.mktemp("context") / "project"
    shutil.copytree(train(shared, project).path, context, ignore=shutil.ignore_patterns(".venv"))
    for name in (
        ".env",
        "credentials.json",
        "models/serving.pem",
        "data/private.csv",
        "logs/a.jsonl",
    ):
        (context / name).parent.mkdir(exist_ok=True)
        (context / name).write_text(SECRET, encoding="utf-8")
    return context


@pytest.fixture(scope="module")
def image(context: Path) -> str:
    buildah().build(context, "product")
    return "localhost/product"


@pytest.fixture(scope="module")
def container(image: str) -> Iterator[tuple[str, Path]]:
    with buildah().container(image) as both:
        yield both


def inspect(image: str) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(buildah()("inspect", image))["Docker"]["config"]
    return config


@contextmanager
def serving(image: str, name: str) -> Iterator[tuple[int, int, subprocess.Popen[bytes]]]:
    """The container's own command, running: its port, its process and buildah's."""
    port = free_port()
    env = ("--env", f"PORT={port}", "--env", "ENVIRONMENT=development")
    run = (*buildah().command, "run", "--isolation=chroot", *env, name, "--")
    ready = f"http://127.0.0.1:{port}/health/ready"
    with started(*run, *inspect(image)["Cmd"], ready=ready, env=dict(os.environ)) as process:
        yield port, service_under(process.pid), process


def service_under(pid: int) -> int:
    """The first descendant that is not buildah itself."""
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    for child in " ".join(path.read_text(encoding="utf-8") for path in threads).split():
        if Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"buildah"):
            return service_under(int(child))
        return int(child)
    raise LookupError(f"no process of the service under {pid}")


def get(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
        return json.load(response)


def example(port: int) -> bytes:
    post = get(port, "/openapi.json")["paths"]["/v1/predictions"]["post"]
    return json.dumps(post["requestBody"]["content"]["application/json"]["example"]).encode()


@pytest.mark.slow
def test_the_image_answers_as_nobody_in_particular(image: str, container: tuple[str, Path]) -> None:
    with serving(image, container[0]) as (port, pid, _):
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/predictions",
            data=example(port),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            answer = json.load(response)
        model = get(port, "/v1/model")
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        assert re.search(r"^Uid:\t10001\t10001\t10001\t10001$", status, re.MULTILINE)
        assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
    assert model["version"] in json.dumps(answer)


@pytest.mark.slow
def test_the_image_does_not_start_without_an_api_key(
    image: str, container: tuple[str, Path]
) -> None:
    command = (*buildah().command, "run", "--isolation=chroot", container[0], "--")
    run = subprocess.run(
        [*command, *inspect(image)["Cmd"]], capture_output=True, timeout=30, check=False
    )
    assert run.returncode != 0
    assert b"ENVIRONMENT is 'production', and there is no API key; set API_KEYS" in run.stderr


@pytest.mark.slow
def test_a_stop_lets_a_request_end(image: str, container: tuple[str, Path]) -> None:
    with serving(image, container[0]) as (port, pid, process):
        body = example(port)
        head = (
            "POST /v1/predictions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(head.encode() + body[:5])
            time.sleep(0.3)
            os.kill(pid, signal.SIGTERM)
            time.sleep(0.3)
            assert not answers(f"http://127.0.0.1:{port}/health/ready")  # wants nothing new
            time.sleep(2.5)
            assert not answers(f"http://127.0.0.1:{port}/health/live")  # takes nothing new
            connection.sendall(body[5:])
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
        assert received.startswith(b"HTTP/1.1 200"), received
        assert json.loads(received.split(b"\r\n\r\n", 1)[1])
        process.wait(timeout=10)


@pytest.mark.slow
def test_the_image_holds_what_serving_needs_alone(container: tuple[str, Path]) -> None:
    root = container[1]
    (packages,) = root.glob("app/.venv/lib/python3*/site-packages")
    files = [path for path in packages.rglob("*") if path.is_file() and not path.is_symlink()]
    size = sum(path.stat().st_size for path in files)
    assert size < 200_000_000
    installed = {path.name.split("-")[0].lower() for path in packages.glob("*.dist-info")}
    assert {"onnxruntime", "numpy", "fastapi"} <= installed
    unwanted = {
        "scikit_learn",
        "pandas",
        "pyarrow",
        "dvc",
        "skl2onnx",
        "skops",
        "pytest",
        "mypy",
        "ruff",
    }
    assert installed & unwanted == set()
    programs = {path.name for folder in root.glob("**/bin") for path in folder.glob("*")}
    assert programs & {"cc", "gcc", "g++", "clang", "make", "git", "uv"} == set()
    top = sorted(path.name for path in (root / "app").iterdir())
    assert top == [".venv", "models", "ops"]
    model = [path for path in root.glob("app/models/**/*") if path.is_file()]
    assert {path.parent.name for path in model} == {"serving"}
    assert not [
        path for path in model if path.stat().st_mode & 0o022
    ]  # and nobody but root writes there


@pytest.mark.slow
def test_the_image_holds_no_secret(image: str, container: tuple[str, Path]) -> None:
    root = container[1]
    found = subprocess.run(
        ["grep", "-rlF", SECRET, "app", "home", "root", "tmp", "etc"],
        cwd=root,
        capture_output=True,
        check=False,
    )
    assert (found.returncode, found.stdout) == (1, b"")
    config = inspect(image)
    assert config["User"] == "10001"
    assert not [line for line in config["Env"] if re.search("(?i)secret|token|password|_key", line)]
    assert "health/ready" in " ".join(config["Healthcheck"]["Test"])


@pytest.mark.slow
def test_the_image_of_batch_scores_a_file(
    context: Path,
    image: str,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    buildah().build(context, "batch", "--target=batch")  # on the layers of the other image
    (sample,) = (context / "data" / "sample").glob("*.csv")
    shutil.copy(sample, tmp_path / "in.csv")
    tmp_path.chmod(0o777)
    config = inspect("localhost/batch")
    with buildah().container("localhost/batch") as (name, root):
        run = ("run", "--isolation=chroot", f"--volume={tmp_path}:/data", name, "--")
        said = buildah()(*run, *config["Entrypoint"], "/data/in.csv", "/data/out.parquet")
        (packages,) = root.glob("app/.venv/lib/python3*/site-packages")
        installed = {path.name.split("-")[0].lower() for path in packages.glob("*.dist-info")}
        size = sum(path.lstat().st_size for path in packages.rglob("*"))
    rows = len(sample.read_text(encoding="utf-8").splitlines()) - 1
    assert said.startswith(f"score: {rows} rows of /data/in.csv scored by ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.parquet"]
    assert (tmp_path / "out.parquet").stat().st_uid == 10001
    assert installed & {"scikit_learn", "pandas", "dvc", "skl2onnx"} == set()
    assert size < 450_000_000
    record_property("MB of batch's packages", size // 10**6)
