"""The prediction log: one JSON line for each prediction, written before it is answered."""

import os
import threading
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from ..errors import PredictionLogError, SettingsError


class PredictionLog:
    """Appends to a file, or to standard output.

    A line is handed to the operating system before `append` returns, so it survives the death of
    this process.
    """

    def __init__(self, target: str) -> None:
        """Open the log.

        Raises:
            SettingsError: the file cannot be opened.
        """
        self._target = target
        self._lock = threading.Lock()
        self._torn = False
        if target == "-":
            self._file = os.dup(1)
            return
        try:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(target, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640)
            size = os.fstat(self._file).st_size
            self._torn = size > 0 and os.pread(self._file, 1, size - 1) != b"\n"
        except OSError as fault:
            raise SettingsError(
                f"PREDICTION_LOG {target!r} cannot be opened: {fault}; name a file that can be"
                " written, or - for standard output"
            ) from fault

    def append(self, records: list[dict[str, Any]]) -> None:
        """Append one line for each record.

        Raises:
            PredictionLogError: not every byte could be written.
        """
        lines = b"".join([to_json(record) + b"\n" for record in records])
        with self._lock:
            if self._torn:
                lines = b"\n" + lines
            try:
                while lines:
                    lines = lines[os.write(self._file, lines) :]
                    self._torn = bool(lines)
            except OSError as fault:
                raise PredictionLogError(
                    f"the prediction could not be logged ({os.strerror(fault.errno or 0)}), so"
                    " it is not answered; try again later"
                ) from fault

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
