"""Comparison: what champion and challenger do side by side, and whether the limits hold."""

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ..yaml_file import Strict

CHAMPION, CHALLENGER = "champion", "challenger"
VARIANTS = (CHAMPION, CHALLENGER)
BINS = 10
"""Of the scores: as many as the index of their shift is customarily taken over."""
PLAN, ABORTED, FAILED, LATE, ROWS, SECONDS, SCORES = 0, 1, 2, 3, 4, 6, 8
"""Where a plan's counts stand: of rows and seconds two, of scores BINS for each variant."""
ERRORS, ABORTS, DROPPED = (SCORES + 2 * BINS + place for place in range(3))
"""Those of all plans."""
SIZE = DROPPED + 1
LOOK_ROWS = 100
"""The challenger's scores are compared each time that it has answered so many."""
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


class Comparison:
    """Counts of all workers of an instance, each in a place of its own.

    Errors and delays are cumulated beyond their limits and never below zero, so that a long good
    time excuses nothing: Page (1954), Continuous inspection schemes.

    own: this worker's SIZE numbers; every: those of all workers, shape (workers, SIZE).
    """

    def __init__(self, own: Floats, every: Floats) -> None:
        self._own: Any = memoryview(own.data)  # faster than the array for one number
        self._looked = 0.0
        self._every = every
        self._lock = Lock()

    def begin(self, plan: int) -> None:
        """Count from zero, unless this plan's counts are those of a worker that died."""
        with self._lock:
            if self._own[PLAN] != plan:
                for place in range(FAILED, ERRORS):
                    self._own[place] = 0.0
                self._own[PLAN], self._looked = plan, 0.0

    def answered(
        self, variant: int, seconds: float, bins: Sequence[int], limits: Limits
    ) -> str | None:
        """Count one call of a model: its time, and the bin of each score.

        Gives the limit that the challenger breaks, if any.
        """
        own, rows = self._own, len(bins)
        with self._lock:
            own[ROWS + variant] += rows
            own[SECONDS + variant] += seconds
            for place in bins:
                own[SCORES + variant * BINS + place] += 1
            if not variant:
                return None
            usual = own[ROWS] and rows * own[SECONDS] / own[ROWS] + limits.latency_ms / 1000
            own[LATE] = max(0.0, own[LATE] + seconds - usual) if usual else 0.0
            own[FAILED] = max(0.0, own[FAILED] - limits.errors * rows)
            if own[LATE] == 0 and own[ROWS + variant] < self._looked + LOOK_ROWS:
                return None
            self._looked = own[ROWS + variant]
        return self.verdict(limits)

    def failed(self, rows: int, limits: Limits) -> str | None:
        """Count rows that the challenger failed. Gives the limit that it breaks, if any."""
        with self._lock:
            self._own[FAILED] += rows
            self._own[ERRORS] += rows
        return self.verdict(limits)

    def dropped(self, rows: int) -> None:
        """Count rows that the challenger was too slow to score in the shadow."""
        with self._lock:
            self._own[DROPPED] += rows

    def verdict(self, limits: Limits) -> str | None:
        """Which limit the challenger breaks under this plan, if any."""
        counts = self._every[self._every[:, PLAN] == self._own[PLAN]].sum(axis=0)
        failed, late = counts[FAILED], counts[LATE]
        if failed > FREE_ROWS:
            return f"it failed {failed:.0f} rows more than errors: {limits.errors} allows"
        if late > FREE_SECONDS:
            return f"it took {late:.1f} s more than latency_ms: {limits.latency_ms} allows"
        scores = counts[SCORES:ERRORS].reshape(2, BINS)
        if scores.sum(axis=1).min() >= SHIFT_ROWS and (found := stability(*scores)) > limits.shift:
            return f"its scores differ by an index of {found:.2f}, shift: {limits.shift} is allowed"
        return None

    def abort(self, plan: int) -> bool:
        """Put the plan's challenger out, for all workers; False where another worker has."""
        with self._lock:
            if self.aborted(plan):
                return False
            self._own[ABORTED] = plan
            self._own[ABORTS] += 1
            return True

    def aborted(self, plan: int) -> bool:
        """Whether a worker has put the plan's challenger out."""
        return bool((self._every[:, ABORTED] == plan).any())


def stability(own: Floats, other: Floats) -> float:
    """The population stability index of two counts by bins; half a row more in each, for none."""
    shares = [(counts + 0.5) / (counts + 0.5).sum() for counts in (own, other)]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
