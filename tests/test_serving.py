"""The serving half where it takes long: any fault at the start, any environment, any request."""

import asyncio
import hashlib
import json
import os
import re
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from conftest import Project, outside, run_in
from hypothesis import HealthCheck, Phase, given, settings
from machine import free_port, started, train
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def trained(shared: Path, project: Project) -> Project:
    """Not to be changed."""
    return train(shared, project)


def source(trained: Project) -> dict[str, str]:
    """Where the package is, since the folder was renamed after it was installed."""
    return {"PYTHONPATH": str(trained.path / "src")}


# --- faults at the start -------------------------------------------------------------------------

START_SECONDS = 10
"""Of a processor, since other tests may have this one's."""
Spoil = Callable[[Path], object]


def seal(folder: Path, **changes: Any) -> None:
    """Change model.json as somebody would who knows its checksum."""
    described = json.loads((folder / "model.json").read_bytes())
    del described["checksum"]
    described |= changes

    def text(content: Any) -> bytes:
        return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()

    checksum = hashlib.sha256(text(described)).hexdigest()
    (folder / "model.json").write_bytes(text({**described, "checksum": checksum}))


def replace(folder: Path, old: bytes, new: bytes) -> None:
    """Change the artefact, with its hash in model.json."""
    artefact = folder / "model.onnx"
    content = artefact.read_bytes()
    assert content.endswith(old), content[-20:]
    artefact.write_bytes(content.removesuffix(old) + new)
    seal(folder, sha256=hashlib.sha256(artefact.read_bytes()).hexdigest())


