"""Scoring a file beside ONNX Runtime alone, and beside pandas with scikit-learn, in turns.

`make bench-batch` makes a project from the default answers and trains it; with an argument it takes
that project. The file holds rows of the sample drawn anew, BENCH_ROWS (2,000,000) of them. Of each
process of a run the memory is its share of what is resident (PSS), sampled while it works; it is
measured for ten times the rows, too. Fails below the bars.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

ROWS = int(os.environ.get("BENCH_ROWS", "2000000"))
GROUP, CHUNK, ROUNDS = 100_000, 1 << 14, 3
# Of ONNX Runtime's rows a second, times those of pandas, MB a process, times the memory of a tenth.
OF_RUNTIME, TIMES_PANDAS, MOST_MB, GROWTH = 0.75, 2.2, 400, 1.15


def make(path: str, count: str) -> None:
    """Write the file: in the project's environment, as what follows."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    frame, random = pd.read_parquet("data/valid.parquet"), np.random.default_rng(7)
    schema = pa.Schema.from_pandas(frame, preserve_index=False)
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, int(count), GROUP):
            rows = random.integers(0, len(frame), min(GROUP, int(count) - start))
            drawn = pd.DataFrame({each: frame[each].to_numpy()[rows] for each in frame})
            writer.write_table(pa.Table.from_pandas(drawn, schema, preserve_index=False))


def predictor(package: str):
    from importlib import import_module

    loaded = import_module(f"{package}.serving.predictor").load_predictor(Path("models/serving"))
    return loaded, import_module(f"{package}.features").Encoder(loaded.contract)


def runtime(path: str, package: str) -> None:
    """Ask the model alone, about one encoded row group again and again."""
    import pyarrow.parquet as pq

    model, encoder = predictor(package)
    file = pq.ParquetFile(path)
    names = [column.name for column in model.contract.features]
    frame = file.read_row_group(0, names).to_pandas()
    features = encoder.columns({name: frame[name].tolist() for name in names})
    chunks = [
        type(features)(
            features.numbers[start : start + CHUNK], features.categories[start : start + CHUNK]
        )
        for start in range(0, len(frame), CHUNK)
    ]
    began = time.perf_counter()
    for _ in range(file.num_row_groups):
        for chunk in chunks:
            model.answers(chunk)
    print(time.perf_counter() - began)


def pandas(path: str, output: str, package: str) -> None:
    """What one would write first: chunks of a frame through the pipeline, one file out."""
    import pandas as pd
    import pyarrow.parquet as pq
    import skops.io

    model, encoder = predictor(package)
    names = [column.name for column in model.contract.features]
    trusted = skops.io.get_untrusted_types(file="models/model.skops")
    pipeline, parts = skops.io.load("models/model.skops", trusted=trusted), []
    for batch in pq.ParquetFile(path, pre_buffer=False).iter_batches(1 << 16, columns=names):
        frame = batch.to_pandas()
        features = encoder.columns({name: frame[name].tolist() for name in names})
        parts.append(pd.DataFrame(pipeline.predict_proba(features.table())))
    pd.concat(parts).to_parquet(output)


def watched(command: list[str], project: Path, threads: int = 1) -> tuple[float, float]:
    """Seconds, and the most MB of any of its processes."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    environment.pop("VIRTUAL_ENV", None)
    most = 0

    def look(pid: str) -> None:
        nonlocal most
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
            (line,) = (each for each in text.splitlines() if each.startswith("Pss:"))
            most = max(most, int(line.split()[1]))
            for task in Path(f"/proc/{pid}/task").iterdir():
                for child in (task / "children").read_text(encoding="utf-8").split():
                    look(child)
        except (OSError, ValueError):
            return  # it has just ended

    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    done = threading.Event()
    watcher = threading.Thread(target=lambda: _until(done, lambda: look(str(process.pid))))
    watcher.start()
    printed = process.communicate()[0].decode("utf-8")
    seconds = time.monotonic() - began
    done.set()
    watcher.join()
    if process.returncode:
        sys.exit(f"bench: {' '.join(command)} failed with {process.returncode}")
    return (float(printed) if command[2] == "runtime" else seconds), most / 1024


def _until(done: threading.Event, look: Callable[[], None]) -> None:
    while not done.wait(0.05):
        look()


def main(project: Path, folder: Path) -> None:
    package = next((project / "src").iterdir()).name
    python, given = str(project / ".venv" / "bin" / "python"), str(folder / "in.parquet")
    large, out = str(folder / "large.parquet"), str(folder / "out.parquet")
    for path, count in ((given, ROWS), (large, 10 * ROWS)):
        subprocess.run([python, __file__, "make", path, str(count)], cwd=project, check=True)
    score = [python, "-m", package, "score"]
    ways = {
        "ONNX Runtime alone": ([python, __file__, "runtime", given, package], 1),
        "score, 1 process": ([*score, given, out, "--processes=1"], 1),
        "score, 2 processes": ([*score, given, out, "--processes=2"], 1),
        "pandas and scikit-learn, 2 threads": (
            [python, __file__, "pandas", given, out, package],
            2,
        ),
    }
    runs = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, (command, threads) in ways.items():
            runs[name].append(watched(command, project, threads))
    seconds = {name: median(each[0] for each in found) for name, found in runs.items()}
    memory = {name: max(each[1] for each in found) for name, found in runs.items()}
    print("| way | rows a second | MB of the largest process |\n|---|---|---|")
    for name in ways:
        print(f"| {name} | {ROWS / seconds[name]:,.0f} | {memory[name]:.0f} |")
    alone, one, two, frames = seconds.values()
    grown = [watched([*score, large, out, f"--processes={count}"], project)[1] for count in (1, 2)]
    print(f"\nMemory of {10 * ROWS:,} rows: {grown[0]:.0f} MB alone, {grown[1]:.0f} MB of two.")
    print(
        f"One process reaches {alone / one:.2f} of ONNX Runtime, two {frames / two:.1f} times pandas."
    )
    used = list(memory.values())[1:3]
    if alone / one < OF_RUNTIME or frames / two < TIMES_PANDAS:
        sys.exit(f"bench: the bars are {OF_RUNTIME} and {TIMES_PANDAS}")
    if max(grown) > MOST_MB or any(
        new > GROWTH * old for new, old in zip(grown, used, strict=True)
    ):
        sys.exit(f"bench: the bars are {MOST_MB} MB, and {GROWTH} times the memory of a tenth")


if __name__ == "__main__":
    jobs = {"make": make, "runtime": runtime, "pandas": pandas}
    if sys.argv[1:] and sys.argv[1] in jobs:
        jobs[sys.argv[1]](*sys.argv[2:])
    else:
        from run import trained

        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            main(trained(Path(name)), Path(name))
