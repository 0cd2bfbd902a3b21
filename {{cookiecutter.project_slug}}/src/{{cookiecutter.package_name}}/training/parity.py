"""Parity: does the artefact answer as the model it was made from?"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..contract import Contract
from ..features import MISSING_CATEGORY, Encoder, Features
from ..serving.predictor import Predictor

ROWS = 20_000
"""Rows compared at the least, so that one disagreement in 10,000 is seen."""
TOLERANCE = 1e-5
"""Least difference that counts: of a probability, or of a value in proportion to its size, taken
as the median size where it is smaller, since sums that cancel out have no digits to compare."""
UNSEEN = "a category that no training row holds"


class Parity(NamedTuple):
    """How far two sets of answers to the same rows are apart."""

    rows: int
    largest: float
    differing: int
    flipped: int


def compare(predictor: Predictor, rows: Features, expected: npt.NDArray[np.float64]) -> Parity:
    """Compare answers with probabilities, shape (rows, labels), or values, shape (rows,)."""
    given = predictor.answers(rows)
    decision = predictor.info.decision
    flipped = 0
    if expected.ndim == 2:
        flipped = int((decision.places(given) != decision.places(expected)).sum())
    largest, differing = apart(given, expected)
    return Parity(len(given), largest, differing, flipped)


def apart(given: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> tuple[float, int]:
    """The largest difference, and how many rows differ by more than the tolerance."""
    found = distance(given, expected)
    if given.ndim == 2:
        found = found.max(axis=1)
    return float(found.max()), int((found > TOLERANCE).sum())


def distance(
    given: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """How far each answer is off, by the measure of `TOLERANCE`."""
    size = np.abs(expected)
    scale = np.maximum(size, np.median(size)) if expected.ndim == 1 else np.ones_like(size)
    found = np.abs(given - expected) / scale
    found[~np.isfinite(given)] = np.inf
    return found


def probes(contract: Contract, held_out: Features, seed: int) -> Features:
    """Held-out rows, rows at the contract's edges, and mixtures of both up to `ROWS`."""
    random = np.random.default_rng(seed)
    edges = _edges(contract, held_out)
    numbers = np.vstack([held_out.numbers, edges.numbers])
    categories = np.vstack([held_out.categories, edges.categories])
    count = max(ROWS - len(numbers), 0)
    mixed_numbers = np.empty((count, numbers.shape[1]), np.float32)
    mixed_categories = np.empty((count, categories.shape[1]), object)
    for place in range(numbers.shape[1]):
        mixed_numbers[:, place] = random.choice(numbers[:, place], count)
    for place in range(categories.shape[1]):
        mixed_categories[:, place] = random.choice(categories[:, place], count)
    return Features(np.vstack([numbers, mixed_numbers]), np.vstack([categories, mixed_categories]))


def _edges(contract: Contract, held_out: Features) -> Features:
    """For each feature: missing and extreme, or missing and unseen, the rest from a real row."""
    rows, encoder = [], Encoder(contract)
    for place, column in enumerate(encoder.numbers):
        seen = held_out.numbers[:, place]
        seen = seen[np.isfinite(seen)]
        low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
        limits = column.constraints
        rows += [
            (place, value)
            for value in (
                np.nan,
                low - 10 * (high - low) if limits.minimum is None else limits.minimum,
                high + 10 * (high - low) if limits.maximum is None else limits.maximum,
            )
        ]
    numbers = np.repeat(held_out.numbers[:1], len(rows), axis=0)
    for row, (place, value) in enumerate(rows):
        numbers[row, place] = value
    words = [
        (place, word)
        for place in range(len(encoder.categories))
        for word in (MISSING_CATEGORY, UNSEEN)
    ]
    categories = np.repeat(held_out.categories[:1], len(words), axis=0)
    for row, (place, word) in enumerate(words):
        categories[row, place] = word
    return Features(
        np.vstack([numbers, np.repeat(held_out.numbers[:1], len(words), axis=0)]),
        np.vstack([np.repeat(held_out.categories[:1], len(rows), axis=0), categories]),
    )
