"""Measures a project's service beside what one would pick instead, under wrk, in turns.

Takes the folder of a project for classification, or makes one from the default answers. Each peer
serves the pipeline that the project trained, in an environment of its own that `uv` makes from the
head of its file in peers/, with one worker, as the service has. PEER_SECONDS says how long each of
the runs takes. Fails when an answer is an error, when a peer scores a row otherwise, or when a bar
is missed.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import run
import yaml
from run import CELLS, Cell, Row, ask, environment, load, sample, trained

PEERS = run.HERE / "peers"
ROUNDS = 3
RATIOS: dict[Cell, float] = {(1, 1): 20, (1, 32): 30, (100, 1): 4, (100, 32): 4}
TUTORIAL_RATIO = 60  # at 1 row and 32 callers
START, MEMORY, LEANEST, WORKERS = 1 / 4, 120.0, 2 / 3, 1.5
AGREED = 1e-6  # of scores, in the median; trees answer a few rows otherwise in float32
EXPORT = """
import json, sys
from pathlib import Path
import joblib, skops.io, yaml
from {package}.features import Encoder
from {package}.contract import load_contract
from {package}.trusted import TRUSTED_TYPES
encoder, folder = Encoder(load_contract(Path("contract.yaml"))), Path(sys.argv[1])
model = skops.io.load("models/model.skops", trusted=list(TRUSTED_TYPES))
joblib.dump(model, folder / "model.joblib")
columns = {{"numbers": encoder.numbers, "words": encoder.categories}}
names = {{kind: [each.name for each in found] for kind, found in columns.items()}}
(folder / "columns.json").write_text(json.dumps(names), encoding="utf-8")
"""


@dataclass(frozen=True)
class Kind:
    """How a server is asked, and where its answer holds the scores."""

    path: str
    many: str
    body: Callable[[list[Row]], Any]
    scores: Callable[[Any], list[float]]


def one_or_list(rows: list[Row]) -> Any:
    return rows[0] if len(rows) == 1 else rows


def told(answer: Any) -> list[float]:
    return [each["score"] for each in (answer if isinstance(answer, list) else [answer])]


def inference(rows: list[Row]) -> Any:
    """The Open Inference Protocol, column by column."""
    inputs = []
    for name, value in rows[0].items():
        words = isinstance(value, str)
        tensor = {"name": name, "shape": [len(rows), 1], "datatype": "BYTES" if words else "FP64"}
        content = {"content_type": "str" if words else "np"}
        inputs.append({**tensor, "data": [row[name] for row in rows], "parameters": content})
    outputs = [{"name": "predict_proba"}]
    return {"parameters": {"content_type": "pd"}, "inputs": inputs, "outputs": outputs}


def rows_of(rows: list[Row]) -> Any:
    return {"rows": rows}


OURS = Kind("/v1/predictions", "/v1/predictions", one_or_list, told)
KINDS = {
    "tutorial": Kind(
        "/predict", "/predict/list", one_or_list, lambda a: a if isinstance(a, list) else told(a)
    ),
    "mlflow_serve": Kind(
        "/invocations",
        "/invocations",
        lambda rows: {"dataframe_records": rows},
        lambda answer: [each[-1] for each in answer["predictions"]],
    ),
    "bento": Kind("/predict", "/predict", rows_of, lambda answer: answer),
    "lit": Kind("/predict", "/predict", rows_of, lambda answer: answer),
    "mlserver_serve": Kind(
        "/v2/models/model/infer",
        "/v2/models/model/infer",
        inference,
        lambda answer: answer["outputs"][0]["data"][1::2],
    ),
}


@dataclass(frozen=True)
class Running:
    """A server that answers, the seconds that it took to, and its processes' memory in MB."""

    name: str
    server: run.Server
    bodies: dict[int, Path]
    start: float
    memory: float


