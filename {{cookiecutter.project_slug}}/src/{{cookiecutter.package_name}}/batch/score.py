"""Score: a file of rows through the predictor of the service, with every core, in bounded memory.

The results and the rejected rows appear whole, when all is done.
"""

import argparse
import codecs
import glob
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from filelock import FileLock, Timeout
from tqdm import tqdm

from ..contract import Contract, Source
from ..data.source import column_names, is_parquet, require
from ..errors import DataError
from ..serving.predictor import Predictor, load_predictor
from ..serving.settings import model_dir
from .parts import REJECTS, SCORED, Job, key_of, score_all
from .rows import REJECTED, Scorer, shown_ids

SOME_REJECTED = 3
"""The exit code that says that some rows are in the file of rejected ones."""
BATCHES = 2
"""Batches written at once: the rows of a row group of the output."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.epilog = "exit code: 0 all rows scored, 3 some rejected, 1 refused, 130 on Ctrl-C"
    parser.add_argument("table", metavar="IN", type=Path, help="a CSV or Parquet file")
    parser.add_argument("output", metavar="OUT", type=Path, help="a file .csv or .parquet")
    parser.add_argument("--processes", type=int, default=_cores(), help="default: one each core")


def run(table: Path, output: Path, processes: int, model: Path | None = None) -> None:
    """Score a file; rejected rows go to the file beside it with `.rejected` in its name.

    model: the folder, where it is not the one that the environment names.

    Raises:
        ArtefactError: the model cannot be used.
        DataError: the file cannot be scored, or the output not written.
        SystemExit: some rows were rejected.
    """
    began = time.monotonic()
    rejects = output.with_name(f"{output.stem}.rejected{output.suffix}")
    _check(table, (output, rejects), processes)
    before = table.stat()
    folder = model or model_dir()
    predictor = load_predictor(folder)
    job = _job(table, output, folder, predictor)
    schema = Scorer(predictor, job.key[:20], job.ids).schema
    try:
        with _alone(output):
            kept = _prepare(job, output)
            scored, rejected = _collect(job, schema, processes, output.suffix)
            after = table.stat()
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise DataError(f"{table} was changed while it was read; run the command again")
            if rejected:
                (job.folder / f"rejected{output.suffix}").replace(rejects)
            else:
                rejects.unlink(missing_ok=True)
            (job.folder / f"scored{output.suffix}").replace(output)
            shutil.rmtree(job.folder)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on from the finished parts") from None
    except (OSError, UnicodeError, pa.ArrowException) as fault:
        raise DataError(
            f"{output}: {fault}; free space, or correct {table}, and run the command again, which"
            " goes on from the finished parts"
        ) from fault
    seconds = time.monotonic() - began
    print(
        f"score: {scored} rows of {table} scored by {predictor.info.version} into {output}"
        f" in {seconds:.1f} s" + (f", {kept} parts by an earlier run" if kept else "")
    )
    if rejected:
        print(f"score: {rejected} rows rejected; {rejects} says why", file=sys.stderr)
        sys.exit(SOME_REJECTED)


def _cores() -> int:
    found = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))
    return len(found(0))


def _check(table: Path, outputs: tuple[Path, Path], processes: int) -> None:
    output = outputs[0]
    if processes < 1:
        raise DataError(f"--processes is {processes}; say 1 or more")
    if output.suffix not in (".csv", ".parquet") or output.is_dir():
        raise DataError(f"{output} is no name for a result; let it end in .csv or .parquet")
    if not table.is_file() or not os.access(table, os.R_OK):
        raise DataError(f"{table} is no file that can be read; name a CSV or Parquet file")
    if table.resolve() in [each.resolve() for each in outputs]:
        raise DataError(f"{table} would be overwritten; name another file for the result")


def _dialect(table: Path, contract: Contract) -> Source:
    """How the file is read: as the contract's source, or as CSV is mostly written.

    The latter where it makes more of the first line. UTF-8 goes before the contract's encoding,
    since one that takes any byte would read it wrongly without a word.
    """
    own = contract.source.model_copy(update={"path": str(table)})
    if is_parquet(table):
        return own
    if codecs.lookup(own.encoding).name != "utf-8" and _is_utf8_beyond_ascii(table):
        own = own.model_copy(update={"encoding": "utf-8"})

    def named(source: Source) -> int:
        with suppress(DataError, UnicodeError):
            return len(
                {column.name for column in contract.features} & {*column_names(table, source)}
            )
        return 0

    found = max(own, Source(path=str(table)), key=named)
    if _told(found) != _told(contract.source):
        print(
            f"score: {table}: read as {_told(found)}, unlike contract.yaml's source",
            file=sys.stderr,
        )
    return found


def _told(source: Source) -> str:
    encoding = codecs.lookup(source.encoding).name
    return f"{encoding} with {source.delimiter!r} and {source.decimal_char!r}"


def _is_utf8_beyond_ascii(table: Path) -> bool:
    """Whether the file is UTF-8 beyond ASCII, as text in another encoding hardly ever is."""
    with table.open(encoding="utf-8", newline="") as file:
        try:
            return False in {block.isascii() for block in iter(partial(file.read, 1 << 20), "")}
        except UnicodeDecodeError:
            return False


def _job(table: Path, output: Path, folder: Path, predictor: Predictor) -> Job:
    """Refuses the file before anything is written."""
    contract = predictor.contract
    source = _dialect(table, contract)
    names = column_names(table, source)
    how = "" if is_parquet(table) else f", read as {_told(source)},"
    require(f"{table}{how}", names, [column.name for column in contract.features])
    wanted = [column.name for column in contract.requested]
    if extra := [name for name in names if name not in wanted]:
        print(f"score: {table}: ignored columns {', '.join(extra):.300}", file=sys.stderr)
    columns = tuple(name for name in wanted if name in names)
    if is_parquet(table):
        given = pyarrow.parquet.read_schema(table)
    else:
        given = pa.schema([(name, pa.string()) for name in names])
    ids = shown_ids(contract, given)
    with table.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    key = key_of(predictor, digest, columns, ids)
    parts = output.with_name(f".{output.name}.{key[:16]}.parts")
    return Job(table, digest, folder, source, columns, ids, key, parts)


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Keeps a second run from the parts of the first, whichever model and input it has."""
    output.parent.mkdir(parents=True, exist_ok=True)
    path = output.with_name(f".{output.name}.lock")
    try:
        lock = FileLock(path).acquire(blocking=False)
    except Timeout:
        raise DataError(
            f"{output}: another run writes it; wait until that one ends, or name another file"
        ) from None
    with lock:
        try:
            yield
        finally:
            with suppress(OSError):  # Windows deletes no open file
                path.unlink()


