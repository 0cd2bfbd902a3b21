"""Measures a project's service beside a plain FastAPI endpoint, under wrk, in turns.

And beside itself with a constant for a model, `make mock`: what it answers in sum is the service's
own overhead.

Takes the folder of a project, or makes one from the default answers. BENCH_SECONDS says
how long each of the runs takes. Fails when an answer is an error, when the prediction log has not
one line for each row answered, or when the service is too slow at one row and 32 callers.
"""

import contextlib
import csv
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from cookiecutter.main import cookiecutter

HERE = Path(__file__).resolve().parent
SECONDS = float(os.environ.get("BENCH_SECONDS", "1.5"))
ROUNDS = 5
BAR, BAR_CELL = 1.50, (1, 32)  # the ratio wanted, and where
SHARE = 10  # percent of the requests that a challenger answers, which is the champion once more
PATIENCE = 60
TYPES = {"integer": int, "number": float, "string": str}

Row = dict[str, Any]
Cell = tuple[int, int]  # rows a request, callers
CELLS: list[Cell] = [(1, 1), (1, 32), (100, 1), (100, 32)]


@dataclass(frozen=True)
class Server:
    """A running server, and where it takes one row and where a list."""

    one: str
    many: str
    log: Path

    def url(self, rows: int) -> str:
        return self.one if rows == 1 else self.many

    def lines(self) -> int:
        return self.log.read_bytes().count(b"\n")


Runs = dict[tuple[Server, Cell], list[dict[str, Any]]]


def environment() -> dict[str, str]:
    """Ours without what belongs to the workshop or slows Python down."""
    drop = ("VIRTUAL_ENV", "MAKE", "MFLAGS", "PYTHONDONTWRITEBYTECODE")
    own = {key: value for key, value in os.environ.items() if not key.startswith(drop)}
    return {**own, "OMP_NUM_THREADS": "1"}


def trained(folder: Path) -> Path:
    """The project that the caller names, or a new one in the folder, trained."""
    project = (
        sys.argv[1]
        if sys.argv[1:]
        else cookiecutter(
            str(HERE.parent), no_input=True, default_config=True, output_dir=str(folder)
        )
    )
    for target in ("setup", "train"):
        made = subprocess.run(["make", target], cwd=project, env=environment(), stdout=sys.stderr)
        if made.returncode:
            sys.exit(f"bench: make {target} failed in {project}; the reason stands above")
    return Path(project).resolve()


@contextlib.contextmanager
def served(project: Path, log: Path, *command: str, many: str = "") -> Iterator[Server]:
    """A server in the project's environment, for as long as the block lasts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "PREDICTION_LOG": str(log),
        "CHALLENGER_DIR": str(project / "models" / "serving"),
        "VARIANTS_FILE": "" if "mock" in command else str(log.with_name("variants.yaml")),
    }
    process = subprocess.Popen(
        [project / ".venv" / "bin" / "python", *command],
        cwd=project,
        env={**environment(), **own},
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        else:
            sys.exit(f"bench: {' '.join(command)} does not listen; the reason stands above")
        url = f"http://127.0.0.1:{port}/v1/predictions"
        yield Server(url, url + many, log)
    finally:
        process.kill()
        process.wait()


def sample(project: Path, contract: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the sample as a caller sends them."""
    features = [column for column in contract["fields"] if column["role"] == "feature"]
    with (project / contract["source"]["path"]).open(encoding="utf-8", newline="") as file:
        return [
            {
                column["name"]: TYPES[column["type"]](text)
                if (text := record[column["name"]]) not in contract["missingValues"]
                else None
                for column in features
            }
            for record in csv.DictReader(file)
        ]


def ask(url: str, content: Any) -> tuple[int, Any]:
    """The status and the JSON that a server answers."""
    body = json.dumps(content).encode("utf-8")
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, None


def expect_level(service: Server, peer: Server, row: dict[str, Any]) -> None:
    """Both answer in one shape, and both refuse what the contract does not allow."""
    shapes = []
    for server in (service, peer):
        (one, answer), (many, answers) = ask(server.one, row), ask(server.many, [row, row])
        if (one, many) != (200, 200) or len(answers) != 2:
            sys.exit(f"bench: {server.one} answers {one} and {many} to rows of the sample")
        shapes.append([(name, type(value)) for name, value in answer.items()])
    if shapes[0] != shapes[1]:
        sys.exit(f"bench: the service answers {shapes[0]}, its peer {shapes[1]}; align peer.py")
    wrong = [{**row, "surprise": 1}, *({**row, name: []} for name in row)]
    wrong += [{**row, name: 1e30} for name in row]
    wrong += [{key: row[key] for key in row if key != name} for name in row]
    for body in wrong:
        statuses = [ask(server.one, body)[0] for server in (service, peer)]
        if statuses != [422, 422]:
            sys.exit(f"bench: service and peer answer {statuses} to {body}; align peer.py")


