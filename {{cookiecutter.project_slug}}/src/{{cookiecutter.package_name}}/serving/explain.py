"""Reasons: how far each feature of a row moves the model's answer, as Shapley values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..contract import Column
from ..errors import ArtefactError, NoFiniteAnswerError
from ..features import Encoder
from .predictor import REMEDY, Answers, Predictor

Floats = npt.NDArray[np.float64]

MODEL_ROWS = 8_000
"""Rows that the model answers to explain one, as far as MIN_PAIRS allows; of small trees, it takes
them in some 15 ms of a core, and the largest contributions have standard errors of about 1 %."""
MIN_PAIRS = 2
"""Pairs of walks from a row of the background, at the least, for a standard error."""
CALL_ROWS = 1_000
"""Rows that the model answers in one call, so that many features take little memory."""
NEAREST = 2.0**-24
"""The nearest that a float32 below 1 comes to it. A probability nearer to 0 or 1 counts as that
far from it, so log-odds lie between -16.6 and 16.6."""


@dataclass(frozen=True)
class Reason:
    """What one feature adds to the explained value, and the standard error of that."""

    feature: str
    value: bool | int | float | str | None
    contribution: float
    standard_error: float


@dataclass(frozen=True)
class Explanation:
    """Why the model answers a row as it does: base_value + contributions + rest = value.

    label: the label whose log-odds (natural logarithm) are explained; None for a regression, where
        it is the value itself.
    base_value: the mean of the explained value over the background.
    reasons: those of the largest contributions, in that order.
    rest: the sum of the contributions that are no reasons; 0.0 where all of them are.
    """

    label: str | None
    base_value: float
    value: float
    reasons: list[Reason]
    rest: float


class Explainer:
    """Explains the answers of one predictor by the contract's features.

    A contribution is a Shapley value, of the interventional kind: how far the explained value moves
    when the feature is taken from the row instead of from a row of the background, as a mean over
    the background and over the orders in which features may be taken. What is derived from a
    feature belongs to it. Log-odds are explained, not probabilities, since a linear model adds up
    there: those of the second label where there are two (the score), and else of the one answered.

    The orders are sampled: `pairs` for each row of the background, each order with its reverse. So
    contributions are exact where the features add up or interact two by two, in what is explained;
    the standard error says how far off they may be elsewhere. The orders are always the same ones,
    and so are the reasons for a row.

    Cost: the model answers `model_rows` = 2 * pairs * B * (M - 1) + 1 rows for each explained one,
    with B rows of background and M features; pairs is as large as MODEL_ROWS allows.

    Sources: Strumbelj and Kononenko (2014), Explaining prediction models and individual predictions
    with feature contributions; Lundberg and Lee (2017), A unified approach to interpreting model
    predictions; for reverse orders Mitchell et al. (2022), Sampling permutations for Shapley value
    estimation.

    Raises:
        ArtefactError: the predictor has no background.
    """

    def __init__(self, predictor: Predictor, encoder: Encoder) -> None:
        if not predictor.background:
            raise ArtefactError(f"background.json holds no row to compare with; {REMEDY}")
        self._predictor, self._encoder = predictor, encoder
        self._features = predictor.contract.features
        self._background = _columns(self._features, predictor.background)
        size, count = len(predictor.background), len(self._features)
        self.pairs = max(MODEL_ROWS // (2 * size * count), MIN_PAIRS)
        self.model_rows = 2 * self.pairs * size * (count - 1) + 1

    def explain(
        self, rows: Sequence[Mapping[str, Any]], top: int | None = None
    ) -> list[Explanation]:
        """Explain validated rows, with the `top` reasons of each, or all.

        Raises:
            DerivedError: a derived feature fails on a row, or on one mixed with the background.
            NoFiniteAnswerError: the model has no finite answer for one of those.
        """
        return [self._explain(number, row, top) for number, row in enumerate(rows)]

    def _explain(self, number: int, row: Mapping[str, Any], top: int | None) -> Explanation:
        # By itself, since beside other rows the answer's last digit may be another.
        answer = self._predictor.answers(self._encoder.rows([row]))
        place, labels = None, self._predictor.contract.labels
        if labels:
            place = 1 if len(labels) == 2 else int(self._predictor.info.decision.places(answer)[0])
        start, end = _explained(self._base_answers, place), _explained(answer, place)
        values = self._walk(_columns(self._features, [row]), start, end, place)
        if not np.isfinite(values).all():
            raise NoFiniteAnswerError(
                "the model has no finite answer for the row, or for a mixture of it and a row of"
                " the background; send less extreme values",
                [{"row": number, "field": None, "message": "no finite answer"}],
            )
        # What each feature adds in a walk, and then in a pair of walks.
        added = np.take_along_axis(np.diff(values), self._turns, axis=3).mean(axis=1)
        contributions = added.mean(axis=(0, 1))
        errors = np.sqrt(added.var(axis=0, ddof=1).mean(axis=0) / added[..., 0].size)
        order = np.argsort(-np.abs(contributions), kind="stable")
        reasons = []
        for each in order[:top].tolist():
            name = self._features[each].name
            reason = Reason(name, row[name], float(contributions[each]), float(errors[each]))
            reasons.append(reason)
        return Explanation(
            label=None if place is None else labels[place],
            base_value=float(start.mean()),
            value=float(end[0]),
            reasons=reasons,
            rest=float(contributions[order[len(reasons) :]].sum()),
        )

    def _walk(
        self, row: list[npt.NDArray[Any]], start: Floats, end: Floats, place: int | None
    ) -> Floats:
        """The explained value before, between and after the steps of each walk."""
        count = len(self._features)
        turns, steps = self._turns.reshape(-1, count), np.arange(1, count)
        values = np.empty((len(turns), count + 1))
        values[:, 0], values[:, -1] = np.resize(start, len(turns)), end
        at_once = max(CALL_ROWS // count, 1)
        for first in range(0, len(turns) if count > 1 else 0, at_once):
            part = turns[first : first + at_once]
            origins = np.arange(first, first + len(part)) % len(start)
            mixed: dict[str, Any] = {}
            for column, turn, own, there in zip(
                self._features, part.T, row, self._background, strict=True
            ):
                taken = turn[:, None] < steps
                mixed[column.name] = np.where(taken, own, there[origins, None]).ravel()
            given = self._predictor.answers(self._encoder.columns(mixed))
            values[first : first + at_once, 1:-1] = _explained(given, place).reshape(len(part), -1)
        return values.reshape(*self._turns.shape[:3], -1)

    @cached_property
    def _turns(self) -> npt.NDArray[np.int64]:
        """At which step of a walk a feature is taken, shape (pairs, 2, background, features)."""
        size, count = len(self._background[0]), len(self._features)
        orders = np.tile(np.arange(count), (self.pairs, size, 1))
        orders = np.random.default_rng(0).permuted(orders, axis=2)
        return np.stack([orders, count - 1 - orders], axis=1)

    @cached_property
    def _base_answers(self) -> Answers:
        """What the model answers to the background."""
        return self._predictor.answers(self._encoder.rows(self._predictor.background))


def _columns(
    features: Sequence[Column], rows: Sequence[Mapping[str, Any]]
) -> list[npt.NDArray[Any]]:
    """The rows by columns: float64, NaN where missing, or texts, None where missing."""
    return [
        np.array([row[each.name] for row in rows], np.float64 if each.is_number else object)
        for each in features
    ]


def _explained(answers: Answers, place: int | None) -> Floats:
    """The values, or the log-odds of the label at this place, shape (rows,).

    The odds are against the sum of the others, which has more digits than 1 - probability.
    """
    if place is None:
        return answers
    own, others = answers[:, place], np.delete(answers, place, axis=1).sum(axis=1)
    odds: Floats = np.maximum(own, NEAREST) / np.maximum(others, NEAREST)
    return np.log(odds)