def _prepare(job: Job, output: Path) -> int:
    """Make the folder of the parts, and delete those of other runs; how many parts there are."""
    for other in output.parent.glob(f".{glob.escape(output.name)}.*.parts"):
        if other != job.folder:
            shutil.rmtree(other)
    job.folder.mkdir(parents=True, exist_ok=True)
    return len(list(job.folder.glob("*-*")))


def _collect(job: Job, schema: pa.Schema, processes: int, suffix: str) -> tuple[int, int]:
    """Write both results into the folder of the parts: how many rows were scored and rejected."""
    scored = rows = 0
    folders = []
    total = pyarrow.parquet.read_metadata(job.path).num_rows if is_parquet(job.path) else 0
    # CSV has a bar of bytes, by the source; None is one where there is a terminal.
    with (
        tqdm(total=total, unit=" rows", unit_scale=True, disable=None if total else True) as bar,
        _writer(job.folder / f"scored{suffix}", schema) as writer,
        closing(score_all(job, processes)) as parts,
    ):
        for folder, size in parts:
            scored += _copy(folder / SCORED, writer)
            rows += size
            folders.append(folder)
            bar.update(size)
    if rows > scored:
        with _writer(job.folder / f"rejected{suffix}", REJECTED) as writer:
            for folder in folders:
                _copy(folder / REJECTS, writer)
    return scored, rows - scored


def _writer(path: Path, schema: pa.Schema) -> Any:
    if path.suffix == ".csv":
        return pyarrow.csv.CSVWriter(str(path), schema)
    few = ["model_version", "label", "threshold", "field", "message"]
    return pyarrow.parquet.ParquetWriter(path, schema, use_dictionary=few)


def _copy(path: Path, writer: Any) -> int:
    with pa.memory_map(str(path)) as file:
        reader, rows = pa.ipc.open_file(file), 0
        for start in range(0, reader.num_record_batches, BATCHES):
            some = range(start, min(start + BATCHES, reader.num_record_batches))
            table = pa.Table.from_batches([reader.get_batch(each) for each in some])
            writer.write_table(table)
            rows += len(table)
    return rows