def processor_seconds() -> float:
    """Those of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def link(folder: Path) -> None:
    artefact = folder / "model.onnx"
    artefact.rename(folder.parent / "elsewhere.onnx")
    artefact.symlink_to(folder.parent / "elsewhere.onnx")


def as_skops(folder: Path) -> None:
    (folder / "model.onnx").rename(folder / "model.skops")
    seal(folder, artefact="model.skops", scikit_learn="0.1")


def as_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.touch()


def empty(folder: Path) -> None:
    for each in folder.iterdir():
        each.unlink()


def without(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()

    return spoil


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


# The version of its own operators is the last byte that skl2onnx writes.
FAULTS: dict[str, tuple[Spoil, str]] = {
    "no folder": (shutil.rmtree, "cannot be read (No such file or directory)"),
    "an empty folder": (empty, "model.json cannot be read"),
    **{
        f"no {name}": (without(name), f"{name} cannot be read")
        for name in ("model.json", "model.onnx", "contract.yaml", "metrics.json", "background.json")
    },
    "a truncated artefact": (lambda folder: shorten(folder / "model.onnx"), "was altered"),
    "a truncated description": (lambda folder: shorten(folder / "model.json"), "was altered"),
    "one changed bit": (lambda folder: alter(folder / "model.onnx"), "was altered"),
    "one changed bit of the contract": (
        lambda folder: alter(folder / "contract.yaml"),
        "was altered",
    ),
    "a later opset": (lambda folder: replace(folder, b"\x01", b"\x63"), "does not answer"),
    "another scikit-learn": (as_skops, "made by scikit-learn 0.1, but"),
    "a link": (link, "is none of the files that export wrote"),
    "one file more": (lambda folder: (folder / "more").touch(), "is none of the files"),
    "another derived.py": (lambda folder: seal(folder, derived_sha256="0" * 64), "derived.py of"),
    "no permission": (lambda folder: folder.chmod(0o000), "cannot be read (Permission denied)"),
    "no permission to list": (
        lambda folder: folder.chmod(0o100),
        "cannot be read (Permission denied)",
    ),
    "a file in its place": (as_file, "cannot be read (Not a directory)"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_of_the_folder_is_served(fault: str, trained: Project, tmp_path: Path) -> None:
    folder = tmp_path / "serving"
    shutil.copytree(trained.path / "models/serving", folder)
    spoil, said = FAULTS[fault]
    spoil(folder)
    # Without root's right to read everything.
    become = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--")
    command = (
        *(become if os.geteuid() == 0 else ()),
        trained.path / ".venv/bin/python",
        "-m",
        trained.package.name,
        "serve",
    )
    try:
        for workers in "1", "2":
            env = source(trained) | {"MODEL_DIR": str(folder), "WORKERS": workers}
            env |= {"PORT": str(free_port()), "PREDICTION_LOG": str(tmp_path / "log.jsonl")}
            start = processor_seconds()
            done = run_in(trained.path, *command, env=env, check=False, timeout=60)
            took = processor_seconds() - start
            assert done.returncode == 1, (workers, done.stdout)
            lines = done.stderr.splitlines()
            assert all(line.startswith("serve: ") for line in lines), done.stderr
            assert said in lines[0]
            assert str(folder) in lines[0]
            assert str(folder) in lines[-1]
            assert len(lines) == 1 or workers == "2"
            assert took < START_SECONDS
    finally:
        if folder.is_dir():
            folder.chmod(0o700)


# --- stops ---------------------------------------------------------------------------------------

CALLERS, STOPS = 50, 20


async def lost_by_a_stop(port: int, body: bytes, stop: Callable[[], None]) -> tuple[int, list[str]]:
    """Answers to callers that ask until they are told to leave, and what befell the others."""
    head = f"POST /v1/predictions HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n"
    request = f"{head}Content-Type: application/json\r\n\r\n".encode() + body
    answered, lost = 0, []

    async def call() -> None:
        nonlocal answered
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            leave = False
            while not leave:
                writer.write(request)
                told = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = re.search(rb"content-length: (\d+)", told)
                assert told.startswith(b"http/1.1 200")
                assert length
                await reader.readexactly(int(length[1]))
                answered += 1
                leave = b"connection: close" in told
            writer.close()
        except (AssertionError, EOFError, OSError) as fault:
            lost.append(repr(fault))

    callers = [asyncio.create_task(call()) for _ in range(CALLERS)]
    await asyncio.sleep(0.5)
    stop()
    await asyncio.wait_for(asyncio.gather(*callers), 30)
    return answered, lost


@pytest.mark.parametrize("workers", [1, 4])
def test_no_caller_loses_a_request_by_twenty_stops(
    trained: Project, tmp_path: Path, workers: int
) -> None:
    document = json.loads(trained.read("docs/openapi.json"))
    asked = document["paths"]["/v1/predictions"]["post"]["requestBody"]["content"]
    body = json.dumps(asked["application/json"]["example"]).encode()
    command = (trained.path / ".venv/bin/python", "-m", trained.package.name, "serve")

    def stopped(number: int) -> None:
        port, log = free_port(), tmp_path / f"{number}.jsonl"
        env = outside() | source(trained) | {"PORT": str(port), "WORKERS": str(workers)}
        env |= {"MODEL_DIR": str(trained.path / "models/serving"), "PREDICTION_LOG": str(log)}
        with started(*command, ready=f"http://127.0.0.1:{port}/health/ready", env=env) as process:
            answered, lost = asyncio.run(lost_by_a_stop(port, body, process.terminate))
            assert process.wait(timeout=30) == 0
        assert lost == []
        assert log.read_bytes().count(b"\n") == answered > CALLERS

    with ThreadPoolExecutor(4) as few:  # since most of the time is spent on waiting
        list(few.map(stopped, range(STOPS)))


# --- environments --------------------------------------------------------------------------------

PROBE = """
import hashlib, json, re, shutil, sys, tempfile
from pathlib import Path

import pandas as pd
from fastapi.testclient import TestClient
from {package}.data import ingest
from {package}.layout import Layout
from {package}.serving.app import create_app
from {package}.serving.prediction_log import PredictionLog
from {package}.serving.predictor import load_predictor
from {package}.serving.settings import Settings

folder = Path(sys.argv[1])
log = folder / "log.jsonl"
predictor = load_predictor(Path("models/serving"))
client = TestClient(create_app(predictor, PredictionLog(str(log)), Settings()))
row = predictor.contract.example
asked = [client.get(path) for path in ("/v1/model", "/v1/contract", "/openapi.json")]
for body in (row, [row] * 3, {{}}, {{**row, "é": "İ"}}):
    asked.append(client.post("/v1/predictions?reasons=2", json=body))
asked.append(client.post("/v1/explanations", json=row))
served = re.sub(r'"prediction_id":"\\w+"', "", "".join(each.text for each in asked))
times = [json.loads(line)["time"] for line in log.read_text(encoding="utf-8").splitlines()]
assert {{pd.Timestamp(time).utcoffset() for time in times}} == {{pd.Timedelta(0)}}
assert abs(pd.Timestamp.now("UTC") - pd.Timestamp(times[0])) < pd.Timedelta("1min")
assert {{each.status_code for each in asked}} == {{200, 422}}
print("served", hashlib.sha256(served.encode()).hexdigest())

