"""The shadow: a challenger that scores what the champion has answered, beside the requests."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from pydantic_core import from_json

from ..errors import PredictionLogError
from .comparison import CHALLENGER
from .prediction_log import PredictionLog
from .request import Row
from .telemetry import Telemetry
from .variants import Plan, Variants

MAX_WAITING_ROWS = 10_000
"""A challenger that lags so far behind leaves rows out, which is counted."""


class Shadow:
    """Scores rows in a thread of its own, and logs what the challenger would have answered."""

    def __init__(self, variants: Variants, log: PredictionLog, telemetry: Telemetry) -> None:
        self._variants, self._log, self._telemetry = variants, log, telemetry
        self._thread = ThreadPoolExecutor(1, "shadow")
        self._waiting = 0
        self._lock = Lock()

    def follow(self, plan: Plan, rows: Sequence[Row], records: Sequence[bytes]) -> None:
        """Score rows soon. records: what was logged of the champion's answers, as JSON."""
        with self._lock:
            late = self._waiting + len(rows) > MAX_WAITING_ROWS
            self._waiting += 0 if late else len(rows)
        if late:
            self._variants.comparison.dropped(len(rows))
        else:
            self._thread.submit(self._score, plan, rows, records)

    def close(self) -> None:
        """Leave what waits, and end the thread."""
        self._thread.shutdown(cancel_futures=True)

    def _score(self, plan: Plan, rows: Sequence[Row], records: Sequence[bytes]) -> None:
        challenger = plan.challenger
        try:
            if challenger is None or self._variants.plan is not plan:
                return
            answers = self._variants.answers(plan, challenger, rows)
            outcome = challenger.predictor.outcome(answers)
            columns = (column.tolist() for column in outcome.values())
            told = {
                "model_version": challenger.predictor.info.version,
                "variant": CHALLENGER,
                "shadow": True,
            }
            self._log.append(
                [
                    from_json(record) | told | dict(zip(outcome, values, strict=True))
                    for record, *values in zip(records, *columns, strict=True)
                ]
            )
        except PredictionLogError:
            self._telemetry.log_failed()
        except Exception as fault:  # of any kind: the callers have their answers
            self._variants.failed(plan, fault)
        finally:
            with self._lock:
                self._waiting -= len(rows)
