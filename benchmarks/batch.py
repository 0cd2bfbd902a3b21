"""Scoring a file beside ONNX Runtime alone, and beside the pipeline that was trained, in turns.

`make bench-batch` makes a project from the default answers and trains it; with an argument it takes
that project. Files hold values of the sample drawn anew: BENCH_ROWS (10,000,000) where a run is
timed from its start, and a tenth for the other ways, timed once they have begun. Of each process of
a run the memory is its share of what is resident (PSS), sampled while it works; it is measured for
the tenth, too. Fails below the bars. Of classification without derived features alone.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median

ROWS = int(os.environ.get("BENCH_ROWS", "10000000"))
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
            rows = min(GROUP, int(count) - start)
            # Each column for itself, so that hardly any row is there twice.
            drawn = pd.DataFrame({each: random.choice(frame[each], rows) for each in frame})
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
    began = time.process_time()
    for _ in range(file.num_row_groups):
        for chunk in chunks:
            model.answers(chunk)
    asked = len(frame) * file.num_row_groups  # the last group may be a smaller one
    print((time.process_time() - began) * file.metadata.num_rows / asked)


def pandas(path: str, output: str, package: str) -> None:
    """What one would write first: chunks of a frame through the pipeline that was trained."""
    from importlib import import_module

    import pandas as pd
    import pyarrow.parquet as pq
    import skops.io

    encoder = predictor(package)[1]
    names = [column.name for column in (*encoder.numbers, *encoder.categories)]
    trusted = list(import_module(f"{package}.trusted").TRUSTED_TYPES)
    pipeline = skops.io.load("models/model.skops", trusted=trusted)
    began, parts = time.perf_counter(), []
    for batch in pq.ParquetFile(path, pre_buffer=False).iter_batches(1 << 16, columns=names):
        frame = batch.to_pandas()[names]
        parts.append(pd.DataFrame(pipeline.predict_proba(frame)))
    pd.concat(parts).to_parquet(output)
    print(time.perf_counter() - began)


def watched(command: list[str], project: Path, threads: int = 1) -> tuple[float, float, float]:
    """Seconds (those that it prints, or all), of the processor, and MB of the largest process."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    for name in ("VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"):  # the latter compiles at each start
        environment.pop(name, None)
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

    began, before = time.monotonic(), getrusage(RUSAGE_CHILDREN)
    process = subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    done = threading.Event()
    watcher = threading.Thread(target=lambda: _until(done, lambda: look(str(process.pid))))
    watcher.start()
    printed = process.communicate()[0].decode("utf-8")
    seconds, after = time.monotonic() - began, getrusage(RUSAGE_CHILDREN)
    done.set()
    watcher.join()
    if process.returncode:
        sys.exit(f"bench: {' '.join(command)} failed with {process.returncode}")
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if command[2] in ("runtime", "pandas"):
        seconds = float(printed)
    return seconds, seconds if command[2] == "runtime" else busy, most / 1024


def _until(done: threading.Event, look: Callable[[], None]) -> None:
    while not done.wait(0.5):  # looking takes milliseconds of a processor
        look()


def main(project: Path, folder: Path) -> None:
    package = next((project / "src").iterdir()).name
    python = str(project / ".venv" / "bin" / "python")
    large, small, out = (str(folder / f"{name}.parquet") for name in ("large", "small", "out"))
    for path, count in ((large, ROWS), (small, ROWS // 10)):
        subprocess.run([python, __file__, "make", path, str(count)], cwd=project, check=True)

    def score(path: str, processes: int) -> list[str]:
        return [python, "-m", package, "score", path, out, f"--processes={processes}"]

    ways = {
        "ONNX Runtime alone": ([python, __file__, "runtime", small, package], 1, ROWS // 10),
        "score, 1 process": (score(large, 1), 1, ROWS),
        "score, 2 processes": (score(large, 2), 1, ROWS),
        "pandas and scikit-learn, 2 threads": (
            [python, __file__, "pandas", small, out, package],
            2,
            ROWS // 10,
        ),
    }
    runs = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, (command, threads, rows) in ways.items():
            seconds, busy, memory = watched(command, project, threads)
            runs[name].append((rows / seconds, rows / busy, memory))
    rate, of_processor, most = (
        {name: median(each[place] for each in found) for name, found in runs.items()}
        for place in range(3)
    )
    print("| way | rows | rows a second | of the processor | MB of the largest process |")
    print("|---|---|---|---|---|")
    for name, (*_, rows) in ways.items():
        rates = f"{rate[name]:,.0f} | {of_processor[name]:,.0f}"
        print(f"| {name} | {rows:,} | {rates} | {most[name]:.0f} |")
    # One process beside one: seconds of the processor, which other work on the machine moves less.
    of_runtime = of_processor["score, 1 process"] / of_processor["ONNX Runtime alone"]
    times_pandas = rate["score, 2 processes"] / rate["pandas and scikit-learn, 2 threads"]
    before = [watched(score(small, each), project)[2] for each in (1, 2)]
    print(f"\nMemory of {ROWS // 10:,} rows: {before[0]:.0f} MB alone, {before[1]:.0f} MB of two.")
    print(f"{of_runtime:.2f} of ONNX Runtime by one, {times_pandas:.1f} times pandas by two.")
    if of_runtime < OF_RUNTIME or times_pandas < TIMES_PANDAS:
        sys.exit(f"bench: the bars are {OF_RUNTIME} and {TIMES_PANDAS}")
    used = [most["score, 1 process"], most["score, 2 processes"]]
    if max(used) > MOST_MB or any(
        new > GROWTH * old for new, old in zip(used, before, strict=True)
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
