"""Telemetry: what the service counts, in one array for each worker.

The workers of an instance share a file of such arrays. Each adds to its own, any of them reports
their sums, and the successor of a dead worker goes on with its array, so no count goes back. The
number of its connections stands there for the other workers alone.
"""

import mmap
import os
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import SettingsError
from .comparison import SIZE, VARIANTS, Comparison
from .predictor import Predictor

ROUTES = ("/v1/predictions", "/v1/explanations", "/v1/feedback", "/", "/feedback", "other")
STATUSES = range(100, 600)
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper ends of the buckets of a request's time."""
SCORES = tuple(each / 10 for each in range(1, 11))
"""Upper ends of the buckets of a probability; of values they are the tenths of the background's."""
MAX_WORKERS = 64
SLACK = 2
"""Connections by which workers may differ; to wait for each costs a third of the requests where
every request has its own."""


class Telemetry:
    """The counters of one worker, and the sums over all.

    shared: a folder that the workers of an instance have in common; alone, none is needed.

    Raises:
        SettingsError: more workers than there is room for.
    """

    def __init__(self, predictor: Predictor, shared: Path | None = None) -> None:
        self.predictor = predictor
        self.features = [column.name for column in predictor.contract.features]
        self.fields = [column.name for column in predictor.contract.requested]
        self.labels = list(predictor.contract.labels) or ["value"]
        self.ends = SCORES if predictor.contract.labels else predictor.tenths
        self._place: dict[str, int] = {}
        sizes = {
            "requests": len(ROUTES) * len(STATUSES),
            "seconds": len(ROUTES) * (len(SECONDS) + 2),
            "answers": len(self.labels),
            "scores": len(self.ends) + 2,
            "missing": len(self.features),
            "refused": len(self.fields),
            "dry_runs": 1,
            "log_failures": 1,
            "connections": 1,
            "variants": len(VARIANTS),
            "comparison": SIZE,
        }
        end = 0
        for name, size in sizes.items():
            self._place[name], end = end, end + size
        self._sizes = sizes
        self._all = np.zeros((1, end)) if shared is None else _shared(shared, end)
        self._mine = self._all[0 if shared is None else _slot(shared)]
        self._count: Any = memoryview(self._mine)  # faster than the array for one number
        self._lock = Lock()
        place = slice(self._place["comparison"], self._place["comparison"] + SIZE)
        self.comparison = Comparison(self._mine[place], self._all[:, place])

    def requested(self, route: str, status: int, seconds: float) -> None:
        """Count a request; called on the event loop alone."""
        number = ROUTES.index(route) if route in ROUTES else len(ROUTES) - 1
        place = self._place["requests"] + number * len(STATUSES) + status - STATUSES.start
        self._count[place] += 1
        place = self._place["seconds"] + number * (len(SECONDS) + 2)
        self._count[place + bisect_left(SECONDS, seconds)] += 1
        self._count[place + len(SECONDS) + 1] += seconds

    def answered(
        self, rows: Sequence[Mapping[str, Any]], predictions: Sequence[Mapping[str, Any]]
    ) -> None:
        """Count answered rows: missing values, variants, answers, scores; from any thread."""
        with self._lock:
            for row in rows:
                if None in row.values():
                    for place, name in enumerate(self.features, self._place["missing"]):
                        self._count[place] += row[name] is None
            count, place = self._count, self._place["variants"]
            variants = [each["variant"] for each in predictions]
            for number, name in enumerate(VARIANTS, place):
                count[number] += variants.count(name)
            answers, scores, ends = self._place["answers"], self._place["scores"], self.ends
            if "value" in predictions[0]:
                given = [each["value"] for each in predictions]
                count[answers] += len(given)
            else:
                labels = [each["label"] for each in predictions]
                for label in set(labels):
                    count[answers + self.labels.index(label)] += labels.count(label)
                name = "score" if "score" in predictions[0] else "probability"
                given = [each[name] for each in predictions]
            for each in given:
                count[scores + bisect_left(ends, each)] += 1
            count[scores + len(ends) + 1] += sum(given)

    def refused(self, faults: Sequence[Mapping[str, Any]]) -> None:
        """Count the fields at fault of a refused body."""
        with self._lock:
            for field in {str(fault["field"]) for fault in faults} & set(self.fields):
                self._count[self._place["refused"] + self.fields.index(field)] += 1

    def dry_run(self, rows: int) -> None:
        """Count rows that were answered and not served."""
        with self._lock:
            self._count[self._place["dry_runs"]] += rows

    def log_failed(self) -> None:
        """Count a prediction, or several together, that could not be logged."""
        with self._lock:
            self._count[self._place["log_failures"]] += 1

    def is_busier(self, connections: int) -> bool:
        """Tell the other workers how many connections this one has, and whether one has fewer.

        Differences up to SLACK do not count. Called on the event loop alone.
        """
        place = self._place["connections"]
        self._count[place] = connections + 1  # 0 is where no worker is
        told = self._all[:, place]
        return bool(told[told > 0].min() < connections + 1 - SLACK)

    def leave(self) -> None:
        """Tell the other workers that this one takes no more connections."""
        self._count[self._place["connections"]] = 0

    def sums(self) -> dict[str, list[float]]:
        """The counts of all workers, by what was counted."""
        sums = self._all.sum(axis=0)
        return {
            name: sums[start : start + self._sizes[name]].tolist()
            for name, start in self._place.items()
        }


def _shared(folder: Path, size: int) -> npt.NDArray[np.float64]:
    with (folder / "counters").open("a+b") as file:
        length = MAX_WORKERS * size * 8
        os.ftruncate(file.fileno(), length)
        return np.frombuffer(mmap.mmap(file.fileno(), length)).reshape(MAX_WORKERS, size)


def _slot(folder: Path) -> int:
    """The first array that no living worker has; the lock on it ends with this process."""
    import fcntl  # not on Windows, where there is one worker

    file = os.open(folder / "slots", os.O_RDWR | os.O_CREAT, 0o600)
    for slot in range(MAX_WORKERS):
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
        except OSError:
            continue
        return slot
    raise SettingsError(f"WORKERS is more than {MAX_WORKERS}; start more instances instead")