def free_ports() -> int:
    """The first of three ports in a row, as far as one can tell."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def descendants(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text(encoding="utf-8").split():
            yield from descendants(int(child))


def memory(pid: int) -> float:
    """MB of a process and its descendants, pages that they share counted once."""
    total = 0
    for each in descendants(pid):
        text = Path(f"/proc/{each}/smaps_rollup").read_text(encoding="utf-8")
        total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total / 1024


@contextlib.contextmanager
def running(
    name: str, kind: Kind, command: list[str], port: int, rows: list[Row], folder: Path, **own: str
) -> Iterator[Running]:
    """A server, from its start to its first answer and then for as long as the block lasts."""
    lists = {1: [[row] for row in rows], 100: [rows[at : at + 100] for at in range(0, 900, 100)]}
    bodies = {size: folder / f"{name}-{size}.jsonl" for size in lists}
    for size, each in lists.items():
        text = "".join(json.dumps(kind.body(part)) + "\n" for part in each)
        bodies[size].write_text(text, encoding="utf-8")
    url = f"http://127.0.0.1:{port}"
    server = run.Server(url + kind.path, url + kind.many, folder / f"{name}.log")
    with server.log.open("wb") as log:
        began = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=own.pop("cwd", folder),
            env={**environment(), **own},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        first = kind.body(rows[:1])
        while True:
            with contextlib.suppress(OSError):
                if ask(server.one, first)[0] == 200:
                    break
            if process.poll() is not None or time.monotonic() > began + run.PATIENCE:
                text = server.log.read_text(encoding="utf-8", errors="replace")
                sys.exit(f"peers: {name} does not answer\n{text[-3000:]}")
            time.sleep(0.02)
        start = time.monotonic() - began
        for _ in range(20):
            ask(server.many, kind.body(rows[:100]))
        yield Running(name, server, bodies, start, memory(process.pid))
    finally:
        process.terminate()  # for BentoML's workers, which a kill of its group leaves
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def python_of(name: str) -> str:
    """The interpreter of a peer's environment, which uv makes where there is none."""
    file = str(PEERS / f"{name}.py")
    subprocess.run(["uv", "sync", "--quiet", "--script", file], check=True)
    found = subprocess.run(
        ["uv", "python", "find", "--script", file], check=True, capture_output=True
    )
    return found.stdout.decode("utf-8").strip()


def expect_agreement(servers: list[Running], rows: list[Row]) -> None:
    """All score the same rows alike, one by one and in a list."""
    answers = {}
    for each in servers:
        kind = KINDS.get(each.name, OURS)
        status, many = ask(each.server.many, kind.body(rows[:100]))
        ones = [ask(each.server.one, kind.body([row]))[1] for row in rows[:5]]
        if status != 200 or None in ones:
            sys.exit(f"peers: {each.name} answers {status}")
        answers[each.name] = kind.scores(many)
        alone = [score for one in ones for score in kind.scores(one)]
        if max(abs(a - b) for a, b in zip(alone, answers[each.name], strict=False)) > 1e-3:
            sys.exit(f"peers: {each.name} scores a row otherwise in a list")
    for name, scores in answers.items():
        apart = median(abs(a - b) for a, b in zip(scores, answers["service"], strict=True))
        if apart > AGREED:
            sys.exit(f"peers: {name} scores rows otherwise than the service, by {apart:.2g}")


def measure(servers: list[Running]) -> dict[tuple[str, Cell], list[dict[str, Any]]]:
    """Every cell, several times; the servers take turns, in another order each round."""
    runs: dict[tuple[str, Cell], list[dict[str, Any]]] = {}
    for turn in range(ROUNDS):
        for cell in CELLS:
            for each in servers[turn:] + servers[:turn]:
                found = load(each.server, *cell, each.bodies[cell[0]])
                runs.setdefault((each.name, cell), []).append(found)
    return runs


