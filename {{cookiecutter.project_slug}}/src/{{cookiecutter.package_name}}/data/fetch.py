"""Fetch: bring a table into the project, from a file, a glob, an object store or a database."""

import argparse
import csv
import glob
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path, PurePath, PurePosixPath
from typing import Any
from urllib.parse import quote, quote_plus

from tqdm import tqdm

from ..contract import Contract, load_contract
from ..errors import DataError
from ..layout import Layout
from .ingest import refuse_unknown
from .source import batches, files

ROWS_AT_ONCE = 10_000
GROUPS = {"s3": "aws", "gs": "gcp", "gcs": "gcp", "abfs": "azure", "abfss": "azure", "az": "azure"}
"""The dependency group that brings each scheme's file system."""
DATABASE = re.compile(r"(postgres|postgresql|mysql|mariadb|sqlite|oracle|mssql)(\+\w+)?://")


@dataclass(frozen=True)
class Taken:
    """A table as it was taken.

    place: where its file or folder is now.
    path: where it will be, from the project's folder.
    origin: what the contract says about where it came from.
    """

    layout: Layout
    place: Path
    path: str
    origin: dict[str, str]

    def keep(self) -> None:
        """Put it where it will be, each file whole or not at all, and under DVC's control."""
        target = self.layout.root / self.path
        if self.place.resolve() != target.resolve():
            target.parent.mkdir(parents=True, exist_ok=True)
            if self.place.is_file():
                self.place.replace(target)
            else:
                target.mkdir(exist_ok=True)
                names = {each.name for each in self.place.iterdir()}
                for name in sorted(names):
                    (self.place / name).replace(target / name)
                for old in target.glob("[!.]*"):
                    if old.name not in names:
                        old.unlink()
        if (self.layout.root / ".dvc").is_dir():
            from ..versions import track

            track(self.layout.root, target)


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `make fetch` passes on."""
    parser.add_argument("--data", default="", help="a newer table: file, glob, or URL")
    parser.add_argument("--query", default="", help="SQL, where data is a database's URL")


def run(layout: Layout = Layout(), *, data: str = "", query: str = "") -> None:
    """Take the contract's table again from where it came from, or a newer one from `data`.

    Raises:
        DataError: the contract names no origin, or the table cannot be read whole in the
            contract's dialect, or has other columns; the old table stays.
    """
    contract = load_contract(layout.contract)
    source = contract.source
    data = data or source.from_ or ""
    if not data:
        raise DataError(
            f"{layout.contract}: source.from names no origin, so {source.path} itself is the"
            " source; `make fetch DATA=newer.csv` puts a newer table in its place"
        )
    if DATABASE.match(data):
        query = query or source.query or ""
    with take(layout, data, query, source.path) as taken:
        _refuse_others(taken.place, contract)
        taken.keep()
    print(f"fetch: {source.path} taken from {data}; `make train` goes on from there")


def _refuse_others(place: Path, contract: Contract) -> None:
    """Read the table to its end, in the contract's dialect and with the contract's columns."""
    for each in files(place):
        refuse_unknown(each, contract)
    kept = [column.name for column in contract.kept]
    for _ in batches(Path(), contract.source.model_copy(update={"path": str(place)}), kept):
        pass


@contextmanager
def take(layout: Layout, data: str, query: str = "", path: str = "") -> Iterator[Taken]:
    """Copy the table beside its place, unless it is in the project already.

    path: its place, where the contract names one.

    Raises:
        DataError: there is no such file, object or table, or its place is taken.
    """
    if "://" not in data and not path and (inside := _inside(layout.root, Path(data))):
        yield Taken(layout, Path(data), inside, {})
        return
    if query and "://" not in data:
        raise DataError(f"{data} is no database's URL, so QUERY asks nothing; leave QUERY out")
    if not query and DATABASE.match(data):
        raise DataError(f"{data} is a database's URL; say what to take: QUERY='SELECT …'")
    external = layout.external
    path = path or f"{external.relative_to(layout.root).as_posix()}/{_name(data, query)}"
    several = not _is_one(data, query)
    _refuse_to_overwrite(layout.root / path, several)
    external.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=external, prefix=".taking-") as folder:
        origin = {}
        if "://" in data:
            _refuse_secrets(data)
            origin = {"from": data, **({"query": query} if query else {})}
        if query:
            _query(data, query, Path(folder, PurePosixPath(path).name))
        elif "://" in data:
            _download(data, Path(folder))
        else:
            _copy(data, Path(folder))
        place = Path(folder) if several else next(Path(folder).iterdir())
        try:
            yield Taken(layout, place, path, origin)
        except DataError as fault:  # the person knows it by the name that she gave
            raise DataError(str(fault).replace(str(place), data)) from fault


def _inside(root: Path, path: Path) -> str:
    """The path from the project's folder; "" if it is elsewhere, or not there."""
    if path.exists() and path.resolve().is_relative_to(root.resolve()):
        return path.resolve().relative_to(root.resolve()).as_posix()
    return ""


def _is_one(data: str, query: str) -> bool:
    if query or ("://" not in data and Path(data).is_file()):
        return True
    return not (glob.has_magic(data) or data.endswith("/") or Path(data).is_dir())


