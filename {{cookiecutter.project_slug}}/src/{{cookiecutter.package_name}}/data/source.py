"""Source: the one adapter through which a table comes in, in batches of bounded size.

CSV arrives as text, column by column, and Parquet in its own types; `typed` makes the contract's
types of either. A table that cannot be read whole is refused, never read in part.
"""

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from tqdm import tqdm

from ..contract import Source
from ..errors import DataError
from .table import FAULTS, JOINED, REASONS

BLOCK_BYTES = 8 << 20
BATCH_ROWS = 1 << 16
BAR_FROM_BYTES = 50_000_000
"""Smaller tables are read before anybody looks for a progress bar."""
SQLITE = b"SQLite format 3\0"
OTHER_FORMATS = {
    b"PK\x03\x04": "an Excel workbook or a zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x1f\x8b": "compressed by gzip",
    b"BZh9": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"7z\xbc\xaf": "a 7z archive",
    b"ARROW1\0\0": "an Arrow or Feather file",
    b"Obj\x01": "an Avro file",
    b"\x89HDF": "an HDF5 file",
    b"%PDF-": "a PDF",
    b"\x80\x04\x95": "a Python pickle",
    b"\x80\x05\x95": "a Python pickle",
    b"<stata_dta>": "a Stata file",
    b"$FL2": "an SPSS file",
}


def batches(root: Path, source: Source, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows of these columns in order, file by file, with a progress bar on a terminal.

    Raises:
        DataError: a file is missing, or is no table in the dialect that `source` names; the
            message names file, line and remedy.
    """
    paths = files(root / source.path)
    size = sum(path.stat().st_size for path in paths)
    quiet = None if size >= BAR_FROM_BYTES else True  # None: where there is no terminal
    with tqdm(total=size, unit="B", unit_scale=True, disable=quiet) as bar:
        for path in paths:
            read_file = _parquet if is_parquet(path) else _csv
            yield from read_file(path, source, columns, bar)


def files(path: Path) -> list[Path]:
    """The file itself, or those of the folder by name, but hidden ones, _SUCCESS and DVC's.

    Raises:
        DataError: there is none.
    """
    if path.is_file():
        return [path]
    inside = [each for each in path.glob("[!._]*") if each.suffix != ".dvc"]
    found = sorted(each for each in inside if each.is_file())
    if not found:
        raise DataError(
            f"{path} is no file, nor a folder with files; run `make pull` if it is versioned, or"
            " correct source.path in contract.yaml"
        )
    return found


def is_parquet(path: Path) -> bool:
    """Whether the file says that it is Parquet."""
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def refuse_other_formats(path: Path) -> None:
    """Refuse what is neither CSV nor Parquet by its first bytes.

    Raises:
        DataError: it says what the file is.
    """
    with path.open("rb") as file:
        start = file.read(16)
    if start == SQLITE:
        raise DataError(
            f"{path} is a SQLite database; say DATA=sqlite:///{path} QUERY='SELECT …', and"
            " name sql in GROUPS of the Makefile"
        )
    for signature, kind in OTHER_FORMATS.items():
        if start.startswith(signature):
            raise DataError(f"{path} is {kind}, no table; save it as CSV or Parquet")


def column_names(path: Path, source: Source) -> list[str]:
    """The names of the file's columns; one without a name is called column_1, by its place.

    Raises:
        DataError: the file cannot be read, or a name stands twice or is one of the pipeline's own.
    """
    if is_parquet(path):
        try:
            found = list(pyarrow.parquet.read_schema(path).names)
        except (pa.ArrowException, OSError) as fault:
            raise DataError(f"{path} is a broken Parquet file: {fault}; write it anew") from fault
    else:
        found = _first_line(path, source)
    found = [name or f"column_{place}" for place, name in enumerate(found, 1)]
    if not found:
        raise DataError(f"{path} is empty; its first line has to name the columns")
    twice = sorted({name for name in found if found.count(name) > 1})
    if kept := sorted({FAULTS, JOINED, REASONS} & set(found)):
        raise DataError(f"{path}: the pipeline writes columns {', '.join(kept)}; rename yours")
    if nul := [name for name in found if "\0" in name]:
        raise DataError(f"{path}: the column {nul[0]!r} has a NUL in its name; rename it")
    if twice:
        raise DataError(f"{path}: {', '.join(twice)} names several columns; rename all but one")
    return found


def _first_line(path: Path, source: Source) -> list[str]:
    refuse_other_formats(path)
    try:
        with open_text(path, source) as file:
            return next(csv.reader(file, delimiter=source.delimiter), [])
    except (UnicodeError, csv.Error):
        find_fault(path, source)
        raise


def _parquet(path: Path, _: Source, columns: Sequence[str], bar: Any) -> Iterator[pa.RecordBatch]:
    size = path.stat().st_size
    for batch, share in parquet(path, columns):
        yield batch
        bar.update(int(size * share))


def parquet(
    path: Path,
    columns: Sequence[str],
    groups: Sequence[int] | None = None,
    words: Sequence[str] = (),
) -> Iterator[tuple[pa.RecordBatch, float]]:
    """The rows of a Parquet file, each batch with its share of the file.

    groups: these row groups alone, read by one thread.
    words: columns of text that stay dictionaries of the different ones, which is faster.

    Raises:
        DataError: a column is missing, or the file is broken.
    """
    names = column_names(path, Source(path=str(path)))
    require(path, names, columns)
    try:
        with pyarrow.parquet.ParquetFile(
            path, pre_buffer=False, read_dictionary=list(words)
        ) as file:
            own = dict(zip(names, file.schema_arrow.names, strict=True))
            taken = [own[name] for name in columns]
            alone = groups is None
            for batch in file.iter_batches(BATCH_ROWS, groups, taken, use_threads=alone):
                arrays = [batch[name] if name in words else plain(batch[name]) for name in taken]
                share = len(batch) / max(file.metadata.num_rows, 1)
                yield pa.record_batch(arrays, names=list(columns)), share
    except (pa.ArrowException, OSError) as fault:
        raise DataError(f"{path} is a broken Parquet file: {fault}; write it anew") from fault


def plain(values: pa.Array) -> pa.Array:
    """The values in a type that all of pyarrow's functions know; durations as whole units."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return plain(values.dictionary_decode())
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return values.cast(pa.string())
    if pa.types.is_binary_view(kind):
        return values.cast(pa.binary())
    return values.cast(pa.int64()) if pa.types.is_duration(kind) else values


def _csv(path: Path, source: Source, columns: Sequence[str], bar: Any) -> Iterator[pa.RecordBatch]:
    header = column_names(path, source)
    require(path, header, columns)
    rows = 0
    with _Counted(path, bar) as file:
        try:
            reader = pyarrow.csv.open_csv(
                file,
                pyarrow.csv.ReadOptions(
                    block_size=BLOCK_BYTES,
                    column_names=header,
                    skip_rows_after_names=1,
                    encoding=source.encoding,
                ),
                pyarrow.csv.ParseOptions(delimiter=source.delimiter, newlines_in_values=True),
                pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(header, pa.string()),
                    include_columns=list(columns),
                    strings_can_be_null=False,
                ),
            )
            for batch in reader:
                rows += len(batch)
                yield batch
        except (pa.ArrowInvalid, UnicodeError) as fault:
            find_fault(path, source)
            raise DataError(f"{path} cannot be read as CSV: {fault}") from fault
        # A quote that nobody closes takes the rows behind it into one value, without a word.
        if file.quotes and (file.quotes % 2 or file.lines != rows + 1):
            find_fault(path, source)


