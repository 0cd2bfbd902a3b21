"""Comparison: what champion and challenger do side by side, and whether the limits hold."""

from collections.abc import Iterator
from threading import Lock

import numpy as np
import numpy.typing as npt
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import Field

from ..yaml_file import Strict

CHAMPION, CHALLENGER = "champion", "challenger"
VARIANTS = (CHAMPION, CHALLENGER)
BINS = 10
"""Of the scores: as many as the index of their shift is customarily taken over."""
COUNTS = np.dtype(
    [
        ("plan", "f8"),
        ("aborted", "f8"),
        # Since the plan began.
        ("failed", "f8"),
        ("late", "f8"),
        ("rows", "f8", 2),
        ("seconds", "f8", 2),
        ("scores", "f8", (2, BINS)),
        # Since the instance began.
        ("errors", "f8"),
        ("aborts", "f8"),
        ("dropped", "f8"),
    ]
)
SIZE = COUNTS.itemsize // 8
"""Of one worker's counts, in numbers."""
FREE_ROWS = 5
"""That may fail beyond the limit before the challenger is put out."""
FREE_SECONDS = 2.0
"""That calls may take beyond the limit; more than a machine's pauses."""
SHIFT_ROWS = 500
"""Of each variant before scores are compared: the index then varies by 0.03 by itself, since it is
about (BINS - 1) * (1 / rows + 1 / other rows) for scores of one distribution."""

Floats = npt.NDArray[np.float64]


class Limits(Strict):
    """What a challenger may do before it is put out.

    errors: share of its rows that it fails while the champion answers them.
    latency_ms: milliseconds of a call beyond what the champion takes for as many rows.
    shift: population stability index between both variants' scores. 0.25 is customarily a major
        shift: Siddiqi (2006), Credit Risk Scorecards.
    """

    errors: float = Field(default=0.01, ge=0, le=1)
    latency_ms: float = Field(default=50.0, ge=0)
    shift: float = Field(default=0.25, gt=0)


class Comparison(Collector):
    """Counts of all workers of an instance, each in a place of its own.

    Errors and delays are cumulated beyond their limits and never below zero, so that a long good
    time excuses nothing: Page (1954), Continuous inspection schemes.

    own: this worker's SIZE numbers; every: those of all workers, shape (workers, SIZE).
    """

    def __init__(self, own: Floats, every: Floats) -> None:
        self._own = own.view(COUNTS)
        self._every = every.view(COUNTS)[:, 0]
        self._lock = Lock()

    def begin(self, plan: int) -> None:
        """Count from zero, unless this plan's counts are those of a worker that died."""
        with self._lock:
            if self._own["plan"][0] != plan:
                for name in ("failed", "late", "rows", "seconds", "scores"):
                    self._own[name] = 0
                self._own["plan"] = plan

    def answered(
        self, variant: int, rows: int, seconds: float, bins: npt.NDArray[np.int64], limits: Limits
    ) -> None:
        """Count one call of a model: its rows, its time, and how many scores are in each bin."""
        with self._lock:
            counts = self._own[0]
            counts["rows"][variant] += rows
            counts["seconds"][variant] += seconds
            counts["scores"][variant] += bins
            if variant:
                usual = rows * counts["seconds"][0] / max(counts["rows"][0], 1)
                late = seconds - usual - limits.latency_ms / 1000 if counts["rows"][0] else 0.0
                counts["late"] = max(0.0, counts["late"] + late)
                counts["failed"] = max(0.0, counts["failed"] - limits.errors * rows)

    def failed(self, rows: int) -> None:
        """Count rows that the challenger failed."""
        with self._lock:
            self._own["failed"] += rows
            self._own["errors"] += rows

    def dropped(self, rows: int) -> None:
        """Count rows that the challenger was too slow to score in the shadow."""
        with self._lock:
            self._own["dropped"] += rows

    def verdict(self, limits: Limits) -> str | None:
        """Which limit the challenger breaks under this plan, if any."""
        counts = self._every[self._every["plan"] == self._own["plan"][0]]
        failed, late = counts["failed"].sum(), counts["late"].sum()
        if failed > FREE_ROWS:
            return f"it failed {failed:.0f} rows more than errors: {limits.errors} allows"
        if late > FREE_SECONDS:
            return f"it took {late:.1f} s more than latency_ms: {limits.latency_ms} allows"
        scores = counts["scores"].sum(axis=0)
        if scores.sum(axis=1).min() >= SHIFT_ROWS and (found := stability(*scores)) > limits.shift:
            return f"its scores differ by an index of {found:.2f}, shift: {limits.shift} is allowed"
        return None

    def abort(self, plan: int) -> bool:
        """Put the plan's challenger out, for all workers; False where another worker has."""
        with self._lock:
            if self.aborted(plan):
                return False
            self._own["aborted"] = plan
            self._own["aborts"] += 1
            return True

    def aborted(self, plan: int) -> bool:
        """Whether a worker has put the plan's challenger out."""
        return bool((self._every["aborted"] == plan).any())

    def collect(self) -> Iterator[Metric]:
        """The sums over all workers, as prometheus_client asks for them."""
        for name, what in (
            ("errors", "Rows that it failed, and the champion answered"),
            ("aborts", "Times that it was put out"),
            ("dropped", "Rows that it was too slow to score in the shadow"),
        ):
            yield CounterMetricFamily(f"challenger_{name}", what, self._every[name].sum())


def stability(own: Floats, other: Floats) -> float:
    """The population stability index of two counts by bins; half a row more in each, for none."""
    shares = [(counts + 0.5) / (counts + 0.5).sum() for counts in (own, other)]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
