"""What the service does, apart from HTTP: a body to a logged answer."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import compress, islice
from typing import Any

from pydantic_core import to_json

from ..contract import Contract
from ..errors import BodyTooLargeError, InvalidRowsError, PredictionLogError
from .explain import Explanation
from .prediction_log import PredictionLog
from .predictor import Answers
from .request import Parsed, RequestParser, Row
from .shadow import Shadow
from .telemetry import Telemetry
from .variants import Plan, Variant, Variants

MAX_EXPLAINED_ROWS = 10
"""Each costs as much as thousands of predictions; see Explainer."""


class PredictionService:
    """Answers bodies, each by its variant, and logs each prediction first."""

    def __init__(
        self,
        contract: Contract,
        variants: Variants,
        log: PredictionLog,
        telemetry: Telemetry,
        max_rows: int,
    ) -> None:
        self._variants = variants
        self._log = log
        self._telemetry = telemetry
        self._shadow = Shadow(variants, log, telemetry)
        self._parser = RequestParser(contract, max_rows)
        self._private = [column.name for column in contract.requested if column.pii]

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

    def close(self) -> None:
        """Let the shadow end."""
        self._shadow.close()

    def explain(self, body: bytes, top: int | None, key: str = "") -> bytes:
        """Why the key's variant would answer the rows as it does; nothing is served or logged.

        Raises:
            RequestError: the body is refused, or has too many rows for reasons.
            DerivedError: a derived feature fails on the rows, or on mixtures of them.
            NoFiniteAnswerError: the model has no finite answer for one of those.
        """
        parsed, plan = self.parse(body), self._variants.plan
        variant = plan.variant(key)
        try:
            explanations = _explanations(variant, parsed.rows, top)
        except Exception as fault:
            if variant is plan.champion:
                raise
            variant = plan.champion
            explanations = _explanations(variant, parsed.rows, top)
            self._variants.failed(plan, fault)
        found = [_told_by(variant) | asdict(each) for each in explanations]
        return to_json(found if parsed.is_list else found[0])

    def predict(self, bodies: Sequence[Parsed]) -> list[bytes]:
        """Predict for bodies together, and log before answering, each in the shape of its body.

        Where the challenger fails, the champion answers.

        Raises:
            BodyTooLargeError: more rows than can be given reasons.
            DerivedError: a derived feature fails on the rows.
            NoFiniteAnswerError: the model has no finite answer for a row.
            PredictionLogError: the predictions cannot be logged.
        """
        plan = self._variants.plan
        if not plan.share:
            return self._predict(plan, bodies)
        try:
            return self._predict(plan, bodies)
        except PredictionLogError:
            raise
        except Exception as fault:
            answers = self._predict(plan.alone, bodies)
            self._variants.failed(plan, fault)
            return answers

    def _predict(self, plan: Plan, bodies: Sequence[Parsed]) -> list[bytes]:
        rows = [row for body in bodies for row in body.rows]
        if not rows:
            return []
        chosen = [plan.variant(body.key) for body in bodies]
        predictions = self._predictions(plan, chosen, bodies, rows)
        reasons = [
            [asdict(reason) for reason in each.reasons]
            for variant, body in zip(chosen, bodies, strict=True)
            if body.reasons
            for each in _explanations(variant, body.rows, body.reasons)
        ]
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        # Once for line and answer: with many rows, making JSON takes longer than the model.
        told = [to_json(each) for each in predictions]
        lines: list[bytes] = []
        rest = zip(told, self._loggable(rows), strict=True)
        for body in bodies:
            context = {"time": time, **body.context}
            if body.dry_run:
                context["dry_run"] = True
            head = to_json(context)[:-1]
            lines += [
                b'%b,%b,"inputs":%b}' % (head, each[1:-1], to_json(row))
                for each, row in islice(rest, len(body.rows))
            ]
        try:
            self._log.write(lines)
        except PredictionLogError:
            self._telemetry.log_failed()
            raise
        self._telemetry.answered(rows, predictions)
        if dry := sum(len(body.rows) for body in bodies if body.dry_run):
            self._telemetry.dry_run(dry)
        if plan.has_shadow:
            self._shadow.follow(plan, rows, lines)
        if reasons:
            explained = [bool(body.reasons) for body in bodies for _ in body.rows]
            for place in compress(range(len(told)), explained):
                told[place] = to_json(predictions[place] | {"reasons": reasons.pop(0)})
        answers = iter(told)
        return [
            b"[%b]" % b",".join(islice(answers, len(body.rows))) if body.is_list else next(answers)
            for body in bodies
        ]

    def _predictions(
        self, plan: Plan, chosen: Sequence[Variant], bodies: Sequence[Parsed], rows: list[Row]
    ) -> list[dict[str, Any]]:
        """What is told of each row, in the order of the bodies; one call for each variant."""
        if chosen.count(chosen[0]) == len(chosen):
            return _predictions(chosen[0], self._variants.answers(plan, chosen[0], rows))
        told: dict[int, list[dict[str, Any]]] = {}
        for variant in dict.fromkeys(chosen):
            places = [place for place, each in enumerate(chosen) if each is variant]
            rows = [row for place in places for row in bodies[place].rows]
            found = iter(_predictions(variant, self._variants.answers(plan, variant, rows)))
            for place in places:
                told[place] = list(islice(found, len(bodies[place].rows)))
        return [prediction for place in range(len(bodies)) for prediction in told[place]]

    def _loggable(self, rows: list[Row]) -> list[Row]:
        if not self._private:
            return rows
        return [
            {name: value for name, value in row.items() if name not in self._private}
            for row in rows
        ]


def _explanations(variant: Variant, rows: list[Row], top: int | None) -> list[Explanation]:
    if len(rows) > MAX_EXPLAINED_ROWS:
        raise BodyTooLargeError(
            f"{len(rows)} rows with reasons, at most {MAX_EXPLAINED_ROWS} at once; send them in"
            " several requests"
        )
    return variant.explainer.explain(rows, top)


def _predictions(variant: Variant, answers: Answers) -> list[dict[str, Any]]:
    told_by = _told_by(variant)
    predictions: list[dict[str, Any]] = [
        {"prediction_id": each, **told_by} for each in _new_ids(len(answers))
    ]
    for name, column in variant.predictor.outcome(answers).items():
        for prediction, value in zip(predictions, column.tolist(), strict=True):
            prediction[name] = value
    return predictions


def _told_by(variant: Variant) -> dict[str, str]:
    return {"model_version": variant.predictor.info.version, "variant": variant.name}


def _new_ids(count: int) -> list[str]:
    """128 random bits each, asked of the system once, since asking is what takes the time."""
    digits = os.urandom(16 * count).hex()
    return [digits[start : start + 32] for start in range(0, len(digits), 32)]