class _Counted(io.FileIO):
    """A file that counts its lines and quotes as it is read."""

    def __init__(self, path: Path, bar: Any) -> None:
        super().__init__(path)
        self._bar = bar
        self.lines = self.quotes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        block = super().read(-1 if size is None else size) or b""
        self.lines += block.count(b"\n")
        self.quotes += block.count(b'"')
        self._bar.update(len(block))
        return block


def require(where: object, found: Sequence[str], columns: Sequence[str]) -> None:
    """Refuse a table that lacks one of the columns.

    Raises:
        DataError: it does; the message names the column.
    """
    if missing := [name for name in columns if name not in found]:
        raise DataError(
            f"{where} lacks {', '.join(missing)} of contract.yaml; its columns are"
            f" {', '.join(found)}: rename them there, or take them out of the contract"
        )


def open_text(path: Path, source: Source) -> io.TextIOWrapper:
    """A CSV file as text, without a byte order mark, its line ends as they are."""
    is_utf8 = codecs.lookup(source.encoding).name == "utf-8"
    encoding = "utf-8-sig" if is_utf8 else source.encoding
    return path.open(encoding=encoding, newline="")


def find_fault(path: Path, source: Source) -> None:
    """Look through a CSV file line by line, strictly.

    Raises:
        DataError: for the first fault, by line; without one it returns.
    """
    csv.field_size_limit(1 << 30)
    with open_text(path, source) as file:
        reader = csv.reader(file, delimiter=source.delimiter, strict=True)
        start, width = 1, 0
        try:
            for row in reader:
                width = width or len(row)
                if row and len(row) != width:
                    raise DataError(
                        f"{path} line {start}: {len(row)} values where the first line names"
                        f" {width} columns; correct the line, quote what holds a"
                        f" {source.delimiter!r}, or name another delimiter"
                    )
                start = reader.line_num + 1
        except UnicodeError:
            pass
        except csv.Error as fault:
            raise DataError(
                f"{path} line {start}: a quoted value is not closed, or goes on behind its quote"
                f" ({fault}); double each quote inside a value"
            ) from None
        else:
            return
    _find_byte(path, source)


def _find_byte(path: Path, source: Source) -> None:
    """Refuse a file for the first byte that is not in its encoding."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode(source.encoding)
            except UnicodeDecodeError as fault:
                byte = line[fault.start : fault.start + 1]
                raise DataError(
                    f"{path} line {number}, byte {fault.start + 1}: 0x{byte.hex().upper()} is not"
                    f" {source.encoding}; as cp1252 it is {byte.decode('cp1252', 'replace')!r}: if"
                    " that fits, the encoding is cp1252 (ENCODING=cp1252 for `make adopt`,"
                    " source.encoding in contract.yaml), otherwise name the right one"
                ) from None