def report(
    servers: list[Running], runs: dict[tuple[str, Cell], list[dict[str, Any]]]
) -> dict[tuple[str, Cell], float]:
    """Print the table, and give how many times a peer's rate ours is."""
    names = [f"{rows}, {callers}" for rows, callers in CELLS]
    print(f"| server | {' | '.join(names)} | start s | memory MB |")
    print("|---" * (len(CELLS) + 3) + "|")
    times = {}
    for each in servers:
        cells = []
        for cell in CELLS:
            rate, p99 = (
                median(run[key] for run in runs[each.name, cell]) for key in ("rate", "p99")
            )
            pairs = zip(runs["service", cell], runs[each.name, cell], strict=True)
            times[each.name, cell] = median(own["rate"] / other["rate"] for own, other in pairs)
            ratio = "" if each.name == "service" else f"; {times[each.name, cell]:.3g}"
            cells.append(f"{rate:.0f} ({p99:.1f}{ratio})")
        print(f"| {each.name} | {' | '.join(cells)} | {each.start:.1f} | {each.memory:.0f} |")
    print(
        "\nRequests a second by rows a request and callers (p99 in ms; ours / theirs).", flush=True
    )
    return times


def missed(servers: list[Running], times: dict[tuple[str, Cell], float]) -> Iterator[str]:
    """Each bar that is not kept."""
    service, two, *peers = servers
    for (name, cell), ratio in times.items():
        if name in KINDS:
            bar = TUTORIAL_RATIO if (name, cell) == ("tutorial", (1, 32)) else RATIOS[cell]
            if ratio < bar:
                yield f"{ratio:.1f} times {name} at {cell[0]} rows, {cell[1]} callers, not {bar}"
    if (more := 1 / times[two.name, (1, 32)]) < WORKERS:
        yield f"two workers answer {more:.2f} times what one does, not {WORKERS}"
    tutorial = next(each for each in peers if each.name == "tutorial")
    if service.start > START * tutorial.start:
        yield f"the service starts in {service.start:.1f} s, the tutorial's in {tutorial.start:.1f}"
    if service.memory > min(MEMORY, LEANEST * min(each.memory for each in peers)):
        yield f"the service takes {service.memory:.0f} MB"


def main() -> None:
    if shutil.which("wrk") is None:
        sys.exit("peers: wrk is not installed; apt-get install wrk")
    run.SECONDS = float(os.environ.get("PEER_SECONDS", "1.5"))
    with tempfile.TemporaryDirectory(prefix="peers-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        project = trained(folder)
        (package,) = (path.name for path in (project / "src").iterdir())
        python = str(project / ".venv" / "bin" / "python")
        script = EXPORT.format(package=package)
        subprocess.run([python, "-c", script, str(folder)], cwd=project, check=True)
        contract = yaml.safe_load((project / "contract.yaml").read_text(encoding="utf-8"))
        columns = json.loads((folder / "columns.json").read_text(encoding="utf-8"))
        order = [*columns["numbers"], *columns["words"]]
        # Those without gaps, which each server would want to be written in a way of its own.
        rows = [row for row in sample(project, contract) if None not in row.values()][:900]
        rows = [{name: row[name] for name in order} for row in rows]
        servers = []
        for own, workers in (("service", "1"), ("service, 2 workers", "2")):
            port = free_ports()
            more = {"PORT": str(port), "PREDICTION_LOG": str(folder / f"{workers}.jsonl")}
            more |= {"WORKERS": workers, "cwd": str(project)}
            command = [python, "-m", package, "serve"]
            servers.append(
                stack.enter_context(running(own, OURS, command, port, rows, folder, **more))
            )
        for peer, kind in KINDS.items():
            port = free_ports()
            command = [python_of(peer), str(PEERS / f"{peer}.py"), str(folder), str(port)]
            servers.append(stack.enter_context(running(peer, kind, command, port, rows, folder)))
        expect_agreement(servers, rows)
        runs = measure(servers)
    faults = list(missed(servers, report(servers, runs)))
    if faults:
        sys.exit("\n".join(f"peers: {fault}" for fault in faults))


if __name__ == "__main__":
    main()
