"""Parts of a file: each is scored by itself, by whatever process, and kept until all are done.

A killed run is gone on with: a part is there as a whole or not at all, in a folder whose name holds
the hash of all that it depends on.
"""

import hashlib
import os
import signal
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet

from ..contract import Source
from ..data.source import batches, is_parquet, parquet
from ..errors import ArtefactError, DataError
from ..files import replaced
from ..serving.predictor import Predictor, load_predictor
from .rows import BATCH_ROWS, REJECTED, Scorer

PART_ROWS = 1 << 17
"""Rows of a part at the least, where the file is Parquet: as many row groups as that takes."""
SCORED, REJECTS = "scored.arrow", "rejected.arrow"


class Part(NamedTuple):
    """Row groups of a Parquet file, or rows of a CSV file, which are `first` and those after it."""

    first: int
    rows: int
    content: list[int] | pa.RecordBatch


@dataclass(frozen=True)
class Job:
    """What each process has to know.

    digest: the file's SHA-256. ids: see `Scorer`. key: see `key_of`. folder: where parts are kept.
    """

    path: Path
    digest: str
    model: Path
    source: Source
    columns: tuple[str, ...]
    ids: pa.Schema
    key: str
    folder: Path

    def parts(self) -> Iterator[Part]:
        """The file's parts, in order."""
        first = 1
        if not is_parquet(self.path):
            for batch in batches(Path(), self.source, self.columns):
                yield Part(first, len(batch), batch)
                first += len(batch)
            return
        with pyarrow.parquet.ParquetFile(self.path) as file:
            sizes = [file.metadata.row_group(each).num_rows for each in range(file.num_row_groups)]
        groups, rows = [], 0
        for group, size in enumerate(sizes):
            groups.append(group)
            rows += size
            if rows >= PART_ROWS or group == len(sizes) - 1:
                yield Part(first, rows, groups)
                first, groups, rows = first + rows, [], 0

    def score(self, part: Part) -> tuple[Path, int]:
        """Score a part, unless an earlier run has: its folder, and its rows.

        Raises:
            ArtefactError: the model is another one by now.
            DataError: the file is broken.
        """
        folder = self.folder / f"{part.first}-{part.rows}"
        if not folder.is_dir():
            with replaced(folder) as new:
                new.mkdir()
                self._fill(new, part)
        return folder, part.rows

    def _fill(self, folder: Path, part: Part) -> None:
        scorer, first = _scorer(self), part.first
        given: Iterable[pa.RecordBatch] = [part.content]
        if isinstance(part.content, list):
            read = parquet(self.path, self.columns, part.content, scorer.words)
            given = (batch for batch, _ in read)
        with (
            pa.ipc.new_file(str(folder / SCORED), scorer.schema) as scored,
            pa.ipc.new_file(str(folder / REJECTS), REJECTED) as rejected,
        ):
            for large in given:
                for start in range(0, len(large), BATCH_ROWS):
                    batch = large.slice(start, BATCH_ROWS)
                    scores = scorer.table(batch, first, self.source.decimal_char)
                    scored.write_table(scores.scored)
                    rejected.write_table(scores.rejected)
                    first += len(batch)


def key_of(predictor: Predictor, digest: str, columns: Iterable[str], ids: pa.Schema) -> str:
    """The hash of all that scores depend on; predictions are numbered below its beginning."""
    parts = (predictor.info.model_dump_json(), digest, *columns, str(ids))
    return hashlib.sha256("\n".join(parts).encode("utf-8")).hexdigest()


def score_all(job: Job, processes: int) -> Generator[tuple[Path, int]]:
    """Score every part, a bounded number of them ahead of the one whose turn it is.

    Closed early, it ends when the parts that are being scored are finished.

    Raises:
        ArtefactError: the model is another one by now.
        DataError: the file is broken, or a process was killed.
    """
    parts = job.parts()
    start = list(islice(parts, 2))
    if processes == 1 or len(start) == 1:
        yield from map(job.score, chain(start, parts))
        return
    # Spawned, since a forked process would inherit locks of threads that it does not have.
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _follow_parent)
    waiting: deque[Future[tuple[Path, int]]] = deque()
    try:
        for part in chain(start, parts):
            waiting.append(_submit(pool, job, part))
            if len(waiting) > 2 * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise DataError(
            "a process was killed, maybe for want of memory; the same command goes on from the"
            " finished parts, with --processes 1 in less memory"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, job: Job, part: Part) -> Future[tuple[Path, int]]:
    """Hand a part on, with interrupts off for the process that may start: it inherits that."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return pool.submit(job.score, part)
    finally:
        signal.signal(signal.SIGINT, handler)


@lru_cache(maxsize=1)
def _scorer(job: Job) -> Scorer:
    predictor = load_predictor(job.model)
    if key_of(predictor, job.digest, job.columns, job.ids) != job.key:
        raise ArtefactError(f"{job.model} was replaced while it scored; run the command again")
    return Scorer(predictor, job.key[:20], job.ids)


def _follow_parent() -> None:
    """A process of the pool leaves interrupts to its parent, and does not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pa.set_cpu_count(1)
    parent = parent_process()
    if parent is None:
        return

    def follow() -> None:
        parent.join()
        os._exit(1)

    Thread(target=follow, daemon=True).start()
