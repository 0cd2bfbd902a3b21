"""Survey: what every row of a table shows, read once in bounded memory."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..contract import Source
from ..data.source import batches, column_names, files
from ..errors import DataError
from .evidence import Evidence, as_texts

SAMPLE = 20_000
"""Rows kept for examples and for the search for leaks."""


def survey(source: Source) -> tuple[dict[str, Evidence], pa.Table]:
    """What each column shows, by name, and some of the rows from all over the table.

    Raises:
        DataError: a file cannot be read, or has other columns than the first.
    """
    paths = files(Path(source.path))
    names = column_names(paths[0], source)
    for path in paths[1:]:
        if set(others := column_names(path, source)) != set(names):
            differing = sorted(set(others) ^ set(names))
            raise DataError(
                f"{path} and {paths[0]} differ in {', '.join(differing)}; give all files the same"
                " columns"
            )
    evidence: dict[str, Evidence] = {}
    pieces: list[pa.RecordBatch] = []
    random = np.random.default_rng(0)
    with ThreadPoolExecutor() as pool:
        coming = batches(Path(), source, names)
        ahead = pool.submit(next, coming, None)  # read while the one before is looked at
        while (batch := ahead.result()) is not None:
            ahead = pool.submit(next, coming, None)
            for name in names:
                if name not in evidence:
                    evidence[name] = Evidence(name, source.decimal_char)
            looking = [pool.submit(evidence[name].add, batch[name]) for name in names]
            some = random.choice(len(batch), min(len(batch), SAMPLE // 2), replace=False)
            taken = batch.take(pa.array(np.sort(some)))
            pieces.append(pa.record_batch([as_texts(each) for each in taken], names=names))
            for each in looking:
                each.result()
    if not evidence or not evidence[names[0]].rows:
        raise DataError(f"{paths[0]} has no rows; a model needs some")
    sample = pa.Table.from_batches(pieces)
    if len(sample) > SAMPLE:
        sample = sample.take(np.sort(random.choice(len(sample), SAMPLE, replace=False)))
    return evidence, sample