def load(server: Server, rows: int, callers: int, bodies: Path) -> dict[str, Any]:
    """One run of wrk: what it counted, and the rate."""
    limit = f"-d{math.ceil(SECONDS) + 10}s"  # the script ends it earlier
    command = ["wrk", "-t1", f"-c{callers}", limit, "-s", str(HERE / "load.lua")]
    arguments = ["--", str(bodies), str(SECONDS), str(callers)]
    run = subprocess.run(
        [*command, server.url(rows), *arguments], capture_output=True, encoding="utf-8"
    )
    _, found, text = run.stdout.partition("result: ")
    result: dict[str, Any] = json.loads(text) if found else {}
    if not result or result["errors"] or result["answered"] != result["sent"]:
        sys.exit(f"bench: {server.url(rows)} left requests without a good answer\n{run.stdout}")
    return {**result, "rate": result["answered"] / result["seconds"]}


def measure(servers: list[Server], bodies: dict[int, Path]) -> Runs:
    """Every cell, several times; the servers take turns at being the first."""
    runs: Runs = {}
    for turn in range(ROUNDS):
        for cell in CELLS:
            for server in servers if turn % 2 else servers[::-1]:
                runs.setdefault((server, cell), []).append(load(server, *cell, bodies[cell[0]]))
    return runs


def report(service: Server, peer: Server, mock: Server, runs: Runs) -> dict[Cell, float]:
    """Print the table, and give the ratio of each cell to the peer."""
    heads = ("service req/s", "p50, p99 ms", "peer req/s", "p50, p99 ms", "ratio", "of a constant")
    print(f"| rows, callers | {' | '.join(heads)} |")
    print("|---" * (len(heads) + 1) + "|")
    ratios = {}
    for cell in CELLS:
        both = [runs[service, cell], runs[peer, cell]]
        # Two runs of a round are neighbours in time, so what else the machine does cancels out.
        ratios[cell] = ratio(*both)
        figures = []
        for each in both:
            rate, p50, p99 = (median(run[key] for run in each) for key in ("rate", "p50", "p99"))
            figures.append(f"{rate:.0f} | {p50:.2f}, {p99:.1f}")
        own = f"{ratios[cell]:.2f} | {ratio(runs[service, cell], runs[mock, cell]):.2f}"
        print(f"| {cell[0]}, {cell[1]} | {' | '.join(figures)} | {own} |")
    return ratios


def ratio(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> float:
    """How many times their rate ours is."""
    return median(own["rate"] / other["rate"] for own, other in zip(ours, theirs, strict=True))


def main() -> None:
    if shutil.which("wrk") is None:
        sys.exit("bench: wrk is not installed; apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        project = trained(folder)
        contract = yaml.safe_load((project / "contract.yaml").read_text(encoding="utf-8"))
        rows = sample(project, contract)[:1000]
        lists = [rows[start : start + 100] for start in range(0, len(rows) - 99, 100)]
        bodies = {}
        for size, each in ((1, rows), (100, lists)):
            bodies[size] = folder / f"{size}.jsonl"
            lines = "".join(json.dumps(body) + "\n" for body in each)
            bodies[size].write_text(lines, encoding="utf-8")
        model = json.loads((project / "models/serving/model.json").read_text(encoding="utf-8"))
        wanted = {"challenger": model["version"], "share": SHARE, "limits": {"latency_ms": 1e6}}
        (folder / "variants.yaml").write_text(yaml.safe_dump(wanted), encoding="utf-8")
        (package,) = (path.name for path in (project / "src").iterdir())
        with (
            served(project, folder / "service.log", "-m", package, "serve") as service,
            served(project, folder / "peer.log", str(HERE / "peer.py"), many="/list") as peer,
            served(project, folder / "mock.log", "-m", package, "mock") as mock,
        ):
            expect_level(service, peer, rows[0])
            before = service.lines()
            runs = measure([service, mock, peer], bodies)
            logged = service.lines() - before
            if peer.lines():
                sys.exit("bench: the peer has logged predictions, so it is not the peer that ran")
        for log in (project / "logs").glob("mock*.jsonl"):
            log.unlink()
    ratios = report(service, peer, mock, runs)
    answered = sum(run["answered"] * cell[0] for cell in CELLS for run in runs[service, cell])
    print(f"\nPrediction log: {logged} lines for {answered} rows answered.", flush=True)
    if logged != answered:
        sys.exit("bench: the prediction log has not one line for each row answered")
    if ratios[BAR_CELL] < BAR:
        sys.exit(f"bench: {ratios[BAR_CELL]:.2f} at 1 row and 32 callers is below {BAR:.2f}")


if __name__ == "__main__":
    main()