def _name(data: str, query: str) -> str:
    if query:
        return "query.csv"
    name = PurePosixPath(Path(data).as_posix()).name
    if _is_one(data, query):
        return name
    return re.sub(r"[*?\[\]]", "", PurePosixPath(name).stem).strip("-_. ") or "files"


def _refuse_to_overwrite(target: Path, several: bool) -> None:
    if target.exists() and not target.with_name(target.name + ".dvc").exists():
        raise DataError(
            f"{target} is there already, and in no version that could be taken back; move it away"
            " or, if it is the table you mean, adopt it by this path"
        )
    if target.exists() and target.is_dir() != several:
        kind = "one file" if several else "a folder, whose files would all be replaced"
        raise DataError(f"{target} is {kind}; let DATA be {'one' if several else 'a folder'}, too")


def _refuse_secrets(url: str) -> None:
    if re.match(r"[^:]+://[^/@]*:(?!\{)[^/@]+@", url):
        raise DataError(
            f"{re.sub(r':[^/@:]+@', ':…@', url)} holds a password, which would stand in"
            " contract.yaml; write {NAME} there, of an environment variable, or use the database's"
            " own password file"
        )


def _filled(url: str) -> str:
    """The URL with {NAME} replaced by environment variables."""
    try:
        return re.sub(r"\{(\w+)\}", lambda match: os.environ[match[1]], url)
    except KeyError as fault:
        raise DataError(f"{url}: the environment variable {fault} is not set; set it") from None


def _said(fault: object, url: str) -> str:
    """What a library says of the fault, without what stands for {NAME} in the URL."""
    text = str(fault).strip() or type(fault).__name__
    for name in re.findall(r"\{(\w+)\}", url):
        secret = os.environ.get(name, "")
        for written in {secret, quote(secret), quote_plus(secret)} - {""}:
            text = text.replace(written, f"{{{name}}}")
    return text[:300]


def _copy(data: str, folder: Path) -> None:
    pattern = f"{glob.escape(data)}/*" if Path(data).is_dir() else data
    pattern = glob.escape(data) if Path(data).is_file() else pattern
    found = sorted(Path(each) for each in glob.glob(pattern))  # noqa: PTH207  (of any root)
    found = [each for each in found if each.is_file()]
    if not found:
        raise DataError(f"{data} is no file, and matches none; correct DATA")
    _refuse_equal_names(data, found)
    try:
        for each in found:
            shutil.copyfile(each, folder / each.name)
    except OSError as fault:
        raise DataError(f"{each} cannot be read ({fault.strerror}); correct DATA") from None


def _refuse_equal_names(data: str, found: Sequence[PurePath]) -> None:
    """Files of one name would stand in each other's place, and their rows be lost."""
    places: dict[str, PurePath] = {}
    for each in found:
        if other := places.get(each.name):
            raise DataError(
                f"{data} matches {other} and {each}, which would have one name in the project;"
                " rename one, or put their rows into one file"
            )
        places[each.name] = each


def _download(url: str, folder: Path) -> None:
    import fsspec

    scheme = url.partition("://")[0]
    try:
        system, path = fsspec.core.url_to_fs(_filled(url))
        if system.isdir(path):
            path = path.rstrip("/") + "/*"
        found = sorted(system.glob(path)) if glob.has_magic(path) else [path]
        if not found:
            raise FileNotFoundError(f"nothing matches {path}")
        _refuse_equal_names(url, [PurePosixPath(each) for each in found])
        for each in found:
            system.get_file(each, str(folder / PurePosixPath(each).name))
    except ImportError as fault:
        group = GROUPS.get(scheme)
        hint = (
            f"add {group} to GROUPS in the Makefile" if group else "add it by uv add --group train"
        )
        raise DataError(
            f"{url} needs {fault.name or fault}, which is not installed; {hint}"
        ) from None
    except DataError:
        raise
    except Exception as fault:  # each store has exceptions of its own
        raise DataError(
            f"{url} cannot be read: {_said(fault, url)}; correct the URL, or"
            f" set the credentials where {scheme}'s own tools look for them"
        ) from fault


def _query(url: str, query: str, path: Path) -> None:
    """Write a query's rows as CSV, nulls as nothing, in pieces of bounded size."""
    address = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", _filled(url))
    try:
        import sqlalchemy
    except ImportError:
        raise DataError(
            f"{url} needs sqlalchemy, which is not installed; add sql to GROUPS in the Makefile"
        ) from None
    try:
        engine = sqlalchemy.create_engine(address)
        with engine.connect().execution_options(stream_results=True) as connection:
            result = connection.execute(sqlalchemy.text(query))
            with path.open("w", encoding="utf-8", newline="\n") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(result.keys())
                for rows in tqdm(result.partitions(ROWS_AT_ONCE), unit="0k rows", disable=None):
                    writer.writerows([[_written(value) for value in row] for row in rows])
        engine.dispose()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, ValueError) as fault:
        said = _said(getattr(fault, "orig", None) or fault, url)
        raise DataError(
            f"{url} cannot be queried: {said}; correct the URL, the credentials or QUERY (a"
            " driver that is missing comes by uv add --group sql)"
        ) from fault


def _written(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date | datetime):
        return value.isoformat()
    return value
