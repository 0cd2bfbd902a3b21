"""What the service does, apart from HTTP: a body to a logged answer."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import compress, islice
from typing import Any

import numpy as np
from pydantic_core import to_json

from ..errors import BodyTooLargeError, InvalidRowsError, NoFiniteAnswerError, PredictionLogError
from ..features import Encoder
from .explain import Explainer, Explanation
from .prediction_log import PredictionLog
from .predictor import Answers, Predictor
from .request import Parsed, RequestParser, Row
from .telemetry import Telemetry

MAX_EXPLAINED_ROWS = 10
"""Each costs as much as thousands of predictions; see Explainer."""


class PredictionService:
    """Answers bodies with one predictor, and logs each prediction first."""

    def __init__(
        self, predictor: Predictor, log: PredictionLog, telemetry: Telemetry, max_rows: int
    ) -> None:
        self._predictor = predictor
        self._log = log
        self._telemetry = telemetry
        self._parser = RequestParser(predictor.contract, max_rows)
        self._encoder = Encoder(predictor.contract)
        self._explainer = Explainer(predictor, self._encoder)
        self._private = [column.name for column in predictor.contract.requested if column.pii]

    def parse(self, body: bytes) -> Parsed:
        """Validate a body.

        Raises:
            RequestError: the body is refused.
        """
        try:
            return self._parser.parse(body)
        except InvalidRowsError as refusal:
            self._telemetry.refused(refusal.errors)
            raise

    def explain(self, body: bytes, top: int | None) -> bytes:
        """Why the model would answer the rows as it does; nothing is served or logged.

        Raises:
            RequestError: the body is refused, or has too many rows for reasons.
            DerivedError: a derived feature fails on the rows, or on mixtures of them.
            NoFiniteAnswerError: the model has no finite answer for one of those.
        """
        parsed = self.parse(body)
        version = {"model_version": self._predictor.info.version}
        found = [version | asdict(each) for each in self._explanations(parsed.rows, top)]
        return to_json(found if parsed.is_list else found[0])

    def predict(self, bodies: Sequence[Parsed]) -> list[bytes]:
        """Predict for bodies together, and log before answering, each in the shape of its body.

        Raises:
            BodyTooLargeError: more rows than can be given reasons.
            DerivedError: a derived feature fails on the rows.
            NoFiniteAnswerError: the model has no finite answer for a row.
            PredictionLogError: the predictions cannot be logged.
        """
        rows = [row for body in bodies for row in body.rows]
        if not rows:
            return []
        answers = self._predictor.answers(self._encoder.rows(rows))
        _refuse_infinite(answers)
        outcome = self._predictor.outcome(answers)
        predictions = self._predictions(outcome, len(rows))
        reasons = [
            [asdict(reason) for reason in each.reasons]
            for body in bodies
            if body.reasons
            for each in self._explanations(body.rows, body.reasons)
        ]
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        contexts = [
            {**body.context, "dry_run": True} if body.dry_run else body.context
            for body in bodies
            for _ in body.rows
        ]
        try:
            self._log.append(
                [
                    {"time": time, **context, **prediction, "inputs": self._loggable(row)}
                    for row, context, prediction in zip(rows, contexts, predictions, strict=True)
                ]
            )
        except PredictionLogError:
            self._telemetry.log_failed()
            raise
        self._telemetry.answered(rows, outcome)
        if dry := sum(len(body.rows) for body in bodies if body.dry_run):
            self._telemetry.dry_run(dry)
        if reasons:
            explained = [bool(body.reasons) for body in bodies for _ in body.rows]
            for prediction in compress(predictions, explained):
                prediction["reasons"] = reasons.pop(0)
        rest = iter(predictions)
        return [
            to_json(list(islice(rest, len(body.rows))) if body.is_list else next(rest))
            for body in bodies
        ]

    def _explanations(self, rows: list[Row], top: int | None) -> list[Explanation]:
        if len(rows) > MAX_EXPLAINED_ROWS:
            raise BodyTooLargeError(
                f"{len(rows)} rows with reasons, at most {MAX_EXPLAINED_ROWS} at once; send them in"
                " several requests"
            )
        return self._explainer.explain(rows, top)

    def _predictions(self, outcome: dict[str, list[Any]], count: int) -> list[dict[str, Any]]:
        version = self._predictor.info.version
        return [
            {"prediction_id": new, "model_version": version} | dict(zip(outcome, row, strict=True))
            for new, *row in zip(_new_ids(count), *outcome.values(), strict=True)
        ]

    def _loggable(self, row: dict[str, Any]) -> dict[str, Any]:
        if not self._private:
            return row
        return {name: value for name, value in row.items() if name not in self._private}


def _refuse_infinite(answers: Answers) -> None:
    if np.isfinite(answers).all():
        return
    wrong = np.flatnonzero(~np.isfinite(answers.reshape(len(answers), -1)).all(axis=1))
    raise NoFiniteAnswerError(
        "the model has no finite answer; send less extreme values",
        [{"row": int(row), "field": None, "message": "no finite answer"} for row in wrong],
    )


def _new_ids(count: int) -> list[str]:
    """128 random bits each, asked of the system once, since asking is what takes the time."""
    digits = os.urandom(16 * count).hex()
    return [digits[start : start + 32] for start in range(0, len(digits), 32)]
