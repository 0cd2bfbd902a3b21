"""The prediction log: one JSON line for each prediction, written before it is answered."""

import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from pydantic_core import to_json

from ..errors import PredictionLogError, SettingsError

LOOK_SECONDS = 0.5
"""How often the file is looked for under its name; a look costs as much as a line."""


class PredictionLog:
    """Appends to a file, which several processes may share, or to standard output.

    A line is handed to the operating system before `append` returns, so it survives the death of
    this process; with `fsync` it is on the disk, so it survives that of the machine. A file of
    `max_bytes` is put aside under the time, and one that was moved or deleted is begun again.
    """

    def __init__(self, target: str, fsync: bool = False, max_bytes: int = 1_000_000_000) -> None:
        """Open the log.

        Raises:
            SettingsError: the file cannot be opened.
        """
        self._target = target
        self._fsync = fsync and target != "-"
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._torn = False
        self._looked = 0.0
        try:
            self._file = os.dup(1) if target == "-" else self._open()
        except OSError as fault:
            raise SettingsError(
                f"PREDICTION_LOG {target!r} cannot be opened: {fault}; name a file that can be"
                " written, or - for standard output"
            ) from fault

    def append(self, records: Sequence[dict[str, Any]]) -> None:
        """Append one line for each record.

        Raises:
            PredictionLogError: not every byte could be written.
        """
        self.write([to_json(record) for record in records])

    def write(self, records: Sequence[bytes]) -> None:
        """Append records that are JSON already.

        Raises:
            PredictionLogError: as `append` does.
        """
        lines = b"\n".join([*records, b""])
        with self._lock:
            try:
                if self._target != "-":
                    self._turn()
                if self._torn:
                    lines = b"\n" + lines
                while lines:
                    lines = lines[os.write(self._file, lines) :]
                    self._torn = bool(lines)
                if self._fsync:
                    os.fsync(self._file)
            except OSError as fault:
                raise PredictionLogError(
                    f"the prediction could not be logged ({os.strerror(fault.errno or 0)}), so"
                    " it is not answered; try again later"
                ) from fault

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _open(self) -> int:
        path = Path(self._target)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640)
        size = os.fstat(file).st_size
        self._torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        return file

    def _turn(self) -> None:
        """Begin a new file where the old one is full, or is there no more under its name."""
        if (now := monotonic()) - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        own = os.fstat(self._file)
        try:
            there = Path(self._target).stat()
        except FileNotFoundError:
            there = None
        if there is not None and os.path.samestat(own, there):
            if own.st_size < self._max_bytes:
                return
            aside = Path(self._target)
            moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
            # Of two processes the second finds none, or moves one of a few lines, and loses none.
            with suppress(FileNotFoundError):
                aside.rename(aside.with_name(f"{aside.stem}.{moment}-{os.getpid()}{aside.suffix}"))
        new = self._open()
        os.close(self._file)
        self._file = new