# A category that no plain locale can write, and a time without a zone.
source = Path("data/sample/credit.csv").read_text(encoding="utf-8").replace("owner", "ownér")
head, *lines = source.splitlines()
lines = [f"{{line}},2024-03-31T02:30:00" for line in lines]
contract = Path("contract.yaml").read_text(encoding="utf-8").replace("owner", "ownér")
contract += "  - {{name: seen, type: datetime, role: time}}\\n"
for encoding in ("utf-8", "cp1252"):
    for end in ("\\n", "\\r\\n", "\\r"):
        layout = Layout(Path(tempfile.mkdtemp(dir=folder)))
        shutil.copy("params.yaml", layout.root)
        said = f"path: data/sample/credit.csv, encoding: {{encoding}}"
        text = contract.replace("path: data/sample/credit.csv", said)
        (layout.root / "contract.yaml").write_bytes(text.encode())
        (layout.root / "data/sample").mkdir(parents=True)
        table = end.join([f"{{head}},seen", *lines, ""]).encode(encoding)
        (layout.root / "data/sample/credit.csv").write_bytes(table)
        ingest.run(layout)
        frame = pd.read_parquet(layout.raw)
        assert "ownér" in set(frame["home"])
        found = frame.to_csv(index=False).encode()
        print("ingested", hashlib.sha256(found).hexdigest(), len(frame))
"""
ENVIRONMENTS = [
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TZ": "UTC"},
    {"LC_ALL": "C.UTF-8", "TZ": "America/St_Johns"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TZ": "Pacific/Kiritimati"},
    {"LANG": "tr_TR.UTF-8", "PYTHONUTF8": "1", "TZ": "Europe/Berlin"},
]


def test_locale_zone_line_ends_and_encoding_change_nothing(
    trained: Project, tmp_path: Path
) -> None:
    probe = tmp_path / "probe.py"
    probe.write_text(PROBE.format(package=trained.package.name), encoding="utf-8")
    found = set()
    for number, env in enumerate(ENVIRONMENTS):
        (tmp_path / str(number)).mkdir()
        command = (trained.path / ".venv/bin/python", probe, tmp_path / str(number))
        lines = trained.run(*command, env=env | source(trained)).stdout.splitlines()
        told = [line for line in lines if line.startswith(("served", "ingested"))]
        assert len(told) == 7
        found |= set(told)
    assert len(found) == 2, found  # one of the service, one of every table


# --- requests ------------------------------------------------------------------------------------

EXAMPLES = {"/v1/predictions": 1000, "/v1/feedback": 1200, "/v1/explanations": 300}
"""Of each kind; 5,000 in all, the fewest where an answer costs thousands of predictions."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def url(shared: Path, project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running service."""
    made, port = train(shared, project), free_port()
    log = tmp_path_factory.mktemp("log") / "log.jsonl"
    env = outside() | source(made) | {"PORT": str(port), "PREDICTION_LOG": str(log)}
    env["MODEL_DIR"] = str(made.path / "models/serving")
    command = (made.path / ".venv/bin/python", "-m", made.package.name, "serve")
    with started(*command, ready=f"http://127.0.0.1:{port}/health/ready", env=env):
        yield f"http://127.0.0.1:{port}"


def asked(operation: Any, mode: GenerationMode, count: int) -> int:
    """Ask what the document allows, or what it does not; give the number of requests."""
    done, session = 0, requests.Session()

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        nonlocal done
        done += 1
        case.call_and_validate(checks=CHECKS, session=session)

    ask()
    return done


@pytest.mark.parametrize("path", EXAMPLES)
def test_any_request_is_answered_as_the_document_says(
    path: str, url: str, record_property: Callable[[str, object], None]
) -> None:
    operation = schemathesis.openapi.from_url(f"{url}/openapi.json")[path]["POST"]
    start = time.process_time()
    count = sum(asked(operation, mode, EXAMPLES[path]) for mode in GenerationMode)
    took = time.process_time() - start
    record_property(f"requests to {path}", f"{count} in {took:.0f} s of a processor")
    assert count == 2 * EXAMPLES[path]


def test_what_is_only_read_is_as_the_document_says(url: str) -> None:
    document = schemathesis.openapi.from_url(f"{url}/openapi.json")
    paths = [path for path in document if path not in EXAMPLES]
    assert len(paths) == 6
    for path in paths:
        assert asked(document[path]["GET"], GenerationMode.POSITIVE, 1) == 1
