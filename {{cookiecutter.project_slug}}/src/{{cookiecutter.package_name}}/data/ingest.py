"""Ingest: a typed snapshot of the source, which the rest of the pipeline reads."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet

from ..contract import Contract, load_contract
from ..errors import DataError
from ..files import write_atomically
from ..layout import Layout
from .source import batches, column_names, files
from .table import FAULTS, JOINED
from .typed import kind, typed

if TYPE_CHECKING:
    import pandas as pd


def run(layout: Layout = Layout()) -> None:
    """Write the contract's columns, but the excluded ones, as Parquet.

    A value that is none of its type becomes missing, and FAULTS of its row says so. JOINED tells
    rows of feedback from the source's.

    Raises:
        DataError: the source cannot be read, or its columns are not the contract's; the old
            snapshot stays.
    """
    contract = load_contract(layout.contract)
    source = layout.root / contract.source.path
    for path in files(source):
        refuse_unknown(path, contract)
    wrong: Counter[str] = Counter()
    write_atomically(layout.raw, lambda temporary: _write(temporary, layout, contract, wrong))
    size = pyarrow.parquet.read_metadata(layout.raw)
    print(f"ingest: {size.num_rows} rows, {size.num_columns - 2} columns from {source}")
    for name, count in wrong.items():
        print(f"ingest: {count} values of {name} are none of its type; validate says which")


def frame(layout: Layout = Layout()) -> "pd.DataFrame":
    """The source in the contract's types, with FAULTS and JOINED, for a notebook.

    Raises:
        DataError: as `run` does.
    """
    contract = load_contract(layout.contract)
    pieces = snapshot(layout, contract, Counter())
    table: pd.DataFrame = pa.Table.from_batches(pieces, schema(contract)).to_pandas()
    return table


def snapshot(layout: Layout, contract: Contract, wrong: Counter[str]) -> Iterator[pa.RecordBatch]:
    """The source in the contract's types, then the rows of feedback, with FAULTS and JOINED.

    Counts the wrong values by column.
    """
    names = [column.name for column in contract.kept]
    decimal = contract.source.decimal_char
    for batch in batches(layout.root, contract.source, names):
        columns = []
        notes: dict[int, list[str]] = {}
        for column in contract.kept:
            given = batch[column.name]
            values, faulty = typed(column, given, contract.missing_values, decimal)
            columns.append(values)
            for place in faulty.to_numpy(zero_copy_only=False).nonzero()[0].tolist():
                found = "a value" if column.pii else repr(given[place].as_py())
                notes.setdefault(place, []).append(f"{column.name}: {found} is no {column.type}")
                wrong[column.name] += 1
        faults = ["; ".join(notes.get(place, ())) for place in range(len(batch))] if notes else ""
        noted = pa.repeat("", len(batch)) if faults == "" else pa.array(faults, pa.string())
        joined = pa.repeat(pa.scalar(value=False), len(batch))
        yield pa.record_batch([*columns, noted, joined], schema=schema(contract))
    if not (layout.feedback.exists() or layout.feedback_tracked.exists()):
        return
    from .feedback import rows  # pandas takes longer to import than a small table to read

    added = rows(layout, contract)
    added[FAULTS], added[JOINED] = "", True
    yield from pa.Table.from_pandas(added, schema(contract), preserve_index=False).to_batches()


def schema(contract: Contract) -> pa.Schema:
    """The types of a snapshot."""
    fields = [(column.name, kind(column)) for column in contract.kept]
    return pa.schema([*fields, (FAULTS, pa.string()), (JOINED, pa.bool_())])


def refuse_unknown(path: Path, contract: Contract) -> None:
    """Refuse a table with columns that the contract does not know.

    Raises:
        DataError: it names them.
    """
    known = {column.name for column in contract.fields}
    found = column_names(path, contract.source)
    if len(found) == 1:
        raise DataError(
            f"{path}: the delimiter {contract.source.delimiter!r} finds one column,"
            f" {found[0]!r:.60}; name the right one as source.delimiter in contract.yaml"
        )
    if unknown := [name for name in found if name not in known]:
        raise DataError(
            f"{path} has {', '.join(unknown)}, which contract.yaml does not know; add them"
            " there, with role excluded if the model may not see them"
        )


def _write(path: Path, layout: Layout, contract: Contract, wrong: Counter[str]) -> None:
    kinds = schema(contract)
    texts = [field.name for field in kinds if field.type == pa.string()]
    writer = pyarrow.parquet.ParquetWriter(path, kinds, use_dictionary=texts)
    # Written in a thread of its own, so that reading goes on meanwhile.
    with writer, ThreadPoolExecutor(1) as pool:
        last = pool.submit(lambda: None)
        for batch in snapshot(layout, contract, wrong):
            last.result()
            last = pool.submit(writer.write_batch, batch)
        last.result()
